"""The evaluation protocol that all ranking systems share.

The split is leave-one-out. The full catalogue is ranked for every user, without seen items if the
run says so, and tied scores get their mean rank. `runs.table` adds bootstrap intervals and tests.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from jaxrec.data import Dataset
from jaxrec.decode import length_groups
from jaxrec.eval import Ties, evaluate, max_plus_one_rate, seen_rule, top_lists
from jaxrec.ids import pad_items
from jaxrec.runs.config import RankConfig

Stage = Literal["valid", "test"]
TIES: Ties = "midrank"
# Most scores of a batch: 0.25 GB.
_SCORES = 1 << 26


def ranking_batches(
    dataset: Dataset,
    stage: Stage,
    filter_seen: bool,
    size: int = 256,
    users: np.ndarray | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Yield users in batches of few shapes, as `eval.evaluate` reads them.

    Args:
      dataset: the data.
      stage: whose held-out items are the targets.
      filter_seen: give "seen", the items that a ranking leaves out.
      size: users per batch, fewer where histories are very long or the catalogue is very large. The
        last batch of each shape repeats a user to fill up, with "valid" False.
      users: numbers of the users; None for all.

    Yields:
      "history" `[B, H]`, padded on the left with -1; "user", "target" and "valid" `[B]`; "row"
      `[B]`, the places of the users in `users`; and "seen", which is the history. If the data have
      times, "times" `[B, H]` int32 has the seconds since the first item, -1 for padding.

    Example:
      >>> from jaxrec.data import leave_one_out
      >>> from jaxrec.testing import tiny_interactions
      >>> data = tiny_interactions(users=12, items=14)
      >>> dataset = Dataset(data, leave_one_out(data))
      >>> batch = next(ranking_batches(dataset, "test", filter_seen=True, size=4))
      >>> batch["target"].shape, batch["history"].shape == batch["seen"].shape
      ((4,), True)
    """
    histories, targets = dataset.split.history(stage), dataset.split.target(stage)
    times = dataset.split.times(stage)
    chosen = np.arange(len(histories)) if users is None else users
    size = max(1, min(size, _SCORES // dataset.num_items))
    for group in length_groups([len(histories[user]) for user in chosen], size):
        for rows, count in group.batches():
            user = chosen[rows]
            history = pad_items([histories[one] for one in user], group.width)
            batch = {
                "history": history,
                "user": user.astype(np.int32),
                "target": targets[user],
                "valid": np.arange(len(rows)) < count,
                "row": rows,
            }
            if times is not None:
                batch["times"] = pad_items([times[one] for one in user], group.width)
            yield batch | ({"seen": history} if filter_seen else {})


def rank_users(
    score: Callable[[Mapping[str, np.ndarray]], Any],
    dataset: Dataset,
    stage: Stage,
    decode: RankConfig,
    ks: Sequence[int],
    users: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Rank the targets of a stage by scores of the whole catalogue.

    Args:
      score: maps a batch of `ranking_batches` to `[B, I]`.
      dataset: the data.
      stage: whose held-out items are the targets.
      decode: which items the ranking leaves out.
      ks: cut-offs of the metrics.
      users: numbers of the users; None for all.

    Returns:
      A value per user by metric, float64 `[U]`, in the order of `users`.

    Example:
      >>> from jaxrec.data import leave_one_out
      >>> from jaxrec.testing import tiny_interactions
      >>> data = tiny_interactions(users=12, items=14)
      >>> dataset = Dataset(data, leave_one_out(data))
      >>> def score(batch):
      ...     return np.tile(np.arange(14.0), (len(batch["user"]), 1))
      >>> rank_users(score, dataset, "test", RankConfig(), ks=(5,))["hr@5"].shape
      (12,)
    """
    batches = ranking_batches(dataset, stage, decode.filter_seen, users=users)
    return evaluate(score, batches, ks, TIES, decode.repeated_target)


def list_users(
    score: Callable[[Mapping[str, np.ndarray]], Any],
    dataset: Dataset,
    stage: Stage,
    decode: RankConfig,
    k: int,
) -> np.ndarray:
    """Return the best items of each user by the ranking of `rank_users`.

    Args:
      score: maps a batch of `ranking_batches` to `[B, I]`.
      dataset: the data.
      stage: whose held-out items are the targets.
      decode: which items the lists leave out.
      k: length of the lists.

    Returns:
      `[U, k]` int32, best first, -1 in unfilled places.

    Example:
      >>> from jaxrec.data import leave_one_out
      >>> from jaxrec.testing import tiny_interactions
      >>> data = tiny_interactions(users=12, items=14)
      >>> dataset = Dataset(data, leave_one_out(data))
      >>> def score(batch):
      ...     return np.tile(np.arange(14.0), (len(batch["user"]), 1))
      >>> list_users(score, dataset, "test", RankConfig(filter_seen=False), k=2)[0].tolist()
      [13, 12]
    """
    batches = ranking_batches(dataset, stage, decode.filter_seen)
    return top_lists(score, batches, k, decode.repeated_target)


def protocol_of(config: Any, dataset: Dataset) -> dict[str, object]:
    """Describe what a measurement is made on: JSON-able.

    Args:
      config: the config of a run; only `decode` (a `RankConfig`) and `share` are read.
      dataset: its data.

    Example:
      >>> from jaxrec.systems.sasrec import SasrecRunConfig
      >>> from jaxrec.data import leave_one_out
      >>> from jaxrec.testing import tiny_interactions
      >>> data = tiny_interactions(users=12, items=14)
      >>> dataset = Dataset(data, leave_one_out(data))
      >>> protocol_of(SasrecRunConfig(), dataset)["ranking"]
      'full catalogue of 14 items'
    """
    share = known_share(config)
    known = {"known_share": share} if share < 1 else {}
    return (
        dataset.describe()
        | known
        | {
            "ranking": f"full catalogue of {dataset.num_items:,} items",
            "seen_items": "removed" if config.decode.filter_seen else "kept",
            "tied_scores": "at their mean rank",
        }
        | _repeats(config.decode, dataset)
    )


def _repeats(decode: RankConfig, dataset: Dataset) -> dict[str, object]:
    """Return the rule for targets that users have already met, and the number of such users."""
    if not decode.filter_seen:
        return {}
    split = dataset.split
    pairs = zip(split.history("test"), split.target("test").tolist(), strict=True)
    count = sum(target in items for items, target in pairs)
    return {"repeated_target": decode.repeated_target, "repeated_users": count}


def comparable(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a protocol that must be equal in one table.

    The rule for repeated targets does not matter where no user has one. Measurements that were made
    before the rule had a name lack it.

    Example:
      >>> comparable({"users": 9, "repeated_target": "ranked", "repeated_users": 0})
      {'users': 9}
    """
    rule = () if facts.get("repeated_users") else ("repeated_target", "repeated_users")
    return {name: value for name, value in facts.items() if name not in rule}


def known_share(config: Any) -> float:
    """Return the share of the users whose histories a system may train on, 1 by default.

    Example:
      >>> from jaxrec.systems.vqrec import VqRecConfig
      >>> known_share(VqRecConfig(share=0.1))
      0.1
    """
    return getattr(config, "share", 1.0)


def heading(facts: Mapping[str, object]) -> str:
    """Return one line that describes a protocol, as `protocol_of` gives it.

    Example:
      >>> facts = {"dataset": "a", "users": 9, "ranking": "full catalogue of 5 items"}
      >>> heading(facts | {"seen_items": "removed", "ties": "by row"})
      'a, test: 9 users, full catalogue of 5 items, seen items removed; ties in time: by row'
    """
    known = f" (a share {facts['known_share']:g} known)" if "known_share" in facts else ""
    return (
        f"{facts['dataset']}, test: {facts['users']:,} users{known}, {facts['ranking']}, "
        f"{seen_rule(facts)}; ties in time: {facts['ties']}"
    )


def leak_audit(dataset: Dataset) -> dict[str, float]:
    """Return how often "the highest item number of the history plus one" is the test item.

    A share far above chance would show that item numbers give the answer away.

    Example:
      >>> from jaxrec.data import leave_one_out
      >>> from jaxrec.testing import tiny_interactions
      >>> data = tiny_interactions(users=12, items=14)
      >>> dataset = Dataset(data, leave_one_out(data))
      >>> 0 <= leak_audit(dataset)["max_plus_one"] <= 1
      True
    """
    return {
        "max_plus_one": max_plus_one_rate(
            dataset.split.history("test"), dataset.split.target("test")
        )
    }
