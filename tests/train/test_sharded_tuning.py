"""Tuning on four fake CPU devices, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jaxrec.testing.devices import device_environment

pytestmark = pytest.mark.slow

SCRIPT = """
import dataclasses, json
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
from flax import linen as nn
from jaxrec.core.mesh import MeshConfig, ShardingRules, batch_sharding
from jaxrec.ids import IdVocabulary
from jaxrec.models import ModelSpec
from jaxrec.objectives import id_loss
from jaxrec.peft import TuneConfig, start, variables
from jaxrec.quant import CodebookConfig, box_params, quantize_params
from jaxrec.testing import tiny_model
from jaxrec.train import TrainConfig, make_plan
from jaxrec.train.step import shardings, start_state

vocabulary = IdVocabulary((8, 6))  # 16 tokens
# As wide as a block of NF4, so that rows of a quantized kernel can be told apart and split.
spec = ModelSpec("causal", dataclasses.replace(
    tiny_model(vocabulary.size, depth=2), width=64, mlp_width=64
))
model, boxed = spec.build(), spec.shapes()
rng = np.random.default_rng(0)
params = jax.tree.map(
    lambda s: jnp.asarray(0.2 * rng.normal(size=s.shape), s.dtype), nn.meta.unbox(boxed)
)
tokens = rng.integers(0, 6, (8, 7))
tokens[..., 1::2] += 2
tokens[..., 2::2] += 10
tokens[..., 0] = 1
tokens = tokens.astype(np.int32)
config = TrainConfig(
    steps=4, batch_size=8, accumulate=2, lr=2e-2, warmup_steps=1, clip_norm=0.5, ema_decay=0.9
)

def quantize(tree, specs):
    return quantize_params(tree, specs, CodebookConfig())

def piece(leaf):
    return [list(leaf.shape), list(leaf.addressable_shards[0].data.shape)]

def train(method):
    tune = TuneConfig(method=method, base="base", rank=4, targets=("query", "mlp/down"))
    tuning = start(jax.random.key(1), boxed, params, tune, quantize=quantize)
    abstract = lambda tree: jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree
    )
    rules = ShardingRules(embed="data", heads="model", mlp="model")
    plan = make_plan(
        abstract(tuning.trainable),
        lambda p, batch, key: id_loss(model, p, batch, key, vocabulary=vocabulary),
        tokens,
        config,
        frozen={"params": box_params(abstract(tuning.frozen)["params"], boxed)},
        join=variables,
        mesh_config=MeshConfig(model=2 if jax.device_count() > 1 else 1),
        rules=rules,
    )
    first = jax.device_put(nn.meta.unbox(tuning.trainable), shardings(plan.state.params))
    state = start_state(first, plan.optimizer, plan.state)
    frozen = jax.device_put(tuning.frozen, shardings(plan.frozen))
    losses = []
    batch = jax.device_put(tokens, batch_sharding(plan.mesh, rules))
    for _ in range(config.steps):
        state, found = plan.step(state, batch, frozen)
        losses.append(float(found["loss"]))
    up = frozen["params"]["decoder"]["blocks"]["mlp"]["up"]["kernel"]
    node = state.params["tuned"]["decoder"]["blocks"]["attention"]["query"]["update"]
    moments = state.opt_state[1][0].mu["tuned"]["decoder"]["blocks"]["attention"]["query"]["update"]
    return {
        "losses": losses,
        "trained": [np.asarray(x).ravel().tolist() for x in jax.tree.leaves(state.measured)],
        "frozen": piece(jax.tree.leaves(up)[0]),
        "a": piece(node.a), "b": piece(node.b), "moment": piece(moments.b),
        "arguments": plan.memory.arguments,
    }

print(json.dumps({"devices": jax.device_count()} | {m: train(m) for m in ("lora", "qlora")}))
"""


def _run(devices):
    child = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:jaxrec", "-c", SCRIPT],
        capture_output=True,
        text=True,
        env=device_environment(devices),
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    return json.loads(child.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def one_device():
    return _run(1)


@pytest.fixture(scope="module")
def four_devices():
    return _run(4)


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_tuning_on_four_devices_is_that_on_one(one_device, four_devices, method):
    assert (one_device["devices"], four_devices["devices"]) == (1, 4)
    one, four = one_device[method], four_devices[method]
    assert four["losses"] == pytest.approx(one["losses"], abs=1e-5)
    assert one["losses"][-1] < one["losses"][0]
    for ours, theirs in zip(four["trained"], one["trained"], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)


def test_a_device_holds_its_share_of_what_is_frozen_and_of_what_is_trained(four_devices):
    found = four_devices["lora"]
    # Two layers of 64 x 64, embed over two devices and heads or mlp over two.
    assert found["frozen"] == [[2, 64, 64], [2, 32, 32]]
    assert found["a"] == [[2, 64, 4], [2, 32, 4]]
    assert found["b"] == [[2, 4, 64], [2, 4, 32]]
    assert found["moment"] == found["b"]
    # Rows of the transposed matrix, two codes a byte.
    assert four_devices["qlora"]["frozen"] == [[2, 64, 32], [2, 32, 16]]


def test_a_device_has_fewer_bytes_to_hold(one_device, four_devices):
    assert four_devices["lora"]["arguments"] < 0.5 * one_device["lora"]["arguments"]
