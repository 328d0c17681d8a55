import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core import ConfigError
from jaxrec.core.bits import unpack_bits
from jaxrec.kernels import trie_topk, trie_topk_choice

# B, K, C, width: in groups and flat; codes that fill words, groups and blocks, and that do not;
# wider than there are continuations.
_SHAPES = [
    (2, 5, 256, 3),
    (1, 3, 1100, 4),
    (2, 4, 100, 2),
    (1, 2, 2048, 2),
    (2, 3, 5, 4),
    (1, 2, 33, 99),
]
_KERNELS = ("triton", "mosaic")
_found = jax.jit(trie_topk, static_argnums=(3, 4, 5))


def _inputs(shape, seed, legal, distinct, dtype=jnp.float32):
    """Logits with few distinct values, so that ties are many; some beams are dead."""
    b, k, c, _ = shape
    rng = np.random.default_rng(seed)
    bits = rng.random((b, k, -(-c // 32) * 32)) < legal
    words = np.packbits(bits, axis=-1, bitorder="little").view(np.uint32)
    offset = np.where(rng.random((b, k)) < 0.2, -np.inf, -rng.integers(0, 3, (b, k)))
    logits = rng.integers(-distinct, distinct, (b, k, c)) / 4
    inputs = jnp.asarray(logits, dtype), jnp.asarray(offset, jnp.float32), jnp.asarray(words)
    return inputs, bits[:, :, :c]


def _flat_top_k(logits, offset, legal, width):
    """The referee: top_k of the masked scores; places count only where a score is finite."""
    b, k, c = logits.shape
    scores = np.where(legal, offset[:, :, None] + np.asarray(logits, np.float32), -np.inf)
    best, place = jax.lax.top_k(jnp.asarray(scores.reshape(b, k * c)), min(width, k * c))
    return np.asarray(best), np.where(np.isfinite(best), place, 0)


def _assert_equals_referee(shape, inputs, legal, implementation):
    best, chosen = _found(*inputs, shape[3], implementation, True)
    values, place = _flat_top_k(*inputs[:2], legal, shape[3])
    assert (best.dtype, chosen.dtype) == (jnp.float32, jnp.int32)
    assert not np.isnan(best).any()
    assert (chosen >= 0).all()
    assert (chosen < shape[1] * shape[2]).all()
    np.testing.assert_array_equal(best, values)
    np.testing.assert_array_equal(np.where(np.isfinite(best), chosen, 0), place)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(_SHAPES),
    st.integers(0, 10**6),
    st.sampled_from([0.0, 0.01, 0.5, 1.0]),
    st.sampled_from([1, 3, 10**6]),
)
def test_equals_top_k_of_the_masked_scores(shape, seed, legal, distinct):
    inputs, legal = _inputs(shape, seed, legal, distinct)
    _assert_equals_referee(shape, inputs, legal, "xla")


@pytest.mark.parametrize("kernel", _KERNELS)
@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(_SHAPES[:3]),
    st.integers(0, 10**6),
    st.sampled_from([0.0, 0.05, 1.0]),
    st.sampled_from([1, 10**6]),
)
def test_kernels_equal_top_k_of_the_masked_scores(kernel, shape, seed, legal, distinct):
    inputs, legal = _inputs(shape, seed, legal, distinct)
    _assert_equals_referee(shape, inputs, legal, kernel)


@pytest.mark.parametrize("implementation", ("xla", *_KERNELS))
def test_bfloat16_logits_are_added_in_float32(implementation):
    shape = _SHAPES[0]
    inputs, legal = _inputs(shape, 1, 0.3, 100, jnp.bfloat16)
    inputs = inputs[0], inputs[1] + 1e-3, inputs[2]
    _assert_equals_referee(shape, inputs, legal, implementation)


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [*_SHAPES, (8, 50, 256, 50), (2, 256, 8192, 256)])
def test_triton_equals_top_k_of_the_masked_scores_on_a_gpu(shape):
    inputs, legal = _inputs(shape, 0, 0.1, 100)
    best, chosen = _found(*inputs, shape[3], "triton")
    values, place = _flat_top_k(*inputs[:2], legal, shape[3])
    np.testing.assert_array_equal(best, values)
    np.testing.assert_array_equal(np.where(np.isfinite(best), chosen, 0), place)


def test_bits_come_lowest_first():
    # Words 0b110 and 0b1: codes 1, 2 and 32 are legal.
    words = jnp.array([[6, 1]], jnp.uint32)
    np.testing.assert_array_equal(np.flatnonzero(unpack_bits(words, 40)[0]), [1, 2, 32])


def test_the_choice_says_what_runs_and_why():
    for platform in ("cpu", "cuda", "tpu"):
        choice = trie_topk_choice(platform)
        assert choice.implementation == "xla"
        assert "kernel" in choice.reason


def test_wrong_words_are_named():
    (logits, offset, words), _ = _inputs(_SHAPES[0], 0, 0.5, 5)
    with pytest.raises(ConfigError, match=r"uint32 \(2, 5, 8\).*got uint32 \(2, 5, 7\)"):
        trie_topk(logits, offset, words[:, :, :7], 3)
    with pytest.raises(ConfigError, match="width=0"):
        trie_topk(logits, offset, words, 0)
    with pytest.raises(ConfigError, match="no implementation 'cuda'"):
        trie_topk(logits, offset, words, 3, "cuda")
