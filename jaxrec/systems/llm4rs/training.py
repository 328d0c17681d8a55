"""Texts that teach a model to rank: questions like those of the instances, about older ratings.

For every liked item of a user but the first, a text shows the liked items before it and asks about
it and about items that the user did not like. Answers say the user's ratings: the rating itself,
the better one of two, or all candidates by rating. No user's candidates of an instance occur.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from jaxrec.core import DataError
from jaxrec.data import MarkedText
from jaxrec.systems.llm4rs.config import Form
from jaxrec.systems.llm4rs.instances import Instances
from jaxrec.systems.llm4rs.prompts import Prompter
from jaxrec.texts import LETTERS, Datum


def training_texts(
    instances: Instances,
    prompter: Prompter,
    forms: Sequence[Form],
    *,
    history: int,
    candidates: int,
    draws: int,
    shortened: float = 0.0,
    seed: int,
) -> list[MarkedText]:
    """Write the training texts.

    Args:
      instances: whose training rows are read.
      prompter: writes them; demonstrations are left out.
      forms: for each of them, every liked item gives `draws` texts.
      history: most liked items that a text shows.
      candidates: number of candidates of a list; users with fewer negatives give no lists.
      draws: see `forms`. Half of the point-wise texts ask about the item, and half about a
        negative; a quarter of the pairs are two negatives.
      shortened: share of the texts whose history is cut to a random length, perhaps 0. They teach
        what a title says by itself, which a small model does not learn soon beside a history.
      seed: of everything that is drawn.

    Raises:
      DataError: no user has both a liked item with a history and a negative.

    Example:
      >>> from jaxrec.systems.llm4rs import InstancesConfig, Llm4rsConfig, PromptConfig, Prompter
      >>> from jaxrec.systems.llm4rs import Instances
      >>> from jaxrec.testing import tiny_interactions
      >>> data = tiny_interactions()
      >>> every = np.arange(len(data))
      >>> held = Instances(
      ...     data=data, test=[], pool=[], valid=[], fit=every, train=every, threshold=4.0
      ... )
      >>> prompter = Prompter(config=PromptConfig(), titles=data.items.labels())
      >>> texts = training_texts(
      ...     held, prompter, ["point"], history=2, candidates=3, draws=1, seed=0
      ... )
      >>> texts[0].answers[0].strip() in "12345"
      True
    """
    rng = np.random.default_rng([seed, 7])
    texts = [
        prompter.text(form, datum, places, answer)
        for user, liked, others in _by_user(instances)
        for form, datum, places, answer in _questions(
            user, liked, others, forms, history, candidates, draws, shortened, rng
        )
    ]
    if not texts:
        raise DataError(
            f"no user of {instances.data.name} has two liked items and one that is not liked "
            "outside the instances, so there is nothing to learn; give more data"
        )
    return texts


Rated = list[tuple[int, float]]


def _by_user(instances: Instances) -> Iterator[tuple[int, Rated, Rated]]:
    """Yield each user with liked items and others, oldest first, with their ratings."""
    data, rows = instances.data, instances.train
    user, item, rating = data.user[rows], data.item[rows], data.rating[rows]
    starts = np.flatnonzero(np.r_[True, user[1:] != user[:-1]])
    for begin, end in zip(starts, np.append(starts[1:], len(user)), strict=True):
        pairs = list(zip(item[begin:end].tolist(), rating[begin:end].tolist(), strict=True))
        liked = [pair for pair in pairs if pair[1] >= instances.threshold]
        others = [pair for pair in pairs if pair[1] < instances.threshold]
        yield int(user[begin]), liked, others


def _questions(
    user: int,
    liked: Rated,
    others: Rated,
    forms: Sequence[Form],
    history: int,
    candidates: int,
    draws: int,
    shortened: float,
    rng: np.random.Generator,
) -> Iterator[tuple[Form, Datum, tuple[int, ...], str]]:
    """Yield form, instance, places and answer of every text of a user."""
    for place in range(1, len(liked)):
        if not others:
            return
        for form in forms:
            for _ in range(draws):
                size = {"point": 1, "pair": 2, "list": candidates - 1}[form]
                if len(others) < size:
                    continue
                negatives = [others[n] for n in _drawn(len(others), size, rng)]
                rated = _asked_about(form, liked[place], negatives, rng)
                rated = [rated[n] for n in _drawn(len(rated), len(rated), rng)]
                answer = _answer(form, [rating for _, rating in rated], rng)
                if answer is None:
                    continue
                items = np.array([item for item, _ in rated])
                cut = shortened > 0 and rng.random() < shortened
                length = int(rng.integers(history + 1)) if cut else history
                before = liked[max(place - length, 0) : place]
                shown = np.array([item for item, _ in before], np.int32)
                datum = Datum(user=user, history=shown, candidates=items)
                yield form, datum, tuple(range(len(items))), answer


def _drawn(count: int, size: int, rng: np.random.Generator) -> list[int]:
    """Draw different numbers below `count` in random order."""
    # Much faster than `Generator.choice` for a few of a few.
    return rng.random(count).argsort()[:size].tolist()


def _asked_about(
    form: Form, target: tuple[int, float], negatives: Rated, rng: np.random.Generator
) -> Rated:
    """Choose the items of a text."""
    if form == "point":
        return [target] if rng.random() < 0.5 else negatives
    if form == "pair":
        # Some texts compare two negatives, as most pairs of an instance do.
        return negatives if rng.random() < 0.25 else [target, negatives[0]]
    return [target, *negatives]


def _answer(form: Form, ratings: Sequence[float], rng: np.random.Generator) -> str | None:
    """The right answer to a question about items with these ratings; None for equal ones."""
    if form == "point":
        return f"{ratings[0]:g}"
    order = sorted(range(len(ratings)), key=lambda n: (-ratings[n], rng.random()))
    if form == "pair":
        return None if ratings[0] == ratings[1] else LETTERS[order[0]]
    return " ".join(LETTERS[n] for n in order)
