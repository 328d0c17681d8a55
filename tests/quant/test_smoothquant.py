"""SmoothQuant: the same function with other numbers inside, and what that does to rounding."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError
from jaxrec.models import ModelSpec, TransformerConfig
from jaxrec.nn import TUNED, kernel_specs
from jaxrec.peft import LoraConfig, lora
from jaxrec.quant import UniformConfig, input_ranges, quantize_params, smooth
from jaxrec.quant.smoothquant import fold

pytestmark = pytest.mark.slow

SMALL = {"vocab_size": 30, "width": 16, "depth": 2, "num_heads": 2, "mlp_width": 24}
SPECS = {
    "llama": ModelSpec("causal", TransformerConfig(**SMALL)),
    "gemma": ModelSpec(
        "causal",
        TransformerConfig(**SMALL, norm_order="both", qk_norm=True, window=3, global_every=2),
    ),
    "gpt2": ModelSpec(
        "causal",
        TransformerConfig(
            **SMALL, norm="layer", positions="learned", gated=False, qkv_bias=True, mlp_bias=True
        ),
    ),
    "hstu": ModelSpec("causal", TransformerConfig(**SMALL | {"mlp_width": None}, block="hstu")),
    "t5": ModelSpec("encoder_decoder", TransformerConfig(**SMALL, positions="relative")),
}


READERS = ("query", "key", "value", "gate", "up", "mix")


def make(spec, seed=0):
    rng = np.random.default_rng(seed)

    def draw(path, s):
        if path[-1].key == "scale":
            return jnp.asarray(np.exp(0.5 * rng.normal(size=s.shape)), s.dtype)
        return jnp.asarray(0.15 * rng.normal(size=s.shape), s.dtype)

    variables = jax.tree_util.tree_map_with_path(draw, nn.meta.unbox(spec.shapes()))
    batches = []
    for _ in range(2):
        valid = np.arange(8)[None] < rng.integers(3, 9, (12, 1))
        tokens = jnp.asarray(rng.integers(0, 30, valid.shape), jnp.int32)
        batch = {"tokens": tokens, "valid": jnp.asarray(valid)}
        if spec.kind == "encoder_decoder":
            batch |= {"targets": tokens[:, ::-1], "targets_valid": jnp.asarray(valid)}
        batches.append(batch)
    return variables, batches


def runner(spec):
    return jax.jit(lambda variables, batch: spec.build().apply(variables, **batch))


@pytest.mark.parametrize("alpha", [0.5, 0.85])
@pytest.mark.parametrize("name", SPECS)
@pytest.mark.variants(3)
def test_the_function_stays_and_every_norm_and_its_readers_change(name, alpha):
    spec = SPECS[name]
    variables, batches = make(spec)
    smoothed = smooth(spec, variables, batches, alpha)
    run = runner(spec)
    exact, found = run(variables, batches[0]), run(smoothed, batches[0])
    valid = batches[0]["targets_valid" if spec.kind == "encoder_decoder" else "valid"]
    scale = float(jnp.std(exact))
    error = jnp.where(valid[..., None], found - exact, 0.0) / scale
    np.testing.assert_allclose(error, 0.0, atol=1e-5)
    before = flatten_dict(variables["params"], sep="/")
    changed = {
        path
        for path, leaf in flatten_dict(smoothed["params"], sep="/").items()
        if not np.array_equal(leaf, before[path])
    }
    ends = ["attention_norm/scale", *(f"attention/{n}/kernel" for n in ("query", "key", "value"))]
    ends += ["mlp_norm/scale", "mlp/up/kernel", *(["mlp/gate/kernel"] if name != "gpt2" else [])]
    ends += ["attention_norm/bias", "mlp_norm/bias"] if name == "gpt2" else []
    stacks = ("encoder/blocks", "decoder/blocks") if name == "t5" else ("decoder/blocks",)
    expected = {f"{stack}/{end}" for stack in stacks for end in ends}
    if name == "t5":
        expected |= {"decoder/blocks/cross_norm/scale", "decoder/blocks/cross/query/kernel"}
        expected |= {"encoder/final_norm/scale"}
        expected |= {f"decoder/memory_projection/cross/{n}/kernel" for n in ("key", "value")}
    if name == "hstu":
        of_attention = "decoder/blocks/attention"
        expected = {f"{of_attention}/input_norm/scale", f"{of_attention}/mix/kernel"}
    assert changed == expected


def test_equals_the_published_function_in_torch():
    # smooth_ln_fcs of mit-han-lab/smoothquant, written again: weights there are [out, in].
    torch = pytest.importorskip("torch")
    spec = SPECS["gpt2"]
    variables, batches = make(spec)
    alpha = 0.6
    smoothed = flatten_dict(smooth(spec, variables, batches, alpha)["params"], sep="/")
    leaves = flatten_dict(variables["params"], sep="/")
    ranges = input_ranges(spec, variables, batches)
    pairs = {"attention_norm": ("attention/query", "attention/key", "attention/value")}
    pairs["mlp_norm"] = ("mlp/up",)
    for norm, names in pairs.items():
        for layer in range(2):
            paths = [f"decoder/blocks/{name}" for name in names]
            weights = [
                torch.tensor(np.asarray(leaves[f"{path}/kernel"][layer])).reshape(16, -1).T
                for path in paths
            ]
            act_scales = torch.tensor(np.asarray(ranges[paths[0]][layer]))
            columns = torch.cat([w.abs().max(dim=0, keepdim=True)[0] for w in weights], dim=0)
            weight_scales = columns.max(dim=0)[0].clamp(min=1e-5)
            s = (act_scales.pow(alpha) / weight_scales.pow(1 - alpha)).clamp(min=1e-5)
            for part in ("scale", "bias"):
                theirs = torch.tensor(np.asarray(leaves[f"decoder/blocks/{norm}/{part}"][layer]))
                ours = smoothed[f"decoder/blocks/{norm}/{part}"][layer]
                np.testing.assert_allclose(ours, (theirs / s).numpy(), rtol=1e-5)
            for path, weight in zip(paths, weights, strict=True):
                ours = smoothed[f"{path}/kernel"][layer].reshape(16, -1)
                np.testing.assert_allclose(ours, (weight * s).T.numpy(), rtol=1e-5)


def test_the_memory_of_all_layers_shares_one_scale():
    spec = SPECS["t5"]
    variables, batches = make(spec)
    smoothed = flatten_dict(smooth(spec, variables, batches)["params"], sep="/")
    leaves = flatten_dict(variables["params"], sep="/")
    paths = [f"decoder/memory_projection/cross/{name}" for name in ("key", "value")]
    seen = input_ranges(spec, variables, batches)[paths[0]]
    np.testing.assert_array_equal(seen[0], seen[1])
    most = np.max([np.abs(leaves[f"{p}/kernel"]).max((0, 2, 3)) for p in paths], axis=0)
    s = np.sqrt(seen[0] / most)
    gain = "encoder/final_norm/scale"
    np.testing.assert_allclose(smoothed[gain], leaves[gain] / s, rtol=1e-5)
    for path in paths:
        kernel = leaves[f"{path}/kernel"] * s[None, :, None, None]
        np.testing.assert_allclose(smoothed[f"{path}/kernel"], kernel, rtol=1e-5)


def with_outliers(spec, variables, factor=60.0):
    """Two channels of every norm that blocks read times `factor`, as many rows divided by it."""
    leaves = flatten_dict(variables["params"], sep="/")
    for path in list(leaves):
        if path.endswith(("attention_norm/scale", "mlp_norm/scale")):
            leaves[path] = leaves[path].at[:, jnp.asarray([3, 11])].multiply(factor)
    for path in list(leaves):
        if path.endswith(tuple(f"{name}/kernel" for name in READERS)):
            leaves[path] = leaves[path].at[:, jnp.asarray([3, 11])].divide(factor)
    return {"params": unflatten_dict(leaves, sep="/")}


def test_outliers_cost_little_once_smoothed_and_alpha_has_an_optimum_inside():
    spec = SPECS["llama"]
    plain, batches = make(spec)
    variables = with_outliers(spec, plain)
    run = runner(spec)
    exact = run(plain, batches[0])
    valid = batches[0]["valid"][..., None]
    np.testing.assert_allclose(run(variables, batches[0]), exact, atol=1e-4)
    scheme = UniformConfig(bits=8, per="tensor", activations="tensor")

    def error(variables):
        specs = kernel_specs(spec.shapes())
        params = quantize_params(variables["params"], specs, scheme, READERS)
        found = run({"params": params}, batches[0])
        return float(jnp.sum(jnp.where(valid, found - exact, 0.0) ** 2))

    losses = {alpha: error(smooth(spec, variables, batches, alpha)) for alpha in (0.0, 0.5, 1.0)}
    assert losses[0.5] < 0.02 * error(variables)
    assert losses[0.5] < min(losses[0.0], losses[1.0])


def test_channels_that_calibration_never_saw_stay_as_they_are():
    spec = SPECS["llama"]
    variables, batches = make(spec)
    ranges = {k: v.at[:, 5].set(0.0) for k, v in input_ranges(spec, variables, batches).items()}
    folded = fold(spec, variables["params"], ranges, 0.5)["decoder"]["blocks"]
    before = variables["params"]["decoder"]["blocks"]
    for name in ("attention_norm", "mlp_norm"):
        same = np.isclose(folded[name]["scale"], before[name]["scale"])
        assert same[:, 5].all()
        assert not same[:, 6].any()


def test_what_cannot_be_folded_is_refused():
    spec = SPECS["llama"]
    variables, batches = make(spec)
    post = ModelSpec("causal", dataclasses.replace(spec.config, norm_order="post"))
    with pytest.raises(
        ConfigError, match=r"norm_order 'post'.*the residual stream also reads them"
    ):
        smooth(post, variables, batches)
    with pytest.raises(ConfigError, match=r"alpha of SmoothQuant must lie in \[0, 1\], got 1.5"):
        smooth(spec, variables, batches, 1.5)
    made = lora.init(jax.random.key(0), spec.shapes(), LoraConfig(rank=2))
    with pytest.raises(ConfigError, match="merge the adapter first"):
        smooth(spec, {**variables, TUNED: nn.meta.unbox(made)}, batches)
    stored = quantize_params(
        variables["params"], kernel_specs(spec.shapes()), UniformConfig(), ["up"]
    )
    with pytest.raises(ConfigError, match="already quantized: decoder/blocks/mlp/up"):
        smooth(spec, {"params": stored}, batches)
