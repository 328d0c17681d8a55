"""`jaxrec train` killed at any moment and started again ends with the same bits."""

import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from jaxrec.systems import generative, run
from jaxrec.testing import write_tiny_csv

SCRIPT = "import sys; from jaxrec.cli.main import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    directory = tmp_path_factory.mktemp("kill")
    path = write_tiny_csv(directory)
    config = directory / "tiny.py"
    config.write_text(
        "from jaxrec.testing import tiny_config\n"
        f"def get_config():\n    return tiny_config({str(path)!r})\n"
    )
    whole = directory / "whole"
    begun = time.monotonic()
    assert train(config, whole).wait() == 0
    return config, parameters(whole), time.monotonic() - begun


def train(config, directory, *options):
    command = [sys.executable, "-c", SCRIPT, "train", str(config), "--run-dir", str(directory)]
    command += options
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, env=os.environ | {"JAX_PLATFORMS": "cpu"}, **quiet)


def parameters(directory):
    config, codes = run.load_config(directory), run.load_codes(directory)
    recommender = generative.load_recommender(config, codes, directory)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(recommender.params)]


def survives(tiny, directory, moments, *options):
    config, expected, _ = tiny
    for moment in moments:
        process = train(config, directory, *options)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert train(config, directory, *options).wait() == 0
    for ours, theirs in zip(parameters(directory), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_killed_training_resumes_to_the_same_bits(tiny, tmp_path):
    # Most of a short process is imports and compilation; the kills fall into its later part, where
    # data are written, steps taken and checkpoints saved.
    survives(tiny, tmp_path / "run", [share * tiny[2] for share in (0.5, 0.75, 0.9)])


@pytest.mark.slow
def test_a_training_killed_at_20_random_moments_resumes_to_the_same_bits(tiny, tmp_path):
    rng = np.random.default_rng(0)
    for trial in range(10):
        survives(tiny, tmp_path / f"run{trial}", rng.uniform(0.1, 1.0, 2) * tiny[2])


@pytest.mark.slow
def test_a_killed_lora_training_resumes_to_the_same_bits(tiny, tmp_path):
    config, _, seconds = tiny
    options = ["--tune.method", "lora", "--tune.base", str(config.with_name("whole"))]
    assert train(config, tmp_path / "whole", *options).wait() == 0
    expected = parameters(tmp_path / "whole")
    moments = [share * seconds for share in (0.7, 0.8, 0.9)]
    survives((config, expected, seconds), tmp_path / "run", moments, *options)
