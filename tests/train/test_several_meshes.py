"""A run resumes exactly on other meshes and other numbers of processes."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxrec.testing.launch import exit_codes, launch
from jaxrec.testing.regression import RegressionBatches, closeness, kernel_of, regression_plan
from jaxrec.train import TrainConfig, Validation, fit, read_metrics

SCRIPT = Path(__file__).with_name("several_run.py")
CONFIG = TrainConfig(
    steps=12, batch_size=8, lr=0.05, warmup_steps=2, eval_every=4, log_every=1, clip_norm=0.0
)


def start(directory, processes, devices, *options):
    """Run the script in several processes with several devices each; return their exit codes."""
    log = directory.with_suffix(".log")
    command = [sys.executable, str(SCRIPT), str(directory), *options]
    codes = exit_codes(launch(command, processes, devices, output=log))
    print(log.read_text())  # pytest shows it where a test fails
    return codes


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The run on one device, without interruption."""
    directory = tmp_path_factory.mktemp("unbroken")
    validation = Validation(closeness)
    result = fit(regression_plan(CONFIG), RegressionBatches(8), validation, directory)
    return directory, np.asarray(kernel_of(result.params)), result.best_step


def alike(directory, unbroken):
    """Compare losses, validations and parameters; return what the script wrote."""
    place, kernel, best_step = unbroken
    found = json.loads((directory / "result.json").read_text())
    np.testing.assert_allclose(found["kernel"], kernel, rtol=1e-5, atol=1e-6)
    assert found["best_step"] == best_step
    ours, theirs = (read_metrics(path / "metrics.jsonl") for path in (directory, place))
    assert [row["step"] for row in ours] == [row["step"] for row in theirs]
    for a, b in zip(ours, theirs, strict=True):
        for name in a.keys() & {"loss", "gradient_norm", "valid/ndcg@10"}:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-5, err_msg=f"{name} of {a}")
    return found


@pytest.mark.slow
def test_a_run_goes_on_on_8_then_4_devices_then_1(tmp_path, unbroken):
    assert start(tmp_path, 1, 8, "--stop-at", "5") == [75]
    assert start(tmp_path, 1, 4, "--stop-at", "10") == [75]
    assert start(tmp_path, 1, 1) == [0]
    alike(tmp_path, unbroken)


@pytest.mark.slow
def test_a_run_goes_on_on_2_processes_then_1(tmp_path, unbroken):
    assert 3 <= stop_two(tmp_path) < 12
    assert start(tmp_path, 1, 4) == [0]
    alike(tmp_path, unbroken)


@pytest.mark.slow
def test_a_run_goes_on_on_2_processes_then_1_then_2(tmp_path, unbroken):
    stopped = stop_two(tmp_path)
    assert start(tmp_path, 1, 4, "--stop-at", str(stopped + 1)) == [75]
    assert start(tmp_path, 2, 2) == [0, 0]
    assert alike(tmp_path, unbroken)["shard"] == [0, 2]


def stop_two(directory):
    """Stop 2 processes; both are asked at step 3, not at the same moment, and agree on a step."""
    assert start(directory, 2, 2, "--stop-at", "3") == [75, 75]
    return max(int(p.name) for p in (directory / "checkpoints").iterdir())
