"""Instances of LLM4RS: made of ratings as published, or read from a file.

    liked          a b c d e f g h          oldest first
    not liked      p q r s t u v w x y      oldest first

    instance 0     history c d e f g        target h, and y with three drawn of p .. x
    instance 1     history b c d e f        target g, and y with three drawn of p .. x

(Dai et al., RecSys 2023, arXiv:2305.02182, section 4.1, and the notebooks of its repository.) The
negatives are items that the user rated low, which is harder than unseen items. Every baseline and
every training leaves out all pairs of a user and a candidate.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxrec.core import DataError
from jaxrec.data import Interactions, load_interactions
from jaxrec.systems.llm4rs.config import POOL, InstancesConfig, Llm4rsConfig
from jaxrec.texts import Datum, check_candidate_sets, read_candidate_sets


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Instances:
    """The instances of a run, and what may be learned from.

    Attributes:
      data: all ratings.
      test: instances to ask about.
      pool: instances that demonstrations come from; none of them is among the others.
      valid: instances that rank checkpoints. Their targets are older than those of the test.
      fit: numbers of the rows of `data` that baselines are fitted on: no pair of a user and a
        candidate of `test` or `pool`.
      train: those that the model learns from: none of a validation instance either.
      threshold: a user likes an item with this rating or a higher one.
    """

    data: Interactions
    test: Sequence[Datum]
    pool: Sequence[Datum]
    valid: Sequence[Datum]
    fit: np.ndarray
    train: np.ndarray
    threshold: float

    def describe(self) -> Mapping[str, object]:
        """Say what the run is measured on: JSON-able."""
        digest = hashlib.sha256(self.data.fingerprint().encode())
        for datum in (*self.pool, *self.test):
            digest.update(repr((datum.user, datum.item, datum.candidates, datum.history)).encode())
        return {
            "dataset": self.data.name,
            "source": self.data.source,
            "test": len(self.test),
            "test_users": len({datum.user for datum in self.test}),
            "pool": len(self.pool),
            "train": len(self.train),
            "fingerprint": digest.hexdigest(),
        }


def load_instances(config: Llm4rsConfig) -> Instances:
    """Read the data, and build or read the instances.

    Raises:
      DataError: data without ratings, no user with enough of them, a file of instances that is not
        valid or has one without a history, or fewer instances than demonstrations need.
    """
    data = load_interactions(config.data)
    if np.isnan(data.rating).any():
        raise DataError(
            f"{data.name} has interactions without a rating, so nothing tells what was liked; give "
            "--data.rating-column, or data with ratings"
        )
    settings = config.instances
    if settings.file:
        sets = read_candidate_sets(
            Path(settings.file), data.items, data.user_ids, settings.candidates
        )
        for number, datum in enumerate(sets):
            if not len(np.asarray(datum.history)):
                raise DataError(
                    f"{settings.file}: candidate set {number} has an empty history, so its prompts "
                    "say nothing of the user; give at least one item, or leave the set out"
                )
        split = _split(data, settings)
        valid = _validation(sets, split, config.eval.valid_instances, settings)
    else:
        sets, valid = build_instances(data, settings, config.eval.valid_instances)
    pool = sets[:POOL] if config.prompt.demonstrations else []
    test = sets[len(pool) :]
    if len(test) < 1 or len(pool) < config.prompt.demonstrations:
        raise DataError(
            f"{len(sets)} instances leave none to ask about beside {POOL} for demonstrations; give "
            "more instances, or set --prompt.demonstrations 0"
        )
    if config.eval.test_instances:
        test = test[: config.eval.test_instances]
    return Instances(
        data=data,
        test=test,
        pool=pool,
        valid=valid,
        fit=outside(data, sets),
        train=outside(data, [*sets, *valid]),
        threshold=settings.threshold,
    )


def build_instances(
    data: Interactions, config: InstancesConfig, valid: int = 0
) -> tuple[list[Datum], list[Datum]]:
    """Build the instances of all users with enough ratings, in random order.

    Args:
      data: interactions with ratings, by user and time.
      config: of the instances.
      valid: most validation instances. The target of one is the newest liked item that is no
        target of the others, and its negatives are no candidates of them.

    Returns:
      Instances, and validation instances of some of the same users.

    Raises:
      DataError: no user has enough liked and other items.

    Example:
      >>> from jaxrec.systems.llm4rs import InstancesConfig, build_instances
      >>> from jaxrec.testing import tiny_interactions
      >>> config = InstancesConfig(min_positives=4, min_negatives=4, targets=1, history=2)
      >>> sets, _ = build_instances(tiny_interactions(users=40), config)
      >>> len(sets[0].history), len(sets[0].candidates), sets[0].item in sets[0].candidates
      (2, 5, True)
    """
    split = _split(data, config)
    if not split:
        raise DataError(
            f"no user of {data.name} has {config.min_positives} items rated "
            f"{config.threshold:g} or higher and {config.min_negatives} others; lower "
            "--instances.min-positives or --instances.min-negatives"
        )
    rng = np.random.default_rng(config.seed)
    sets = [
        _instance(user, positives, negatives[:-1], negatives[-1:], back, config, rng)
        for back in range(config.targets)
        for user, positives, negatives in split
    ]
    # The number of validation instances changes none of the others.
    chosen = _validation(sets, split, valid, config)
    sets = [sets[place] for place in rng.permutation(len(sets)).tolist()]
    check_candidate_sets(sets, config.candidates, data.num_items, what="instance")
    return sets, chosen


Split = list[tuple[int, np.ndarray, np.ndarray]]


def _split(data: Interactions, config: InstancesConfig) -> Split:
    """List the users with enough ratings, their liked items and their other items, oldest first."""
    starts = np.flatnonzero(np.r_[True, data.user[1:] != data.user[:-1]])
    ends = np.append(starts[1:], len(data.user))
    likes = data.rating >= config.threshold
    split: Split = []
    for begin, end in zip(starts.tolist(), ends.tolist(), strict=True):
        items, liked = data.item[begin:end], likes[begin:end]
        # An item that a user rated both high and low is neither.
        both = np.intersect1d(items[liked], items[~liked])
        positives, negatives = (
            _newest(items[chosen & ~np.isin(items, both)]) for chosen in (liked, ~liked)
        )
        if len(positives) >= config.min_positives and len(negatives) >= config.min_negatives:
            split.append((int(data.user[begin]), positives, negatives))
    return split


def _newest(items: np.ndarray) -> np.ndarray:
    """Keep the last occurrence of each item, in order."""
    _, last = np.unique(items[::-1], return_index=True)
    return items[::-1][np.sort(last)][::-1]


def _instance(
    user: int,
    positives: np.ndarray,
    others: np.ndarray,
    fixed: np.ndarray,
    back: int,
    config: InstancesConfig,
    rng: np.random.Generator,
) -> Datum:
    """An instance whose target is the last liked item but `back`."""
    place = len(positives) - 1 - back
    target = positives[place]
    drawn = rng.choice(others, config.candidates - 1 - len(fixed), replace=False)
    return Datum(
        user=user,
        history=positives[max(place - config.history, 0) : place],
        candidates=rng.permutation(np.concatenate([[target], fixed, drawn])),
        item=int(target),
    )


def _validation(
    sets: Sequence[Datum], split: Split, most: int, config: InstancesConfig
) -> list[Datum]:
    """Make instances of items that are candidates of no other instance of their user."""
    used: dict[int, list[int]] = {}
    for datum in sets:
        used.setdefault(datum.user, []).extend(np.asarray(datum.candidates).tolist())
    rng = np.random.default_rng([config.seed, 1])
    chosen: list[Datum] = []
    for place in rng.permutation(len(split)).tolist():
        user, positives, negatives = split[place]
        positives, negatives = (
            items[~np.isin(items, used.get(user, []))] for items in (positives, negatives)
        )
        if len(chosen) < most and len(positives) > 1 and len(negatives) >= config.candidates - 1:
            chosen.append(_instance(user, positives, negatives, negatives[:0], 0, config, rng))
    return chosen


def outside(data: Interactions, sets: Sequence[Datum]) -> np.ndarray:
    """Return the numbers of the rows whose user and item are no user and candidate of a set."""
    width = data.num_items
    held = [
        datum.user * width + np.asarray(datum.candidates, np.int64)
        for datum in sets
        if datum.user >= 0
    ]
    pairs = data.user.astype(np.int64) * width + data.item
    taken = np.isin(pairs, np.concatenate(held)) if held else np.zeros(len(pairs), bool)
    return np.flatnonzero(~taken)
