"""`jaxrec train --distributed` in 2 processes of 2 devices each: what one device does."""

import json
import signal
import sys
import time

import jax
import numpy as np
import pytest

from jaxrec.runs.directory import load_codes
from jaxrec.systems.generative import recommender as generative
from jaxrec.systems.generative.config import load_config
from jaxrec.testing.launch import exit_codes, launch
from jaxrec.train import read_metrics

pytestmark = pytest.mark.slow

SCRIPT = "import sys; from jaxrec.cli.main import main; sys.exit(main(sys.argv[1:]))"
# What a machine gives another time; padding, which it does not, is compared.
SPEED = {"step_seconds", "input_share", "tokens_per_second", "teraflops", "compiles"}
SPEED |= {"host_peak_bytes", "device_peak_bytes", "mfu"}


@pytest.fixture(scope="module")
def place(tiny_run, tmp_path_factory):
    return tiny_run(tmp_path_factory.mktemp("several"))


def train(place, name, processes, devices, *options):
    command = [sys.executable, "-c", SCRIPT, "train", str(place / "tiny.py")]
    command += ["--run-dir", str(place / name), *options]
    log = place / f"{name}.log"
    return launch(command, processes, devices, cache=place.parent / "compiled", output=log)


def parameters(directory):
    config, codes = load_config(directory), load_codes(directory)
    return jax.tree.leaves(generative.load_recommender(config, codes, directory).params)


def alike(ours, theirs):
    """Compare losses, validations and parameters."""
    rows = [read_metrics(directory / "metrics.jsonl") for directory in (ours, theirs)]
    assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]]
    for a, b in zip(*rows, strict=True):
        assert a.keys() == b.keys()
        for name in a.keys() - SPEED:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-4, err_msg=f"{name} of {a}")
    for a, b in zip(parameters(ours), parameters(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.fixture(scope="module")
def alone(place):
    """The run of one process on one device."""
    return place / "run"


def test_two_processes_of_two_devices_train_as_one_device_does(place, alone):
    assert exit_codes(train(place, "two", 2, 2)) == [0, 0]
    alike(place / "two", alone)
    # One of them wrote and spoke.
    assert (place / "two.log").read_text().count("best step 20 of 20 on validation") == 1
    facts = json.loads((place / "two" / "env.json").read_text())
    assert len(facts["devices"]) == 4


def steps_done(directory):
    return max((row["step"] for row in read_metrics(directory / "metrics.jsonl")), default=0)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_when_one_of_two_processes_is_killed_the_other_ends_and_both_resume(place, alone, victim):
    name = f"killed{victim}"
    started = train(place, name, 2, 2, "--train.steps", "4000")
    while not steps_done(place / name):
        assert all(process.poll() is None for process in started)
        time.sleep(0.1)
    started[victim].kill()
    begun = time.monotonic()
    codes = exit_codes(started)
    assert time.monotonic() - begun < 90
    assert codes[victim] == -signal.SIGKILL and codes[1 - victim] != 0
    # It resumes on one process as on two.
    before = steps_done(place / name)
    (again,) = train(place, name, 1, 4, "--train.steps", "4000")
    while steps_done(place / name) <= before + 20:
        assert again.poll() is None
        time.sleep(0.1)
    again.send_signal(signal.SIGTERM)
    assert exit_codes([again]) == [75]


@pytest.mark.slow
def test_a_second_job_on_the_directory_is_refused_on_all_its_processes(place, alone):
    first = train(place, "taken", 2, 2, "--train.steps", "4000")
    while not steps_done(place / "taken"):
        assert all(process.poll() is None for process in first)
        time.sleep(0.1)
    (place / "taken.log").write_text("")
    assert exit_codes(train(place, "taken", 2, 2, "--train.steps", "4000")) == [4, 4]
    assert f"in use by process {first[0].pid} on" in (place / "taken.log").read_text()
    first[1].send_signal(signal.SIGTERM)
    assert exit_codes(first) == [75, 75]
