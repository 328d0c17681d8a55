import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core import ConfigError
from jaxrec.kernels import (
    SharedHistory,
    beam_attention,
    beam_attention_choice,
    history_attention,
    merge_parts,
)
from jaxrec.kernels.beam_attention_triton import pieces_of
from jaxrec.nn import ScoreTerms

_KERNELS = ("triton", "mosaic")


def _attend(query, key, value, valid, own_key, own_value, terms=None, *, scale=None, **options):
    """`beam_attention` of arrays side by side, as the referee takes them."""
    history = SharedHistory(key=key, value=value, valid=valid, scale=scale)
    return beam_attention(query, history, (own_key, own_value), terms, **options)


def _by_concatenation(query, history_key, history_value, history_valid, suffix_key, suffix_value):
    """One softmax over all keys of each beam and head, in float64, by loops."""
    query, history_key, history_value, suffix_key, suffix_value = (
        np.asarray(x, np.float64)
        for x in (query, history_key, history_value, suffix_key, suffix_value)
    )
    batch, beams, heads, _ = query.shape
    shared = heads // history_key.shape[1]
    out = np.zeros_like(query)
    history_valid = np.asarray(history_valid)
    if history_valid.ndim == 2:
        history_valid = np.repeat(history_valid[:, None], beams, axis=1)
    for b in range(batch):
        for k in range(beams):
            past = np.flatnonzero(history_valid[b, k])
            for n in range(heads):
                g = n // shared
                keys = np.concatenate([history_key[b, g, past], suffix_key[b, k, :, g]])
                values = np.concatenate([history_value[b, g, past], suffix_value[b, k, :, g]])
                logits = keys @ query[b, k, n]
                weights = np.exp(logits - logits.max())
                out[b, k, n] = weights @ values / weights.sum()
    return out


def _inputs(seed, batch, beams, sources, own, groups, shared, size, scale):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return jnp.asarray(scale * rng.normal(size=shape), jnp.float32)

    valid = rng.random((batch, sources)) < 0.6
    valid[0] = False  # a user without any history
    return (
        draw(batch, beams, groups * shared, size),
        draw(batch, groups, sources, size),
        draw(batch, groups, sources, size),
        jnp.asarray(valid),
        draw(batch, beams, own, groups, size),
        draw(batch, beams, own, groups, size),
    )


_SHAPES = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 1000),
        "batch": st.integers(1, 3),
        "beams": st.integers(1, 4),
        "sources": st.integers(1, 6),
        "own": st.integers(1, 3),
        "groups": st.integers(1, 3),
        "shared": st.integers(1, 3),
        "size": st.sampled_from([1, 2, 4]),
        "scale": st.sampled_from([0.1, 1.0, 3.0]),
    }
)


@settings(max_examples=12, deadline=None)
@given(_SHAPES)
def test_equals_one_softmax_over_history_and_suffix(shape):
    inputs = _inputs(**shape)
    found = _attend(*inputs)
    np.testing.assert_allclose(found, _by_concatenation(*inputs), atol=2e-5, rtol=2e-5)


def test_logits_far_apart_neither_overflow_nor_vanish():
    # exp(±200) is no float32; the larger part must win, whichever it is.
    one = jnp.ones((1, 1, 1, 1))
    for past, own, expected in ((200.0, -200.0, 1.0), (-200.0, 200.0, 2.0)):
        found = _attend(
            one,
            past * one,
            one,
            jnp.ones((1, 1), bool),
            own * one[:, :, None],
            2 * one[:, :, None],
        )
        np.testing.assert_allclose(found, np.full((1, 1, 1, 1), expected), rtol=1e-6)


def test_values_at_padding_are_never_read():
    query, key, value, valid, own_key, own_value = _inputs(0, 2, 3, 5, 2, 1, 2, 4, 1.0)
    padded = ~valid[:, None, :, None]
    found = _attend(query, key, value, valid, own_key, own_value)
    noisy = _attend(
        query,
        jnp.where(padded, 50.0, key),
        jnp.where(padded, 1e6, value),
        valid,
        own_key,
        own_value,
    )
    np.testing.assert_array_equal(found, noisy)


def test_bfloat16_stays_bfloat16_and_close_to_float32():
    inputs = [
        x.astype(jnp.bfloat16) if x.dtype == jnp.float32 else x
        for x in _inputs(0, 2, 3, 6, 2, 2, 2, 4, 1.0)
    ]
    found = _attend(*inputs)
    assert found.dtype == jnp.bfloat16
    exact = _by_concatenation(
        *(np.asarray(x.astype(jnp.float32)) for x in inputs[:3]),
        inputs[3],
        *(np.asarray(x.astype(jnp.float32)) for x in inputs[4:]),
    )
    np.testing.assert_allclose(found.astype(jnp.float32), exact, atol=0.05)


# What the blocks of a kernel can get wrong: rows that fill no block and rows that need several,
# a history shorter than a block and one that ends within one, heads that are no power of two.
_CASES = {
    # batch, beams, sources, groups, shared, size
    "less than a block": (2, 3, 7, 2, 3, 16),
    "several blocks of rows": (2, 173, 33, 1, 3, 16),
    "several blocks of tokens": (3, 5, 1100, 2, 1, 64),
    "heads of 80": (2, 10, 70, 2, 2, 80),
    "heads of 128": (2, 17, 130, 1, 4, 128),
}


def _case(name, dtype=jnp.float32, seed=0, scale=1.0):
    batch, beams, sources, *heads = _CASES[name]
    query, *others = _inputs(seed, batch, beams, sources, 2, *heads, scale)
    inputs = query / query.shape[-1] ** 0.5, *others
    return [x.astype(dtype) if x.dtype == jnp.float32 else x for x in inputs]


def _by_beam(inputs, seed=0):
    """The same inputs under a mask of each beam's own; the first user sees nothing."""
    query, key, value, valid, *own = inputs
    shape = (*query.shape[:2], valid.shape[1])
    mask = np.random.default_rng(seed).random(shape) < 0.5
    mask[0] = False
    return [query, key, value, jnp.asarray(mask), *own]


def _int8(inputs, seed=0):
    """An int8 history in place of the one given, its scales, and what both stand for."""
    query, key, _, valid, *own = inputs
    rng = np.random.default_rng(seed)

    def draw():
        numbers = jnp.asarray(rng.integers(-127, 128, key.shape), jnp.int8)
        scale = jnp.asarray(rng.uniform(0.002, 0.02, key.shape[:3]), jnp.float32)
        exact = numbers.astype(jnp.float32) * scale[..., None]
        return numbers, scale, exact

    keys, values = draw(), draw()
    quantized = [query, keys[0], values[0], valid, *own]
    return quantized, (keys[1], values[1]), [query, keys[2], values[2], valid, *own]


def _kernel(name):
    return jax.jit(functools.partial(_attend, implementation=name, interpret=True))


@pytest.mark.parametrize("kernel", _KERNELS)
@pytest.mark.parametrize("case", _CASES)
def test_kernels_equal_the_xla_form(case, kernel):
    inputs = _case(case)
    expected = _kernel("xla")(*inputs)
    np.testing.assert_allclose(_kernel(kernel)(*inputs), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel", _KERNELS)
@settings(max_examples=4, deadline=None)
@given(
    st.integers(0, 1000),
    st.integers(1, 30),
    st.integers(1, 150),
    st.sampled_from([(1, 1), (2, 3), (3, 2)]),
    st.sampled_from([16, 64, 80]),
    st.sampled_from([0.1, 3.0]),
)
def test_kernels_equal_the_referee_at_any_shape(kernel, seed, beams, sources, heads, size, scale):
    groups, shared = heads
    inputs = _inputs(seed, 2, beams, sources, 1, groups, shared, size, scale / size**0.25)
    found = _kernel(kernel)(*inputs)
    np.testing.assert_allclose(found, _by_concatenation(*inputs), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("implementation", ["xla", *_KERNELS])
def test_each_beam_may_see_its_own_part_of_the_history(implementation):
    inputs = _by_beam(_case("heads of 80"))
    found = _kernel(implementation)(*inputs)
    np.testing.assert_allclose(found, _by_concatenation(*inputs), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("kernel", _KERNELS)
def test_masks_of_beams_span_blocks(kernel):
    inputs = _by_beam(_case("several blocks of rows"))
    expected = _kernel("xla")(*inputs)
    np.testing.assert_allclose(_kernel(kernel)(*inputs), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("implementation", ["xla", *_KERNELS])
def test_an_int8_history_is_what_its_numbers_stand_for(implementation):
    quantized, scale, exact = _int8(_case("several blocks of tokens"))
    found = _kernel(implementation)(*quantized, scale=scale)
    np.testing.assert_allclose(found, _attend(*exact), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("implementation", ["xla", *_KERNELS])
def test_softcap_caps_history_and_suffix(implementation):
    inputs, cap = _case("less than a block", scale=2.0), 1.5
    found = _kernel(implementation)(*inputs, ScoreTerms(softcap=cap))
    query, key, value, valid, own_key, own_value = inputs
    shared = query.shape[2] // key.shape[1]

    def rows(own, past):
        past = jnp.swapaxes(past, 1, 2)
        past = jnp.broadcast_to(past[:, None], (*own.shape[:2], *past.shape[1:]))
        return jnp.repeat(jnp.concatenate([past, own], axis=2), shared, axis=3)

    scores = jnp.einsum("bknh,bksnh->bkns", query, rows(own_key, key))
    own = jnp.ones((*valid.shape[:1], own_key.shape[2]), bool)
    seen = jnp.concatenate([valid, own], axis=1)[:, None, None]
    weights = jax.nn.softmax(jnp.where(seen, cap * jnp.tanh(scores / cap), -jnp.inf), axis=-1)
    expected = jnp.einsum("bkns,bksnh->bknh", weights, rows(own_value, value))
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel", _KERNELS)
@pytest.mark.parametrize("case", ["heads of 128", "several blocks of tokens"])
def test_kernels_equal_the_xla_form_in_bfloat16(case, kernel):
    inputs = _case(case, jnp.bfloat16)
    found = _kernel(kernel)(*inputs)
    assert found.dtype == jnp.bfloat16
    expected = _kernel("xla")(*inputs).astype(jnp.float32)
    np.testing.assert_allclose(found.astype(jnp.float32), expected, atol=0.02, rtol=0.02)


@pytest.mark.parametrize(
    "implementation, wide",
    [
        *(("xla", wide) for wide in ((1, 1), (2, 1), (1, 10), (2, 10))),
        *((kernel, wide) for kernel in _KERNELS for wide in ((1, 1), (2, 10))),
    ],
)
def test_what_terms_allow_narrows_both_masks(implementation, wide):
    inputs = _case("heads of 80")
    query, key, value, valid, own_key, own_value = inputs
    past, own = valid.shape[1], own_key.shape[2]
    allowed = jax.random.bernoulli(jax.random.key(0), 0.5, (*wide, past + own))
    # The first suffix token is forbidden to all, so that the referee can leave it out.
    allowed = allowed.at[..., past].set(False).at[..., past + 1 :].set(True)
    found = _kernel(implementation)(*inputs, ScoreTerms(allowed=allowed))
    mask = valid[:, None] & jnp.broadcast_to(allowed[..., :past], (2, 10, past))
    expected = _by_concatenation(query, key, value, mask, own_key[:, :, 1:], own_value[:, :, 1:])
    np.testing.assert_allclose(found, expected, atol=2e-5, rtol=2e-5)


def test_histories_are_cut_into_pieces_where_few_programs_would_run():
    assert pieces_of(512, 5000) == 1
    assert pieces_of(32, 5000) == 4
    assert pieces_of(1, 300) == 2
    assert pieces_of(1, 7) == 1


def test_the_choice_says_what_runs_and_why():
    query = jax.ShapeDtypeStruct((2, 3, 4, 64), jnp.bfloat16)
    biased = ScoreTerms(bias=jnp.zeros((1, 4, 3, 9)))
    assert beam_attention_choice(query, platform="cpu").implementation == "xla"
    assert beam_attention_choice(query, platform="cuda").implementation == "triton"
    assert beam_attention_choice(query, platform="tpu").implementation == "xla"
    choice = beam_attention_choice(query, biased, "cuda")
    assert (choice.implementation, "bias" in choice.reason) == ("xla", True)
    wide = jax.ShapeDtypeStruct((2, 3, 4, 512), jnp.bfloat16)
    assert "512" in beam_attention_choice(wide, platform="cuda").reason


def test_what_a_kernel_cannot_do_is_named():
    inputs = _case("less than a block")
    biased = ScoreTerms(bias=jnp.zeros((1, 6, 3, 9)))
    with pytest.raises(ConfigError, match=r"cannot run as 'triton'.*bias.*'xla'"):
        _attend(*inputs, biased, implementation="triton")
    with pytest.raises(ConfigError, match=r"no implementation 'cudnn'.*'mosaic'"):
        _attend(*inputs, implementation="cudnn")


def test_wrong_shapes_are_named():
    query, key, value, valid, own_key, own_value = _case("less than a block")
    with pytest.raises(ConfigError, match=r"history.valid \(2, 7\) or \(2, 3, 7\), got \(2, 6\)"):
        _attend(query, key, value, valid[:, 1:], own_key, own_value)
    with pytest.raises(ConfigError, match="6 query heads"):
        _attend(query, key[:, [0, 0, 0, 0]], value, valid, own_key, own_value)
    with pytest.raises(ConfigError, match=r"a suffix of \[2, 3, J, 2, 16\], got \(1, 3"):
        _attend(query, key, value, valid, own_key[:1], own_value)
    with pytest.raises(ConfigError, match=r"a suffix of \[2, 3, J, 2, 16\], got .* 8\)"):
        _attend(query, key, value, valid, own_key, own_value[..., :8])
    with pytest.raises(ConfigError, match="int8"):
        _attend(query, key.astype(jnp.int8), value, valid, own_key, own_value)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype, tolerance", [(jnp.float32, 1e-4), (jnp.bfloat16, 0.02)])
@pytest.mark.parametrize("case", _CASES)
def test_triton_equals_the_xla_form_on_a_gpu(case, dtype, tolerance):
    inputs = _case(case, dtype)
    quantized, scale, _ = _int8(inputs)
    # Products in full float32 on both sides, where they are float32.
    with jax.default_matmul_precision("highest"):
        for args, scales in ((inputs, None), (_by_beam(inputs), None), (quantized, scale)):
            found, expected = (
                jax.jit(functools.partial(_attend, implementation=name))(*args, scale=scales)
                for name in ("triton", "xla")
            )
            found, expected = found.astype(jnp.float32), expected.astype(jnp.float32)
            np.testing.assert_allclose(found, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("implementation", ["xla", *_KERNELS])
def test_parts_of_a_history_merge_into_one_softmax(implementation):
    # Two users and beams of different masks; the softmax of all keys by numpy, in float64.
    query, key, value, valid, *_ = _by_beam(_case("less than a block"))
    valid = valid.at[:, :, 0].set(True).at[:, :, 4].set(True)

    run = functools.partial(
        history_attention, implementation=implementation, interpret=implementation != "xla"
    )

    def attend(part):
        keys, values, seen = key[:, :, part], value[:, :, part], valid[:, :, part]
        return jax.jit(run)(query, SharedHistory(key=keys, value=values, valid=seen))

    found = merge_parts([attend(slice(None, 4)), attend(slice(4, None))])
    batch, beams, heads, size = query.shape
    groups = key.shape[1]
    rows = np.asarray(query, np.float64).reshape(batch, beams, groups, -1, size)
    logits = np.einsum("bkgrh,bgsh->bkgrs", rows, np.asarray(key, np.float64))
    logits = np.where(np.asarray(valid)[:, :, None, None], logits, -np.inf)
    weights = np.exp(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))
    expected = np.einsum("bkgrs,bgsh->bkgrh", weights, np.asarray(value, np.float64))
    np.testing.assert_allclose(found, expected.reshape(query.shape), atol=2e-5)
    whole = attend(slice(None))
    lse = np.logaddexp.reduce(logits, axis=-1).reshape(batch, beams, heads)
    np.testing.assert_allclose(whole.lse, lse, atol=2e-5)


def test_a_history_alone_takes_no_mask_besides_its_own():
    query, key, value, valid, *_ = _case("less than a block")
    history = SharedHistory(key=key, value=value, valid=valid)
    terms = ScoreTerms(allowed=jnp.ones((1, 3, 7), bool))
    with pytest.raises(ConfigError, match=r"narrow history\.valid"):
        history_attention(query, history, terms)
