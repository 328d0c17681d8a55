"""Exact ranking of items by their codes, against numpy, with ties and excluded items."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.decode import code_scores, exact_top, own_scores

USERS, ITEMS, LEVELS, SIZE = 3, 23, 4, 5


def case(seed=0, whole=False):
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(USERS, LEVELS, SIZE)).astype(np.float32)
    if whole:
        table = np.round(table)  # many equal scores, whose sums are exact
    return table, rng.integers(0, SIZE, (ITEMS, LEVELS))


def by_hand(table, codes):
    """Scores [B, I] as the formula is read."""
    return np.array(
        [[np.mean([t[place, c] for place, c in enumerate(item)]) for item in codes] for t in table]
    )


def test_scores_are_the_mean_over_the_places():
    table, codes = case()
    expected = by_hand(table, codes)
    np.testing.assert_allclose(code_scores(jnp.asarray(table), jnp.asarray(codes)), expected, 1e-5)
    own = np.random.default_rng(1).integers(0, ITEMS, (USERS, 6))
    found = own_scores(jnp.asarray(table), jnp.asarray(codes[own], jnp.uint8))
    np.testing.assert_allclose(found, np.take_along_axis(expected, own, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("chunk", [1, 7, 23, 100])
def test_chunks_of_any_size_give_the_stable_ranking_without_what_is_left_out(chunk):
    table, codes = case(whole=True)
    excluded = np.array([[0, 22, -1, 9], [-1, -1, -1, -1], [5, 6, 7, 8]], np.int32)
    allowed = np.random.default_rng(2).random((USERS, ITEMS)) < 0.8
    scores = by_hand(table, codes)
    scores[~allowed] = -np.inf
    for row, out in zip(scores, excluded, strict=True):
        row[out[out >= 0]] = -np.inf
    items, values = exact_top(
        jnp.asarray(table),
        jnp.asarray(codes, jnp.uint8),
        ITEMS if chunk > 20 else 5,
        jnp.asarray(excluded),
        jnp.asarray(allowed),
        chunk=chunk,
    )
    order = np.argsort(-scores, axis=1, kind="stable")[:, : items.shape[1]]
    expected = np.take_along_axis(scores, order, 1)
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    np.testing.assert_array_equal(items, np.where(np.isneginf(expected), -1, order))


def test_no_array_has_a_place_for_every_user_and_item():
    table, codes = jnp.zeros((16, 2, 4)), jnp.zeros((4096, 2), jnp.uint8)
    run = lambda t, c: exact_top(t, c, 4, chunk=64)  # noqa: E731
    sizes = [
        variable.aval.size
        for equation in _equations(jax.make_jaxpr(run)(table, codes).jaxpr)
        for variable in equation.outvars
        if hasattr(variable.aval, "size")
    ]
    assert max(sizes) < 16 * 4096


def _equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _equations(inner)
