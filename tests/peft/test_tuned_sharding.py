"""Tuning over several devices, in a process of its own: as on one."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxrec.testing.devices import device_environment

SCRIPT = """
import json, sys
import jax, jax.numpy as jnp, numpy as np, optax
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxrec.core.mesh import MeshConfig, ShardingRules, batch_sharding, make_mesh, param_shardings
from jaxrec.decode import Prompts, TextOptions, generate
from jaxrec.peft import start, variables
from jaxrec.testing.tuned import METHODS, shaken, tuned_case
import dataclasses

mesh = make_mesh(MeshConfig(data=2, model=2))
rules = ShardingRules(
    embed="data", heads="model", kv_heads="model", mlp="model", vocab="model", head_size=None
)
optimizer = optax.adam(1e-2)

def train(case, trainable, frozen):
    answers = case.targets if case.spec.kind == "encoder_decoder" else case.tokens
    def loss(trainable):
        logits = case.logits(variables(trainable, frozen))
        each = optax.softmax_cross_entropy_with_integer_labels(logits, answers)
        return jnp.where(case.counted, each, 0.0).sum()
    def body(carry, _):
        trainable, state = carry
        value, gradient = jax.value_and_grad(loss)(trainable)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(gradient, state, trainable)
            return (optax.apply_updates(trainable, updates), state), value
    (trainable, _), losses = jax.lax.scan(
        body, (trainable, optimizer.init(trainable)), None, length=3
    )
    return trainable, losses

def run(name, method, shard):
    case = tuned_case(name, num_kv_heads=2)
    boxed = case.spec.shapes()
    tuning = start(jax.random.key(1), boxed, case.params, METHODS[method])
    trainable, frozen = shaken(nn.meta.unbox(tuning.trainable), 0.1), tuning.frozen
    if shard:
        trainable = jax.device_put(trainable, param_shardings(tuning.trainable, mesh, rules))
        places = flatten_dict(param_shardings(boxed, mesh, rules)["params"])
        leaves = flatten_dict(frozen["params"])
        leaves = {path: jax.device_put(leaf, places[path]) for path, leaf in leaves.items()}
        frozen = {"params": unflatten_dict(leaves)}
        rows = batch_sharding(mesh, rules)
        case = dataclasses.replace(
            case,
            **{k: jax.device_put(getattr(case, k), rows) for k in ("tokens", "valid", "targets")},
        )
    paths = jax.tree_util.tree_leaves_with_path(trainable)
    pieces = {
        jax.tree_util.keystr(p): [list(x.shape), list(x.addressable_shards[0].data.shape)]
        for p, x in paths
    }
    if sys.argv[2] == "pieces":  # known without a computation
        return {"pieces": pieces}
    after, losses = jax.jit(lambda t, f: train(case, t, f))(trainable, frozen)
    found = {"losses": losses.tolist()}
    if method == "prompt":
        params = variables(after, frozen)
        prompts = Prompts(tokens=case.tokens, valid=case.valid)
        text = generate(case.model, params, prompts, TextOptions(max_tokens=2))
        found["written"] = text.logprobs.tolist()
    paths = jax.tree_util.tree_leaves_with_path(after)
    found["values"] = {jax.tree_util.keystr(p): np.asarray(x).ravel().tolist() for p, x in paths}
    return found | {"pieces": pieces}

print(json.dumps({
    f"{name} {method}": [run(name, method, shard) for shard in (False, True)]
    for name, method in json.loads(sys.argv[1])
}))
"""

EVERY = [
    ("llama", "lora"),
    ("gpt2", "adapter"),
    ("encoder-decoder", "prefix"),
    ("llama", "prompt"),
]


def run_all(what):
    child = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(EVERY), what],
        capture_output=True,
        text=True,
        env=device_environment(4),
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    return json.loads(child.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def runs():
    return run_all("all")


@pytest.fixture(scope="module")
def placed():
    return run_all("pieces")


@pytest.mark.parametrize(("name", "method"), EVERY)
@pytest.mark.slow
def test_four_devices_train_and_decode_as_one(runs, name, method):
    one, four = runs[f"{name} {method}"]
    np.testing.assert_allclose(four["losses"], one["losses"], rtol=1e-5)
    assert one["losses"][-1] < one["losses"][0]
    for path, values in one["values"].items():
        np.testing.assert_allclose(four["values"][path], values, atol=1e-4, err_msg=path)
    assert ("written" in one) == (method == "prompt")
    np.testing.assert_allclose(four.get("written", []), one.get("written", []), atol=1e-4)


PIECES = {
    ("llama", "lora", "['query']['update'].a"): [[5, 16, 3], [5, 8, 3]],
    ("llama", "lora", "['query']['update'].b"): [[5, 3, 16], [5, 3, 8]],
    ("llama", "lora", "['down']['update'].a"): [[5, 32, 3], [5, 16, 3]],
    ("gpt2", "adapter", "['mlp_adapter'].down"): [[2, 16, 4], [2, 8, 4]],
    ("gpt2", "adapter", "['mlp_adapter'].up_bias"): [[2, 16], [2, 8]],
    ("encoder-decoder", "prefix", "['prefix'].embedding"): [[3, 16], [3, 8]],
    ("llama", "prompt", "['prompt']"): [[3, 16], [3, 8]],
}


@pytest.mark.parametrize(("name", "method", "leaf"), PIECES)
def test_a_device_holds_its_share_of_what_is_trained(placed, name, method, leaf):
    pieces = placed[f"{name} {method}"][1]["pieces"]
    found = [piece for path, piece in pieces.items() if path.endswith(leaf)]
    assert found == [PIECES[name, method, leaf]]
