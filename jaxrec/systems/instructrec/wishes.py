"""Preferences and intentions in words, made of genres.

An explicit preference (P2) is a sentence about the genres that a user likes and dislikes. It reads
the films before the one to be found, and their ratings. An intention is a few words about the film
to be found itself, so it is a query and not something that a recommender knows: the specific one
(I2) says up to three of its genres, the vague one (I1) what these have in common with others.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from jaxrec.core import DataError, nearest
from jaxrec.data import SEPARATOR, Dataset

# What stands between genres and between vague words.
AND = " and "
_LIKES, _NOT = "likes ", " but not "
# A specific and a vague wish for an item without genres; the first is also liked by a history that
# prefers no genre.
ANYTHING, SOMETHING = "anything", "something"
_NO_GENRES = ("", "unknown", "(no genres listed)")
# Most genres that a specific wish names.
_NAMED = 3
# Genres that vague words do not tell apart.
_VAGUE = {
    "exciting": ("action", "adventure", "war", "western"),
    "childlike": ("animation", "children", "children's", "family", "fantasy"),
    "light": ("comedy", "musical", "music"),
    "tense": ("crime", "film-noir", "mystery", "thriller"),
    "scary": ("horror",),
    "serious": ("drama", "biography", "history"),
    "romantic": ("romance",),
    "futuristic": ("sci-fi", "science fiction"),
    "true": ("documentary", "news", "sport"),
}
_VAGUE_OF = {genre: word for word, genres in _VAGUE.items() for genre in genres}
_KIND = "like "
# Number of genres that a preference names, and the excess of a genre that it must have.
_LIKED, _EXCESS = 2, 0.5


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Wishes:
    """The genres of items, and what users liked.

    Attributes:
      genres: [G] names in lower case.
      has: `[I, G]` bool.
      share: `[G]` float64, share of the training interactions whose item has a genre.
      pairs: `[n]` int64 sorted, user times I plus item of every rated interaction.
      liked: `[n]` bool, whether the user liked the item of a pair.
    """

    genres: tuple[str, ...]
    has: np.ndarray
    share: np.ndarray
    pairs: np.ndarray
    liked: np.ndarray

    @classmethod
    def of(cls, dataset: Dataset, field: str = "genres", like_from: float = 4) -> "Wishes":
        """Collect the genres of a data set.

        Args:
          dataset: the data.
          field: item field that lists the genres.
          like_from: lowest rating of an item that its user likes; without ratings all are liked.

        Raises:
          DataError: the items do not have the field, or no item has a genre.

        Example:
          >>> from jaxrec.data import Dataset, leave_one_out
          >>> from jaxrec.testing import tiny_interactions
          >>> data = tiny_interactions()
          >>> wishes = Wishes.of(Dataset(data, leave_one_out(data)))
          >>> wishes.genres[0], wishes.has.shape
          ('comedy', (30, 5))
        """
        data = dataset.interactions
        fields = data.items.fields
        if field not in fields:
            raise DataError(
                f"{data.name}: intentions are made of the item field {field!r}, which the items do "
                f"not have{nearest(field, fields)}; fields: {', '.join(fields) or 'none'}; give "
                "--genre-field another one, or --data.item-table a table with genres"
            )
        lists = [_listed(text) for text in fields[field].tolist()]
        genres = tuple(sorted({genre for row in lists for genre in row}))
        if not genres:
            raise DataError(
                f"{data.name}: no item has a value in the field {field!r}, of which intentions are "
                "made; give --genre-field another one, or fill it in"
            )
        number = {genre: place for place, genre in enumerate(genres)}
        has = np.zeros((len(lists), len(genres)), bool)
        for item, row in enumerate(lists):
            has[item, [number[genre] for genre in row]] = True
        # Users of the split are some of those of the data.
        known = {user: place for place, user in enumerate(dataset.split.train.user_ids.tolist())}
        users = np.array([known.get(user, -1) for user in data.user_ids.tolist()])[data.user]
        rated = np.flatnonzero((users >= 0) & ~np.isnan(data.rating))
        pairs = users[rated].astype(np.int64) * len(lists) + data.item[rated]
        order = np.argsort(pairs, kind="stable")
        return cls(
            genres=genres,
            has=has,
            share=has[dataset.split.train.item].mean(axis=0),
            pairs=pairs[order],
            liked=data.rating[rated][order] >= like_from,
        )

    def likes(self, user: int, history: np.ndarray) -> str:
        """Write what a user prefers: the genres that their liked items have more often than others.

        A genre's excess is its number among the liked items less what is expected of as many items
        of all users. The two genres with the highest excess are liked. Of the others, the one with
        the highest excess among the disliked items is disliked.

        Args:
          user: number of the user, whose ratings are read; -1 for none, which likes all items.
          history: `[H]` items.

        Example:
          >>> import numpy as np
          >>> wishes = Wishes(
          ...     genres=("drama", "war"),
          ...     has=np.array([[True, False], [False, True]]),
          ...     share=np.array([0.9, 0.1]),
          ...     pairs=np.array([0]),
          ...     liked=np.array([True]),
          ... )
          >>> wishes.likes(0, np.array([1, 1]))
          'likes war'
        """
        liked = self._liked(user, history)
        has = self.has[history]
        excess = self._excess(has[liked])
        best = [g for g in np.argsort(-excess, kind="stable")[:_LIKED] if excess[g] > _EXCESS]
        text = _LIKES + (AND.join(self.genres[g] for g in best) or ANYTHING)
        worse = self._excess(has[~liked])
        worse[best] = 0
        worst = int(worse.argmax())
        return text + (_NOT + self.genres[worst] if worse[worst] > _EXCESS else "")

    def _excess(self, has: np.ndarray) -> np.ndarray:
        return has.sum(axis=0) - len(has) * self.share

    def _liked(self, user: int, history: np.ndarray) -> np.ndarray:
        """Which items the user liked; an item that they did not rate counts as liked."""
        if user < 0 or not len(self.pairs):
            return np.ones(len(history), bool)
        wanted = user * len(self.has) + np.asarray(history, np.int64)
        # Of several ratings of one item, the last one counts.
        place = np.searchsorted(self.pairs, wanted, side="right") - 1
        rated = (place >= 0) & (self.pairs[place] == wanted)
        return np.where(rated, self.liked[place], True)

    def specific(self, item: int) -> str:
        """The genres of an item, at most three."""
        return AND.join(self.genres[g] for g in self._named(item)) or ANYTHING

    def vague(self, item: int) -> str:
        """What the genres of an item have in common with others; see `vague_words`."""
        words = [vague_words(self.genres[g]) for g in self._named(item)]
        return " ".join([SOMETHING, AND.join(dict.fromkeys(words))]).strip()

    def _named(self, item: int) -> np.ndarray:
        return np.flatnonzero(self.has[item])[:_NAMED]

    def unlike(self, item: int, rng: np.random.Generator) -> int:
        """Draw an item whose wishes, vague and specific, share no word with those of another item.

        Raises:
          DataError: the item shares a wish with all others.

        Example:
          >>> import numpy as np
          >>> wishes = Wishes(
          ...     genres=("drama", "war"), has=np.eye(2, dtype=bool), share=np.ones(2) / 2,
          ...     pairs=np.zeros(0, np.int64), liked=np.zeros(0, bool),
          ... )
          >>> wishes.unlike(0, np.random.default_rng(0))
          1
        """  # fmt: skip
        shared = (self._said & self._said[item]).any(axis=1)
        others = np.flatnonzero(self._said.any(axis=1) & ~shared)
        if not len(others):
            raise DataError(
                f"item {item} shares a genre with every item, so no intention is wrong for it"
            )
        return int(rng.choice(others))

    @functools.cached_property
    def _said(self) -> np.ndarray:
        """Which vague words an item's wish says: [I, words] bool."""
        words = [vague_words(genre) for genre in self.genres]
        kinds = list(dict.fromkeys(words))
        of_kind = np.array([[word == kind for kind in kinds] for word in words])  # [G, words]
        return (self.has[:, :, None] & of_kind[None]).any(axis=1)


def vague_words(genre: str) -> str:
    """What a vague intention says instead of a genre in lower case.

    Example:
      >>> vague_words("thriller"), vague_words("jazz")
      ('tense', 'like jazz')
    """
    return _VAGUE_OF.get(genre, _KIND + genre)


def is_likes(text: str, genres: Sequence[str]) -> bool:
    """Whether a text is a sentence of `Wishes.likes`.

    Example:
      >>> is_likes("likes war but not drama", ["drama", "war"]), is_likes("likes", ["war"])
      (True, False)
    """
    if not text.startswith(_LIKES):
        return False
    liked, _, disliked = text.removeprefix(_LIKES).partition(_NOT)
    known = set(genres)
    likes_some = set(liked.split(AND)) <= known and len(liked.split(AND)) <= _LIKED
    return (likes_some or liked == ANYTHING) and (not disliked or disliked in known)


def is_specific(text: str, genres: Sequence[str]) -> bool:
    """Whether a text is a specific intention, of genres in lower case.

    Example:
      >>> is_specific("drama and war", ["drama", "war"]), is_specific("something", ["war"])
      (True, False)
    """
    return text == ANYTHING or set(text.split(AND)) <= set(genres)


def is_vague(text: str, genres: Sequence[str]) -> bool:
    """Whether a text is a vague intention.

    Example:
      >>> is_vague("something exciting", ["war"]), is_vague("something scary", ["war"])
      (True, False)
    """
    words = {vague_words(genre) for genre in genres}
    named = text.removeprefix(f"{SOMETHING} ")
    return text == SOMETHING or (named != text and set(named.split(AND)) <= words)


def _listed(text: str) -> list[str]:
    # A genre with "and" in its name would read as two.
    names = [name.strip().lower().replace(AND, " & ") for name in text.split(SEPARATOR.strip())]
    return [name for name in dict.fromkeys(names) if name not in _NO_GENRES]
