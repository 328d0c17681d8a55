"""Gradients through models with stored kernels, and what they keep in memory."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from jaxrec.models import ModelSpec, TransformerConfig
from jaxrec.nn import TUNED, kernel_specs
from jaxrec.peft import LoraConfig, lora
from jaxrec.quant import CodebookConfig, LlmInt8Config, UniformConfig, quantize_params

pytestmark = pytest.mark.slow

SLOW = pytest.mark.slow


def _adapter(spec):
    made = lora.init(jax.random.key(0), spec.shapes(), LoraConfig(rank=2, targets=("all",)))
    return jax.tree.map(lambda x: x + 0.05, meta.unbox(made))


@pytest.mark.parametrize(
    ("mixture", "kind", "depth"),
    [
        ("weights", "causal", 5),
        ("inputs", "causal", 5),
        pytest.param("weights", "encoder_decoder", 2, marks=SLOW),
    ],
)
@pytest.mark.variants(1)
def test_adapters_are_trained_over_stored_kernels(quantized, mixture, kind, depth):
    spec, stored, dense = quantized(mixture, kind, depth)
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(4, 7, 30)), jnp.float32)
    adapter, model = _adapter(spec), spec.build()
    tokens = jnp.asarray(np.random.default_rng(0).integers(3, 30, (4, 7)), jnp.int32)
    inputs = (tokens, tokens != 5) * (2 if kind == "encoder_decoder" else 1)

    def loss(tuned, own):
        logits = model.apply({"params": own["params"], TUNED: tuned}, *inputs)
        return jnp.sum(jnp.where(inputs[1][..., None], logits * weights, 0.0))

    gradient = jax.jit(jax.grad(loss))
    found, expected = (jax.tree.leaves(gradient(adapter, own)) for own in (stored, dense))
    assert all(np.linalg.norm(leaf) > 0 for leaf in expected)
    if mixture == "weights":
        for own, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(own, other, atol=1e-4 * np.abs(other).max())
    # Where inputs are rounded, the gradient is taken at another point.
    found, expected = (np.concatenate([np.ravel(x) for x in tree]) for tree in (found, expected))
    assert np.linalg.norm(found - expected) <= 0.2 * np.linalg.norm(expected)


def _wide(depth, remat="cheap"):
    """Few tokens and wide kernels: kept, the kernels would outweigh everything else."""
    config = TransformerConfig(
        vocab_size=16, width=128, depth=depth, num_heads=2, mlp_width=1024, max_length=8
    )
    return ModelSpec("causal", dataclasses.replace(config, remat=remat))


WIDE = {
    "nf4": CodebookConfig(),
    "int4": UniformConfig(bits=4),
    "w8a8": UniformConfig(activations="token"),
    "llm_int8": LlmInt8Config(),
}


def _wide_loss(spec, scheme):
    """A loss of an adapter, with the shapes of adapter, stored parameters and tokens."""
    shapes, specs = meta.unbox(spec.shapes())["params"], kernel_specs(spec.shapes())
    stored = jax.eval_shape(lambda tree: quantize_params(tree, specs, scheme), shapes)
    model = spec.build()

    def loss(tuned, params, tokens):
        return jnp.sum(model.apply({"params": params, TUNED: tuned}, tokens, tokens >= 0))

    tokens = jax.ShapeDtypeStruct((1, 4), jnp.int32)
    return loss, (jax.eval_shape(lambda: _adapter(spec)), stored, tokens)


@pytest.mark.parametrize("scheme", WIDE)
def test_a_product_keeps_what_is_stored_and_nothing_else(scheme):
    matrix, x = jnp.zeros((128, 256)), jnp.zeros((4, 128))
    kernel = WIDE[scheme].quantize(matrix, (128, 256))
    kept = jax.eval_shape(lambda x: jax.vjp(kernel.product, x)[1], x)
    described = [
        sorted((leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(tree))
        for tree in (kept, kernel)
    ]
    assert described[0] == described[1]


@pytest.mark.parametrize(("scheme", "depth"), [*((name, 6) for name in WIDE), ("nf4", 3)])
def test_no_dense_matrix_is_kept_for_the_backward_pass(scheme, depth):
    loss, (adapter, stored, tokens) = _wide_loss(_wide(depth), WIDE[scheme])

    def residuals(adapter, stored, tokens):
        return jax.vjp(lambda tuned: loss(tuned, stored, tokens), adapter)[1]

    # The function that pulls a gradient back is a pytree of what it keeps.
    kept = jax.tree.leaves(jax.eval_shape(residuals, adapter, stored, tokens))
    assert len(kept) > 20
    large = [leaf for leaf in kept if leaf.size >= 128 * 128 * (depth if depth > 4 else 1) // 8]
    # Codes are kept, of which 4-bit ones take an eighth of the elements, or half.
    assert any(leaf.dtype != jnp.float32 for leaf in large)
    assert all(leaf.size < 128 * 128 * 2 for leaf in large if leaf.dtype == jnp.float32)


@pytest.mark.parametrize(
    "scheme", ["nf4", "w8a8", *(pytest.param(name, marks=SLOW) for name in ("int4", "llm_int8"))]
)
def test_a_backward_pass_needs_the_dense_matrices_of_one_layer(scheme):
    # Of one for the forward pass that is repeated and one for the backward one, and of no six.
    loss, shapes = _wide_loss(_wide(6, remat="full"), WIDE[scheme])
    compiled = jax.jit(jax.grad(loss)).lower(*shapes).compile()
    layer = 4 * (3 * 128 * 1024 + 4 * 128 * 128)
    assert compiled.memory_analysis().temp_size_in_bytes < 2.2 * layer
