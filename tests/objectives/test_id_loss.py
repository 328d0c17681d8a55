import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core.mesh import MeshConfig, ShardingRules, make_mesh
from jaxrec.ids import IdVocabulary, write_histories
from jaxrec.models import CausalLM
from jaxrec.objectives import cross_entropy, id_loss, id_modeling
from jaxrec.testing import random_params, tiny_model
from jaxrec.train import TrainConfig, make_optimizer, make_state, make_step

SIZES = (4, 3, 5)
VOCABULARY = IdVocabulary(sizes=SIZES)
ITEMS = 8


def _codes():
    rng = np.random.default_rng(0)
    grid = np.stack(np.unravel_index(rng.permutation(60)[:ITEMS], SIZES), axis=1)
    return grid.astype(np.int32)


def _histories():
    rng = np.random.default_rng(1)
    return [rng.integers(0, ITEMS, n) for n in (4, 2, 0, 1, 6)]


def _setup(max_items=4, dropout=0.0):
    """A random model and a batch with padding, an empty history and a truncated history."""
    config = dataclasses.replace(tiny_model(VOCABULARY.size), dropout=dropout)
    model = CausalLM(config)
    tokens = write_histories(_histories(), VOCABULARY.tokens(_codes()), max_items)
    return model, random_params(model), jnp.asarray(tokens)


@functools.partial(jax.jit, static_argnums=0)
def _loss(model, params, tokens, key=None):
    return id_loss(model, params, tokens, key, vocabulary=VOCABULARY)


def _by_loops(torch, logits, tokens):
    """-log p of every code of every item, by torch, position by position; `[level, ...]`."""
    found = {level: [] for level in range(len(SIZES))}
    for row, history in enumerate(tokens):
        start = int(np.flatnonzero(history == 1)[0])
        for column in range(start + 1, len(history)):
            level = (column - start - 1) % len(SIZES)
            rows = VOCABULARY.level(level)
            scores = torch.tensor(np.asarray(logits[row, column - 1, rows]))
            code = torch.tensor(int(history[column]) - rows.start)
            found[level].append(torch.nn.functional.cross_entropy(scores, code))
    return found


def test_equals_torch_cross_entropy_position_by_position():
    torch = pytest.importorskip("torch")
    model, params, tokens = _setup()
    loss = _loss(model, params, tokens)
    logits = jax.jit(model.apply)(params, tokens[:, :-1], tokens[:, :-1] != 0)
    expected = _by_loops(torch, logits, np.asarray(tokens))
    for level in range(3):
        share = float(sum(expected[level]))
        assert float(loss.parts[f"loss/level_{level}"]) == pytest.approx(share, rel=1e-5)
    everything = float(sum(sum(part) for part in expected.values()))
    assert float(loss.total) == pytest.approx(everything, rel=1e-5)
    # histories of 4, 2, 0, 1 and 6 items, of which the last 4 have room
    assert float(loss.weight) == 4 + 2 + 0 + 1 + 4
    assert len(expected[0]) == 11


def test_the_loss_of_one_item_is_minus_the_log_of_its_probability():
    # p(item) by enumerating all IDs of the grid after the same history: a distribution over items.
    model, params, _ = _setup()
    tokens_of = VOCABULARY.tokens(np.stack(np.unravel_index(np.arange(60), SIZES), axis=1))
    history = [3, 17, 50]
    rows = write_histories([[*history, item] for item in range(60)], tokens_of, 4)
    before = write_histories([history], tokens_of, 4)
    loss = jax.jit(
        jax.vmap(lambda row: id_loss(model, params, row[None], None, vocabulary=VOCABULARY).total)
    )
    first = float(loss(jnp.asarray(before))[0])
    of_items = np.asarray(loss(jnp.asarray(rows)), np.float64) - first
    assert np.exp(-of_items).sum() == pytest.approx(1.0, abs=1e-4)
    assert of_items.std() > 0.1


def test_padding_and_bos_are_never_counted():
    model, params, tokens = _setup()
    found = _loss(model, params, tokens)
    wider = jnp.pad(tokens, ((0, 0), (6, 0)))
    padded = _loss(model, params, wider)
    assert float(padded.weight) == float(found.weight)
    assert float(padded.total) == pytest.approx(float(found.total), rel=1e-5)
    empty = _loss(model, params, tokens[2:3])
    assert (float(empty.total), float(empty.weight)) == (0.0, 0.0)
    assert np.asarray(tokens[2]).tolist() == [0] * 12 + [1]


def test_sums_of_single_rows_are_the_sums_of_the_batch():
    model, params, tokens = _setup()
    whole = _loss(model, params, tokens)
    rows = [_loss(model, params, tokens[n : n + 1]) for n in range(len(tokens))]
    total = jax.tree.map(lambda *leaves: sum(map(float, leaves)), *rows)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), whole, total)


def test_the_gradient_equals_finite_differences_along_random_directions():
    model, params, tokens = _setup()
    loss = jax.jit(lambda p: id_loss(model, p, tokens, None, vocabulary=VOCABULARY).total)
    gradient = jax.jit(jax.grad(loss))(params)
    rng = np.random.default_rng(3)
    leaves, tree = jax.tree.flatten(params)
    for at, leaf in enumerate(leaves):
        direction = rng.normal(size=leaf.shape)
        direction = jnp.asarray(direction / np.linalg.norm(direction), jnp.float32)
        step = 2e-2
        ends = [
            float(loss(tree.unflatten([*leaves[:at], leaf + sign * direction, *leaves[at + 1 :]])))
            for sign in (step, -step)
        ]
        slope = float((jax.tree.leaves(gradient)[at] * direction).sum())
        scale = float(jnp.linalg.norm(jax.tree.leaves(gradient)[at]))
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(slope, abs=0.01 * scale + 2e-3)
        assert scale > 0


def test_the_gradient_of_cross_entropy_equals_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    logits = (5 * rng.normal(size=(6, 9))).astype(np.float32)
    target = rng.integers(0, 9, 6)
    theirs = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(theirs, torch.tensor(target), reduction="none")
    loss.sum().backward()
    labels = jnp.asarray(target, jnp.int32)
    np.testing.assert_allclose(
        cross_entropy(jnp.asarray(logits), labels), loss.detach().numpy(), atol=1e-5
    )
    ours = jax.grad(lambda x: cross_entropy(x, labels).sum())(jnp.asarray(logits))
    np.testing.assert_allclose(ours, theirs.grad.numpy(), atol=1e-6)


def test_logits_in_the_thousands_stay_finite():
    logits = jnp.array([[4000.0, -4000.0], [-4000.0, 4000.0]])
    found = cross_entropy(logits, jnp.array([0, 0], jnp.int32))
    np.testing.assert_allclose(found, [0.0, 8000.0])


def test_a_key_turns_dropout_on():
    model, params, tokens = _setup(dropout=0.3)
    still, again = (float(_loss(model, params, tokens).total) for _ in range(2))
    one, other = (float(_loss(model, params, tokens, jax.random.key(n)).total) for n in range(2))
    assert still == again
    assert len({still, one, other}) == 3


def test_a_training_step_on_the_loss_calls_no_host():
    model, _, tokens = _setup(dropout=0.1)
    config = TrainConfig(steps=3, batch_size=len(tokens))
    mesh, rules, optimizer = make_mesh(MeshConfig()), ShardingRules(), make_optimizer(config)

    def loss(params, batch, key):
        return id_loss(model, params, batch, key, vocabulary=VOCABULARY)

    state = jax.eval_shape(
        lambda: make_state(
            lambda key: model.init(key, tokens, tokens != 0), optimizer, mesh, rules, config
        )
    )
    step = make_step(loss, optimizer, config, mesh, rules)
    assert "callback" not in step.lower(state, tokens).as_text()
    telltale = jax.jit(lambda x: jax.debug.print("{}", x)).lower(1.0).as_text()
    assert "callback" in telltale


def test_wide_levels_have_the_same_loss_and_gradient(monkeypatch):
    model, params, tokens = _setup()

    def value(wide):
        monkeypatch.setattr(id_modeling, "_WIDE", wide)

        def total(params):
            loss = id_loss(model, params, tokens, None, vocabulary=VOCABULARY)
            return loss.total, loss.parts

        return jax.jit(jax.value_and_grad(total, has_aux=True))(params)

    # The second level has 3 codes and stays narrow.
    (plain, parts), slope = value(100)
    (wide, wide_parts), wide_slope = value(4)
    np.testing.assert_allclose(wide, plain, rtol=1e-5)
    for name, part in parts.items():
        np.testing.assert_allclose(wide_parts[name], part, rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), slope, wide_slope
    )
