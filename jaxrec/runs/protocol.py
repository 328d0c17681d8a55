"""The generative model and its baselines under one protocol_of, in one table.

Leave-one-out, the full catalogue ranked for every user, seen items left out if the run says so,
tied scores at their mean rank, percentile bootstrap intervals over users, and a paired test of the
model against each baseline with Holm's correction.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np

from jaxrec.data import Dataset
from jaxrec.decode import bucket
from jaxrec.eval import (
    Ties,
    max_plus_one_rate,
)
from jaxrec.ids import pad_items

Stage = Literal["valid", "test"]
TIES: Ties = "midrank"


def ranking_batches(
    dataset: Dataset,
    stage: Stage,
    filter_seen: bool,
    size: int = 256,
    users: np.ndarray | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Users in batches of one shape, for `eval.evaluate`: history, user, target, seen, valid.

    All users, or those with the numbers `users`.
    """
    histories, targets = dataset.split.history(stage), dataset.split.target(stage)
    length = bucket(max(len(history) for history in histories))
    chosen = np.arange(len(histories)) if users is None else users
    for start in range(0, len(chosen), size):
        rows = chosen[np.minimum(np.arange(start, start + size), len(chosen) - 1)]
        history = pad_items([histories[row] for row in rows], length)
        batch = {
            "history": history,
            "user": rows.astype(np.int32),
            "target": targets[rows],
            "valid": np.arange(start, start + size) < len(chosen),
        }
        yield batch | ({"seen": history} if filter_seen else {})


def protocol_of(config: Any, dataset: Dataset) -> dict[str, object]:
    """What a table is measured on: JSON-able.

    Args:
      config: of a run; only "decode.filter_seen" and "share" are read.
      dataset: its data.
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
    )


def known_share(config: Any) -> float:
    """Share of the users whose histories a system may train on; 1 unless its config says less."""
    return getattr(config, "share", 1.0)


def heading(facts: Mapping[str, object]) -> str:
    """The same in a line."""
    known = f" (a share {facts['known_share']:g} known)" if "known_share" in facts else ""
    return (
        f"{facts['dataset']}, test: {facts['users']:,} users{known}, {facts['ranking']}, "
        f"seen items {facts['seen_items']}; ties in time: {facts['ties']}"
    )


def leak_audit(dataset: Dataset) -> dict[str, float]:
    """How often the trivial rule "highest number in the history plus one" is right, as a share."""
    return {
        "max_plus_one": max_plus_one_rate(
            dataset.split.history("test"), dataset.split.target("test")
        )
    }
