"""Lists whose items are generated one after the other, each appended to the history."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from jaxrec.core.compiles import CompileCounter
from jaxrec.decode import Prompts, Request, SearchOptions, next_items
from jaxrec.testing.brute_force import level_logits, make_case, score_of

PLACES = 4


def by_full_passes(case, user, barred):
    """The list by forward passes over the whole context for every item, and its scores."""
    items, scores = [], []
    tokens = np.asarray(case.tokens[user])
    for _ in range(PLACES):
        logits = level_logits(dataclasses.replace(case, tokens=jnp.asarray(tokens[None])))
        left = [i for i in range(case.items) if i not in barred and i not in items]
        if not left:
            break
        everything = np.ones(case.items, bool)
        score = {i: score_of(case, logits, 0, everything, i, "codes") for i in left}
        items.append(max(score, key=score.__getitem__))
        scores.append(score[items[-1]])
        # The room on the left is taken, so that all contexts have one shape.
        tokens = np.append(
            tokens[case.vocabulary.levels :], case.vocabulary.tokens(case.codes)[items[-1]]
        )
    return items, scores


def test_a_list_is_that_of_full_forward_passes_over_all_items():
    # A table of positions shows a wrong one where rotary ones would only see distances.
    case = make_case(4, (4, 3), 0.7, users=3, positions="learned")
    # Room on the left for all that is appended.
    room = PLACES * case.vocabulary.levels
    case = dataclasses.replace(case, tokens=jnp.pad(case.tokens, ((0, 0), (room, 0))))
    excluded = np.full((3, case.items), -1, np.int32)
    excluded[1, :2] = (3, 5)
    excluded[2, : case.items - 2] = np.arange(case.items - 2)
    found = next_items(
        case.model,
        case.params,
        case.catalogue,
        case.prompts,
        SearchOptions(beams=case.items),
        Request(excluded=jnp.asarray(excluded)),
        places=PLACES,
    )
    for user in range(3):
        items, scores = by_full_passes(case, user, set(excluded[user].tolist()))
        assert np.asarray(found.items[user]).tolist() == items + [-1] * (PLACES - len(items))
        np.testing.assert_allclose(found.scores[user, : len(items)], scores, atol=1e-4)
        assert np.isneginf(found.scores[user, len(items) :]).all()
    assert (np.asarray(found.items[2]) >= 0).sum() == 2


def test_a_greedy_list_holds_no_item_twice_and_other_users_compile_nothing():
    case = make_case(5, (6, 5), 0.8, users=3)

    def lists(tokens):
        return next_items(
            case.model,
            case.params,
            case.catalogue,
            Prompts(tokens=tokens),
            SearchOptions(beams=1),
            places=case.items,
        )

    items = np.asarray(lists(case.tokens).items)
    assert np.sort(items, axis=1).tolist() == [list(range(case.items))] * 3
    others = jnp.flip(case.tokens, axis=0)
    with CompileCounter() as counter:
        lists(others)
    assert counter.count == 0
