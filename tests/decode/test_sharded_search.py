"""Beam search on eight fake devices gives the items of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("sharded_run.py")


def run(devices):
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    child = subprocess.run(
        [sys.executable, SCRIPT],
        capture_output=True,
        text=True,
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    found = json.loads(child.stdout.splitlines()[-1])
    assert found["devices"] == devices
    return found


@pytest.fixture(scope="module")
def one_device():
    return run(1)


@pytest.fixture(scope="module")
def eight_devices():
    return run(8)


def check_same(found, expected):
    assert found["items"] == expected["items"]
    for row, other in zip(found["scores"], expected["scores"], strict=True):
        assert row == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize("name", ["data", "fsdp", "tensor", "sequence", "encoder-decoder"])
def test_a_sharded_search_gives_the_items_of_one_device(one_device, eight_devices, name):
    expected = one_device["runs"]["encoder-decoder" if name == "encoder-decoder" else "data"]
    found = eight_devices["runs"][name]
    check_same(found, expected)
    assert len({tuple(row) for row in found["items"]}) > 1
    # Users, and not copies of all of them, lie on the devices.
    assert found["rows"] == (1 if name in ("data", "fsdp") else 2)


def test_users_on_devices_of_their_own_need_nothing_of_one_another(eight_devices):
    assert eight_devices["runs"]["data"]["moved"] == []


def test_a_recommender_on_a_mesh_gives_what_it_gives_on_one_device(one_device, eight_devices):
    check_same(eight_devices["recommended"], one_device["recommended"])
