"""Training under every preset, on eight fake devices, against one device."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("sharded_run.py")
RUNS = {
    "data": {"mesh": {}, "rules": {}},
    "fsdp": {"mesh": {}, "rules": {"preset": "fsdp"}},
    "tensor": {"mesh": {"model": 4}, "rules": {"preset": "tensor"}},
    "fsdp_tensor": {"mesh": {"data": 4, "model": 2}, "rules": {"preset": "fsdp_tensor"}},
    "sequence": {"mesh": {"model": 4}, "rules": {"preset": "sequence"}},
    "fsdp_sequence": {"mesh": {"model": 2}, "rules": {"preset": "fsdp_sequence"}},
    "tensor_sequence": {"mesh": {"model": 4}, "rules": {"preset": "tensor_sequence"}},
    "vocab over data": {"mesh": {}, "rules": {"vocab": "data"}},
}
IDS = {
    "ids": {"mesh": {"model": 2}, "rules": {"preset": "fsdp_tensor"}, "objective": "ids"},
    "ids by sequence": {"mesh": {"model": 4}, "rules": {"preset": "sequence"}, "objective": "ids"},
}
ACCUMULATED = {
    "accumulated": {
        "mesh": {"model": 2},
        "rules": {"preset": "fsdp_tensor"},
        "accumulate": 2,
    }
}


def run(devices, runs):
    child = subprocess.run(
        [sys.executable, SCRIPT, json.dumps(runs)],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            # Compiling is most of the time here.
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices} "
            "--xla_backend_optimization_level=0",
            "JAX_PLATFORMS": "cpu",
        },
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    return json.loads(child.stdout.splitlines()[-1])


def alone(runs):
    """The same runs for one device."""
    return {name: {**settings, "mesh": {}, "rules": {}} for name, settings in runs.items()}


@pytest.fixture(scope="module")
def one_device():
    first = dict(list(RUNS.items())[:1])
    return run(1, alone(first | dict(list(IDS.items())[:1]) | ACCUMULATED))


@pytest.fixture(scope="module")
def eight_devices():
    return run(8, RUNS | IDS | ACCUMULATED)


@pytest.mark.parametrize("name", [*RUNS, *IDS, *ACCUMULATED])
def test_twenty_steps_on_eight_devices_equal_those_on_one(one_device, eight_devices, name):
    one = one_device["ids" if name in IDS else name if name in ACCUMULATED else "data"]
    eight = eight_devices[name]
    assert (one["devices"], eight["devices"]) == (1, 8)
    assert eight["losses"] == pytest.approx(one["losses"], abs=2e-5)
    assert one["losses"][-1] < one["losses"][0] - 0.1
    for path, values in one["params"].items():
        assert eight["params"][path] == pytest.approx(values, abs=2e-4), path
