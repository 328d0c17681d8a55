import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrec.kernels import beam_attention


def _by_concatenation(query, history_key, history_value, history_valid, suffix_key, suffix_value):
    """One softmax over all keys of each beam and head, in float64, by loops."""
    query, history_key, history_value, suffix_key, suffix_value = (
        np.asarray(x, np.float64)
        for x in (query, history_key, history_value, suffix_key, suffix_value)
    )
    batch, beams, heads, _ = query.shape
    shared = heads // history_key.shape[2]
    out = np.zeros_like(query)
    for b in range(batch):
        past = np.flatnonzero(history_valid[b])
        for k in range(beams):
            for n in range(heads):
                g = n // shared
                keys = np.concatenate([history_key[b, past, g], suffix_key[b, k, :, g]])
                values = np.concatenate([history_value[b, past, g], suffix_value[b, k, :, g]])
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
        draw(batch, sources, groups, size),
        draw(batch, sources, groups, size),
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
    found = jax.jit(beam_attention)(*inputs)
    np.testing.assert_allclose(found, _by_concatenation(*inputs), atol=2e-5, rtol=2e-5)


def test_logits_far_apart_neither_overflow_nor_vanish():
    # exp(±200) is no float32; the larger part must win, whichever it is.
    one = jnp.ones((1, 1, 1, 1))
    for past, own, expected in ((200.0, -200.0, 1.0), (-200.0, 200.0, 2.0)):
        found = beam_attention(
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
    padded = ~valid[:, :, None, None]
    found = beam_attention(query, key, value, valid, own_key, own_value)
    noisy = beam_attention(
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
    found = beam_attention(*inputs)
    assert found.dtype == jnp.bfloat16
    exact = _by_concatenation(
        *(np.asarray(x.astype(jnp.float32)) for x in inputs[:3]),
        inputs[3],
        *(np.asarray(x.astype(jnp.float32)) for x in inputs[4:]),
    )
    np.testing.assert_allclose(found.astype(jnp.float32), exact, atol=0.05)
