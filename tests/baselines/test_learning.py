"""The neural sequential baselines learn an order, from tables and from texts, and resume."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.baselines import popularity
from jaxrec.baselines.bert4rec import Bert4RecConfig
from jaxrec.baselines.caser import CaserConfig
from jaxrec.baselines.dros_config import dros
from jaxrec.baselines.gru4rec import Gru4RecConfig
from jaxrec.baselines.sasrec import SasrecConfig
from jaxrec.baselines.sequential import fit_sequential, make_model, scores
from jaxrec.core import ConfigError
from jaxrec.data import leave_one_out
from jaxrec.eval import average, evaluate
from jaxrec.ids import pad_items
from jaxrec.testing import tiny_interactions
from jaxrec.train import TrainConfig, Validation

ITEMS = 30
QUICK = TrainConfig(
    steps=150, batch_size=32, lr=1e-2, warmup_steps=10, weight_decay=0.0, eval_every=150
)
BASE = {"width": 16, "max_items": 12, "dropout": 0.0, "train": QUICK}


@functools.cache
def split():
    return leave_one_out(tiny_interactions(users=120, items=ITEMS))


def ranked(score):
    histories = pad_items(split().history("test"), 12)
    batch = {"history": histories, "target": split().target("test"), "seen": histories}
    return average(evaluate(lambda b: score({"history": b["history"]}), [batch]))


def trained(config, directory, text=None):
    score = jax.jit(functools.partial(scores, config=config, num_items=ITEMS))

    def validate(params):
        return ranked(functools.partial(score, params))

    train = split().train.sequences()
    result = fit_sequential(config, train, ITEMS, Validation(validate), directory, text=text)
    return functools.partial(score, result.params), result


LEARNERS = {
    "gru4rec": Gru4RecConfig(**BASE),
    "gru4rec bpr": Gru4RecConfig(**BASE, objective="bpr", negatives=4),
    "caser": CaserConfig(**BASE, image=3, heights=(1, 2)),
    "sasrec": SasrecConfig(**BASE, depth=1),
    "sasrec bce": SasrecConfig(**BASE, depth=1, objective="bce"),
    "sasrec sampled": SasrecConfig(**BASE, depth=1, objective="sampled_softmax", negatives=8),
    "bert4rec": Bert4RecConfig(
        **{**BASE, "train": dataclasses.replace(QUICK, steps=400, eval_every=400)},
        depth=1,
        mask_share=0.3,
        last_share=0.3,
    ),
    "dros": dros(Gru4RecConfig(**BASE), alpha=0.1),
}


# The others compile longer; what they compute is compared with PyTorch in quick tests.
QUICKEST = ("gru4rec", "caser")


@pytest.mark.parametrize(
    "name",
    [*QUICKEST, *(pytest.param(n, marks=pytest.mark.slow) for n in LEARNERS if n not in QUICKEST)],
)
@pytest.mark.variants(1)
def test_learns_a_chain_far_above_popularity(name, tmp_path):
    # Nine times in ten the next item is the neighbour of the last one on a hidden ring.
    score, _ = trained(LEARNERS[name], tmp_path)
    params = popularity.fit(split().train.sequences(), ITEMS)
    counts = ranked(functools.partial(popularity.scores, params))
    assert ranked(score)["hr@5"] > max(0.75, counts["hr@5"] + 0.3)


def test_text_vectors_take_the_place_of_the_table_and_reach_items_never_trained(tmp_path):
    # Item i's text is a random code; only a projection is learned, so the code of a copy of item i
    # scores as item i does, though the copy was never met.
    rng = np.random.default_rng(0)
    text = rng.normal(size=(ITEMS, 24))
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    config = SasrecConfig(**BASE, depth=1)
    score, result = trained(config, tmp_path, text)
    assert ranked(score)["hr@5"] > 0.75
    model = make_model(config, ITEMS, kind="text")
    shapes = jax.tree.map(jnp.shape, result.params["params"]["items"])
    assert shapes == {"projection": {"bias": (16,), "kernel": (24, 16)}, "special": (3, 16)}
    assert model.items.kind == "text"
    np.testing.assert_array_equal(result.params["fixed"]["items"]["text"], text.astype(np.float32))
    swapped = {
        **result.params,
        "fixed": {**result.params["fixed"], "items": {"text": jnp.asarray(text[::-1].copy())}},
    }
    history = pad_items(split().history("test")[:5], 12)
    turned = np.where(history >= 0, ITEMS - 1 - history, -1)
    swapped["fixed"]["items"]["text"] = swapped["fixed"]["items"]["text"].astype(jnp.float32)
    other = score.func(swapped, {"history": turned})
    np.testing.assert_allclose(other[:, ::-1], score({"history": history}), atol=1e-4)


def test_text_vectors_of_other_items_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"shape \(29, 4\) for 30 items"):
        trained(SasrecConfig(**BASE), tmp_path, np.zeros((29, 4)))


def test_a_run_that_was_broken_off_ends_with_the_parameters_of_the_unbroken_one(tmp_path):
    config = Gru4RecConfig(
        width=8,
        max_items=6,
        objective="sampled_softmax",
        proposal="popularity",
        negatives=4,
        train=dataclasses.replace(QUICK, steps=30, eval_every=10),
    )
    train, seen = split().train.sequences(), []

    def broken(params):
        if len(seen) == 1:
            raise KeyboardInterrupt
        seen.append(params)
        return {"ndcg@10": 0.0}

    def rising():
        # The last checkpoint is the best one.
        values = iter(range(1, 9))
        return Validation(lambda params: {"ndcg@10": float(next(values))})

    whole = fit_sequential(config, train, ITEMS, rising(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit_sequential(config, train, ITEMS, Validation(broken), tmp_path / "parts")
    parts = fit_sequential(config, train, ITEMS, rising(), tmp_path / "parts")
    assert whole.best_step == parts.best_step == 30
    jax.tree.map(np.testing.assert_array_equal, whole.params, parts.params)
