"""The training loop: resumption, accumulation, early stopping and checkpoints."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrec.core import ConfigError
from jaxrec.core.compiles import CompileCounter
from jaxrec.core.mesh import MeshConfig, ShardingRules, make_mesh
from jaxrec.objectives import Loss
from jaxrec.train import (
    TrainConfig,
    Validation,
    fit,
    loop,
    make_optimizer,
    make_plan,
    make_state,
    make_step,
    read_metrics,
)

CONFIG = TrainConfig(
    steps=12, batch_size=8, lr=0.05, warmup_steps=2, eval_every=3, log_every=1, clip_norm=0.0
)
TRUTH = np.array([1.0, -2.0, 0.5], np.float32)


class Batches:
    """Rows of a linear regression, with a position that can be saved."""

    def __init__(self, size=8):
        self.place, self.size = 0, size

    def __next__(self):
        rng = np.random.default_rng(self.place)
        self.place += 1
        x = rng.normal(size=(self.size, 3)).astype(np.float32)
        return {"x": x, "y": x @ TRUTH}

    def get_state(self):
        return {"place": self.place}

    def set_state(self, state):
        self.place = state["place"]


class Killed(Exception):
    """Stands for a kill in the middle of a run."""


def init(_):
    return {"params": {"w": {"kernel": jnp.zeros(3)}}}


def loss(params, batch, key):
    noise = 1e-3 * jax.random.normal(key, batch["y"].shape)
    error = batch["x"] @ params["params"]["w"]["kernel"] - batch["y"] + noise
    weight = jnp.full((), batch["y"].shape[0], jnp.float32)
    return Loss(total=(error**2).sum(), weight=weight, parts={"abs": jnp.abs(error).sum()})


def closeness(params):
    return {"ndcg@10": -float(np.abs(np.asarray(params["params"]["w"]["kernel"]) - TRUTH).sum())}


def weights(params):
    return np.asarray(params["params"]["w"]["kernel"])


def run(directory, config=CONFIG, evaluate=closeness):
    plan = make_plan(init, loss, next(Batches(config.batch_size)), config)
    return fit(plan, Batches(config.batch_size), Validation(evaluate), directory)


@pytest.mark.parametrize("dies_at", [1, 2, 3, 4])
def test_a_run_that_dies_and_resumes_ends_with_the_same_bits(tmp_path, dies_at):
    calls = 0

    def dying(params):
        nonlocal calls
        calls += 1
        if calls == dies_at:
            raise Killed
        return closeness(params)

    with pytest.raises(Killed):
        run(tmp_path / "broken", evaluate=dying)
    resumed, unbroken = run(tmp_path / "broken"), run(tmp_path / "whole")
    np.testing.assert_array_equal(weights(resumed.params), weights(unbroken.params))
    assert resumed.best_step == unbroken.best_step

    def losses(name):
        rows = read_metrics(tmp_path / name / "metrics.jsonl")
        return [(row["step"], row["loss"]) for row in rows if "loss" in row]

    assert losses("broken") == losses("whole")
    assert [step for step, _ in losses("whole")] == list(range(1, 13))


def test_a_finished_run_started_again_trains_no_further(tmp_path):
    first, rows, calls = run(tmp_path), read_metrics(tmp_path / "metrics.jsonl"), []

    def counting(params):
        calls.append(weights(params))
        return closeness(params)

    with CompileCounter() as counter:
        second = run(tmp_path, evaluate=counting)
    # Not even the step is compiled, which takes longest for a real model.
    assert not [program for program in counter.programs if "step" in program]
    np.testing.assert_array_equal(weights(first.params), weights(second.params))
    assert (second.steps, second.best_step) == (first.steps, first.best_step)
    # The best parameters are measured once more, and nothing is added to the metrics.
    assert len(calls) == 1
    assert read_metrics(tmp_path / "metrics.jsonl") == rows


def test_the_seconds_of_all_sessions_count(tmp_path, monkeypatch):
    """The clock stands still, except that a validation takes 100 seconds."""
    now = 0.0

    def slow(params):
        nonlocal now
        now += 100.0
        return closeness(params)

    def killed(params):
        if now >= 1200.0:
            raise Killed
        return slow(params)

    monkeypatch.setattr(loop.time, "monotonic", lambda: now)
    # Four validations in training, and one of the best checkpoint.
    whole = run(tmp_path / "whole", evaluate=slow).seconds
    assert whole == 500.0
    # Started again after the last step, a run repeats the last validation alone.
    now += 7000.0
    assert run(tmp_path / "whole", evaluate=slow).seconds == whole
    # The kill after the second validation loses nothing but the break.
    now = 1000.0
    with pytest.raises(Killed):
        run(tmp_path / "cut", evaluate=killed)
    now += 7000.0
    assert run(tmp_path / "cut", evaluate=slow).seconds == whole


def test_a_plan_that_is_trained_again_compiles_nothing(tmp_path):
    plan = make_plan(init, loss, next(Batches()), dataclasses.replace(CONFIG, steps=3))
    fit(plan, Batches(), Validation(closeness), tmp_path / "one")
    with CompileCounter() as counter:
        fit(plan, Batches(), Validation(closeness), tmp_path / "two")
    assert counter.programs == []


def test_speed_is_logged_a_trace_written_and_a_new_shape_warned_of(tmp_path):
    class Growing(Batches):
        def __next__(self):
            self.size = 8 if self.place < 7 else 16
            return super().__next__()

    plan = make_plan(init, loss, next(Batches(8)), CONFIG)
    with pytest.warns(UserWarning, match=r"up to step 8 programs .*\[16,3\]"):
        result = fit(
            plan,
            Growing(),
            Validation(closeness),
            tmp_path,
            measure=lambda batch: (6, batch["x"].shape[0]),
            profile=True,
        )
    assert result.compiles_after_warmup == 1
    rows = [row for row in read_metrics(tmp_path / "metrics.jsonl") if "loss" in row]
    assert [row["padding"] for row in rows] == [0.25] * 7 + [0.625] * 5
    for row in rows:
        assert row["tokens_per_second"] == pytest.approx(6 / row["step_seconds"])
        assert 0 <= row["input_share"] < 1 and row["host_peak_bytes"] > 2**20
    # A product of [8, 3] and [3], forward and twice back; nobody counted the new shape.
    flops = 3 * 2 * 8 * 3 / jax.device_count()
    assert rows[2]["teraflops"] * rows[2]["step_seconds"] == pytest.approx(flops / 1e12)
    assert "teraflops" not in rows[-1]
    assert len(list((tmp_path / "profile").rglob("*.xplane.pb"))) == 1


def test_a_step_is_adamw_with_the_documented_schedule(tmp_path):
    # Referee: optax driven by hand over the same batches, without the loop, jit or sharding.
    config = dataclasses.replace(CONFIG, steps=5, weight_decay=0.1, clip_norm=0.7)
    result = run(tmp_path, dataclasses.replace(config, eval_every=5))
    schedule = optax.warmup_cosine_decay_schedule(0.0, 0.05, 2, 5, 0.05 * 0.02)
    optimizer = optax.chain(
        optax.clip_by_global_norm(0.7), optax.adamw(schedule, b2=0.98, weight_decay=0.1)
    )
    params = init(None)
    state, batches = optimizer.init(params), Batches()
    for step in range(5):
        batch = jax.tree.map(jnp.asarray, next(batches))
        key = jax.random.fold_in(jax.random.key(1), step)
        gradient = jax.grad(lambda p, b=batch, k=key: loss(p, b, k).total / 8)(params)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(weights(result.params), weights(params), rtol=1e-5)


def test_micro_batches_give_the_gradient_of_the_whole_batch():
    def ragged(params, batch, key):
        # Micro-batches of different weight: a mean of means would be wrong.
        del key
        error = (batch["x"] @ params["params"]["w"]["kernel"] - batch["y"]) ** 2
        weight = batch["use"]
        return Loss(total=(error * weight).sum(), weight=weight.sum(), parts={})

    batch = next(Batches()) | {"use": np.array([1, 1, 1, 1, 1, 0, 0, 0], np.float32)}
    mesh, rules = make_mesh(MeshConfig()), ShardingRules()
    found = {}
    for parts in (1, 2, 4):
        config = dataclasses.replace(CONFIG, accumulate=parts)
        optimizer = optax.sgd(0.1)
        state = make_state(init, optimizer, mesh, rules, config)
        state, metrics = make_step(ragged, optimizer, config, mesh, rules)(state, batch)
        found[parts] = weights(state.params), float(metrics["loss"])
    x, y, use = batch["x"], batch["y"], batch["use"]
    by_hand = 0.1 * 2 * (use[:, None] * x * y[:, None]).sum(0) / use.sum()
    for parts in (1, 2, 4):
        np.testing.assert_allclose(found[parts][0], by_hand, rtol=1e-5)
        np.testing.assert_allclose(found[parts][1], (use * y**2).sum() / use.sum(), rtol=1e-5)


def test_norms_and_biases_are_not_decayed():
    config = dataclasses.replace(CONFIG, weight_decay=1.0, warmup_steps=0)
    params = {"norm": {"scale": jnp.ones(2), "bias": jnp.ones(2)}, "w": {"kernel": jnp.ones(2)}}
    optimizer = make_optimizer(config)
    zeros = jax.tree.map(jnp.zeros_like, params)
    with jax.numpy_dtype_promotion("standard"):
        updates, _ = optimizer.update(zeros, optimizer.init(params), params)
    assert (
        float(jnp.abs(updates["norm"]["scale"]).sum() + jnp.abs(updates["norm"]["bias"]).sum()) == 0
    )
    np.testing.assert_allclose(updates["w"]["kernel"], -0.05 * np.ones(2), rtol=1e-6)


def test_early_stopping_waits_for_its_patience_and_keeps_the_best(tmp_path):
    scores = iter([0.1, 0.5, 0.4, 0.3, 0.2])
    seen = []

    def evaluate(params):
        seen.append(weights(params))
        return {"ndcg@10": next(scores)}

    config = dataclasses.replace(CONFIG, steps=100, eval_every=2, patience=2)
    result = run(tmp_path, config, evaluate)
    assert (result.best_step, result.steps) == (4, 8)
    np.testing.assert_array_equal(weights(result.params), seen[1])


def test_the_moving_average_is_that_of_the_parameters_and_is_what_is_returned(tmp_path):
    trace = []

    def evaluate(params):
        trace.append(weights(params))
        return {"ndcg@10": float(len(trace))}

    config = dataclasses.replace(CONFIG, steps=6, eval_every=1)
    run(tmp_path / "plain", config, evaluate)
    plain, trace = trace[:6], []
    averaged = run(tmp_path / "ema", dataclasses.replace(config, ema_decay=0.5), evaluate)
    expected = np.zeros(3)
    for step, params in enumerate(plain):
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * params
    np.testing.assert_allclose(weights(averaged.params), expected, rtol=1e-5)


def test_nothing_is_compiled_after_the_first_validation(tmp_path):
    assert run(tmp_path).compiles_after_warmup == 0


def test_a_run_whose_newest_checkpoint_is_cut_off_goes_on_from_the_one_before(tmp_path, capsys):
    unbroken = run(tmp_path / "whole")
    run(tmp_path / "broken")
    newest = tmp_path / "broken" / "checkpoints" / "12"
    for path in sorted(newest.rglob("*")):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    resumed = run(tmp_path / "broken")
    words = capsys.readouterr().err
    assert "checkpoints/12 is damaged" in words and "resuming from step 9" in words
    np.testing.assert_array_equal(weights(resumed.params), weights(unbroken.params))
    assert (newest.with_name("12.damaged") / "record").exists()


def test_metrics_cut_off_by_a_kill_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"step": 1, "loss": 2.0}) + '\n{"step": 2, "lo')
    assert read_metrics(path) == [{"step": 1, "loss": 2.0}]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": 0}, r"train\.steps must be at least 1, got 0"),
        ({"lr": -1.0}, r"--train\.lr must be in \(0, 1000\], got -1"),
        ({"accumulate": 3}, r"train\.batch_size 8 is not a multiple of train\.accumulate 3"),
    ],
)
def test_settings_that_cannot_train_are_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        dataclasses.replace(CONFIG, **change)
