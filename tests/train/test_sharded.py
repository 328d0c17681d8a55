"""Training under the presets, on eight fake devices, against one device."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.testing import run_on_devices

SCRIPT = Path(__file__).with_name("sharded_run.py")
MIXED = {"mesh": {"data": 4, "model": 2}, "rules": {"preset": "fsdp_tensor"}}
# 16 tokens without logits follow the 16 that are written.
READ_ONLY = {"vocab_size": 32, "read_only": 16, "tie_embeddings": True}
QUICK = {
    "data": {"mesh": {}, "rules": {}},
    "fsdp": {"mesh": {}, "rules": {"preset": "fsdp"}},
    "tensor": {"mesh": {"model": 4}, "rules": {"preset": "tensor"}},
    "sequence": {"mesh": {"model": 4}, "rules": {"preset": "sequence"}},
    # With the other objective at once, as every layout is a program of some seconds.
    "accumulated": {**MIXED, "accumulate": 2, "draw": True, "objective": "ids"},
    "bfloat16": {"mesh": {}, "rules": {"preset": "fsdp"}, "model": {"dtype": "bfloat16"}},
}
SLOW = {
    "fsdp_tensor": MIXED,
    "tensor_sequence": {"mesh": {"model": 4}, "rules": {"preset": "tensor_sequence"}},
    "fsdp_sequence": {"mesh": {"model": 2}, "rules": {"preset": "fsdp_sequence"}},
    "vocab over data": {"mesh": {}, "rules": {"vocab": "data"}},
    "ids by sequence": {
        "mesh": {"model": 4},
        "rules": {"preset": "sequence"},
        "objective": "ids",
    },
    "read only": {**MIXED, "model": READ_ONLY},
}
DEPTH, WIDTH, HIDDEN, VOCABULARY = 5, 16, 32, 16
BLOCKS = DEPTH * (4 * WIDTH**2 + 3 * WIDTH * HIDDEN + 2 * WIDTH)
TABLE = VOCABULARY * WIDTH


def on_one(runs):
    return run_on_devices(
        1, SCRIPT, {name: {**run, "mesh": {}, "rules": {}} for name, run in runs.items()}
    )


@pytest.fixture(scope="module")
def one_device():
    return on_one({name: QUICK[name] for name in ("data", "accumulated")})


@pytest.fixture(scope="module")
def eight_devices():
    return run_on_devices(8, SCRIPT, QUICK)


@pytest.fixture(scope="module")
def other_layouts():
    return run_on_devices(8, SCRIPT, SLOW)


def check_same(found, expected):
    assert (found["devices"], expected["devices"]) == (8, 1)
    assert found["losses"] == pytest.approx(expected["losses"], abs=2e-5)
    assert expected["losses"][-1] < expected["losses"][0] - 0.1
    for path, values in expected["params"].items():
        assert found["params"][path] == pytest.approx(values, abs=2e-4), path


@pytest.mark.parametrize("name", [name for name in QUICK if name != "bfloat16"])
def test_twenty_steps_on_eight_devices_equal_those_on_one(one_device, eight_devices, name):
    check_same(eight_devices[name], one_device.get(name, one_device["data"]))


def test_bfloat16_trains_float32_parameters_nearly_as_float32_does(one_device, eight_devices):
    found, exact = eight_devices["bfloat16"], one_device["data"]
    # int32: the steps of the optimizer.
    assert found["dtypes"] == ["float32", "int32"]
    errors = [abs(a - b) for a, b in zip(found["losses"], exact["losses"], strict=True)]
    assert 1e-4 < max(errors) < 0.02
    # Parameters that bfloat16 cannot hold: a step adds what is smaller than their last digit.
    (table,) = (
        v for path, v in found["params"].items() if path.startswith("[0]['params']['head']")
    )
    rounded = jnp.asarray(table).astype(jnp.bfloat16).astype(jnp.float32)
    assert np.mean(rounded != np.asarray(table, np.float32)) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_twenty_steps_under_other_layouts_equal_those_on_one_device(
    one_device, other_layouts, name
):
    own = name in ("read only", "ids by sequence")
    expected = on_one({name: SLOW[name]})[name] if own else one_device["data"]
    check_same(other_layouts[name], expected)


@pytest.mark.parametrize(
    ("name", "query", "down", "table"),
    [
        ("data", [5, 16, 4, 4], [5, 32, 16], [16, 16]),
        ("fsdp", [5, 2, 4, 4], [5, 32, 2], [16, 2]),
        ("tensor", [5, 16, 1, 4], [5, 8, 16], [4, 16]),
        ("accumulated", [5, 4, 2, 4], [5, 16, 4], [8, 4]),
    ],
)
def test_moments_and_averages_lie_as_their_parameters(eight_devices, name, query, down, table):
    expected = {
        "decoder/blocks/attention/query/kernel": query,
        "decoder/blocks/mlp/down/kernel": down,
        "embedding/table": table,
        "head/table": table,
    }
    for path, piece in expected.items():
        pieces = [own for key, (_, own) in eight_devices[name]["pieces"].items() if path in key]
        # The parameter, two moments and the moving average.
        assert pieces == [piece] * 4, path


def elements(run, *kinds):
    """Numbers of all float arrays, scalars apart, that these kinds of collectives move."""
    sizes = [x["size"] // 4 * x["times"] for x in run["collectives"] if x["kind"] in kinds]
    arrays = [x["array"] for x in run["collectives"] if x["kind"] in kinds]
    return sum(
        size
        for size, array in zip(sizes, arrays, strict=True)
        if array != "f32[]" and array.startswith("f32")
    )


def test_data_parallel_devices_sum_each_gradient_once_and_move_nothing_else(eight_devices):
    run = eight_devices["data"]
    assert {x["kind"] for x in run["collectives"]} == {"all-reduce"}
    assert elements(run, "all-reduce") == BLOCKS + 2 * TABLE + WIDTH


def test_fsdp_gathers_kernels_twice_and_scatters_their_gradients_once(eight_devices):
    run = eight_devices["fsdp"]
    # Forward and again backward; the head and its norm are not computed again.
    assert elements(run, "all-gather") == 2 * BLOCKS + TABLE + WIDTH
    # The table of the embedding is never whole: its rows, and their gradients, are exchanged.
    assert elements(run, "reduce-scatter") == BLOCKS + TABLE + WIDTH
    assert elements(run, "all-reduce") == 0
