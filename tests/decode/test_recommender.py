import dataclasses

import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.core.compiles import CompileCounter
from jaxrec.decode import Draws, Prompts, Recommender, SearchOptions, beam_search, bucket
from jaxrec.ids import IdVocabulary, ItemIndex, simple, write_histories
from jaxrec.models import CausalLM
from jaxrec.testing import random_params, tiny_model

ITEMS = 30


def _recommender(**settings):
    codes = simple.random(ITEMS, 2, 8, seed=0)
    model = CausalLM(tiny_model(IdVocabulary(sizes=codes.sizes).size))
    defaults = {"max_items": 5, "beams": 8, "batch_size": 4}
    return Recommender(
        model=model,
        params=random_params(model),
        codes=codes,
        index=ItemIndex.build(codes),
        **{**defaults, **settings},
    )


def _histories():
    """Ragged: empty, short, and longer than the model reads."""
    rng = np.random.default_rng(0)
    return [rng.permutation(ITEMS)[:n].astype(np.int32) for n in (3, 0, 9, 1, 5, 12, 2, 0, 6, 4)]


def _check_lists(items, scores, barred):
    for row, score, out in zip(items, scores, barred, strict=True):
        real = row[row >= 0]
        assert len(set(real.tolist())) == len(real)
        assert not set(real.tolist()) & set(out.tolist())
        assert (real < ITEMS).all()
        assert np.isfinite(score[: len(real)]).all()
        assert (row[len(real) :] == -1).all()
        assert np.isneginf(score[len(real) :]).all()


def test_batches_give_what_one_batch_gives():
    histories = _histories()
    done = []
    items, scores = _recommender().recommend(histories, progress=done.append)
    assert items.shape == scores.shape == (10, 8)
    assert (items.dtype, scores.dtype) == (np.int32, np.float32)
    assert done == [4, 8, 10]
    together = _recommender(batch_size=16).recommend(histories)
    np.testing.assert_array_equal(together[0], items)
    np.testing.assert_allclose(together[1], scores, atol=1e-5)
    for user, history in enumerate(histories):
        alone = _recommender(batch_size=1).recommend([history])
        np.testing.assert_array_equal(alone[0][0], items[user])
        np.testing.assert_allclose(alone[1][0], scores[user], atol=1e-5)
    _check_lists(items, scores, [np.zeros(0, int)] * 10)


def test_each_user_gets_the_beam_search_of_the_newest_items_of_his_own_history():
    ours, histories = _recommender(), _histories()
    items, scores = ours.recommend(histories)
    tokens_of = np.asarray(ours.codes.codes) + np.array([2, 10])
    for user, history in enumerate(histories):
        tokens = write_histories([history[-5:]], tokens_of, 5)
        prompts, options = Prompts(tokens=tokens), SearchOptions(beams=8)
        found = beam_search(ours.model, ours.params, ours.catalogue, prompts, options)
        np.testing.assert_array_equal(found.items[0], items[user])
        np.testing.assert_allclose(found.scores[0], scores[user], atol=1e-5)


def test_excluded_items_are_left_out_and_the_next_best_move_up():
    histories = _histories()
    everything, _ = _recommender(beams=ITEMS).recommend(histories)
    items, scores = _recommender(beams=ITEMS).recommend(histories, histories)
    _check_lists(items, scores, histories)
    for user, history in enumerate(histories):
        expected = [item for item in everything[user] if item not in history]
        assert items[user][: len(expected)].tolist() == expected
        assert (items[user][len(expected) :] == -1).all()


def test_one_user_may_have_nothing_left():
    everything = np.arange(ITEMS)
    items, scores = _recommender().recommend(
        [everything[:2], everything[:2]], [everything, everything[:-3]]
    )
    assert (items[0] == -1).all()
    assert np.isneginf(scores[0]).all()
    assert set(items[1][:3].tolist()) == {27, 28, 29}
    assert (items[1][3:] == -1).all()


@pytest.mark.parametrize("masked", [False, True, None])
def test_a_list_of_excluded_items_that_fills_its_bucket_is_excluded_to_the_last(masked):
    histories = _histories()[:2]
    everything, _ = _recommender(beams=ITEMS).recommend(histories)
    out = [row[:16] for row in everything]  # the sixteen best, the very best first
    items, _ = _recommender(beams=ITEMS, mask_excluded=masked).recommend(histories, out)
    np.testing.assert_array_equal(items[:, : ITEMS - 16], everything[:, 16:])


def test_no_users_give_empty_lists():
    items, scores = _recommender().recommend([])
    assert items.shape == scores.shape == (0, 8)
    items, _ = _recommender().recommend([], [])
    assert items.shape == (0, 8)


def test_more_users_and_longer_lists_of_one_bucket_compile_nothing_again():
    ours, histories = _recommender(mask_excluded=False), _histories()
    ours.recommend(histories[:3], histories[:3])
    other = dataclasses.replace(ours, params=random_params(ours.model, seed=1))
    with CompileCounter() as counter:
        ours.recommend(histories, histories)
        ours.recommend(histories[:1], [np.arange(16)])
        other.recommend(histories, histories)
    assert counter.count == 0
    with CompileCounter() as counter:
        ours.recommend(histories, [np.arange(40) % ITEMS] * 10)
    assert counter.count > 0
    # Masks, which a small catalogue has by default, share one program whatever the lists.
    masks = _recommender()
    masks.recommend(histories, histories)
    with CompileCounter() as counter:
        masks.recommend(histories, [np.arange(40) % ITEMS] * 10)
    assert counter.count == 0


@pytest.mark.parametrize("beams", [0, ITEMS + 1])
def test_more_beams_than_items_or_none_are_refused_before_any_work(beams):
    with pytest.raises(ConfigError, match=rf"decode.beams.*{ITEMS} items, got {beams}"):
        _recommender(beams=beams)


def test_as_many_beams_as_items_rank_the_catalogue():
    items, _ = _recommender(beams=ITEMS).recommend(_histories()[:1])
    assert sorted(items[0].tolist()) == list(range(ITEMS))


@pytest.mark.parametrize(("size", "expected"), [(0, 16), (16, 16), (17, 32), (33, 64), (64, 64)])
def test_buckets_are_powers_of_two(size, expected):
    assert bucket(size) == expected


@pytest.mark.parametrize("strategy", ["sample", "next_k"])
@pytest.mark.variants(1)
def test_other_lists_hold_no_item_twice_and_none_that_was_seen(strategy):
    histories = [items for items in _histories() if len(items) < 10][:4]
    ours = _recommender(strategy=strategy, beams=6, draws=Draws(count=20), next_beams=2)
    items, scores = ours.recommend(histories, histories)
    _check_lists(items, scores, histories)
    filled = (items >= 0).sum(axis=1)
    assert (filled == 6).all() if strategy == "next_k" else (filled > 1).all()


def test_histories_read_in_both_directions_are_not_extended():
    with pytest.raises(ConfigError, match="'next_k' adds items to a history that was read"):
        _recommender(strategy="next_k", prefix=True)


@pytest.mark.parametrize("masked", [1 << 26, 0])
def test_a_very_long_list_of_excluded_items_changes_nobody_elses_list(masked, monkeypatch):
    monkeypatch.setattr("jaxrec.decode.recommend._MASKED", masked)
    histories, ours = _histories(), _recommender()
    short = [history[:3] for history in histories]
    long = [*short[:2], np.tile(short[2], 800), *short[3:]]  # 2,400 numbers of three items
    for one, other in zip(
        ours.recommend(histories, short), ours.recommend(histories, long), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)
