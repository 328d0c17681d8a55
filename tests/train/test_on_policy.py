"""Batches that depend on the parameters, and validations that end a training."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core import DataError, DivergedError
from jaxrec.objectives import Loss
from jaxrec.train import FAULT, OnPolicy, TrainConfig, Validation, fit, make_plan, read_metrics

CONFIG = TrainConfig(
    steps=8, batch_size=4, lr=0.1, warmup_steps=0, schedule="constant", eval_every=4, log_every=1
)


class Chase:
    """Targets one above the parameter, as it was when every second batch was drawn."""

    def __init__(self, broken_at=None, poisoned_at=None):
        self.count, self.target, self.seen = 0, None, []
        self.broken_at, self.poisoned_at = broken_at, poisoned_at

    def follow(self, variables):
        self.now = float(variables["w"])

    def __next__(self):
        if self.count == self.broken_at:
            raise DataError("the source is gone")
        if self.count % 2 == 0:
            self.target = self.now + 1
        self.seen.append(self.now)
        self.count += 1
        fill = np.nan if self.count == self.poisoned_at else self.target
        return jnp.full((4,), fill, jnp.float32)

    def get_state(self):
        return {"count": self.count, "target": self.target}

    def set_state(self, state):
        self.count, self.target = state["count"], state["target"]

    def values(self):
        return {"target": self.target}

    def note(self, values):
        return f"target {values['target']:.1f}"


def init(_):
    return {"w": jnp.zeros(())}


def loss(params, batch, key):
    return Loss(((batch - params["w"]) ** 2).sum(), jnp.float32(4), {})


def size(params):
    return {"size": float(params["w"])}


PLAN = make_plan(init, loss, jnp.zeros(4), CONFIG)


def run(directory, batches, stop=None):
    return fit(PLAN, batches, Validation(size, "size"), directory, stop=stop)


def test_a_batch_sees_the_parameters_that_the_steps_before_it_left(tmp_path, capsys):
    batches = Chase()
    assert isinstance(batches, OnPolicy)
    run(tmp_path, batches)
    rows = [row for row in read_metrics(tmp_path / "metrics.jsonl") if "loss" in row]
    assert len(rows) == 8 and len({row["target"] for row in rows}) == 4
    for row, seen in zip(rows, batches.seen, strict=True):
        assert row["loss"] == pytest.approx((row["target"] - seen) ** 2, rel=1e-5)
    assert [row["target"] for row in rows[::2]] == [seen + 1 for seen in batches.seen[::2]]
    assert np.diff(batches.seen).min() > 0.05
    assert "target 1." in capsys.readouterr().err


def test_the_steps_before_a_failing_batch_are_saved_and_resumed(tmp_path):
    whole = run(tmp_path / "whole", Chase())
    with pytest.raises(DataError, match="the source is gone"):
        run(tmp_path / "broken", Chase(broken_at=7))
    assert (tmp_path / "broken" / "checkpoints" / "7").is_dir()
    again = run(tmp_path / "broken", Chase())
    assert float(again.params["w"]) == float(whole.params["w"])


def test_a_batch_that_cannot_be_drawn_again_is_written_when_training_diverges(tmp_path):
    with pytest.raises(DivergedError, match="at step 6 the loss"):
        run(tmp_path, Chase(poisoned_at=6))
    with np.load(tmp_path / "bad_batch.npz") as stored:
        (batch,) = stored.values()
    assert np.isnan(batch).all() and batch.shape == (4,)


def test_a_fault_that_a_step_counts_stops_the_training_and_is_named(tmp_path):
    def counted(params, batch, key):
        faults = jnp.isnan(batch).astype(jnp.float32).sum()
        parts = {FAULT + "targets_that_are_no_numbers": faults}
        return dataclasses.replace(loss(params, batch, key), parts=parts)

    plan = make_plan(init, counted, jnp.zeros(4), CONFIG)
    with pytest.raises(DivergedError, match="step 6 met targets that are no numbers; the batch is"):
        fit(plan, Chase(poisoned_at=6), Validation(size, "size"), tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir() if path.is_dir()] == ["4"]


def test_a_validation_ends_the_training_and_is_not_the_best(tmp_path):
    seen = []

    def stop(measured):
        seen.append([dict(row) for row in measured])
        return "enough" if len(measured) == 2 else ""

    plan = dataclasses.replace(PLAN, config=dataclasses.replace(CONFIG, eval_every=2))
    result = fit(plan, Chase(), Validation(size, "size"), tmp_path, stop=stop)
    assert (result.stopped, result.steps, result.best_step) == ("enough", 4, 2)
    assert [len(rows) for rows in seen] == [1, 2] and seen[1][0] == seen[0][0]
    again = fit(plan, Chase(), Validation(size, "size"), tmp_path, stop=stop)
    assert (again.stopped, again.steps, len(seen)) == ("enough", 4, 2)
