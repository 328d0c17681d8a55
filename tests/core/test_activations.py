"""Placing activations: what a constraint says, and values on eight fake devices."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

from jaxrec.core import ConfigError
from jaxrec.core.activations import constrain, gathered, sharded
from jaxrec.core.mesh import MeshConfig, ShardingRules, make_mesh
from jaxrec.testing import run_on_devices

SCRIPT = Path(__file__).with_name("activations_run.py")
MESH = AbstractMesh((4, 2), ("data", "model"), (AxisType.Auto, AxisType.Auto))


def specs(function, *shape):
    """The constraints that a function puts, in order."""
    found = jax.make_jaxpr(function)(jax.ShapeDtypeStruct(shape, jnp.float32))
    return list(_specs(found.jaxpr))


def _specs(jaxpr):
    for equation in jaxpr.eqns:
        if equation.primitive.name == "sharding_constraint":
            yield equation.params["sharding"].spec
        for inner in equation.params.values():
            if hasattr(inner, "jaxpr"):
                yield from _specs(inner.jaxpr)


@pytest.mark.parametrize(
    ("rules", "names", "spec"),
    [
        (ShardingRules(), ("batch", "sequence", "embed"), ("data", None, None)),
        # The width of the stream stays whole, however parameters are kept.
        (ShardingRules(preset="fsdp"), ("batch", "sequence", "embed"), ("data", None, None)),
        (ShardingRules(preset="tensor"), ("batch", "sequence", "mlp"), ("data", None, "model")),
        (ShardingRules(preset="sequence"), ("batch", "sequence", "embed"), ("data", "model", None)),
        # Tokens take what heads leave.
        (
            ShardingRules(preset="tensor_sequence"),
            ("batch", "sequence", "mlp"),
            ("data", None, "model"),
        ),
        (
            ShardingRules(preset="tensor_sequence"),
            ("batch", "sequence", None),
            ("data", "model", None),
        ),
        # What the batch takes, nothing else does.
        (ShardingRules(mlp="data"), ("batch", "sequence", "mlp"), ("data", None, None)),
        (ShardingRules(mlp=("data", "model")), ("batch", None, "mlp"), ("data", None, "model")),
    ],
)
def test_an_activation_lies_where_its_rules_say(rules, names, spec):
    with sharded(MESH, rules):
        assert specs(lambda x: constrain(x, *names), 8, 4, 16) == [PartitionSpec(*spec)]


def test_a_kernel_is_gathered_along_its_width_and_its_gradient_goes_back():
    def gradient(x):
        with sharded(MESH, ShardingRules(preset="fsdp_tensor")):
            return jax.grad(lambda w: jnp.sum(gathered(w, ("embed", "mlp")) ** 2))(x)

    kept, used = PartitionSpec("data", "model"), PartitionSpec(None, "model")
    assert specs(gradient, 16, 32) == [kept, used, kept]


def test_without_a_mesh_or_on_one_device_nothing_is_constrained():
    assert specs(lambda x: constrain(x, "batch", "sequence"), 3, 4) == []
    with sharded(make_mesh(MeshConfig()), ShardingRules(preset="fsdp")):
        assert specs(lambda x: constrain(x, "batch", "sequence"), 3, 4) == []


def test_a_function_compiled_under_one_mesh_is_not_reused_under_another():
    traces = []

    @jax.jit
    def double(x):
        traces.append(None)
        return constrain(x, "batch") * 2

    abstract = jax.ShapeDtypeStruct((8,), jnp.float32)
    for rules in (ShardingRules(), ShardingRules(batch=None), ShardingRules()):
        with sharded(MESH, rules):
            double.trace(abstract)
    assert len(traces) == 2


def test_sizes_that_devices_do_not_divide_are_refused_by_axis_size_and_mesh_axis():
    message = (
        r"axis 'sequence' of an activation \(8, 5, 16\) has size 5, which the 2 devices of mesh "
        r"axis 'model' do not divide"
    )
    with sharded(MESH, ShardingRules(preset="sequence")), pytest.raises(ConfigError, match=message):
        specs(lambda x: constrain(x, "batch", "sequence", "embed"), 8, 5, 16)


@pytest.fixture(scope="module")
def eight_devices():
    return run_on_devices(8, SCRIPT)


def test_rows_are_merged_device_by_device_and_nothing_moves(eight_devices):
    found = eight_devices["rows"]
    # Tokens 0 to 7 are those of the first row; a device has two of each of its two rows.
    of_device = [[0, 1, 8, 9], [2, 3, 10, 11], [4, 5, 12, 13], [6, 7, 14, 15]]
    first = np.array(of_device).ravel()
    assert found["merged"] == [*first, *(first + 16)]
    assert found["same"]
    assert found["moved"] == 0


@pytest.mark.parametrize("axis", ["data", "model"])
def test_lookups_in_a_table_split_by_rows_equal_dense_ones(eight_devices, axis):
    found = eight_devices["lookups"][axis]
    assert found["rows"] == 0.0
    assert found["gradient"] < 1e-6
    assert "f32[40,6]" not in found["moved"]  # never the table


@pytest.mark.parametrize("preset", ["replicated", "fsdp", "tensor", "sequence", "tensor_sequence"])
def test_cross_entropy_and_its_gradients_equal_those_on_one_device(eight_devices, preset):
    found = eight_devices["losses"][preset]
    assert max(found["errors"]) < 2e-6
    # Chunk by chunk only what is known of a part of the vocabulary is joined.
    if preset.startswith("tensor"):
        assert set(found["in loops"]) == {"f32[1,800]", "f32[1,800,1]", "f32[1,800,4]"}
    else:
        assert found["in loops"] == []
