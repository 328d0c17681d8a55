"""A ranker whose model is asked about one item at a time, for `jaxrec.open`.

    history with likes and dislikes, an item -> a question -> P(yes)

Ranking a catalogue asks about each of its items, so lists of all items suit small catalogues, small
models or fast devices. With a few allowed items only these are asked about.

Shapes: `U` users, `I` items, `K` items of a list, `H` items of a history, `N` questions.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from jaxrec.core import present
from jaxrec.data import ClickWindows
from jaxrec.decode import bucket
from jaxrec.ids import pad_items
from jaxrec.runs import Asked, Kept, check_scores

# Most questions that are written at once.
_WRITTEN = 4096
# Lists of the same computed length share everything, so few lengths are enough.
_SHORTEST = 64

# So many questions after one history are asked in another way than one.
_SEVERAL = 8

# From N windows, whose labels are not read, to how much more the model expects yes than no, `[N]`.
AnswerWindows = Callable[[ClickWindows], np.ndarray]


def alike(windows: ClickWindows) -> np.ndarray:
    """Number the histories of windows, so that those with one number ask after the same: `[N]`.

    Example:
      >>> history = np.array([[1, 2], [1, 3], [1, 2]])
      >>> same = dict(liked=history > 1, target=history[:, 0], label=history[:, 0] > 0)
      >>> alike(ClickWindows(user=history[:, 0], history=history, **same)).tolist()
      [0, 1, 0]
    """
    seen = np.concatenate([windows.history, windows.liked], axis=1)
    return np.unique(seen, axis=0, return_inverse=True)[1].reshape(-1)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class QuestionRanker:
    """See `Ranker`.

    What a user of the run thinks of the items of a history is what the user's ratings say. An item
    without a rating, as all items after a history of nobody, counts as liked.

    Attributes:
      answer: asks the model.
      kept: items and users of the run, with ratings.
      history: H, number of most recent items that a question names.
      threshold: an item is liked if its rating is above.
      meaning: what scores are.

    Example:
      >>> from jaxrec.testing import four_films
      >>> kept = four_films().kept
      >>> def answer(windows):  # the model likes what has a high number
      ...     return windows.target.astype(float)
      >>> ranker = QuestionRanker(answer=answer, kept=kept, history=2, threshold=3.0)
      >>> asked = Asked(histories=[np.array([0])], excluded=[np.array([3])])
      >>> items, scores = ranker.best(asked, top=2)
      >>> items.tolist(), [round(float(score), 2) for score in scores[0]]
      ([[2, 1]], [0.88, 0.73])
    """

    answer: AnswerWindows
    kept: Kept
    history: int
    threshold: float
    meaning: str = "probability that the user likes it"

    @property
    def num_items(self) -> int:
        """I, number of items."""
        return len(self.kept.items)

    def check(self, asked: Asked) -> None:
        """See `Ranker`: any row can be asked about."""

    def best(self, asked: Asked, top: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Ranker`. Equal scores are in the order of the item numbers."""
        items = np.full((len(asked), top), -1, np.int32)
        scores = np.full((len(asked), top), -np.inf, np.float32)
        wanted = [self._left(asked, row) for row in range(len(asked))]
        for row, likely in enumerate(self.scores(asked, wanted)):
            order = np.argsort(-likely, kind="stable")[:top]
            items[row, : len(order)] = wanted[row][order]
            scores[row, : len(order)] = likely[order]
        return items, scores

    def scores(self, asked: Asked, items: Sequence[np.ndarray]) -> list[np.ndarray]:
        """See `Ranker`."""
        found = []
        for windows, counts in self._questions(asked, items):
            gaps = [
                self.answer(windows.take(slice(first, first + _WRITTEN)))
                for first in range(0, len(windows), _WRITTEN)
            ]
            likely = 1 / (1 + np.exp(-np.concatenate([np.zeros(0), *gaps])))
            check_scores(likely)
            found += np.split(likely.astype(np.float32), np.cumsum(counts)[:-1])
        return found

    @property
    def history_widths(self) -> list[int]:
        """See `ServedRanker`; programs depend on the tokens of questions, see `warm_up`."""
        return [self.history]

    def list_length(self, top: int) -> int:
        """See `ServedRanker`: the beginning of a longer list is a shorter one."""
        return min(bucket(top, _SHORTEST), self.num_items)

    def with_batch(self, size: int) -> "QuestionRanker":
        """See `ServedRanker`: calls of the model hold questions of any rows."""
        return self

    def warm_up(self, length: int) -> None:
        """See `WarmedRanker`: questions of all lengths."""
        written = [len(text) for text in self.kept.items.labels()]
        order = np.argsort(written, kind="stable").astype(np.int32)
        counts = [0, *(1 << n for n in range(self.history.bit_length())), self.history]
        # Histories and questions of the items with the shortest and the longest titles, one
        # question and several.
        ends = (order, order[::-1])
        for count, history, asked, several in itertools.product(counts, ends, ends, (1, _SEVERAL)):
            self.scores(Asked(histories=[history[:count]]), [asked[:several]])

    def _left(self, asked: Asked, row: int) -> np.ndarray:
        """The items that a row may get, in the order of their numbers."""
        mask = np.ones(self.num_items, bool)
        if asked.allowed is not None:
            mask[:] = False
            mask[present(asked.allowed[row])] = True
        if asked.excluded is not None:
            mask[present(asked.excluded[row])] = False
        return np.flatnonzero(mask).astype(np.int32)

    def _questions(
        self, asked: Asked, items: Sequence[np.ndarray]
    ) -> Iterator[tuple[ClickWindows, list[int]]]:
        """Yield the questions of some rows at a time, and how many of them each row has."""
        users, likes = self._likes(asked)
        begin = 0
        while begin < len(asked):
            end, total = begin + 1, len(items[begin])
            while end < len(asked) and total + len(items[end]) <= _WRITTEN:
                total += len(items[end])
                end += 1
            rows = range(begin, end)
            counts = [len(items[row]) for row in rows]
            shown = [present(asked.histories[row])[-self.history :] for row in rows]
            liked = pad_items([likes[row].astype(np.int32) for row in rows], self.history)
            yield (
                ClickWindows(
                    user=np.repeat(users[begin:end].astype(np.int32), counts),
                    history=np.repeat(pad_items(shown, self.history), counts, axis=0),
                    liked=np.repeat(liked == 1, counts, axis=0),
                    target=np.concatenate([items[row] for row in rows]).astype(np.int32),
                    label=np.zeros(total, bool),
                ),
                counts,
            )
            begin = end

    def _likes(self, asked: Asked) -> tuple[np.ndarray, list[np.ndarray]]:
        """Each row's user, -1 for nobody, and which items of its history the user likes."""
        histories = [present(history) for history in asked.histories]
        users = self.kept.rows(asked.users or [""] * len(asked))
        likes = [np.ones(len(history), bool) for history in histories]
        known = np.unique(users[users >= 0])
        rated = self.kept.ratings(known)
        if rated is None:
            return users, likes
        met = self.kept.histories(known)
        for row, place in enumerate(np.searchsorted(known, users).tolist()):
            if users[row] < 0:
                continue
            disliked = rated[place] <= self.threshold
            if np.array_equal(met[place], histories[row]):
                likes[row] = ~disliked
                continue
            # The newest rating of an item is the last one that the dictionary takes.
            by_item = dict(zip(met[place].tolist(), disliked.tolist(), strict=True))
            likes[row] = np.array(
                [not by_item.get(item, False) for item in histories[row].tolist()], bool
            )
        return users, likes
