import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError
from jaxrec.models import ModelSpec, TransformerConfig
from jaxrec.nn import kernel_specs
from jaxrec.quant import UniformConfig, quantize_params
from jaxrec.quant.calibration import input_ranges
from jaxrec.quant.smoothquant import READERS, smooth

BASE = TransformerConfig(vocab_size=31, width=16, depth=2, num_heads=2, mlp_width=24)
GPT2 = dataclasses.replace(
    BASE, norm="layer", positions="learned", gated=False, qkv_bias=True, mlp_bias=True
)
SPECS = {
    "llama": ModelSpec("causal", BASE),
    "scanned": ModelSpec("causal", dataclasses.replace(BASE, depth=5)),
    "gpt2": ModelSpec("causal", GPT2),
    "gemma": ModelSpec("causal", dataclasses.replace(BASE, norm_order="both")),
    "t5": ModelSpec("encoder_decoder", dataclasses.replace(BASE, positions="relative")),
}


def _model(spec):
    rng = np.random.default_rng(0)
    tokens = jnp.asarray(rng.integers(0, 31, (4, 9)), jnp.int32)
    valid = jnp.arange(9)[None] < jnp.array([[9], [5], [7], [9]])
    inputs = {"tokens": tokens, "valid": valid}
    if spec.kind == "encoder_decoder":
        inputs |= {"targets": tokens[:, ::-1], "targets_valid": valid}
    params = nn.meta.unbox(spec.build().init(jax.random.key(0), **inputs))
    keys = iter(jax.random.split(jax.random.key(1), 200))
    # Gains, biases and weights away from where they start.
    params = jax.tree.map(lambda x: x + 0.2 * jax.random.normal(next(keys), x.shape), params)
    return params, inputs


def _with_outliers(spec, params, factor=60.0):
    """The same function, with three large channels in every norm that kernels read."""
    leaves = flatten_dict(params["params"], sep="/")
    specs = kernel_specs(spec.shapes())
    rng = np.random.default_rng(3)
    for path in [p for p in leaves if p.endswith("scale") and "/blocks/" in p]:
        block, norm = path.split("/blocks/")
        norm = norm.removesuffix("/scale")
        readers = [f"{block}/blocks/{name}" for name in READERS.get(norm, ())]
        readers = [reader for reader in readers if reader in specs]
        if not readers:
            continue
        gain = np.ones(spec.config.width, np.float32)
        gain[rng.choice(len(gain), 3, replace=False)] = factor
        for name in ("scale", "bias"):
            if f"{block}/blocks/{norm}/{name}" in leaves:
                leaves[f"{block}/blocks/{norm}/{name}"] *= gain
        for reader in readers:
            found = specs[reader]
            matrix = found.matrix(leaves[f"{reader}/kernel"]) / jnp.asarray(gain)[None, :, None]
            leaves[f"{reader}/kernel"] = found.kernel(matrix)
    return {"params": unflatten_dict(leaves, sep="/")}


@pytest.mark.parametrize("name", SPECS)
def test_smoothed_model_is_the_same_function(name):
    spec = SPECS[name]
    params, inputs = _model(spec)
    ranges = input_ranges(spec, params, [inputs])
    smoothed = {"params": smooth(spec, params["params"], ranges, 0.6)}
    model = spec.build()
    before, after = (model.apply(p, **inputs) for p in (params, smoothed))
    np.testing.assert_allclose(after, before, atol=1e-5 * float(jnp.abs(before).max()))
    changed = [
        path
        for path, leaf in flatten_dict(params["params"], sep="/").items()
        if not np.array_equal(leaf, flatten_dict(smoothed["params"], sep="/")[path])
    ]
    assert any(path.endswith("query/kernel") for path in changed)
    assert not any(path.endswith(("out/kernel", "down/kernel", "table")) for path in changed)


def test_scales_are_those_of_the_formula():
    spec = SPECS["gpt2"]
    params, inputs = _model(spec)
    ranges = input_ranges(spec, params, [inputs])
    smoothed = smooth(spec, params["params"], ranges, 0.3)["decoder"]["blocks"]
    blocks = params["params"]["decoder"]["blocks"]
    kernels = [
        np.asarray(blocks["attention"][name]["kernel"]) for name in ("query", "key", "value")
    ]
    for layer in range(2):
        widest = np.max([np.abs(k[layer]).reshape(16, -1).max(1) for k in kernels], axis=0)
        seen = np.asarray(ranges["decoder/blocks/attention/query"][layer])
        s = seen**0.3 / widest**0.7
        for name in ("scale", "bias"):
            was = np.asarray(blocks["attention_norm"][name][layer])
            now = np.asarray(smoothed["attention_norm"][name][layer])
            np.testing.assert_allclose(now, was / s, rtol=1e-5)
        now = np.asarray(smoothed["attention"]["value"]["kernel"][layer])
        np.testing.assert_allclose(now, kernels[2][layer] * s[:, None, None], rtol=1e-5)


@pytest.mark.parametrize("name", ["llama", "gpt2", "t5"])
def test_outliers_round_well_once_smoothed(name):
    spec = SPECS[name]
    plain, inputs = _model(spec)
    params = _with_outliers(spec, plain)
    model, specs = spec.build(), kernel_specs(spec.shapes())
    truth = model.apply(plain, **inputs)
    np.testing.assert_allclose(model.apply(params, **inputs), truth, atol=1e-3)
    scheme = UniformConfig(8, per="tensor", activations="tensor")

    def error(tree):
        found = model.apply({"params": quantize_params(tree, specs, scheme)}, **inputs)
        return float(jnp.mean((found - truth) ** 2))

    ranges = input_ranges(spec, params, [inputs])
    rough = error(params["params"])
    errors = {a: error(smooth(spec, params["params"], ranges, a)) for a in (0.05, 0.5, 0.95)}
    assert errors[0.5] < rough / 10
    # Too little leaves the outliers in the activations, too much moves them into the weights.
    assert errors[0.5] < min(errors[0.05], errors[0.95])


def test_what_cannot_be_smoothed_is_named():
    spec = SPECS["llama"]
    params, inputs = _model(spec)
    ranges = input_ranges(spec, params, [inputs])
    with pytest.raises(ConfigError, match=r"alpha of SmoothQuant must lie in \(0, 1\), got 1.0"):
        smooth(spec, params["params"], ranges, 1.0)
    stored = quantize_params(params["params"], kernel_specs(spec.shapes()), UniformConfig())
    with pytest.raises(ConfigError, match="stored as UniformKernel already"):
        smooth(spec, stored, ranges)
    del ranges["decoder/blocks/mlp/up"]
    with pytest.raises(ConfigError, match="no range of the inputs of decoder/blocks/mlp/up"):
        smooth(spec, params["params"], ranges)
    bert = ModelSpec("masked", dataclasses.replace(BASE, norm_order="post"))
    with pytest.raises(ConfigError, match="norm_order post"):
        smooth(bert, params["params"], ranges)
