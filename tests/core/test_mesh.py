"""Sharding, on eight fake CPU devices in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from jax.sharding import PartitionSpec

from jaxrec.core import ConfigError
from jaxrec.core.mesh import MeshConfig, ShardingRules, batch_sharding, make_mesh, param_shardings
from jaxrec.models import CausalLM
from jaxrec.testing import tiny_model

SCRIPT = """
import json, sys
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
from jaxrec.core import ConfigError
from jaxrec.core.mesh import MeshConfig, ShardingRules, batch_sharding, make_mesh
from jaxrec.ids import IdVocabulary
from jaxrec.models import CausalLM
from jaxrec.objectives import id_loss
from jaxrec.testing import tiny_model
from jaxrec.train import TrainConfig, make_optimizer, make_state, make_step

vocabulary = IdVocabulary((8, 6))  # 16 tokens
model = CausalLM(tiny_model(vocabulary.size, depth=2))
tokens = np.random.default_rng(0).integers(0, 6, (5, 16, 7))
tokens[..., 1::2] += 2
tokens[..., 2::2] += 10
tokens[..., 0] = 1
tokens = tokens.astype(np.int32)

def train(mesh_config, rules, accumulate=1):
    config = TrainConfig(
        steps=5, batch_size=16, accumulate=accumulate, lr=1e-2, warmup_steps=1, clip_norm=0.5,
        ema_decay=0.9,
    )
    mesh = make_mesh(mesh_config)
    optimizer = make_optimizer(config)
    init = lambda key: model.init(key, tokens[0], tokens[0] != 0)
    loss = lambda params, batch, key: id_loss(model, params, batch, key, vocabulary=vocabulary)
    state = make_state(init, optimizer, mesh, rules, config)
    step = make_step(loss, optimizer, config, mesh, rules)
    losses = []
    for batch in tokens:
        state, found = step(state, jax.device_put(batch, batch_sharding(mesh, rules)))
        losses.append(float(found["loss"]))
    kernel = state.params["params"]["decoder"]["blocks"]["mlp"]["up"]["kernel"]
    moments = [
        leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state.opt_state)
        if "'up'" in jax.tree_util.keystr(path)
    ]
    leaves = jax.tree_util.tree_leaves_with_path((state.params, state.measured))
    return {
        "devices": jax.device_count(),
        "mesh": dict(mesh.shape),
        "losses": losses,
        "params": {jax.tree_util.keystr(p): np.asarray(x).ravel().tolist() for p, x in leaves},
        "piece": list(kernel.addressable_shards[0].data.shape),
        "moment_pieces": [list(m.addressable_shards[0].data.shape) for m in moments],
        "whole": list(kernel.shape),
    }

results = {}
for name, mesh_config, rules, accumulate in json.loads(sys.argv[1]):
    results[name] = train(MeshConfig(**mesh_config), ShardingRules(**rules), accumulate)
try:
    train(MeshConfig(), ShardingRules(), accumulate=4)
    results["refused"] = ""
except ConfigError as error:
    results["refused"] = str(error)
try:
    make_mesh(MeshConfig(data=3))
    results["bad_mesh"] = ""
except ConfigError as error:
    results["bad_mesh"] = str(error)
print(json.dumps(results))
"""

RUNS = {
    "data": ({}, {}, 1),
    "fsdp": ({}, {"embed": "data"}, 1),
    "tensor and accumulate": (
        {"model": 2},
        {"embed": "data", "heads": "model", "mlp": "model", "vocab": "model"},
        2,
    ),
}


def _run(devices, runs):
    environment = {
        **os.environ,
        # Compiling is most of the time here.
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices} "
        "--xla_backend_optimization_level=0",
        "JAX_PLATFORMS": "cpu",
    }
    child = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:jaxrec", "-c", SCRIPT, json.dumps(runs)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    return json.loads(child.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def one_device():
    return _run(1, [("data", *RUNS["data"])])


@pytest.fixture(scope="module")
def eight_devices():
    return _run(8, [(name, *run) for name, run in RUNS.items()])


@pytest.mark.parametrize("name", RUNS)
def test_five_steps_on_eight_devices_equal_those_on_one(one_device, eight_devices, name):
    one, eight = one_device["data"], eight_devices[name]
    assert (one["devices"], eight["devices"]) == (1, 8)
    assert eight["losses"] == pytest.approx(one["losses"], abs=1e-5)
    assert one["losses"][-1] < one["losses"][0] - 0.1
    for path, values in one["params"].items():
        assert eight["params"][path] == pytest.approx(values, abs=1e-5), path


@pytest.mark.parametrize(
    ("name", "piece"),
    [("data", [2, 16, 32]), ("fsdp", [2, 2, 32]), ("tensor and accumulate", [2, 4, 16])],
)
def test_a_device_holds_its_share_of_a_kernel_and_of_its_moments(eight_devices, name, piece):
    found = eight_devices[name]
    assert found["whole"] == [2, 16, 32]
    assert found["piece"] == piece
    assert found["moment_pieces"] == [piece, piece]


def test_a_micro_batch_that_does_not_divide_over_the_devices_is_refused(eight_devices):
    assert "micro-batch of 4 sequences" in eight_devices["refused"]
    assert "8 data-parallel devices" in eight_devices["refused"]


def test_a_mesh_that_does_not_cover_the_devices_is_refused(eight_devices):
    assert "mesh.data 3 x mesh.model 1" in eight_devices["bad_mesh"]
    assert "8 devices" in eight_devices["bad_mesh"]


def test_every_axis_of_the_model_has_a_rule():
    example = jnp.zeros((1, 2), jnp.int32)
    model = CausalLM(tiny_model())
    boxed = jax.eval_shape(model.init, jax.random.key(0), example, example == 0)
    rules = ShardingRules(vocab="data", embed="model")
    found = param_shardings(boxed, make_mesh(MeshConfig()), rules)["params"]
    assert found["embedding"]["table"].spec == PartitionSpec("data", "model")
    query = found["decoder"]["blocks"]["attention"]["query"]["kernel"].spec
    assert query == PartitionSpec(None, "model", None, None)


def test_an_axis_without_a_rule_is_refused_by_name():
    boxed = {"kernel": nn.Partitioned(jnp.zeros((2, 3)), names=("embed", "colour"))}
    with pytest.raises(ConfigError, match=r"no sharding rule for the logical axis 'colour'"):
        param_shardings(boxed, make_mesh(MeshConfig()), ShardingRules())


def test_a_rule_for_an_axis_that_the_mesh_lacks_is_refused_by_field_and_value():
    boxed = {"kernel": nn.Partitioned(jnp.zeros((2, 3)), names=("embed", "mlp"))}
    mesh = make_mesh(MeshConfig())
    with pytest.raises(ConfigError, match=r"sharding\.mlp 'modle' .*use data, model or None"):
        param_shardings(boxed, mesh, ShardingRules(mlp="modle"))
    with pytest.raises(ConfigError, match=r"sharding\.batch 'x'"):
        batch_sharding(mesh, ShardingRules(batch="x"))


@pytest.mark.parametrize("config", [MeshConfig(data=7), MeshConfig(model=7)])
def test_meshes_that_do_not_fit_are_refused(config):
    with pytest.raises(ConfigError, match=r"mesh\.data .* x mesh\.model"):
        make_mesh(config)


@pytest.mark.parametrize("sizes", [{"model": 0}, {"data": -1}])
def test_meshes_that_cannot_be_are_refused(sizes):
    with pytest.raises(ConfigError, match=r"mesh\.data must be 0 or more"):
        MeshConfig(**sizes)


def test_two_axes_of_a_parameter_on_one_mesh_axis_are_refused():
    boxed = {"w": nn.Partitioned(jax.ShapeDtypeStruct((4, 8), jnp.float32), ("embed", "mlp"))}
    rules = ShardingRules(embed="data", mlp="data")
    with pytest.raises(ConfigError, match=r"on one mesh axis: \['data', 'data'\]"):
        param_shardings(boxed, make_mesh(MeshConfig()), rules)
