"""Minibatches of rollouts: every row once an epoch, the newest policy, and exact positions."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.align import RolloutBatches
from jaxrec.core import ConfigError, DataError
from jaxrec.train import OnPolicy


class Counting:
    """Prompts 0, 1, 2, ...; six a batch. Its position is bytes, as that of Grain."""

    def __init__(self):
        self.first = 0

    def __next__(self):
        self.first += 6
        return np.arange(self.first - 6, self.first)

    def get_state(self):
        return json.dumps({"first": self.first}).encode()

    def set_state(self, state):
        self.first = json.loads(state.decode())["first"]


def roll(policy, prompts, number):
    answers = jnp.stack([prompts, prompts + policy], axis=1).astype(jnp.int32)
    return {"answers": answers, "number": jnp.full(6, number)}


def make(epochs=2, minibatches=3):
    return RolloutBatches(Counting(), roll, epochs=epochs, minibatches=minibatches, seed=1)


def draw(batches, count, first=0):
    """The next batches, each with a policy of its own."""
    rows = []
    for step in range(first, first + count):
        batches.follow(1000 * step)
        rows.append({name: np.asarray(x) for name, x in next(batches).items()})
    return rows


def test_an_epoch_has_every_row_once_in_an_order_of_its_own():
    batches = make()
    assert isinstance(batches, OnPolicy)
    rows = draw(batches, 12)
    epochs = [np.concatenate([row["answers"] for row in rows[n : n + 3]]) for n in (0, 3, 6, 9)]
    # The policy of the first step makes the first rollout, that of step 6 the second one.
    for epoch, (low, policy) in zip(epochs, [(0, 0), (0, 0), (6, 6000), (6, 6000)], strict=True):
        order = np.argsort(epoch[:, 0])
        assert epoch[order, 0].tolist() == list(range(low, low + 6))
        assert (epoch[:, 1] - epoch[:, 0] == policy).all()
    assert not np.array_equal(epochs[0], epochs[1])
    assert [int(row["number"][0]) for row in rows] == [0] * 6 + [1] * 6


@pytest.mark.parametrize("done", [0, 1, 4, 6, 8])
def test_a_position_continues_exactly_even_within_an_epoch(done):
    first = make()
    whole = draw(first, done)
    state = json.loads(json.dumps(first.get_state()))
    whole = draw(first, 7, done)
    second = make()
    second.set_state(state)
    # Asked again before the first batch, it is the same position.
    assert second.get_state() == state
    for ours, theirs in zip(draw(second, 7, done), whole, strict=True):
        for name in ours:
            assert np.array_equal(ours[name], theirs[name])
            assert ours[name].dtype == theirs[name].dtype


def test_rows_that_do_not_divide_and_foreign_positions_are_refused():
    batches = make(minibatches=4)
    batches.follow(0)
    with pytest.raises(ConfigError, match="does not divide into 4 minibatches"):
        next(batches)
    with pytest.raises(DataError, match="not one of rollouts"):
        make().set_state({"first": 3})


def test_progress_shows_the_metrics_of_a_rollout_and_the_divergence_of_the_step():
    def summary(rollout):
        return {"reward": float(rollout["answers"].mean())}

    batches = RolloutBatches(Counting(), roll, epochs=1, minibatches=2, seed=1, summary=summary)
    draw(batches, 1)
    assert batches.note({"loss": 3.0}) == "reward 2.5000"
    assert batches.note({"loss": 3.0, "kl": 0.0125}) == "reward 2.5000  KL 0.0125"
