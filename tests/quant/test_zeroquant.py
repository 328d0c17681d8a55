import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrec.core import ConfigError
from jaxrec.models import Block, ModelSpec, PerLayer, Shared, TransformerConfig
from jaxrec.models.block import Reach
from jaxrec.nn import ScoreTerms, SelfContext, attention_mask, kernel_specs
from jaxrec.quant import (
    DistillConfig,
    UniformConfig,
    UniformKernel,
    distilled_params,
    quantize_params,
)

SPEC = ModelSpec(
    "causal", TransformerConfig(vocab_size=31, width=32, depth=2, num_heads=2, mlp_width=48)
)
WEIGHTS = UniformConfig(bits=4, per="group", group=16, activations="token")


def _model(spec=SPEC):
    rng = np.random.default_rng(0)
    # Tokens of a few kinds, so that inputs are correlated, as real ones are.
    tokens = jnp.asarray(rng.integers(0, 8, (16, 12)), jnp.int32)
    valid = jnp.arange(12)[None] < jnp.asarray(rng.integers(6, 13, (16, 1)), jnp.int32)
    params = nn.meta.unbox(jax.jit(spec.build().init)(jax.random.key(0), tokens, valid))
    return params, [{"tokens": tokens, "valid": valid}]


def _states(spec, params, batch):
    return spec.build().apply(params, **batch)


@pytest.mark.slow
def test_distilled_layers_err_less_and_so_does_the_model():
    params, batches = _model()
    config = DistillConfig(weights=WEIGHTS, steps=150, lr=3e-3)
    found, errors = distilled_params(SPEC, params, batches, config)
    # [layers, before and after]
    error = errors["decoder/blocks"]
    assert error.shape == (2, 2)
    assert np.all(error[:, 1] <= 0.7 * error[:, 0])
    nearest = quantize_params(params["params"], kernel_specs(SPEC.shapes()), WEIGHTS)
    exact = _states(SPEC, params, batches[0])
    valid = batches[0]["valid"][..., None]

    def lost(tree):
        gap = _states(SPEC, {"params": tree}, batches[0]) - exact
        return float(jnp.sum(jnp.where(valid, gap, 0.0) ** 2))

    assert lost(found) < 0.8 * lost(nearest)
    kernel = found["decoder"]["blocks"]["mlp"]["up"]["kernel"]
    assert isinstance(kernel, UniformKernel)
    assert kernel.bits == 4
    assert kernel.activations == "token"


@pytest.mark.slow
def test_error_before_is_that_of_rounding_one_layer():
    """The first layer's, by hand: both read the same embedded tokens."""
    config = dataclasses.replace(SPEC.config, depth=1, positions="none")
    spec = dataclasses.replace(SPEC, config=config)
    params, batches = _model(spec)
    _, errors = distilled_params(
        spec, params, batches, DistillConfig(weights=WEIGHTS, steps=1, lr=1e-9)
    )
    tokens, valid = batches[0]["tokens"], batches[0]["valid"]
    x = params["params"]["embedding"]["table"][tokens]
    shared = Shared(
        context=SelfContext(attention_mask(valid), causal=True), reach=Reach(ScoreTerms())
    )
    nearest = quantize_params(params["params"], kernel_specs(spec.shapes()), WEIGHTS)

    def after(tree):
        own = jax.tree.map(lambda leaf: leaf[0], tree["decoder"]["blocks"])
        return Block(config).apply({"params": own}, x, PerLayer(), shared, True)[0]

    gap = np.asarray(after(params["params"]) - after(nearest))[np.asarray(valid)]
    np.testing.assert_allclose(errors["decoder/blocks"][0, 0], np.mean(gap**2), rtol=1e-3)


def test_settings_that_cannot_train_are_named():
    with pytest.raises(ConfigError, match="steps of distillation must be at least 1, got 0"):
        DistillConfig(steps=0)
    with pytest.raises(ConfigError, match=r"lr of distillation must be positive, got 0.0"):
        DistillConfig(lr=0.0)
    params, batches = _model()
    wide = DistillConfig(weights=UniformConfig(bits=4, per="group", group=24), steps=1)
    with pytest.raises(ConfigError, match="groups of 24 rows do not divide the 32 rows"):
        distilled_params(SPEC, params, batches, wide)
