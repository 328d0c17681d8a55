"""Candidate sets of a leave-one-out data set: random negatives, and hard ones."""

import dataclasses
from pathlib import Path

import numpy as np

from jaxrec.data import Dataset
from jaxrec.runs import Score, Stage, fit_baseline, ranking_batches
from jaxrec.systems.instructrec.config import HardBy
from jaxrec.texts import Datum, Prefixes, PromptData, eval_candidates


def random_sets(data: PromptData, stage: Stage, count: int, users: np.ndarray) -> list[Datum]:
    """Each user's history and target, among items that they never met.

    Args:
      data: of the instructions.
      stage: whose held-out items are the targets.
      count: number of candidates, the target among them.
      users: numbers of the users.
    """
    return _with(data, stage, eval_candidates(data.dataset, stage, count, seed=0), users)


def hard_sets(data: PromptData, stage: Stage, count: int, by: HardBy) -> list[Datum]:
    """Each user's history and target, among items that are hard to tell from it.

    Args:
      data: of the instructions.
      stage: whose held-out items are the targets.
      count: number of candidates, the target among them.
      by: "cooccurrence" takes the items that most often follow the items of the history;
        "popularity" those whose number of training interactions is nearest to that of the target.
        Items that the user met are no negatives.
    """
    dataset = data.dataset
    split, everyone = dataset.split, np.arange(dataset.num_users)
    targets = split.target(stage)
    if by == "cooccurrence":
        score, _ = fit_baseline(by, None, dataset, Path())
        every = np.tile(np.arange(dataset.num_items), (len(everyone), 1))
        near = score_candidates(score, dataset, stage, every)
    else:
        counts = np.bincount(split.train.item, minlength=dataset.num_items)
        near = -np.abs(counts[None] - counts[targets][:, None]).astype(np.float64)
    rows = []
    for user, history in enumerate(split.train.sequences()):
        rng = np.random.default_rng([1, user])
        met = np.concatenate([history, [split.valid_target[user], split.test_target[user]]])
        order = rng.permutation(dataset.num_items)
        order = order[~np.isin(order, met)]
        order = order[np.argsort(-near[user, order], kind="stable")][: count - 1]
        rows.append(rng.permutation(np.append(order, targets[user])))
    return _with(data, stage, np.stack(rows), everyone)


def score_candidates(
    score: Score, dataset: Dataset, stage: Stage, candidates: np.ndarray
) -> np.ndarray:
    """Score the candidates of all users by what scores the whole catalogue.

    Args:
      score: from `runs.fit_baseline`.
      dataset: the data.
      stage: whose histories are read.
      candidates: `[U, C]` item numbers.

    Returns:
      `[U, C]` float64.
    """
    scores = np.zeros(candidates.shape, np.float64)
    for batch in ranking_batches(dataset, stage, filter_seen=False):
        users = batch["user"][batch["valid"]]
        table = np.asarray(score(batch), np.float64)[batch["valid"]]
        scores[users] = np.take_along_axis(table, candidates[users], axis=1)
    return scores


def _with(data: PromptData, stage: Stage, candidates: np.ndarray, users: np.ndarray) -> list[Datum]:
    return [
        dataclasses.replace(one, candidates=candidates[one.user])
        for one in Prefixes().held_out(data, stage, users)
    ]
