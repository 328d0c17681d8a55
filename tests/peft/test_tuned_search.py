"""Tuned models search for items as brute force says, and learn from what they search."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrec.decode import ReadOptions, SearchOptions, beam_search
from jaxrec.models import ModelSpec
from jaxrec.peft import merge, route, start, variables, virtual_of
from jaxrec.testing.brute_force import (
    KINDS,
    level_logits,
    make_case,
    textbook_search,
)
from jaxrec.testing.tuned import METHODS, shaken

pytestmark = pytest.mark.slow

SIZES = (5, 4)
RELATIVE = {"positions": "relative", "relative_buckets": 8, "relative_distance": 10}
# Each kind and each method once in every run, the rest in long ones.
FIRST = {
    ("causal", "lora"),
    ("prefix", "prompt"),
    ("causal", "prefix"),
    ("encoder-decoder", "prefix"),
    ("encoder-decoder", "prompt"),
}
EVERY = [
    pytest.param(*pair, marks=() if pair in FIRST else pytest.mark.slow)
    for pair in itertools.product(KINDS, METHODS)
]


def _case(kind, method, seed=0, users=4, **options):
    """A case of `brute_force`, its layers scanned, tuned."""
    case = make_case(seed, SIZES, 0.7, users=users, kind=kind, depth=5, **RELATIVE)
    return _tuned(case, dataclasses.replace(METHODS[method], **options), seed)


def _spec(case):
    kind = "encoder_decoder" if case.kind == "encoder-decoder" else "causal"
    return ModelSpec(kind, case.model.config)


def _tuned(case, config, seed=0):
    tuning = start(jax.random.key(seed), _spec(case).shapes(), case.params, config)
    trainable = shaken(nn.meta.unbox(tuning.trainable), 0.1, seed)
    return dataclasses.replace(case, params=variables(trainable, tuning.frozen))


def _search(case, beams, users=1, **rows):
    found = beam_search(
        case.model,
        case.params,
        case.catalogue,
        dataclasses.replace(case.prompts, **rows),
        SearchOptions(beams=beams),
        reading=ReadOptions(users=users),
    )
    return np.asarray(found.items), np.asarray(found.scores)


def _check(case, items, scores, beams):
    logits, everything = level_logits(case), np.ones(case.items, bool)
    for user in range(len(case.tokens)):
        expected = textbook_search(case, logits, user, everything, beams, "codes")
        assert items[user].tolist() == [item for _, item in expected]
        np.testing.assert_allclose(scores[user], [score for score, _ in expected], atol=1e-4)


@pytest.mark.parametrize(("kind", "method"), EVERY)
@pytest.mark.variants(2)
def test_a_tuned_model_searches_like_brute_force(kind, method):
    case = _case(kind, method)
    items, scores = _search(case, 7)
    _check(case, items, scores, 7)


def test_an_encoder_with_a_prefix_hands_its_virtual_states_to_nobody():
    case = _case("encoder-decoder", "prefix", prefix_encoder=True)
    assert virtual_of(case.params).read == virtual_of(case.params).written == 3
    items, scores = _search(case, 5)
    _check(case, items, scores, 5)


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("causal", "prompt"),
        ("encoder-decoder", "prefix"),
        pytest.param("causal", "prefix", marks=pytest.mark.slow),
        pytest.param("encoder-decoder", "prompt", marks=pytest.mark.slow),
    ],
)
@pytest.mark.variants(1)
def test_users_packed_into_a_row_have_virtual_tokens_of_their_own(kind, method):
    case = _case(kind, method, users=6)
    alone = _search(case, 7)
    rows, segments = [], []
    for row in np.asarray(case.tokens).reshape(2, 3, -1):
        own = [user[user != 0] for user in row]
        rows.append(np.concatenate(own))
        segments.append(np.repeat(np.arange(3), [len(user) for user in own]))
    length = max(map(len, rows))
    tokens = np.stack([np.pad(row, (0, length - len(row))) for row in rows])
    numbers = np.stack([np.pad(row, (0, length - len(row)), constant_values=9) for row in segments])
    rows = {"tokens": jnp.asarray(tokens), "segments": jnp.asarray(numbers, jnp.int32)}
    found = _search(case, 7, users=3, **rows)
    np.testing.assert_array_equal(found[0], alone[0])
    np.testing.assert_allclose(found[1], alone[1], atol=1e-4)


def test_lora_searches_like_the_merged_model():
    case = _case("causal", "lora")
    params = merge(case.params["params"], case.params["tuned"], _spec(case))
    merged = _search(dataclasses.replace(case, params={"params": params}), 7)
    found = _search(case, 7)
    np.testing.assert_array_equal(found[0], merged[0])
    np.testing.assert_allclose(found[1], merged[1], atol=1e-5)


def test_users_with_adapters_of_their_own_are_searched_in_one_pass():
    case = _case("causal", "lora")
    tuned = [case.params["tuned"], shaken(case.params["tuned"], 0.2, seed=7)]
    base = {"params": case.params["params"]}
    choice = np.array([1, 0, 0, 1], np.int32)
    routed = {**base, "tuned": route(tuned, jnp.asarray(choice))}
    items, scores = _search(dataclasses.replace(case, params=routed), 7)
    for number in (0, 1):
        alone = _search(dataclasses.replace(case, params={**base, "tuned": tuned[number]}), 7)
        mine = choice == number
        np.testing.assert_array_equal(items[mine], alone[0][mine])
        np.testing.assert_allclose(scores[mine], alone[1][mine], atol=1e-5)
