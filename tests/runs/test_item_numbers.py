"""Item numbers and masks from outside: one rule at every entry."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.baselines import cooccurrence, item_knn, markov, mf_als
from jaxrec.core import ConfigError, DataError, check_mask, check_numbers, present
from jaxrec.decode import Recommender, Request
from jaxrec.eval import Catalogue, list_metrics, list_quality, seen_mask, tied_blocks, top_lists
from jaxrec.ids import ItemIndex, simple, write_histories
from jaxrec.runs import RecommendRequest, best_of_all
from jaxrec.testing.brute_force import make_case

ITEMS = 6


def test_numbers_are_refused_by_row():
    check_numbers([[0, 5], [], [-1]], ITEMS, "history")
    check_numbers(np.array([[0, 5], [-1, 2]]), ITEMS, "history")
    for rows in ([[0], [], [1, 6]], np.array([[0, 1], [2, 3], [6, 1]])):
        with pytest.raises(DataError, match=r"history: row 2 holds 6, which is not in 0\.\.5"):
            check_numbers(rows, ITEMS, "history")
    with pytest.raises(DataError, match="row 0 holds -2"):
        check_numbers([-2], ITEMS, "history")
    with pytest.raises(DataError, match="row 1 holds -1"):
        check_numbers(np.array([0, -1]), ITEMS, "target", missing=False)
    for mask in (np.ones((2, 6), bool), jnp.ones((2, 6), bool), np.ones(3)):
        with pytest.raises(DataError, match="expected whole numbers"):
            check_numbers(mask, ITEMS, "history")
    assert present(np.array([3, -1, 0])).tolist() == [3, 0]


def test_masks_of_another_shape_or_type_are_refused():
    check_mask(jnp.ones((2, 6), bool), (None, 6), "allowed")
    for mask in (np.ones((2, 5), bool), np.ones((2, 6), int), np.ones(6, bool)):
        with pytest.raises(ConfigError, match=r"allowed: expected bool \[any, 6\]"):
            check_mask(mask, (None, 6), "allowed")


@pytest.fixture(scope="module")
def recommender():
    case, codes = make_case(0, sizes=(ITEMS,), share=1.0), simple.independent(ITEMS)
    return Recommender(
        model=case.model,
        params=case.params,
        codes=codes,
        index=ItemIndex.build(codes),
        max_items=4,
        beams=ITEMS,
        batch_size=2,
    )


def entries(recommender):
    """Every entry that takes item numbers, as a function of the padded histories of two users."""
    rng = np.random.default_rng(0)
    train = [rng.permutation(ITEMS) for _ in range(9)]
    tokens_of, scores = np.arange(2 * ITEMS).reshape(ITEMS, 2) + 2, rng.random((2, ITEMS))

    def knn(history):
        return item_knn.scores(item_knn.fit(train, ITEMS), {"history": history})

    def followers(history):
        return cooccurrence.scores(cooccurrence.fit(train, ITEMS), {"history": history})

    def chain(history):
        return markov.scores(markov.fit(train, ITEMS), {"history": history})

    def factors(history):
        params = mf_als.fit(train, ITEMS, width=2, iterations=1)
        return mf_als.scores(params, {"history": history})

    def lists(history):
        return top_lists(lambda _: scores, [{"seen": history}], 3)

    def best(history):
        request = RecommendRequest("u")
        return [
            [r.item for r in best_of_all(request, list("abcdef"), row, s, "score").items]
            for row, s in zip(history, scores, strict=True)
        ]

    def quality(history):
        answer = list_quality(np.zeros((2, 1), int), Catalogue(np.arange(ITEMS)), history)
        return answer["popularity_lift"]

    return {
        "write_histories": lambda h: write_histories(h, tokens_of, 4),
        "recommend": lambda h: recommender.recommend(h)[1],
        "excluded": lambda h: recommender.recommend([[0], [1]], h)[0],
        "exclude": lambda h: recommender.index.exclude(h),
        "request": lambda h: [Request(excluded=h).check(ITEMS, 2) is None],
        "seen_mask": lambda h: seen_mask(h, ITEMS),
        "top_lists": lists,
        "item_knn": knn,
        "cooccurrence": followers,
        "markov": chain,
        "als": factors,
        "best_of_all": best,
        "list_quality": quality,
    }


NAMES = (
    *("write_histories", "recommend", "excluded", "exclude", "request", "seen_mask", "top_lists"),
    *("item_knn", "cooccurrence", "markov", "als", "best_of_all", "list_quality"),
)


@pytest.mark.parametrize("name", NAMES)
def test_entry_refuses_numbers_outside_the_catalogue_and_ignores_missing_ones(name, recommender):
    call = entries(recommender)[name]
    for wrong in (ITEMS, 99, -2):
        with pytest.raises(DataError, match=rf"row 1 holds {wrong}|row 0 holds {wrong}"):
            call(np.array([[-1, 2], [wrong, 1]]))
    wide, narrow = call(np.array([[-1, 2], [-1, 1]])), call(np.array([[2], [1]]))
    if name != "exclude":  # one column for each number
        for one, other in zip(np.atleast_1d(wide), np.atleast_1d(narrow), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)


def test_numbers_in_a_traced_program_are_ignored_like_missing_ones(recommender):
    # The last item must stay: clipping would read 6 and 99 as item 5.
    index = recommender.index
    dead = index.exclude(jnp.array([2, ITEMS, 99, -1], jnp.int32))[0]
    legal = index.legal(0, jnp.zeros((1,), jnp.int32), dead)
    assert legal[0].tolist() == [True, True, False, True, True, True]
    params = mf_als.fit([np.arange(ITEMS)], ITEMS, width=2, iterations=1)
    history = jnp.array([[2, ITEMS]])
    alone = mf_als.scores(params, {"history": jnp.array([[2, -1]])})
    np.testing.assert_array_equal(mf_als.scores(params, {"history": history}), alone)
    mask = seen_mask(history, ITEMS)
    assert np.flatnonzero(mask[0]).tolist() == [2]


def test_masks_of_another_width_are_refused_at_every_entry(recommender):
    index = recommender.index
    for mask in (jnp.ones((2, ITEMS - 1), bool), jnp.ones((2, ITEMS + 1), bool)):
        with pytest.raises(ConfigError, match=r"allowed items: expected bool \[any, 6\]"):
            index.restrict(mask)
        with pytest.raises(ConfigError, match=r"request.allowed: expected bool \[2, 6\]"):
            Request(allowed=mask).check(ITEMS, 2)
        with pytest.raises(ConfigError, match=r"excluded items: expected bool \[2, 6\]"):
            tied_blocks(np.ones((2, ITEMS)), np.array([0, 1]), mask)
    with pytest.raises(ConfigError, match=r"request.excluded must be \[3, any\]"):
        Request(excluded=np.zeros((2, 4), int)).check(ITEMS, 3)
    with pytest.raises(ConfigError, match="1 lists of excluded items for 2 histories"):
        recommender.recommend([[0], [1]], [[2]])
    with pytest.raises(DataError, match="2 lists for 1 targets"):
        list_metrics(np.zeros((2, 10), int), np.array([0]))
