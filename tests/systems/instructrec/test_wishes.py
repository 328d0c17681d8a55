"""Preferences and intentions against counts by hand."""

import collections
import dataclasses

import numpy as np
import pytest

from jaxrec.core import DataError
from jaxrec.data import Dataset, Interactions, leave_one_out
from jaxrec.systems.instructrec.wishes import (
    Wishes,
    is_likes,
    is_specific,
    is_vague,
    vague_words,
)
from jaxrec.testing import tiny_interactions


def _dataset(ratings=None, genres=None):
    data = tiny_interactions(40, 30)
    if genres is not None:
        fields = data.items.fields | {"genres": np.array(genres, dtype=object)}
        data = dataclasses.replace(data, items=dataclasses.replace(data.items, fields=fields))
    if ratings is not None:
        data = dataclasses.replace(data, rating=ratings(data))
    return Dataset(data, leave_one_out(data))


def _many_genres(seed=0):
    rng = np.random.default_rng(seed)
    names = ["Drama", "War", "Comedy", "Horror", "Film-Noir", "Sci-Fi"]
    return [" | ".join(rng.permutation(names)[: rng.integers(1, 5)]) for _ in range(30)]


def _by_hand(dataset, user, history):
    """The sentence, counted with dictionaries."""
    data, split = dataset.interactions, dataset.split
    genres = [[g.lower() for g in text.split(" | ")] for text in data.items.fields["genres"]]
    total = collections.Counter(g for item in split.train.item.tolist() for g in genres[item])
    stars = {
        item: star
        for who, item, star in zip(
            data.user.tolist(), data.item.tolist(), data.rating.tolist(), strict=True
        )
        if who == user
    }
    liked = [item for item in history if stars[item] >= 4]
    disliked = [item for item in history if stars[item] < 4]

    def excess(items):
        counts = collections.Counter(g for item in items for g in genres[item])
        share = {g: total[g] / len(split.train.item) for g in total}
        return {g: counts[g] - len(items) * share[g] for g in sorted(share)}

    found = excess(liked)
    best = [g for g in sorted(found, key=lambda g: -found[g])[:2] if found[g] > 0.5]
    worse = {g: value for g, value in excess(disliked).items() if g not in best}
    worst = max(sorted(worse), key=lambda g: worse[g])
    text = "likes " + (" and ".join(best) or "anything")
    return text + (f" but not {worst}" if worse[worst] > 0.5 else "")


def test_preferences_are_the_genres_with_the_highest_excess():
    dataset = _dataset(genres=_many_genres())
    wishes, sentences = Wishes.of(dataset), set()
    for user, history in enumerate(dataset.split.train.sequences()):
        for length in range(1, len(history) + 1):
            sentence = wishes.likes(user, history[:length])
            assert sentence == _by_hand(dataset, user, history[:length].tolist())
            assert is_likes(sentence, wishes.genres)
            sentences.add(sentence)
    assert len(sentences) > 50 and any(" but not " in text for text in sentences)


def test_preferences_do_not_depend_on_held_out_items():
    """Only ratings of the history count, and only training interactions are expected."""
    dataset = _dataset(genres=_many_genres())
    split, data = dataset.split, dataset.interactions
    held = np.stack([split.valid_target, split.test_target])[:, data.user] == data.item[None]
    rating = np.where(held.any(axis=0), 6 - data.rating, data.rating).astype(np.float32)
    changed = Dataset(dataclasses.replace(data, rating=rating), split)
    one, other = Wishes.of(dataset), Wishes.of(changed)
    assert not np.array_equal(one.liked, other.liked)
    for user, history in enumerate(split.train.sequences()):
        assert one.likes(user, history) == other.likes(user, history)
    np.testing.assert_array_equal(one.share, other.share)


def test_without_ratings_everything_is_liked():
    dataset = _dataset(lambda data: np.full(len(data), np.nan, np.float32), _many_genres())
    wishes = Wishes.of(dataset)
    history = dataset.split.train.sequences()[0]
    assert wishes.likes(0, history) == wishes.likes(-1, history)
    assert "but not" not in wishes.likes(0, history)
    rated = Wishes.of(_dataset(lambda data: np.ones(len(data), np.float32), _many_genres()))
    assert rated.likes(0, history).startswith("likes anything but not ")


def test_the_last_of_several_ratings_counts():
    items = {"a": {"genres": "War"}, "b": {"genres": "Drama"}, "c": {"genres": "War"}}
    data = Interactions.from_columns(
        user=list("uuuuu"), item=list("abbca"), rating=[5, 5, 5, 5, 1], time=range(5), items=items
    )
    dataset = Dataset(data, leave_one_out(data))
    wishes = Wishes.of(dataset)
    assert wishes._liked(0, np.array([0, 1, 2])).tolist() == [False, True, True]


def test_wishes_say_genres_and_what_they_have_in_common():
    genres = (
        ["Crime | Thriller | Horror"] * 10 + ["unknown"] * 5 + [""] * 5 + ["Jazz and Blues"] * 10
    )
    wishes = Wishes.of(_dataset(genres=genres))
    assert wishes.specific(0) == "crime and horror and thriller"
    assert wishes.vague(0) == "something tense and scary"
    assert (wishes.specific(12), wishes.vague(17)) == ("anything", "something")
    # A name with "and" stays one genre.
    assert wishes.specific(25) == "jazz & blues"
    for item in range(30):
        assert is_specific(wishes.specific(item), wishes.genres)
        assert is_vague(wishes.vague(item), wishes.genres)
        assert not is_specific(wishes.vague(item), wishes.genres)
        assert not is_vague(wishes.specific(item), wishes.genres)


def test_a_wrong_wish_shares_no_word_with_the_right_one():
    wishes = Wishes.of(_dataset(genres=_many_genres()))
    rng, drawn = np.random.default_rng(0), set()
    for item in list(range(30)) * 5:
        try:
            other = wishes.unlike(item, rng)
        except DataError:
            continue
        drawn.add(other)
        for write in (wishes.specific, wishes.vague):
            words = [set(write(i).removeprefix("something ").split(" and ")) for i in (item, other)]
            assert not words[0] & words[1]
    assert len(drawn) > 5
    assert vague_words("action") == vague_words("war")


def test_items_without_genres_are_refused():
    with pytest.raises(DataError, match="no item has a value"):
        Wishes.of(_dataset(genres=[""] * 30))
    with pytest.raises(DataError, match=r"'genre', which the items do not have, did you mean"):
        Wishes.of(_dataset(), field="genre")
    wishes = Wishes.of(_dataset(genres=["War"] * 30))
    with pytest.raises(DataError, match="no intention is wrong"):
        wishes.unlike(0, np.random.default_rng(0))
