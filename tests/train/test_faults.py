"""Faults: requests to stop, a full disk, divergence, and a directory that is in use."""

import contextlib
import dataclasses
import io
import json
import logging
import os
import resource
import shutil
import signal
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError, DivergedError, Interrupted, ResourceError
from jaxrec.core.lock import DirectoryLock
from jaxrec.testing.launch import held
from jaxrec.testing.regression import RegressionBatches, closeness, kernel_of, regression_plan
from jaxrec.train import (
    Checkpoints,
    Start,
    TrainConfig,
    Validation,
    fit,
    load_params,
    read_metrics,
)
from jaxrec.train.quiet import quiet_saving

CONFIG = TrainConfig(
    steps=12, batch_size=8, lr=0.05, warmup_steps=2, eval_every=4, log_every=1, clip_norm=0.0
)
PLANS = {}


def run(directory, config=CONFIG, change=None, evaluate=closeness):
    if config not in PLANS:
        PLANS[config] = regression_plan(config)
    batches = RegressionBatches(config.batch_size, change=change)
    return fit(PLANS[config], batches, Validation(evaluate), directory)


def losses(directory):
    rows = read_metrics(directory / "metrics.jsonl")
    return [(row["step"], row["loss"]) for row in rows if "loss" in row]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    directory = tmp_path_factory.mktemp("unbroken")
    return run(directory), losses(directory)


def same(directory, result, unbroken):
    whole, expected = unbroken
    np.testing.assert_array_equal(kernel_of(result.params), kernel_of(whole.params))
    assert (result.best_step, result.metrics) == (whole.best_step, whole.metrics)
    assert losses(directory) == expected


def saved(directory):
    found = (directory / "checkpoints").iterdir()
    return sorted(int(path.name) for path in found if path.name.isdigit())


def at(number, action):
    """Do something while the batch of a step is drawn."""

    def change(place, batch):
        return (action(batch) or batch) if place + 1 == number else batch

    return change


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("step", [1, 6, 8])
def test_a_run_that_is_asked_to_stop_saves_its_step_and_resumes_to_the_same_bits(
    tmp_path, unbroken, number, step
):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=f"asked to stop; step {step} of 12 is saved") as stopped:
        run(tmp_path, change=at(step, lambda _: os.kill(os.getpid(), number)))
    assert stopped.value.exit_code == 75
    assert signal.getsignal(number) is before
    assert saved(tmp_path)[-1] == step
    same(tmp_path, run(tmp_path), unbroken)


def test_a_run_that_is_stopped_after_every_step_ends_with_the_same_bits(tmp_path, unbroken):
    for step in range(1, 12):
        with pytest.raises(Interrupted):
            run(tmp_path, change=at(step, lambda _: os.kill(os.getpid(), signal.SIGTERM)))
    same(tmp_path, run(tmp_path), unbroken)


def test_a_run_that_is_asked_to_stop_at_its_last_step_ends(tmp_path, unbroken):
    result = run(tmp_path, change=at(12, lambda _: os.kill(os.getpid(), signal.SIGTERM)))
    same(tmp_path, result, unbroken)


def test_a_second_interrupt_does_not_wait_for_the_step(tmp_path):
    def twice(_):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, change=at(6, twice))
    assert saved(tmp_path) == [4]


@contextlib.contextmanager
def files_of_at_most(size):
    """A disk that is full as soon as a file reaches a given size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# Of several threads that fail Orbax reports one.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("step", [4, 5, 9])
def test_a_full_disk_is_named_and_leaves_the_checkpoints_before_it(
    tmp_path, unbroken, step, caplog
):
    before = list(range(4, step, 4))

    def fill(_):
        while saved(tmp_path) != before:  # the last save may be under way
            time.sleep(0.01)
        stack.enter_context(files_of_at_most(300))

    # Lines of metrics and of progress would not fit either; saves alone shall fail.
    config = dataclasses.replace(CONFIG, log_every=100)
    printed = io.StringIO()
    with (
        contextlib.ExitStack() as stack,
        contextlib.redirect_stderr(printed),
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(
            ResourceError, match=r"cannot save a checkpoint to .*checkpoints \(.*free space"
        ),
    ):
        patch.setattr("jaxrec.train.metrics.MetricWriter.write", lambda *_: None)
        run(tmp_path, config, at(step, fill))
    assert saved(tmp_path) == before
    # The reason is raised; nothing else is to be read.
    assert "Traceback" not in printed.getvalue() and "Error" not in caplog.text
    result = run(tmp_path, config)
    np.testing.assert_array_equal(kernel_of(result.params), kernel_of(unbroken[0].params))


def test_a_thread_that_fails_after_the_save_was_reported_prints_nothing(caplog):
    logger, late = logging.getLogger("absl"), threading.Event()

    class OrbaxThread(threading.Thread):
        def run(self):
            late.wait(0.2)
            place = "/site-packages/orbax/checkpoint/future.py"
            logger.handle(logger.makeRecord("absl", logging.ERROR, place, 1, "late", (), None))

    OrbaxThread.__module__ = "orbax.checkpoint.future"
    thread = OrbaxThread()
    with quiet_saving():
        thread.start()
    assert not thread.is_alive() and not caplog.records


def test_a_checkpoint_of_another_run_is_refused_and_old_ones_open(tmp_path, unbroken):
    batches, plan = RegressionBatches(CONFIG.batch_size), PLANS[CONFIG]

    def again(**run):
        return fit(plan, batches, Validation(closeness), tmp_path, start=Start(run=run))

    run(tmp_path)  # as before checkpoints knew their run
    place = tmp_path / "checkpoints"
    assert load_params(place, plan.state, run={"item IDs": "aa", "data": "dd"})[1] == 12
    assert again(**{"item IDs": "aa", "data": "dd"}).steps == 12
    for path in place.iterdir():
        shutil.rmtree(path)
    again(**{"item IDs": "aa", "data": "dd"})
    assert load_params(place, plan.state, run={"item IDs": "aa", "data": "dd"})[1] == 12
    for refused in (
        lambda: load_params(place, plan.state, run={"item IDs": "bb", "data": "dd"}),
        lambda: again(**{"item IDs": "bb", "data": "dd"}),
    ):
        with pytest.raises(DataError, match=r"belongs to a run with other item IDs \(aa, here bb"):
            refused()


def poison(batch):
    x = batch["x"].copy()
    x[3, 5] = np.nan
    return batch | {"x": x}


@pytest.mark.parametrize("log_every", [1, 5, 100])
@pytest.mark.parametrize("step", [1, 4, 7, 12])
def test_a_loss_that_is_not_finite_is_reported_with_its_batch(tmp_path, step, log_every):
    config = dataclasses.replace(CONFIG, log_every=log_every)
    with pytest.raises(
        DivergedError, match=rf"at step {step} the loss .* is not finite; loss nan, gradient norm"
    ) as stopped:
        run(tmp_path, config, at(step, poison))
    assert str(tmp_path / "bad_batch.npz") in str(stopped.value)
    expected = RegressionBatches(8)
    expected.set_state({"place": step - 1})
    with np.load(tmp_path / "bad_batch.npz") as found:
        wanted = poison(next(expected))
        assert sorted(found) == sorted(wanted)
        for name, value in wanted.items():
            np.testing.assert_array_equal(found[name], value)
    # The last good state is there, and nothing after it.
    good = list(range(4, step, 4))
    assert saved(tmp_path) == good
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        newest = checkpoints.restore_newest(PLANS[config].state)
    assert (newest is None) == (not good)
    if newest is not None:
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(newest[1]))


def test_a_loss_that_explodes_is_reported_and_may_be_allowed(tmp_path):
    def explode(batch):
        return batch | {"y": 100 * batch["y"]}

    first = losses_of_first_step()
    with pytest.raises(DivergedError, match=rf"at step 6 .*explodes: .*10 times .*{first:.4g}"):
        run(tmp_path / "a", change=at(6, explode))
    # The reference is the first loss of the run, also where an earlier session saw it.
    with pytest.raises(Interrupted):
        run(tmp_path / "b", change=at(5, lambda _: os.kill(os.getpid(), signal.SIGTERM)))
    with pytest.raises(DivergedError, match=rf"at step 6 .*10 times .*{first:.4g}"):
        run(tmp_path / "b", change=at(6, explode))
    config = dataclasses.replace(CONFIG, max_loss_ratio=0.0)
    assert run(tmp_path / "c", config, at(6, explode)).steps == 12


def losses_of_first_step():
    batch = next(RegressionBatches(8))
    noise = 1e-3 * jax.random.normal(jax.random.fold_in(jax.random.key(1), 0), (8,))
    return float(np.mean((np.asarray(noise) - batch["y"]) ** 2))


def test_parameters_that_are_not_finite_are_not_saved_though_the_loss_is(tmp_path):
    # A step of an infinite rate: loss and gradient are those of the finite parameters before.
    config = dataclasses.replace(
        CONFIG, lr=1e3, weight_decay=3e38, warmup_steps=0, schedule="constant", steps=4
    )
    config = dataclasses.replace(config, eval_every=1, max_loss_ratio=0.0)

    def strike(batch):
        return batch | {"x": 1e3 * batch["x"]}

    seen = []
    with pytest.raises(DivergedError, match=r"diverged: (step|at step) \d"):
        run(tmp_path, config, at(1, strike), lambda params: seen.append(params) or {"ndcg@10": 0.0})
    for step in saved(tmp_path):
        with Checkpoints(tmp_path / "checkpoints") as checkpoints:
            state, _ = checkpoints.restore(step, PLANS[config].state)
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state))


def test_two_runs_on_one_directory_are_refused(tmp_path, unbroken):
    with held(tmp_path) as holder, pytest.raises(ResourceError, match=f"by process {holder} on"):
        run(tmp_path)
    # A process that is killed locks nothing.
    same(tmp_path, run(tmp_path), unbroken)


def test_a_lock_is_held_until_its_last_holder_in_the_process_lets_go(tmp_path):
    with DirectoryLock(tmp_path / "new") as lock:
        with DirectoryLock(tmp_path / "new"):
            pass
        facts = json.loads((tmp_path / "new" / "run.lock").read_text())
        assert facts["pid"] == os.getpid()
        assert lock.directory.exists()
    # Nothing was written there, so nothing is left.
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("name", "value"), [("keep", 0), ("max_loss_ratio", -1.0)])
def test_settings_that_cannot_be_are_refused(name, value):
    with pytest.raises(ConfigError, match=f"--train.{name.replace('_', '-')} must"):
        dataclasses.replace(CONFIG, **{name: value})
