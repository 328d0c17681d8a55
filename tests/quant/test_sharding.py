"""Stored kernels over several devices, in a process of its own with eight of them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jaxrec.testing.devices import device_environment

SCRIPT = """
import dataclasses, json, sys
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
from jaxrec.core.mesh import MeshConfig, ShardingRules, batch_sharding, make_mesh, param_shardings
from jaxrec.decode import Prompts, TextOptions, generate
from jaxrec.models import ModelSpec, TransformerConfig
from jaxrec.nn import kernel_specs
from jaxrec.quant import (
    CodebookConfig, LlmInt8Config, UniformConfig, box_params, quantize_params,
)
from jaxrec.testing import random_params

SCHEMES = {
    "query": UniformConfig(bits=4, symmetric=False, per="group", group=16),
    "key": UniformConfig(),
    "value": CodebookConfig(),
    "out": UniformConfig(bits=3, per="group", group=16, activations="token"),
    "gate": LlmInt8Config(threshold=3.0, outlier_weights="original"),
    "up": CodebookConfig(block=48),
    "down": UniformConfig(activations="token"),
}
spec = ModelSpec("causal", TransformerConfig(
    vocab_size=32, width=64, depth=5, num_heads=4, num_kv_heads=4, head_size=32, mlp_width=128,
    max_length=16,
))
boxed, model = spec.shapes(), spec.build()
specs, plain = kernel_specs(boxed), random_params(model, scale=0.2)["params"]
tokens = jnp.asarray(np.random.default_rng(0).integers(1, 32, (8, 6)), jnp.int32)

def quantize(params):
    for name, scheme in SCHEMES.items():
        params = quantize_params(params, specs, scheme, [name])
    return params

def run(params, tokens):
    logits = jax.jit(model.apply)({"params": params}, tokens, tokens > 0)
    prompts = Prompts(tokens=tokens, valid=tokens > 0)
    text = generate(model, {"params": params}, prompts, TextOptions(max_tokens=4))
    return np.asarray(logits), np.asarray(text.tokens)

# Where parameters lie is known without a computation.
places_only = sys.argv[1] == "places"
whole = quantize(plain)
expected = None if places_only else run(whole, tokens)
results = {"devices": jax.device_count()}
for name, rules in {
    "tensor": ShardingRules(heads="model", kv_heads="model", mlp="model"),
    "fsdp": ShardingRules(embed="data"),
    "both": ShardingRules(embed="data", heads="model", kv_heads="model", mlp="model"),
}.items():
    mesh = make_mesh(MeshConfig(data=2, model=4))
    shardings = param_shardings(box_params(whole, boxed), mesh, rules)
    split = jax.device_put(whole, shardings)
    block = split["decoder"]["blocks"]
    own = lambda leaf: list(leaf.addressable_shards[0].data.shape)
    results[name] = {
        "query_codes": own(block["attention"]["query"]["kernel"].codes),
        "query_scale": own(block["attention"]["query"]["kernel"].scale),
        "value_codes": own(block["attention"]["value"]["kernel"].codes),
        "up_codes": own(block["mlp"]["up"]["kernel"].codes),
        "gate_original": own(block["mlp"]["gate"]["kernel"].original),
        "down_codes": own(block["mlp"]["down"]["kernel"].codes),
    }
    if places_only:
        continue
    logits, text = run(split, jax.device_put(tokens, batch_sharding(mesh, rules)))
    # What is quantized where it lies is the same.
    placed = param_shardings(boxed, mesh, rules)["params"]
    found = quantize(jax.device_put(plain, placed))
    results[name] |= {
        "logits": float(np.abs(logits - expected[0]).max()),
        "same_text": bool((text == expected[1]).all()),
        "same_codes": all(
            np.array_equal(a, b) if a.dtype != jnp.float32 else np.allclose(a, b, rtol=1e-6)
            for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(whole), strict=True)
        ),
    }
print(json.dumps(results))
"""


def run(what):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, what],
        capture_output=True,
        text=True,
        env=device_environment(8),
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def results():
    return run("all")


@pytest.mark.parametrize("rules", ["tensor", "fsdp", "both"])
@pytest.mark.slow
def test_a_split_model_computes_what_a_whole_one_does(results, rules):
    assert results["devices"] == 8
    found = results[rules]
    assert found["logits"] < 1e-4
    assert found["same_text"]
    assert found["same_codes"]


def test_codes_are_split_as_kernels_are():
    results = run("places")
    # Query is [64, 4, 32]: eight rows of 4-bit codes in a word, and four groups of scales.
    assert results["tensor"]["query_codes"] == [5, 8, 1, 32]
    assert results["fsdp"]["query_codes"] == [5, 4, 1, 128]
    assert results["both"]["query_codes"] == [5, 4, 1, 32]
    assert results["both"]["query_scale"] == [5, 4, 32]
    # Two NF4 codes a byte, as [O, I]; blocks of 48 begin within rows and stay whole.
    assert results["both"]["value_codes"] == [5, 32, 16]
    assert results["both"]["up_codes"][1] == 1
    assert results["both"]["gate_original"] == [5, 32, 32]
    # Down is [128, 64].
    assert results["tensor"]["down_codes"] == [5, 32, 64]
    assert results["both"]["down_codes"] == [5, 32, 32]
