import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.kernels import grouped_top_k
from jaxrec.kernels.topk import GROUPED_FROM, group_size

# One shape of each kind, so that only these compile: [rows, N] and k, in groups and flat, N a
# multiple of the group's size and not.
_SHAPES = [((2, 4096), 3), ((3, 2049), 8), ((1, 777), 1), ((2, 300), 5), ((4, 7), 7)]
_found = jax.jit(grouped_top_k, static_argnums=1)
_expected = jax.jit(jax.lax.top_k, static_argnums=1)


def _assert_equals_flat(scores, k):
    best, place = _found(scores, k)
    values, index = _expected(scores, k)
    np.testing.assert_array_equal(best, values)
    np.testing.assert_array_equal(place, index)
    assert place.dtype == jnp.int32


def test_the_shapes_are_of_both_kinds():
    sizes = [group_size(shape[-1], k) for shape, k in _SHAPES]
    assert sizes[3:] == [None, None]
    assert all(size > 1 for size in sizes[:3])
    assert 2049 % sizes[1]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(_SHAPES),
    st.integers(0, 2**31 - 1),
    st.sampled_from([1, 2, 5, 10**6]),
    st.sampled_from([0.0, 0.5, 0.99, 1.0]),
)
def test_equals_the_flat_top_k_whatever_the_ties(case, seed, distinct, impossible):
    shape, k = case
    rng = np.random.default_rng(seed)
    scores = rng.integers(-distinct, distinct, size=shape).astype(np.float32)
    scores[rng.random(shape) < impossible] = -np.inf
    _assert_equals_flat(jnp.asarray(scores + 0.0), k)


def test_zeros_of_both_signs_are_equal():
    for shape, k in _SHAPES:
        rng = np.random.default_rng(527)
        zeros = rng.choice(
            np.float32([-np.inf, -0.0, 0.0, 1.0]), size=shape, p=[0.98, *[0.02 / 3] * 3]
        )
        best, place = (np.asarray(part) for part in _found(jnp.asarray(zeros), k))
        np.testing.assert_array_equal(best, -np.sort(-zeros, axis=1)[:, :k])
        np.testing.assert_array_equal(np.take_along_axis(zeros, place, axis=1), best)
        assert all(len(set(row)) == k for row in place.tolist())


@pytest.mark.parametrize("value", [-math.inf, math.inf, 0.0])
def test_equal_scores_come_in_order_of_their_places(value):
    for shape, k in _SHAPES:
        best, place = _found(jnp.full(shape, value), k)
        np.testing.assert_array_equal(best, np.full((shape[0], k), value, np.float32))
        np.testing.assert_array_equal(place, np.tile(np.arange(k), (shape[0], 1)))


def test_takes_any_number_of_leading_axes():
    scores = jax.random.normal(jax.random.key(0), (2, 3, GROUPED_FROM * 2))
    for many in (scores, scores[0, 0]):
        best, place = grouped_top_k(many, 2)
        values, index = jax.lax.top_k(many, 2)
        np.testing.assert_array_equal(best, values)
        np.testing.assert_array_equal(place, index)
