"""HSTU's layer against PyTorch, and what its attention can and cannot tell apart."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrec.nn import (
    HstuLayer,
    ScoreTerms,
    SelfContext,
    attention_mask,
    dot_product_attention,
    positions_of,
    time_buckets,
)

torch = pytest.importorskip("torch")

BATCH, LENGTH, WIDTH, HEADS, SIZE, LONGEST = 2, 5, 6, 2, 4, 7


def apply(layer, variables, x, mask, times, method="apply"):
    """A layer with its residual sum on whole rows; with "init", its parameters."""
    context = SelfContext(mask, causal=True)
    distance = context.distance(positions_of(jnp.ones(x.shape[:2], bool)))
    found = getattr(layer, method)(variables, x, context, distance, times)
    return found if method == "init" else x + found[0]


def jitted(layer):
    return jax.jit(functools.partial(apply, layer))


def layer_and_inputs(time_gaps=True):
    layer = HstuLayer(HEADS, SIZE, LONGEST, time_gaps)
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(BATCH, LENGTH, WIDTH)), jnp.float32)
    valid = jnp.asarray(np.arange(LENGTH)[None] >= np.array([0, 2])[:, None])
    times = jnp.asarray(np.cumsum(10 ** rng.uniform(0, 6, (BATCH, LENGTH)), axis=1), jnp.int32)
    mask = attention_mask(valid)
    shapes = jax.eval_shape(
        functools.partial(apply, layer, method="init"), jax.random.key(0), x, mask, times
    )
    leaves, tree = jax.tree.flatten(nn.meta.unbox(shapes))
    values = [jnp.asarray(rng.normal(size=leaf.shape) * 0.5, jnp.float32) for leaf in leaves]
    return layer, tree.unflatten(values), x, mask, times, valid


def in_torch(params, x, times, time_gaps):
    """The equations of the paper for one row without padding, number by number: [n, D]."""
    p = jax.tree.map(lambda a: torch.tensor(np.asarray(a)), params["params"])
    x = torch.tensor(np.asarray(x))
    n = len(x)

    def norm(y, name):
        return torch.nn.functional.layer_norm(
            y, y.shape[-1:], p[name]["scale"], p[name]["bias"], eps=1e-6
        )

    mixed = torch.nn.functional.silu(norm(x, "input_norm") @ p["mix"]["kernel"])
    u, v, q, k = mixed.split(HEADS * SIZE, dim=-1)
    out = torch.zeros(n, HEADS * SIZE)
    for head in range(HEADS):
        part = slice(head * SIZE, (head + 1) * SIZE)
        for i in range(n):
            for j in range(i + 1):
                score = q[i, part] @ k[j, part] + p["position"][i - j]
                if time_gaps and min(times[i], times[j]) >= 0:
                    gap = abs(int(times[i]) - int(times[j]))
                    bucket = int(np.floor(np.log(max(1, gap)) / 0.301))
                    score = score + p["time"][bucket]
                out[i, part] += torch.nn.functional.silu(score) / LONGEST * v[j, part]
    return (norm(out, "value_norm") * u) @ p["out"]["kernel"] + p["out"]["bias"] + x


@pytest.mark.parametrize("time_gaps", [True, False])
def test_the_layer_is_that_of_the_equations_on_each_row_without_its_padding(time_gaps):
    layer, params, x, mask, times, valid = layer_and_inputs(time_gaps)
    found = jitted(layer)(params, x, mask, times)
    for row in range(BATCH):
        shown = np.asarray(valid[row])
        expected = in_torch(params, x[row][shown], times[row][shown], time_gaps)
        np.testing.assert_allclose(found[row][shown], expected.numpy(), atol=1e-5)


def test_gaps_to_an_unknown_time_have_no_bias():
    layer, params, x, mask, times, _ = layer_and_inputs()
    run = jitted(layer)
    times = times.at[0, 2].set(-1)
    found = run(params, x, mask, times)[0]
    np.testing.assert_allclose(found, in_torch(params, x[0], times[0], True).numpy(), atol=1e-5)
    none = jnp.full_like(times, -1)
    np.testing.assert_allclose(run(params, x, mask, none), run(params, x, mask, None), atol=1e-6)


def test_a_shift_of_all_times_changes_nothing_and_another_gap_does():
    layer, params, x, mask, times, _ = layer_and_inputs()
    run = jitted(layer)
    found = run(params, x, mask, times)
    np.testing.assert_array_equal(found, run(params, x, mask, times + 123_456))
    other = run(params, x, mask, times.at[:, 2:].add(10**7))
    assert np.abs(found - other)[:, 2:].max() > 1e-3
    np.testing.assert_array_equal(found[:, :2], other[:, :2])


def test_no_state_depends_on_later_items_or_their_times():
    layer, params, x, mask, times, _ = layer_and_inputs()
    run = jitted(layer)
    found = run(params, x, mask, times)
    other = run(params, x.at[:, 3:].add(1.0), mask, times.at[:, 3:].add(10**6))
    np.testing.assert_array_equal(found[:, :3], other[:, :3])
    assert np.abs(found - other)[:, 3:].min() > 0


def test_three_times_the_same_item_weigh_three_times_as_much_as_one():
    rng = np.random.default_rng(1)
    query, item, value = (rng.normal(size=(1, 1, HEADS, SIZE)).astype("f4") for _ in range(3))

    def attend(count, softmax):
        keys, values = np.tile(item, (1, count, 1, 1)), np.tile(value, (1, count, 1, 1))
        if softmax:
            return jax.nn.dot_product_attention(query, keys, values)
        terms = ScoreTerms(pointwise=9)
        return dot_product_attention(query, keys, values, jnp.ones((1, 1, count), bool), terms)

    np.testing.assert_allclose(attend(3, False), 3 * attend(1, False), rtol=1e-5)
    assert np.abs(attend(1, False)).max() > 1e-3
    # What a softmax cannot tell.
    np.testing.assert_allclose(attend(3, True), attend(1, True), rtol=1e-5)


def test_buckets_of_time_are_those_of_the_published_code():
    gaps = np.array([0, 1, 2, 3, 60, 3600, 86_400, -86_400, 2**31 - 1])
    theirs = (torch.log(torch.abs(torch.tensor(gaps)).clamp(min=1).float()) / 0.301).long()
    np.testing.assert_array_equal(time_buckets(jnp.asarray(gaps, jnp.int32)), theirs.numpy())
    assert int(time_buckets(jnp.int32(10**6), 5)) == 4
