"""What a datum of a task is: a user's prefix, a user-item pair, a rated row, and what is drawn.

A source makes the data of a task, both for training and for an evaluation. Sources that wrap
another source add to its data: candidates to choose from, an item or a number of stars to ask
about. Draws happen in a fixed order, which a run's seed relies on: first those of the inner source.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import numpy as np

from jaxrec.core import DataError
from jaxrec.data import Reviews, RowSplit, rating_text, ratings
from jaxrec.runs import Stage
from jaxrec.texts.datum import Datum
from jaxrec.texts.prompt_data import PromptData, draw_others, eval_candidates

Unit = Literal["user", "row", "item"]
Need = Literal["ratings", "reviews", "candidates", "genres", "facts"]
D = TypeVar("D", contravariant=True)
# Numbers of the two answers of yes-or-no questions in their `Choice`.
YES, NO = 0, 1


@dataclasses.dataclass(frozen=True, eq=False)
class Stream:
    """The training data of a task.

    Attributes:
      size: number of data.
      draw: maps a datum's number and a generator of its own to the datum.
    """

    size: int
    draw: Callable[[int, np.random.Generator], Datum]


class Source(Protocol, Generic[D]):
    """Makes the data of a task out of data of type `D`."""

    @property
    def unit(self) -> Unit:
        """What an evaluation counts: users, rows or items."""

    @property
    def needs(self) -> frozenset[Need]:
        """What the data must have."""

    def training(self, data: D) -> Stream:
        """The training data.

        Raises:
          DataError: the data lack what the source needs.
        """

    def units(self, data: D, stage: Stage) -> np.ndarray:
        """Numbers of the users, the rows or the items that an evaluation may ask about."""

    def held_out(self, data: D, stage: Stage, units: np.ndarray) -> list[Datum]:
        """Data of an evaluation about some units; no generator, so they are always the same."""


@dataclasses.dataclass(frozen=True)
class _OfUsers:
    """What sources about users share: all users are asked, with the history that a stage allows."""

    unit: ClassVar[Unit] = "user"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def units(self, data: PromptData, stage: Stage) -> np.ndarray:
        """All users."""
        return np.arange(data.dataset.num_users)

    def held_out(self, data: PromptData, stage: Stage, units: np.ndarray) -> list[Datum]:
        """Each user's history with the target that follows it."""
        split = data.dataset.split
        histories, targets = split.history(stage), split.target(stage)
        return [
            Datum(user=user, history=histories[user], item=int(targets[user]))
            for user in units.tolist()
        ]


@dataclasses.dataclass(frozen=True)
class Prefixes(_OfUsers):
    """A datum is a beginning of a user's history and the item that follows it."""

    def training(self, data: PromptData) -> Stream:
        """Every training interaction that is not its user's first, or the most recent of them."""
        train = data.dataset.split.train
        later = np.flatnonzero(np.diff(train.user, prepend=-1) == 0)
        if data.max_targets:
            left = train.offsets[train.user[later] + 1] - later
            later = later[left <= data.max_targets]

        def draw(datum: int, rng: np.random.Generator) -> Datum:
            row = int(later[datum])
            user = int(train.user[row])
            before = train.item[train.offsets[user] : row]
            return Datum(user=user, history=before, item=int(train.item[row]))

        return Stream(len(later), draw)


@dataclasses.dataclass(frozen=True)
class Pairs(_OfUsers):
    """A datum is a user and an item of theirs; the prompt shows no history."""

    def training(self, data: PromptData) -> Stream:
        """Every training interaction."""
        train = data.dataset.split.train

        def draw(datum: int, rng: np.random.Generator) -> Datum:
            return Datum(user=int(train.user[datum]), item=int(train.item[datum]))

        return Stream(len(train), draw)


@dataclasses.dataclass(frozen=True)
class OneOf:
    """Adds candidates: the item of the inner source among items that are new to its user.

    Attributes:
      inner: gives the item.
      count: number of candidates; 0 for that of the data.
    """

    inner: Prefixes | Pairs
    count: int = 0
    unit: ClassVar[Unit] = "user"
    needs: ClassVar[frozenset[Need]] = frozenset({"candidates"})

    def training(self, data: PromptData) -> Stream:
        """Candidates of which all but one are missing from the training history."""
        stream, met = self.inner.training(data), data.dataset.split.train.sequences()

        def draw(datum: int, rng: np.random.Generator) -> Datum:
            one = stream.draw(datum, rng)
            count = (self.count or data.candidates) - 1
            others = draw_others(met[one.user], count, data.dataset.num_items, rng)
            return dataclasses.replace(one, candidates=rng.permutation(np.append(others, one.item)))

        return Stream(stream.size, draw)

    def units(self, data: PromptData, stage: Stage) -> np.ndarray:
        """All users."""
        return self.inner.units(data, stage)

    def held_out(self, data: PromptData, stage: Stage, units: np.ndarray) -> list[Datum]:
        """The target among candidates that the user never met, held-out items included."""
        candidates = eval_candidates(data.dataset, stage, self.count or data.candidates, seed=0)
        return [
            dataclasses.replace(one, candidates=candidates[one.user])
            for one in self.inner.held_out(data, stage, units)
        ]


@dataclasses.dataclass(frozen=True)
class Asked:
    """Asks whether an item is the inner source's: it is one half of the time, else a new one."""

    inner: Prefixes | Pairs
    unit: ClassVar[Unit] = "user"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def training(self, data: PromptData) -> Stream:
        """The item itself, or as often an item that is not in the training history."""
        stream, met = self.inner.training(data), data.dataset.split.train.sequences()

        def draw(datum: int, rng: np.random.Generator) -> Datum:
            one = stream.draw(datum, rng)
            if rng.random() < 0.5:
                return dataclasses.replace(one, asked=one.item, answer=YES)
            (other,) = draw_others(met[one.user], 1, data.dataset.num_items, rng)
            return dataclasses.replace(one, asked=int(other), answer=NO)

        return Stream(stream.size, draw)

    def units(self, data: PromptData, stage: Stage) -> np.ndarray:
        """All users."""
        return self.inner.units(data, stage)

    def held_out(self, data: PromptData, stage: Stage, units: np.ndarray) -> list[Datum]:
        """Two questions for each user: about the target, and about an item that they never met."""
        both = eval_candidates(data.dataset, stage, 2, seed=0)
        return [
            dataclasses.replace(one, asked=item, answer=YES if item == one.item else NO)
            for one in self.inner.held_out(data, stage, units)
            for item in both[one.user].tolist()
        ]


@dataclasses.dataclass(frozen=True)
class RatedRows:
    """A datum is a rated interaction of the random split.

    Attributes:
      reviews: the texts of a review, by their names in `Reviews`, that a row must have.
      like_from: least number of stars of an item that its user likes; the answers are like (0) and
        dislike (1).
    """

    reviews: tuple[str, ...] = ()
    like_from: int = 4
    unit: ClassVar[Unit] = "row"

    @property
    def needs(self) -> frozenset[Need]:
        """Ratings, and reviews where texts of them are named."""
        return frozenset({"ratings", "reviews"} if self.reviews else {"ratings"})

    def training(self, data: PromptData) -> Stream:
        """The training rows, each with a decimal that is drawn within its star's band."""
        rows = self._rows(data, _ratings(data).train)

        def draw(datum: int, rng: np.random.Generator) -> Datum:
            one = self._datum(data, int(rows[datum]))
            return dataclasses.replace(
                one, rating=ratings.TEXTS.index(rating_text(float(one.star), rng))
            )

        return Stream(len(rows), draw)

    def units(self, data: PromptData, stage: Stage) -> np.ndarray:
        """The rows of a stage."""
        split = _ratings(data)
        return self._rows(data, split.valid if stage == "valid" else split.test)

    def held_out(self, data: PromptData, stage: Stage, units: np.ndarray) -> list[Datum]:
        """The rows themselves."""
        return [self._datum(data, row) for row in units.tolist()]

    def _rows(self, data: PromptData, rows: np.ndarray) -> np.ndarray:
        if not self.reviews:
            return rows
        if data.reviews is None:
            raise DataError(
                f"{data.dataset.interactions.name} has no reviews, and a task asks for their "
                f"{' and '.join(self.reviews)}; leave the task out or give reviews"
            )
        return rows_with(data.reviews, self.reviews, rows)

    def _datum(self, data: PromptData, row: int) -> Datum:
        interactions = data.dataset.interactions
        star = int(interactions.rating[row])
        return Datum(
            user=int(interactions.user[row]),
            item=int(interactions.item[row]),
            row=row,
            star=star,
            answer=YES if star >= self.like_from else NO,
        )


@dataclasses.dataclass(frozen=True)
class GivenStar:
    """Asks whether a number of stars is the true one: it is one half of the time."""

    inner: RatedRows = RatedRows()
    unit: ClassVar[Unit] = "row"
    needs: ClassVar[frozenset[Need]] = frozenset({"ratings"})

    def training(self, data: PromptData) -> Stream:
        """The true star, or as often one of the four others."""
        stream = self.inner.training(data)

        def draw(datum: int, rng: np.random.Generator) -> Datum:
            one = stream.draw(datum, rng)
            if rng.random() < 0.5:
                return dataclasses.replace(one, answer=YES)
            return dataclasses.replace(one, star=_other_star(one.star, rng), answer=NO)

        return Stream(stream.size, draw)

    def units(self, data: PromptData, stage: Stage) -> np.ndarray:
        """The rows of a stage."""
        return self.inner.units(data, stage)

    def held_out(self, data: PromptData, stage: Stage, units: np.ndarray) -> list[Datum]:
        """Two questions for each row: about the true star, and about another one."""
        questions = []
        for one in self.inner.held_out(data, stage, units):
            other = _other_star(one.star, np.random.default_rng([0, one.row]))
            questions.append(dataclasses.replace(one, answer=YES))
            questions.append(dataclasses.replace(one, star=other, answer=NO))
        return questions


def rows_with(reviews: Reviews, names: tuple[str, ...], rows: np.ndarray) -> np.ndarray:
    """The rows whose reviews have all the named texts, such as ("text", "title")."""
    texts: list[Any] = [getattr(reviews, name) for name in names]
    return rows[[all(column[row] for column in texts) for row in rows.tolist()]]


def _ratings(data: PromptData) -> RowSplit:
    if data.ratings is None:
        raise DataError(
            f"{data.dataset.interactions.name} has no ratings, and a task asks for them; leave the "
            "task out or give data.rating_column"
        )
    return data.ratings


def _other_star(star: int, rng: np.random.Generator) -> int:
    others = [other for other in ratings.BANDS if other != star]
    return others[int(rng.integers(len(others)))]
