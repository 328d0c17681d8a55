"""`jaxrec train` killed at any moment and started again ends with the same bits."""

import signal
import sys
import time

import jax
import numpy as np
import pytest

from jaxrec.cli.main import main
from jaxrec.runs.directory import load_codes
from jaxrec.systems.generative import recommender as generative
from jaxrec.systems.generative.config import load_config
from jaxrec.testing.launch import exit_codes, launch
from jaxrec.train import read_metrics

SCRIPT = "import sys; from jaxrec.cli.main import main; sys.exit(main(sys.argv[1:]))"
# So many validations and saves that most of a run is no start.
LONG = ("--train.steps", "300", "--train.eval-every", "10", "--eval.valid-users", "16")


class Trainings:
    """Runs of the tiny config, each whole in `expected` before any is killed."""

    def __init__(self, directory, cache):
        self.directory, self.cache = directory, cache
        self.config = directory / "tiny.py"
        self.kills = self.equal = 0

    def train(self, run_dir, *options, processes=1):
        command = [sys.executable, "-c", SCRIPT, "train", str(self.config)]
        command += ["--run-dir", str(run_dir), *options]
        devices, log = 1 if processes == 1 else 2, run_dir.with_suffix(".log")
        return launch(command, processes, devices, cache=self.cache, output=log)

    def whole(self, name, *options, processes=1):
        """Parameters of an unbroken run, and seconds of one whose programs are compiled."""
        for turn in ("first", "second"):
            begun, run_dir = time.monotonic(), self.directory / f"{name}-{turn}"
            codes = exit_codes(self.train(run_dir, *options, processes=processes))
            assert codes == [0] * processes, run_dir.with_suffix(".log").read_text()
        return parameters(run_dir), time.monotonic() - begun

    def survives(self, run_dir, expected, moments, *options, processes=1, victims=(0,)):
        """Kill some processes at each moment, then run to the end and compare bits."""
        for moment in moments:
            started = self.train(run_dir, *options, processes=processes)
            time.sleep(moment)
            for victim in victims:
                started[victim].send_signal(signal.SIGKILL)
            exit_codes(started)
            self.kills += 1
        codes = exit_codes(self.train(run_dir, *options, processes=processes))
        assert codes == [0] * processes, run_dir.with_suffix(".log").read_text()
        for ours, theirs in zip(parameters(run_dir), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        self.equal += 1


def parameters(directory):
    config, codes = load_config(directory), load_codes(directory)
    recommender = generative.load_recommender(config, codes, directory)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(recommender.params)]


@pytest.fixture(scope="module")
def tiny(tiny_run, tmp_path_factory):
    cache = tmp_path_factory.getbasetemp() / "compiled"  # of all files of tests
    return Trainings(tiny_run(tmp_path_factory.mktemp("kill")), cache)


def test_a_killed_training_resumes_to_the_same_bits(tiny, tmp_path):
    # Killed after the first save; `-m slow` kills at random moments, saves among them.
    (started,) = tiny.train(tmp_path / "run")
    while not (tmp_path / "run" / "checkpoints" / "10").exists():
        assert started.poll() is None
        time.sleep(0.001)
    started.send_signal(signal.SIGKILL)
    exit_codes([started])
    assert not (tmp_path / "run" / "train.json").exists()
    assert main(["train", str(tiny.config), "--run-dir", str(tmp_path / "run")]) == 0
    expected = parameters(tiny.directory / "run")
    for ours, theirs in zip(parameters(tmp_path / "run"), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_trainings_killed_at_30_random_moments_resume_to_the_same_bits(tiny, tmp_path, capsys):
    rng, begun = np.random.default_rng(0), time.monotonic()
    alone, seconds = tiny.whole("long", *LONG)
    tiny.kills = tiny.equal = 0
    for trial in range(10):
        moments = rng.uniform(0.1, 1.0, 2) * seconds
        tiny.survives(tmp_path / f"one{trial}", alone, moments, *LONG)
    one = tiny.kills, tiny.equal
    several, longer = tiny.whole("several", *LONG, processes=2)
    for a, b in zip(alone, several, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-3)  # 300 steps of rounding apart
    for trial, victims in enumerate([(0,), (1,), (0, 1), (1,), (0,)]):
        moments = rng.uniform(0.1, 1.0, 2) * longer
        tiny.survives(
            tmp_path / f"two{trial}", several, moments, *LONG, processes=2, victims=victims
        )
    with capsys.disabled():
        print(
            f"\n{tiny.kills} kills, {one[0]} of single processes ({one[1]} runs, each equal to the "
            f"unbroken one) and {tiny.kills - one[0]} of one or both of two processes "
            f"({tiny.equal - one[1]} runs, each equal): {time.monotonic() - begun:.0f} s"
        )
    assert (tiny.kills, tiny.equal) == (30, 15)


@pytest.mark.slow
def test_a_training_stopped_by_the_scheduler_again_and_again_ends_with_the_same_bits(
    tiny, tmp_path
):
    expected, _ = tiny.whole("asked", *LONG)
    run_dir, before, code = tmp_path / "run", 0, 75
    while code == 75:
        (started,) = tiny.train(run_dir, *LONG)
        while started.poll() is None and _steps(run_dir) <= before + 50:
            time.sleep(0.02)
        started.send_signal(signal.SIGTERM)
        (code,) = exit_codes([started])
        before = _steps(run_dir)
    assert code == 0
    for ours, theirs in zip(parameters(run_dir), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def _steps(run_dir):
    return max((row["step"] for row in read_metrics(run_dir / "metrics.jsonl")), default=0)


@pytest.mark.slow
def test_a_killed_lora_training_resumes_to_the_same_bits(tiny, tmp_path):
    _, seconds = tiny.whole("base")
    options = ["--tune.method", "lora", "--tune.base", str(tiny.directory / "base-second")]
    expected, seconds = tiny.whole("lora", *options)
    moments = [share * seconds for share in (0.7, 0.8, 0.9)]
    tiny.survives(tmp_path / "run", expected, moments, *options)
