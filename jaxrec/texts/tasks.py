"""Tasks of a leave-one-out data set for prompts: whose templates, and what fills them.

What a prompt of the training may say comes from the training part alone: histories are beginnings
of it, targets lie in it, and items shown as ones that a user has not met may well be the held-out
ones. Ratings and reviews have a random split of their own, out of whose training part the held-out
pairs of the other tasks are kept.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from jaxrec.core import ConfigError, DataError, nearest
from jaxrec.data import Dataset, Fields, Reviews, RowSplit, Task, Template, rating_text

YES, NO, LIKE, DISLIKE = "yes", "no", "like", "dislike"
_LIKED = 4.0


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Names:
    """How users and items are written.

    Attributes:
      users: [U] strings.
      items: [I] strings.
      separator: between items.
      anyone: what prompts with a history call their user; "" for the user's own name.
    """

    users: list[str]
    items: list[str]
    separator: str
    anyone: str = ""

    def list(self, items: np.ndarray) -> str:
        """Several items."""
        return self.separator.join(self.items[item] for item in items.tolist())


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PromptData:
    """What all tasks are made of.

    Attributes:
      dataset: interactions and their leave-one-out split.
      names: of users and items.
      ratings: rows of `dataset.interactions`, split at random; None without ratings.
      reviews: of those rows; None without any.
      max_items: most recent items of a history that a prompt shows.
      candidates: items that a prompt offers, the target among them.
      max_targets: most recent training interactions of a user that prompts with a history ask for;
        0 for all.
    """

    dataset: Dataset
    names: Names
    ratings: RowSplit | None
    reviews: Reviews | None
    max_items: int
    candidates: int
    max_targets: int = 0

    def history(self, user: int, items: np.ndarray) -> dict[str, str]:
        """Fields of a user and what they have met."""
        shown = self.names.list(items[-self.max_items :])
        return {"user": self.names.users[user], "items": shown}

    def offer(self, items: np.ndarray) -> dict[str, str]:
        """Field of the items to choose from."""
        return {"candidates": self.names.list(items)}

    def row(self, row: int, rng: np.random.Generator) -> dict[str, str]:
        """Fields of a rated interaction."""
        data = self.dataset.interactions
        user, item, star = int(data.user[row]), int(data.item[row]), float(data.rating[row])
        titles = data.items.fields.get("title")
        fields = {
            "user": self.names.users[user],
            "item": self.names.items[item],
            "title": "" if titles is None else titles[item],
            "star": f"{star:.0f}",
            "rating": rating_text(star, rng),
            "liking": LIKE if star >= _LIKED else DISLIKE,
        }
        if self.reviews is not None:
            fields |= {
                "hint": self.reviews.hint[row],
                "explanation": self.reviews.explanation[row],
                "review": self.reviews.text[row],
                "headline": self.reviews.title[row],
            }
        return fields


def make_task(name: str, templates: Sequence[Template], data: PromptData) -> Task:
    """Return a task of the training part.

    Raises:
      ConfigError: a task that nothing here fills.
      DataError: data without what the task needs.
    """
    if name not in _MAKERS:
        raise ConfigError(f"no task {name!r}{nearest(name, _MAKERS)}; tasks: {', '.join(_MAKERS)}")
    size, fields = _MAKERS[name](data)
    return Task(name=name, templates=tuple(templates), size=size, fields=fields)


Made = tuple[int, Callable[[int, np.random.Generator], Fields]]


def _sequential(data: PromptData) -> Made:
    """A datum is a training interaction that is not its user's first: a prefix and what follows."""
    train = data.dataset.split.train
    later = np.flatnonzero(np.diff(train.user, prepend=-1) == 0)
    if data.max_targets:
        left = train.offsets[train.user[later] + 1] - later
        later = later[left <= data.max_targets]

    def fields(datum: int, rng: np.random.Generator) -> Fields:
        row = int(later[datum])
        user = int(train.user[row])
        before = train.item[train.offsets[user] : row]
        return data.history(user, before) | {"item": data.names.items[int(train.item[row])]}

    return len(later), fields


def _straightforward(data: PromptData) -> Made:
    """A datum is a training interaction."""
    train = data.dataset.split.train

    def fields(datum: int, rng: np.random.Generator) -> Fields:
        user, item = int(train.user[datum]), int(train.item[datum])
        return {"user": data.names.users[user], "item": data.names.items[item]}

    return len(train), fields


def _with_candidates(make: Callable[[PromptData], Made]) -> Callable[[PromptData], Made]:
    """Also offer items of which all but the target are new to the user."""

    def made(data: PromptData) -> Made:
        size, fields = make(data)
        met, number = _met(data), _numbers(data)

        def offered(datum: int, rng: np.random.Generator) -> Fields:
            found = dict(fields(datum, rng))
            user, item = number[0][found["user"]], number[1][found["item"]]
            others = draw_others(met[user], data.candidates - 1, data.dataset.num_items, rng)
            return found | data.offer(rng.permutation(np.append(others, item)))

        return size, offered

    return made


def _with_answer(make: Callable[[PromptData], Made]) -> Callable[[PromptData], Made]:
    """Ask for the target, or as often for an item that is new to the user."""

    def made(data: PromptData) -> Made:
        size, fields = make(data)
        met, number = _met(data), _numbers(data)

        def asked(datum: int, rng: np.random.Generator) -> Fields:
            found = dict(fields(datum, rng))
            if rng.random() < 0.5:
                return found | {"asked": found["item"], "answer": YES}
            user = number[0][found["user"]]
            other = draw_others(met[user], 1, data.dataset.num_items, rng)
            return found | {"asked": data.names.items[int(other[0])], "answer": NO}

        return size, asked

    return made


def _rated(data: PromptData) -> Made:
    """A datum is a rated interaction of the random split's training part."""
    if data.ratings is None:
        raise DataError(f"{data.dataset.interactions.name} has no ratings for the task to ask for")
    rows = data.ratings.train
    return len(rows), lambda datum, rng: data.row(int(rows[datum]), rng)


def _given_star(data: PromptData) -> Made:
    """As `_rated`; the star asked for is the true one half of the time."""
    size, fields = _rated(data)

    def asked(datum: int, rng: np.random.Generator) -> Fields:
        found = dict(fields(datum, rng))
        if rng.random() < 0.5:
            return found | {"answer": YES}
        others = [star for star in "12345" if star != found["star"]]
        return found | {"answer": NO, "star": others[int(rng.integers(len(others)))]}

    return size, asked


def reviewed_rows(task: str, rows: np.ndarray, reviews: Reviews) -> np.ndarray:
    """Rows whose reviews have the texts that a task asks for."""
    wanted = {
        "explanation": (reviews.explanation,),
        "review_title": (reviews.text, reviews.title),
        "review_star": (reviews.text,),
    }[task]
    return rows[[all(texts[row] for texts in wanted) for row in rows.tolist()]]


def _reviewed(task: str) -> Callable[[PromptData], Made]:
    """As `_rated`, of the rows with a review that says what the task asks for."""

    def made(data: PromptData) -> Made:
        if data.reviews is None or data.ratings is None:
            raise DataError(f"{data.dataset.interactions.name} has no reviews for task {task!r}")
        rows = reviewed_rows(task, data.ratings.train, data.reviews)
        return len(rows), lambda datum, rng: data.row(int(rows[datum]), rng)

    return made


_MAKERS: Mapping[str, Callable[[PromptData], Made]] = {
    "sequential": _sequential,
    "sequential_choose": _with_candidates(_sequential),
    "sequential_yesno": _with_answer(_sequential),
    "straightforward": _straightforward,
    "direct_choose": _with_candidates(_straightforward),
    "direct_yesno": _with_answer(_straightforward),
    "rating": _rated,
    "rating_yesno": _given_star,
    "rating_like": _rated,
    "explanation": _reviewed("explanation"),
    "review_title": _reviewed("review_title"),
    "review_star": _reviewed("review_star"),
}
NEEDS_RATINGS = tuple(name for name in _MAKERS if name.startswith("rating"))
NEEDS_REVIEWS = ("explanation", "review_title", "review_star")
NEEDS_CANDIDATES = ("sequential_choose", "direct_choose")


def held_out(dataset: Dataset) -> np.ndarray:
    """Rows of the interactions that are the validation or test target of their user: [n] bool."""
    data, split = dataset.interactions, dataset.split
    targets = np.stack([split.valid_target, split.test_target])
    names = {user: number for number, user in enumerate(split.train.user_ids.tolist())}
    users = np.array([names.get(user, -1) for user in data.user_ids.tolist()])[data.user]
    return (users >= 0) & (targets[:, users] == data.item[None]).any(axis=0)


def draw_others(
    met: np.ndarray, count: int, num_items: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw different items that are not among `met`: [count] int64.

    Raises:
      ConfigError: there are not as many.
    """
    free = np.ones(num_items, bool)
    free[met] = False
    pool = np.flatnonzero(free)
    if len(pool) < count:
        raise ConfigError(
            f"{count} items that a user has not met are asked for, and there are {len(pool)}; "
            "lower candidates"
        )
    return rng.choice(pool, count, replace=False)


def eval_candidates(dataset: Dataset, stage: str, count: int, seed: int) -> np.ndarray:
    """The target of each user among items that they never met, in random order: [U, count].

    Unlike in training, held-out items of the user are no negatives.
    """
    split = dataset.split
    target = split.valid_target if stage == "valid" else split.test_target
    rows = []
    for user, history in enumerate(split.train.sequences()):
        rng = np.random.default_rng([seed, user])
        met = np.concatenate([history, [split.valid_target[user], split.test_target[user]]])
        others = draw_others(met, count - 1, dataset.num_items, rng)
        rows.append(rng.permutation(np.append(others, target[user])))
    return np.stack(rows)


def _met(data: PromptData) -> list[np.ndarray]:
    return data.dataset.split.train.sequences()


def _numbers(data: PromptData) -> tuple[dict[str, int], dict[str, int]]:
    """Users and items by their names."""
    users, items = data.names.users, data.names.items
    return ({n: u for u, n in enumerate(users)}, {n: i for i, n in enumerate(items)})


def check_data(dataset: Dataset, tasks: Sequence[str], candidates: int) -> None:
    """Check that the data have what the tasks ask for, before any work.

    Raises:
      DataError: no ratings of whole stars.
      ConfigError: more candidates than some user leaves items to draw them from.
    """
    interactions = dataset.interactions
    rated = [name for name in tasks if name in (*NEEDS_RATINGS, *NEEDS_REVIEWS)]
    if rated and not np.isin(interactions.rating, [1, 2, 3, 4, 5]).all():
        raise DataError(
            f"task {rated[0]!r} needs ratings of 1 to 5 whole stars, which "
            f"{interactions.name} has not; leave it out, or give data.rating_column"
        )
    # All but the target are new to the user, who has met the training items and both targets.
    met = max(len(np.unique(history)) for history in dataset.split.history("test")) + 1
    if set(tasks) & set(NEEDS_CANDIDATES) and candidates - 1 > dataset.num_items - met:
        raise ConfigError(
            f"candidates is {candidates}, and a user has met {met} of {dataset.num_items} items; "
            f"lower it to {max(dataset.num_items - met + 1, 1)}"
        )
