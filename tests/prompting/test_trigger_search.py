"""AutoPrompt's scores against differences of real losses, and its steps against brute force."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.models import ModelSpec
from jaxrec.objectives import language_loss
from jaxrec.prompting import TriggerModel, TriggerOptions, replacement_scores, search_triggers
from jaxrec.testing import random_params, tiny_model

V, P, B, T = 12, 3, 4, 7
# Trigger places 1 to 3, answers at the end of texts of different lengths.
PLACES = slice(1, 1 + P)


@pytest.fixture(scope="module")
def model():
    shape = dataclasses.replace(tiny_model(), vocab_size=V, embedding_scale=2.0)
    spec = ModelSpec("causal", shape)
    params = random_params(spec.build())
    # Larger embeddings: the loss depends visibly on each token.
    return TriggerModel(spec, jax.tree.map(lambda x: 1.5 * x, params))


def _batch(seed=0, rows=B):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, V, (rows, T)).astype(np.int32)
    tokens[:, PLACES] = V + np.arange(P)
    lengths = rng.integers(P + 3, T + 1, rows)
    valid = np.arange(T)[None] < lengths[:, None]
    weights = (np.arange(T)[None] == lengths[:, None] - 1).astype(np.float32)
    return {"tokens": tokens, "valid": valid, "weights": weights}


def _true_loss(model, prompt, batch):
    """The loss with the tokens themselves in the text, by the model without any virtual token."""
    tokens = np.array(batch["tokens"])
    tokens[:, PLACES] = prompt
    found = language_loss(model.spec.build(), model.params, batch | {"tokens": tokens}, None)
    return float(found.total / found.weight)


def test_trigger_places_read_as_the_tokens_themselves(model):
    batch, prompts = _batch(), jnp.array([[3, 5, 8], [1, 1, 11]], jnp.int32)
    found = model.losses(model.params, model.table, prompts, batch)
    expected = [_true_loss(model, prompt, batch) for prompt in prompts.tolist()]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert abs(expected[0] - expected[1]) > 1e-2


def test_scores_are_the_slopes_of_the_loss_toward_each_token(model):
    """Central differences of the loss, on the way from each token to each other one."""
    batch, tokens = _batch(), jnp.array([3, 5, 8], jnp.int32)
    scores = np.asarray(model.scores(model.params, model.table, tokens, batch))
    here = jnp.take(model.table, tokens, axis=0)
    loss = jax.jit(lambda vectors: model.loss(model.params, vectors, batch))
    step = 1e-2
    for place, token in itertools.product(range(P), range(V)):
        toward = jnp.zeros_like(here).at[place].set(model.table[token] - here[place])
        slope = (loss(here + step * toward) - loss(here - step * toward)) / (2 * step)
        assert scores[place, token] == pytest.approx(float(slope), abs=2e-3)
    assert np.ptp(scores) > 0.1
    np.testing.assert_allclose(scores[np.arange(P), tokens], 0, atol=1e-6)


def test_scores_by_hand():
    gradient = jnp.array([[1.0, 2.0], [0.0, -1.0]])
    table = jnp.array([[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]])
    found = replacement_scores(gradient, table, jnp.array([0, 2]))
    np.testing.assert_allclose(found, [[0, 1, 7], [3, 2, 0]])


def _brute_force(model, tokens, place, batch):
    losses = []
    for token in range(V):
        changed = [*tokens[:place], token, *tokens[place + 1 :]]
        losses.append(_true_loss(model, changed, batch))
    return losses


def test_with_all_tokens_as_candidates_a_step_finds_the_best_replacement(model):
    batch, prompts = _batch(), np.random.default_rng(0).integers(0, V, (40, P)).astype(np.int32)
    losses = model.losses(model.params, model.table, jnp.asarray(prompts), batch)
    start = tuple(prompts[int(np.argmax(losses))].tolist())
    options = TriggerOptions(steps=6, candidates=V - 1, seed=1)
    kept = search_triggers(model, itertools.repeat(batch), start, np.ones(V, bool), options)
    places = np.random.default_rng(1).integers(P, size=6).tolist()
    assert len(kept) > 2
    tokens, by_step = start, {step.step: step for step in kept[1:]}
    for number, place in enumerate(places, start=1):
        losses = _brute_force(model, tokens, place, batch)
        now, best = losses[tokens[place]], int(np.argmin(losses))
        if number in by_step:
            step = by_step[number]
            assert step.tokens == (*tokens[:place], best, *tokens[place + 1 :])
            assert (step.before, step.after) == pytest.approx((now, losses[best]), abs=1e-5)
            tokens = step.tokens
        else:
            assert min(losses) == pytest.approx(now, abs=1e-5)


def test_only_allowed_and_accepted_tokens_are_tried(model):
    seen = []

    def accept(tokens):
        seen.append(tokens)
        return tokens[0] != 7 and tokens[1] % 2

    allowed = np.arange(V) > 3
    options = TriggerOptions(steps=8, candidates=3, seed=0)
    batches = itertools.cycle([_batch(1), _batch(2)])
    kept = search_triggers(model, batches, (4, 5, 4), allowed, options, accept)
    assert kept[0].tokens == (4, 5, 4)
    assert len(kept) > 1
    for step in kept[1:]:
        assert accept(step.tokens)
        assert all(token > 3 for token in step.tokens)
        assert step.after < step.before
    assert all(token > 3 for tokens in seen for token in tokens)


def test_the_gradient_and_the_trial_read_different_batches(model):
    drawn = []

    def batches():
        for seed in itertools.count():
            drawn.append(seed)
            yield _batch(seed)

    search_triggers(
        model, batches(), (1, 2, 3), np.ones(V, bool), TriggerOptions(steps=3, candidates=4)
    )
    assert drawn == list(range(6))


def test_what_cannot_be_searched_is_refused(model):
    batches, every = itertools.repeat(_batch()), np.ones(V, bool)
    with pytest.raises(ConfigError, match="at least one trigger place"):
        search_triggers(model, batches, (), every, TriggerOptions())
    with pytest.raises(ConfigError, match="12 tokens are allowed, fewer than candidates 16"):
        search_triggers(model, batches, (1,), every, TriggerOptions())
    with pytest.raises(ConfigError, match="needs a causal model, got masked"):
        TriggerModel(ModelSpec("masked", tiny_model()), {})
    with pytest.raises(ConfigError, match="without a tuned prompt"):
        TriggerModel(model.spec, {**model.params, "tuned": {}})
    with pytest.raises(ConfigError, match="steps must be at least 1"):
        TriggerOptions(steps=0)
