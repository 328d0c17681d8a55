"""Packed histories have the same loss and gradients as histories in separate rows."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.data import Packing, Windows, packed_batches
from jaxrec.ids import IdVocabulary, write_histories
from jaxrec.models import CausalLM
from jaxrec.objectives import id_loss
from jaxrec.testing import random_params, tiny_model

ITEMS, ROW = 50, 9
FLAVOURS = {
    "rope": {},
    "learned": {"positions": "learned"},
    "relative": {"positions": "relative", "relative_buckets": 8, "relative_distance": 20},
    "window": {"window": 4},
    "hstu": {"block": "hstu", "mlp_width": None},
}


def _case(sizes=(4, 3, 5), **flavour):
    vocabulary = IdVocabulary(sizes=sizes)
    model = CausalLM(dataclasses.replace(tiny_model(vocabulary.size, depth=2), **flavour))
    grid = np.random.default_rng(0).permutation(int(np.prod(sizes)))[:ITEMS]
    codes = np.stack(np.unravel_index(grid, sizes), axis=1).astype(np.int32)
    return vocabulary, model, random_params(model), vocabulary.tokens(codes)


def _histories(lengths=(9, 1, 2, 7, 4, 4, 5, 3, 6, 1)):
    rng = np.random.default_rng(1)
    return [rng.integers(0, ITEMS, length).astype(np.int32) for length in lengths]


def _packed(histories, tokens_of):
    """Pack all histories into rows with the data pipeline."""
    packing = Packing(Windows.of(histories, length=ROW, seed=0), ROW)
    data = packed_batches(
        packing, batch_size=packing.per_epoch, encode=lambda items, _: {"tokens": tokens_of[items]}
    )
    batch = next(iter(data))
    assert batch["segments"].max() > 1 and (batch["segments"] < 0).any()
    return jnp.asarray(batch["tokens"]), jnp.asarray(batch["segments"])


def _with_gradient(model, vocabulary):
    def total(params, tokens, segments=None):
        loss = id_loss(model, params, tokens, None, vocabulary=vocabulary, segments=segments)
        return loss.total, loss

    return jax.jit(jax.value_and_grad(total, has_aux=True))


def _assert_equal(ours, theirs, rtol=1e-5):
    def close(a, b):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * float(jnp.abs(b).max()))

    jax.tree.map(close, ours, theirs)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.variants(2)
def test_loss_and_gradients_equal_those_of_a_row_each(flavour):
    vocabulary, model, params, tokens_of = _case(**FLAVOURS[flavour])
    histories, run = _histories(), _with_gradient(model, vocabulary)
    apart = jnp.asarray(write_histories(histories, tokens_of, ROW))
    (_, expected), gradient = run(params, apart)
    (_, found), packed = run(params, *_packed(histories, tokens_of))
    assert float(found.weight) == float(expected.weight) == sum(map(len, histories))
    _assert_equal(found, expected)
    _assert_equal(packed, gradient, 1e-4)
    # The parts that tell positions and neighbours apart do matter here.
    assert all(float(jnp.abs(leaf).max()) > 1e-3 for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("flavour", ["rope", "learned", "hstu"])
@pytest.mark.variants(2)
def test_histories_that_saw_one_another_would_differ(flavour):
    # What the equality above can tell: one segment a row is what packing must not be.
    vocabulary, model, params, tokens_of = _case(**FLAVOURS[flavour])
    run = _with_gradient(model, vocabulary)
    tokens, segments = _packed(_histories(), tokens_of)
    (total, _), _ = run(params, tokens, segments)
    (merged, _), _ = run(params, tokens, jnp.minimum(segments, 0))
    assert abs(float(total) - float(merged)) > 1e-3 * float(total)


def test_another_history_in_the_row_changes_nothing():
    vocabulary, model, params, tokens_of = _case()
    own, company = tokens_of[[3, 1, 4]], [tokens_of[[7, 7, 2, 9]], tokens_of[[11, 30, 5, 8]]]
    segments = jnp.asarray([[0] * 4 + [1] * 3 + [-1] * 2], jnp.int32)

    def loss_of(others):
        row = jnp.asarray(np.concatenate([others, own, np.zeros((2, 3), np.int32)])[None])
        alone = jnp.asarray(np.concatenate([others, np.zeros((5, 3), np.int32)])[None])
        both, one = (
            id_loss(model, params, tokens, None, vocabulary=vocabulary, segments=of).total
            for tokens, of in ((row, segments), (alone, jnp.where(segments == 1, -1, segments)))
        )
        return float(both) - float(one)

    first, second = (loss_of(others) for others in company)
    row = jnp.asarray(write_histories([[3, 1, 4]], tokens_of, ROW))
    expected = float(id_loss(model, params, row, None, vocabulary=vocabulary).total)
    assert first == pytest.approx(expected, rel=1e-5)
    assert second == pytest.approx(expected, rel=1e-5)


def test_ids_of_one_level():
    vocabulary, model, params, tokens_of = _case(sizes=(ITEMS,), positions="learned")
    histories, run = _histories(), _with_gradient(model, vocabulary)
    apart = jnp.asarray(write_histories(histories, tokens_of, ROW))
    (_, expected), gradient = run(params, apart)
    (_, found), packed = run(params, *_packed(histories, tokens_of))
    _assert_equal(found, expected)
    _assert_equal(packed, gradient, 1e-4)


def test_a_row_of_padding_adds_nothing():
    vocabulary, model, params, tokens_of = _case()
    run = _with_gradient(model, vocabulary)
    tokens, segments = _packed(_histories(), tokens_of)
    (_, expected), gradient = run(params, tokens, segments)
    tokens = jnp.pad(tokens, ((0, 1), (0, 0), (0, 0)))
    segments = jnp.pad(segments, ((0, 1), (0, 0)), constant_values=-1)
    (_, found), padded = run(params, tokens, segments)
    _assert_equal(found, expected)
    _assert_equal(padded, gradient)


def test_softmaxes_run_over_one_level_each():
    # The cost that alignment saves: no product with the rows of the whole vocabulary.
    vocabulary, model, params, tokens_of = _case(sizes=(40, 30, 50))
    tokens, segments = _packed(_histories(), tokens_of)

    def loss(params):
        return id_loss(model, params, tokens, None, vocabulary=vocabulary, segments=segments).total

    def widths(jaxpr):
        for equation in jaxpr.eqns:
            for out in equation.outvars:
                yield from out.aval.shape[-1:] if equation.primitive.name == "dot_general" else ()
            for value in jax.tree.leaves(
                equation.params, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")
            ):
                inner = getattr(value, "jaxpr", value)
                if hasattr(inner, "eqns"):
                    yield from widths(inner)

    found = set(widths(jax.make_jaxpr(loss)(params).jaxpr))
    assert {40, 30, 50} <= found and vocabulary.size not in found
