import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta
from flax.errors import InvalidRngError

from jaxrec.models import Block, CausalLM, PerLayer, Reach, Shared, TransformerConfig
from jaxrec.models.stack import KEPT
from jaxrec.nn import (
    Norm,
    ScoreTerms,
    SelfContext,
    attention_mask,
    positions_of,
    rotary_frequencies,
    rotation,
)
from jaxrec.testing import random_params, tiny_model

KEY = jax.random.key(0)
FLAVOURS = {
    "llama": tiny_model(depth=3),
    "gpt2": dataclasses.replace(
        tiny_model(depth=3),
        norm="layer",
        positions="learned",
        gated=False,
        activation="gelu_tanh",
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        tie_embeddings=False,
    ),
}


def _batch(vocab_size=18, batch=3, length=7):
    rng = np.random.default_rng(0)
    tokens = jnp.asarray(rng.integers(1, vocab_size, (batch, length)), jnp.int32)
    valid = jnp.arange(length)[None] >= jnp.array([0, 2, 5])[:batch, None]
    return jnp.where(valid, tokens, 0), valid


def _init(model):
    return jax.jit(lambda key: meta.unbox(model.init(key, *_batch())))(KEY)


def _params(config):
    model = CausalLM(config)
    return model, random_params(model, scale=0.3)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_scan_equals_its_layers_applied_one_after_the_other(flavour):
    config = FLAVOURS[flavour]
    model, params = _params(config)
    tokens, valid = _batch()
    positions, context = positions_of(valid), SelfContext(attention_mask(valid))
    scan = jax.jit(lambda params: model.apply(params, tokens, positions, context, method="hidden"))
    hidden, (keys, values) = scan(params)
    p = params["params"]
    x = p["embedding"]["table"][tokens]
    turn = None
    if config.positions == "learned":
        x = x + p["embedding"]["position"][positions]
    else:
        turn = rotation(positions, rotary_frequencies(config.head_width, config.rope_theta))
    shared = Shared(context=context, reach=Reach(ScoreTerms(), turn))
    block = jax.jit(
        lambda own, x: Block(config).apply({"params": own}, x, PerLayer(), shared, True)
    )
    for layer in range(config.depth):
        own = jax.tree.map(lambda leaf, at=layer: leaf[at], p["decoder"]["blocks"])
        x, (key, value) = block(own, x)
        np.testing.assert_allclose(keys[layer], key, atol=1e-5)
        np.testing.assert_allclose(values[layer], value, atol=1e-5)
    expected = Norm(config.norm, config.norm_eps).apply({"params": p["decoder"]["final_norm"]}, x)
    np.testing.assert_allclose(hidden, expected, atol=1e-5)
    head = (p["embedding"] if config.tie_embeddings else p["head"])["table"]
    logits = np.asarray(expected, np.float64) @ np.asarray(head, np.float64).T
    np.testing.assert_allclose(jax.jit(model.apply)(params, tokens, valid), logits, atol=1e-4)


def test_parameters_of_blocks_have_a_leading_axis_of_depth_and_differ_between_layers():
    config = tiny_model(depth=3)
    variables = _init(CausalLM(config))
    for leaf in jax.tree.leaves(variables["params"]["decoder"]["blocks"]):
        assert leaf.shape[0] == 3
    kernel = variables["params"]["decoder"]["blocks"]["mlp"]["up"]["kernel"]
    assert not np.allclose(kernel[0], kernel[1])
    # fan-in initialization, scaled by 1/(2 depth) on the way back to the stream
    assert float(kernel.std()) == pytest.approx(16**-0.5, rel=0.1)
    down = variables["params"]["decoder"]["blocks"]["mlp"]["down"]["kernel"]
    assert float(down.std()) == pytest.approx((1 / (32 * 6)) ** 0.5, rel=0.1)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.variants(1)
def test_remat_changes_neither_loss_nor_gradient(dropout):
    config = dataclasses.replace(tiny_model(depth=3), dropout=dropout)
    _, params = _params(config)
    tokens, valid = _batch()

    def loss(model, p):
        logits = model.apply(p, tokens, valid, dropout == 0.0, rngs={"dropout": KEY})
        return jax.nn.log_softmax(logits)[..., 1].mean()

    expected, *others = (
        jax.jit(jax.value_and_grad(functools.partial(loss, CausalLM(changed))))(params)
        for changed in (dataclasses.replace(config, remat=remat) for remat in KEPT)
    )
    for found in others:
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected
        )
    norms = [float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected[1])]
    assert min(norms) > 0


def test_the_more_is_computed_again_the_less_is_kept():
    tokens, valid = _batch()
    stored = []
    for remat in KEPT:
        config = dataclasses.replace(tiny_model(depth=3), remat=remat)
        model, params = _params(config)
        _, backward = jax.vjp(lambda p, m=model: m.apply(p, tokens, valid), params)
        stored.append(sum(leaf.size for leaf in jax.tree.leaves(backward)))
    assert stored[1] < 0.7 * stored[0]
    assert stored[2] < 0.7 * stored[1]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_slice_of_logits_equals_the_slice_of_all(flavour):
    model, params = _params(FLAVOURS[flavour])
    hidden = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 16)), jnp.float32)
    everything = model.apply(params, hidden, method="logits")
    assert everything.shape == (2, 3, 18)
    for start, size in ((0, 18), (2, 8), (10, 8), (17, 1)):
        part = model.apply(params, hidden, start, size, method="logits")
        np.testing.assert_allclose(part, everything[..., start : start + size], atol=1e-6)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_tokens_that_are_read_only_have_no_logits_and_the_loss_does_not_know_them(flavour):
    plain, params = _params(FLAVOURS[flavour])
    model = CausalLM(dataclasses.replace(FLAVOURS[flavour], read_only=5))
    rng = np.random.default_rng(0)
    hidden = jnp.asarray(rng.normal(size=(2, 3, 16)), jnp.float32)
    before = np.asarray(plain.apply(params, hidden, method="logits"), float)
    least = np.finfo(np.float32).min
    for start, size in ((0, 18), (10, 8), (15, 2)):
        part = model.apply(params, hidden, start, size, method="logits")
        expected = before[..., start : start + size].copy()
        expected[..., max(13 - start, 0) :] = least
        np.testing.assert_allclose(part, expected, atol=1e-6)
    targets = rng.integers(0, 13, (2, 3))
    weights = rng.random((2, 3))

    def loss(params):
        arguments = hidden, jnp.asarray(targets), jnp.asarray(weights, jnp.float32)
        return model.apply(params, *arguments, method="loss")

    written = np.exp(before[..., :13])
    chances = np.take_along_axis(written, targets[..., None], -1)[..., 0] / written.sum(-1)
    total, gradient = jax.value_and_grad(loss)(params)
    np.testing.assert_allclose(total, -(weights * np.log(chances)).sum(), rtol=1e-5)
    name = "embedding" if model.config.tie_embeddings else "head"
    rows = np.abs(gradient["params"][name]["table"]).max(-1)
    assert (rows[:13] > 0).all() and (rows[13:] == 0).all()


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.variants(1)
def test_bfloat16_keeps_parameters_and_logits_in_float32_and_stays_close(flavour):
    exact = FLAVOURS[flavour]
    config = dataclasses.replace(exact, dtype="bfloat16")
    tokens, valid = _batch()
    model = CausalLM(config)
    variables = _init(model)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
    context = SelfContext(attention_mask(valid))
    hidden, (key, value) = jax.eval_shape(
        lambda v: model.apply(v, tokens, positions_of(valid), context, method="hidden"), variables
    )
    assert {hidden.dtype, key.dtype, value.dtype} == {jnp.dtype(jnp.bfloat16)}
    logits = jax.jit(model.apply)(variables, tokens, valid)
    assert logits.dtype == jnp.float32
    expected = jax.jit(CausalLM(exact).apply)(variables, tokens, valid)
    difference = np.abs(logits - expected)
    assert 0 < difference.max() < 0.05 * np.abs(expected).max()


def test_later_tokens_and_padding_do_not_change_earlier_logits():
    model, params = _params(tiny_model(depth=2))
    tokens, valid = _batch()
    before = model.apply(params, tokens, valid)
    changed = tokens.at[:, -1].set(5).at[1, 0].set(9)
    after = model.apply(params, changed, valid)
    seen = np.asarray(valid).copy()
    seen[:, -1] = False
    np.testing.assert_allclose(np.asarray(after)[seen], np.asarray(before)[seen], atol=1e-6)
    assert not np.allclose(after[0, -1], before[0, -1])


def test_the_compiled_program_does_not_grow_with_depth():
    def text(depth):
        config = dataclasses.replace(tiny_model(depth=depth), dropout=0.1)
        tokens, valid = _batch()
        model = CausalLM(config)
        shapes = jax.eval_shape(lambda: _init(model))

        def loss(params, key):
            return model.apply(params, tokens, valid, False, rngs={"dropout": key}).sum()

        return jax.jit(jax.grad(loss)).lower(shapes, KEY).as_text()

    shallow, deep = text(2), text(12)
    assert len(deep) < 1.2 * len(shallow)


def test_dropout_needs_a_key_and_changes_the_output():
    model, params = _params(dataclasses.replace(tiny_model(), dropout=0.5))
    tokens, valid = _batch()
    with pytest.raises(InvalidRngError, match="dropout"):
        model.apply(params, tokens, valid, False)
    still = model.apply(params, tokens, valid)
    np.testing.assert_array_equal(still, model.apply(params, tokens, valid))
    one, other = (
        model.apply(params, tokens, valid, False, rngs={"dropout": jax.random.key(seed)})
        for seed in (0, 1)
    )
    assert not np.allclose(one, still)
    assert not np.allclose(one, other)


def test_the_config_is_hashable_and_equal_by_value():
    assert hash(TransformerConfig()) == hash(TransformerConfig())
    assert CausalLM(TransformerConfig()) == CausalLM(TransformerConfig())


def test_the_program_does_not_grow_with_depth():
    # Compile time follows the size of the program; a clock would measure the machine too.
    sizes = []
    for depth in (4, 24):
        config = tiny_model(depth=depth)
        model, params = CausalLM(config), random_params(CausalLM(config))
        tokens, valid = _batch()

        def loss(p, model=model, tokens=tokens, valid=valid):
            return jax.nn.log_softmax(model.apply(p, tokens, valid))[..., 1].mean()

        sizes.append(len(jax.jit(jax.grad(loss)).lower(params).as_text()))
    assert sizes[1] < 1.1 * sizes[0]
