"""Virtual tokens in the recommender and in the objective over item IDs."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrec.core import ConfigError
from jaxrec.decode import Recommender
from jaxrec.ids import ItemCodes, write_histories
from jaxrec.models import ModelSpec
from jaxrec.objectives import id_loss
from jaxrec.peft import start, variables
from jaxrec.testing.brute_force import (
    MAX_ITEMS,
    level_logits,
    make_case,
    score_of,
    textbook_search,
)
from jaxrec.testing.tuned import METHODS

SIZES = (5, 4)
RELATIVE = {"positions": "relative", "relative_buckets": 8, "relative_distance": 10}


def _tuned(method, **flavour):
    """A decoder of `brute_force`, tuned."""
    case = make_case(0, SIZES, 0.7, **flavour)
    shapes = ModelSpec("causal", case.model.config).shapes()
    tuning = start(jax.random.key(0), shapes, case.params, METHODS[method])
    params = variables(nn.meta.unbox(tuning.trainable), tuning.frozen)
    return dataclasses.replace(case, params=params)


@pytest.mark.parametrize("method", ["prefix", "prompt"])
@pytest.mark.variants(1)
def test_the_recommender_puts_virtual_tokens_in_front_by_itself(method):
    case = _tuned(method, depth=5, **RELATIVE)
    codes = ItemCodes(codes=case.codes, sizes=case.vocabulary.sizes, scheme="random")
    settings = {"max_items": MAX_ITEMS, "beams": 7, "batch_size": 3}
    ours = Recommender(
        model=case.model, params=case.params, codes=codes, index=case.index, **settings
    )
    histories = [np.array(h, np.int32) for h in ([], [3], [1, 2, 0], [4, 4, 1, 2, 9])]
    tokens = write_histories(histories, case.vocabulary.tokens(case.codes), MAX_ITEMS)
    items, scores = ours.recommend(histories)
    read = dataclasses.replace(case, tokens=jnp.asarray(tokens))
    logits, everything = level_logits(read), np.ones(case.items, bool)
    for user in range(len(histories)):
        expected = textbook_search(read, logits, user, everything, 7, "codes")
        assert items[user].tolist() == [item for _, item in expected]
        np.testing.assert_allclose(scores[user], [score for score, _ in expected], atol=1e-4)


@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_the_objective_is_the_score_of_every_item_after_those_before_it(method):
    case = _tuned(method, depth=5, **RELATIVE)
    histories = [np.array(h, np.int32) for h in ([], [3], [1, 2, 0])]
    write = functools.partial(
        write_histories, item_tokens=case.vocabulary.tokens(case.codes), max_items=MAX_ITEMS
    )
    loss = functools.partial(id_loss, case.model, vocabulary=case.vocabulary)
    found = jax.jit(loss)(case.params, jnp.asarray(write(histories)), None)
    earlier = [(history[:i], item) for history in histories for i, item in enumerate(history)]
    before = dataclasses.replace(case, tokens=jnp.asarray(write([h for h, _ in earlier])))
    logits, everything = level_logits(before), np.ones(case.items, bool)
    expected = [
        -score_of(before, logits, row, everything, int(item), "codes")
        for row, (_, item) in enumerate(earlier)
    ]
    assert found.weight == len(expected) == 4
    np.testing.assert_allclose(found.total, sum(expected), rtol=1e-5)


def test_histories_that_leave_no_room_for_virtual_tokens_are_refused():
    case = _tuned("prompt", positions="learned", max_length=2 * MAX_ITEMS + 4)
    codes = ItemCodes(codes=case.codes, sizes=case.vocabulary.sizes, scheme="random")
    make = functools.partial(
        Recommender, codes=codes, index=case.index, max_items=MAX_ITEMS, beams=3
    )
    make(model=case.model, params={"params": case.params["params"]})
    with pytest.raises(ConfigError, match=r"max_items 4: 13 tokens.*max_length 12; lower max"):
        make(model=case.model, params=case.params)
    tokens = jnp.ones((1, 11), jnp.int32)
    with pytest.raises(ConfigError, match=r"histories: 13 tokens.*tune\.virtual_tokens"):
        id_loss(case.model, case.params, tokens, None, vocabulary=case.vocabulary)
