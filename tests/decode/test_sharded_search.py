"""Beam search on eight fake devices gives the items of a search by hand on one."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.ids import write_histories
from jaxrec.testing import run_on_devices
from jaxrec.testing.brute_force import MAX_ITEMS, level_logits, make_case, textbook_search

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("sharded_run.py")
CASE = {"seed": 3, "sizes": (8, 6), "share": 0.7, "users": 8, "depth": 2, "tie_embeddings": False}
MIXED = {"mesh": {"data": 4, "model": 2}, "rules": {"preset": "fsdp_tensor"}}
RUNS = {
    "data": {"mesh": {}, "rules": {}, "kind": "causal"},
    "tensor": {"mesh": {"model": 2}, "rules": {"preset": "tensor"}, "kind": "causal"},
    "hstu": {**MIXED, "kind": "causal", "flavour": {"block": "hstu", "mlp_width": None}},
    "encoder-decoder": {**MIXED, "kind": "encoder-decoder"},
    "recommender": {**MIXED, "kind": "causal"},
}


@pytest.fixture(scope="module")
def eight_devices():
    found = run_on_devices(8, SCRIPT, CASE, RUNS)
    assert found["devices"] == 8
    return found


def check_best(found, case, seen):
    """The ten best of every user, none of them `seen`, are those of a search over Python tuples."""
    logits = level_logits(case)
    rows = zip(found["items"], found["scores"], seen, strict=True)
    for user, (items, scores, own) in enumerate(rows):
        allowed = ~np.isin(np.arange(len(case.codes)), own)
        best = textbook_search(case, logits, user, allowed, 10, "codes")
        assert items == [item for _, item in best]
        assert scores == pytest.approx([score for score, _ in best], abs=1e-5)


@pytest.mark.parametrize("name", ["data", "tensor", "hstu", "encoder-decoder"])
def test_a_sharded_search_gives_the_items_of_a_search_by_hand(eight_devices, name):
    run, found = RUNS[name], eight_devices[name]
    case = make_case(**CASE | run.get("flavour", {}), kind=run["kind"])
    check_best(found, case, [[]] * 8)
    assert len({tuple(row) for row in found["items"]}) > 1
    # Users, and not copies of all of them, lie on the devices.
    assert found["rows"] == (1 if name == "data" else 2)


def test_users_on_devices_of_their_own_need_nothing_of_one_another(eight_devices):
    assert eight_devices["data"]["moved"] == []
    assert "all-reduce" in eight_devices["tensor"]["moved"]


def test_a_recommender_on_a_mesh_gives_each_user_the_best_new_items(eight_devices):
    case, histories = make_case(**CASE), [np.arange(user) for user in range(5)]
    tokens = write_histories(histories, case.vocabulary.tokens(case.codes), MAX_ITEMS)
    case = dataclasses.replace(case, tokens=jnp.asarray(tokens))
    check_best(eight_devices["recommender"], case, histories)
