"""The data behind the prompts of a leave-one-out data set, and how a datum of it is written.

Training prompts only say what the training part says: histories are beginnings of it, and targets
lie in it. Items shown as unseen by a user may include the held-out ones.
Ratings and reviews have a random split of their own; its training part leaves out the held-out
pairs of the other tasks.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np

from jaxrec.core import ConfigError, check_numbers, present
from jaxrec.data import Dataset, Reviews, RowSplit, ratings
from jaxrec.texts.datum import Datum
from jaxrec.texts.genres import Genres
from jaxrec.texts.names import Names

if TYPE_CHECKING:
    from jaxrec.texts.facts import Facts


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PromptData:
    """What the tasks of a leave-one-out data set are made of.

    Attributes:
      dataset: interactions and their leave-one-out split.
      names: of users and items.
      ratings: rows of `dataset.interactions`, split at random; None without ratings.
      reviews: of those rows; None without reviews.
      max_items: number of most recent items of a history that a prompt shows.
      candidates: number of items that a prompt offers, the target among them.
      max_targets: prompts with a history ask for this many most recent training interactions of
        each user; 0 for all.
      facts: of the items; None where no task tells any.
    """

    dataset: Dataset
    names: Names
    ratings: RowSplit | None
    reviews: Reviews | None
    max_items: int
    candidates: int
    max_targets: int = 0
    facts: "Facts | None" = None

    def __post_init__(self) -> None:
        """Reject names of other data."""
        for kind, named, count in (
            ("users", self.names.users, self.dataset.num_users),
            ("items", self.names.items, self.dataset.num_items),
        ):
            if len(named) != count:
                raise ConfigError(
                    f"there are {len(named)} names for {count} {kind}; give one name for each"
                )

    @functools.cached_property
    def genres(self) -> Genres:
        """The genres of the items.

        Raises:
          DataError: the items have none.
        """
        return Genres.read(self.dataset.interactions.items)


def render(datum: Datum, data: PromptData) -> dict[str, str]:
    """Write a datum as the fields that templates name; fields of what it leaves out are missing.

    Returns:
      Of "user", "items" (the history), "item" and its "title", "candidates", "asked", "star",
      "rating", and of a row with a review "hint", "explanation", "review" and "headline", those
      that the datum has.

    Example:
      >>> import numpy as np
      >>> from jaxrec.data import Dataset, leave_one_out
      >>> from jaxrec.testing import tiny_interactions
      >>> from jaxrec.texts import Datum, Names, PromptData, render
      >>> interactions = tiny_interactions()
      >>> dataset = Dataset(interactions, leave_one_out(interactions))
      >>> users, items = interactions.user_ids.tolist(), interactions.items.labels()
      >>> names = Names(users=users, items=items, separator=", ")
      >>> data = PromptData(
      ...     dataset=dataset, names=names, ratings=None, reviews=None, max_items=2, candidates=5
      ... )
      >>> render(Datum(user=0, history=np.array([4, 1, 2])), data)
      {'user': 'u000', 'items': 'Film 001 (1951), Film 002 (1952)'}
    """
    names, reviews = data.names, data.reviews
    fields: dict[str, str] = {}
    if datum.user >= 0:
        fields["user"] = names.users[datum.user]
    for what in ("history", "candidates", "item", "asked"):
        if (numbers := getattr(datum, what)) is not None:
            check_numbers(numbers, len(names.items), f"{what} of a prompt")
    if datum.history is not None:
        fields["items"] = names.list(present(datum.history)[-data.max_items :])
    if datum.item >= 0:
        titles = data.dataset.interactions.items.fields.get("title")
        fields["item"] = names.items[datum.item]
        fields["title"] = "" if titles is None else titles[datum.item]
    if datum.candidates is not None:
        fields["candidates"] = names.list(datum.candidates)
    if datum.asked >= 0:
        fields["asked"] = names.items[datum.asked]
    if datum.star:
        fields["star"] = str(datum.star)
    if datum.rating >= 0:
        fields["rating"] = ratings.TEXTS[datum.rating]
    if datum.row >= 0 and reviews is not None:
        fields["hint"] = reviews.hint[datum.row]
        fields["explanation"] = reviews.explanation[datum.row]
        fields["review"] = reviews.text[datum.row]
        fields["headline"] = reviews.title[datum.row]
    return fields


def held_out(dataset: Dataset) -> np.ndarray:
    """Mark the rows that are the validation or test target of their user: [n] bool.

    Example:
      >>> from jaxrec.data import Dataset, leave_one_out
      >>> from jaxrec.testing import tiny_interactions
      >>> from jaxrec.texts import held_out
      >>> interactions = tiny_interactions(users=40)
      >>> int(held_out(Dataset(interactions, leave_one_out(interactions))).sum())
      80
    """
    data, split = dataset.interactions, dataset.split
    targets = np.stack([split.valid_target, split.test_target])
    # Users of the split are some of those of the data; original IDs are unique, so they match both.
    number = {user: place for place, user in enumerate(split.train.user_ids.tolist())}
    users = np.array([number.get(user, -1) for user in data.user_ids.tolist()])[data.user]
    return (users >= 0) & (targets[:, users] == data.item[None]).any(axis=0)


def draw_others(
    met: np.ndarray, count: int, num_items: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw different items that are not among `met`: [count] int64.

    Raises:
      ConfigError: there are fewer than `count` such items.

    Example:
      >>> import numpy as np
      >>> from jaxrec.texts import draw_others
      >>> sorted(draw_others(np.array([0, 2]), 3, 5, np.random.default_rng(0)).tolist())
      [1, 3, 4]
    """
    free = np.ones(num_items, bool)
    free[met] = False
    pool = np.flatnonzero(free)
    if len(pool) < count:
        raise ConfigError(
            f"a prompt needs {count} items that the user has not seen, but only {len(pool)} of "
            f"{num_items} are unseen; lower candidates"
        )
    return rng.choice(pool, count, replace=False)


def eval_candidates(dataset: Dataset, stage: str, count: int, seed: int) -> np.ndarray:
    """Put each user's target among items that they never met, in random order: [U, count].

    Unlike in training, held-out items of the user are not negatives.

    Example:
      >>> from jaxrec.data import Dataset, leave_one_out
      >>> from jaxrec.testing import tiny_interactions
      >>> from jaxrec.texts import eval_candidates
      >>> interactions = tiny_interactions(users=40)
      >>> dataset = Dataset(interactions, leave_one_out(interactions))
      >>> eval_candidates(dataset, "test", count=5, seed=0).shape
      (40, 5)
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
