"""The bias of items that were read, against brute force over the catalogue."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrec.runs.ranker import Asked
from jaxrec.systems.rpg import repeats
from jaxrec.systems.rpg.config import GraphConfig, NetworkConfig
from jaxrec.systems.rpg.network import FIXED, RpgNetwork, next_codes, rpg_loss
from jaxrec.systems.rpg.ranker import RpgRanker, make_graph
from jaxrec.systems.rpg.training import scores

ITEMS, LEVELS, SIZE, BIAS = 11, 3, 5, -0.4
CONFIG = NetworkConfig(
    width=8,
    depth=1,
    num_heads=2,
    mlp_width=12,
    max_items=4,
    dropout=0.0,
    attention_dropout=0.0,
    temperature=0.5,
    repeat_bias=True,
)
HISTORIES = [np.array(row, np.int32) for row in ([3, 1], [5, 0, 4, 2, 9], [10, 5, 5])]


def network(bias=BIAS):
    model = RpgNetwork(CONFIG, LEVELS, SIZE)
    codes = np.random.default_rng(0).integers(0, SIZE, (ITEMS, LEVELS))
    # Two items share all codes.
    codes[5] = codes[7]
    shape = jnp.asarray(codes)[None, :4], jnp.ones((1, 4), bool)
    init = nn.meta.unbox(model.init(jax.random.key(1), *shape))
    params = jax.tree.map(lambda x: 20 * x, init["params"])
    params["repeat"] = jnp.float32(bias)
    return model, {"params": params, FIXED: {"codes": jnp.asarray(codes, jnp.uint8)}}


def by_hand(model, variables, history):
    """Scores of all items after one history: mean log-probabilities, and the bias of read ones."""
    recent = history[-CONFIG.max_items :]
    padded = np.full((1, CONFIG.max_items), -1, np.int32)
    padded[0, len(padded[0]) - len(recent) :] = recent
    logs = np.asarray(next_codes(model, variables, padded))[0]
    codes = np.asarray(variables[FIXED]["codes"]).astype(int)
    found = logs[np.arange(LEVELS), codes].mean(1)
    found[np.unique(recent)] += 10 * float(variables["params"]["repeat"]) / LEVELS
    return found


def ranker(bias=BIAS, **more):
    model, variables = network(bias)
    return RpgRanker(network=model, variables=variables, config=GraphConfig(), **more)


@pytest.mark.parametrize("bias", [BIAS, 0.4])
def test_lists_and_scores_have_the_bias_of_every_read_item(bias):
    ranks = ranker(bias)
    asked = Asked(histories=HISTORIES)
    items, values = ranks.best(asked, ITEMS)
    expected = [by_hand(ranks.network, ranks.variables, history) for history in HISTORIES]
    order = [np.lexsort((np.arange(ITEMS), -row)) for row in expected]
    np.testing.assert_allclose(values, [-np.sort(-row) for row in expected], atol=1e-5)
    np.testing.assert_array_equal(items, order)
    # A short list is the beginning of a longer one.
    np.testing.assert_array_equal(ranks.best(asked, 3)[0], np.array(order)[:, :3])
    given = ranks.scores(asked, [np.arange(ITEMS)] * 3)
    np.testing.assert_allclose(given, expected, atol=1e-5)
    history = np.array([[-1, -1, -1, 3, 1], HISTORIES[1], [-1, -1, 10, 5, 5]])
    everything = jax.jit(scores, static_argnums=0)(
        ranks.network, ranks.variables, {"history": history}
    )
    np.testing.assert_allclose(everything, expected, atol=1e-5)


def test_read_items_may_be_left_out_or_not_be_allowed():
    ranks = ranker(0.4)
    excluded = [np.array([3], np.int32), np.array([0, 6], np.int32), np.array([], np.int32)]
    allowed = [np.array([1, 3, 8]), np.array([0, 2, 7]), np.array([5, 6])]
    asked = Asked(histories=HISTORIES, excluded=excluded, allowed=allowed)
    items, _ = ranks.best(asked, 3)
    for row, history in enumerate(HISTORIES):
        left = np.setdiff1d(allowed[row], excluded[row])
        given = by_hand(ranks.network, ranks.variables, history)[left]
        expected = left[np.argsort(-given, kind="stable")]
        assert items[row].tolist() == [*expected.tolist(), *[-1] * (3 - len(left))]


def test_a_walk_over_the_whole_graph_has_the_bias_too():
    ranks = ranker()
    settings = GraphConfig(edges=ITEMS, reverse=0, beams=2, steps=2, starts=4)
    graph = make_graph(settings, ranks.variables)
    walker = dataclasses.replace(ranks, ranking="graph", graph=graph, config=settings)
    asked = Asked(histories=HISTORIES)
    for found, expected in zip(walker.best(asked, 8), ranks.best(asked, 8), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_loss_adds_the_likelihood_of_the_next_item_and_teaches_the_bias_alone():
    model, variables = network()
    plain = model.clone(config=dataclasses.replace(CONFIG, repeat_bias=False))
    # The target of the last row was read before; the row before has none.
    rows = np.array([[-1, -1, 3, 1, 8], [5, 0, 4, 2, 9], [-1] * 5, [-1, 10, 5, 7, 10]], np.int32)

    def loss(network, params):
        given = {"params": params, FIXED: variables[FIXED]}
        found = rpg_loss(network, given, jnp.asarray(rows), jax.random.key(0))
        return found.total, found.weight

    run = jax.jit(jax.value_and_grad(loss, argnums=1, has_aux=True), static_argnums=0)
    (total, weight), slope = run(model, variables["params"])
    unbiased = {name: value for name, value in variables["params"].items() if name != "repeat"}
    (before, same), expected = run(plain, unbiased)
    assert int(weight) == int(same) == 9
    added = 0.0
    for row in rows[[0, 1, 3]]:
        read = row[:-1][row[:-1] >= 0]
        given = by_hand(model, variables, read) * LEVELS
        added += np.logaddexp.reduce(given) - given[row[-1]]
    assert float(total - before) == pytest.approx(added, rel=1e-4)
    assert abs(float(slope.pop("repeat"))) > 1e-2
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), slope, expected)


def test_draws_of_a_large_catalogue_estimate_the_sum_over_all_of_it(monkeypatch):
    rng = np.random.default_rng(2)
    codes = jnp.asarray(rng.integers(0, 16, (3000, 2)))
    table = jax.nn.log_softmax(jnp.asarray(rng.normal(size=(3, 2, 16)), jnp.float32))
    read = jnp.asarray(rng.integers(0, 3000, (3, 5)))
    given = jnp.float32(0.3), table, codes, read, jnp.asarray([7, 1, 20])
    exact = repeats.repeat_loss(*given, jax.random.key(0))
    monkeypatch.setattr(repeats, "_ITEMS", 1500)
    drawn = [repeats.repeat_loss(*given, jax.random.key(seed)) for seed in range(8)]
    assert 0 < np.std(drawn) < 0.2
    assert float(np.mean(drawn)) == pytest.approx(float(exact), abs=0.1)
