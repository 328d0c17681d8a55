"""What each text encoder at hand gives as item vectors, without training anything on them."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.data import Dataset
from jaxrec.eval import bootstrap_interval, evaluate
from jaxrec.ids import ItemCodes
from jaxrec.items import ids as item_ids, text as item_text
from jaxrec.runs import TIES, ranking_batches
from jaxrec.systems.generative.config import Config

_K = 10


def compare(
    config: Config, dataset: Dataset, codes: ItemCodes, directory: Path
) -> dict[str, Any] | None:
    """Measure all text encoders at hand, whether the run uses them or not.

    The figure is that of a recommender that knows the texts alone: the nearest neighbours, by
    cosine of the text vectors, of a user's last training item. They are ranked for the *validation*
    item as the baselines are, with seen items removed, which the last item itself is.

    Args:
      config: of a run.
      dataset: its data.
      codes: its IDs, whose metadata say which encoder they use; for others IDs are fitted anew.
      directory: where it is.

    Returns:
      "metric", "chance" (the figure of random lists) and "rows": the facts of `ItemText`, "used"
      (None if the run does not say), "moved" (items that collision repair gave another ID),
      "value" and "interval". JSON-able; None if the IDs use no texts.

    Raises:
      ConfigError, DataError: an encoder at hand that cannot be used; it is named.
    """
    recorded, used = "text" in codes.metadata, codes.metadata.get("text")
    if recorded and used is None:
        return None
    rows = []
    for encoder in item_text.at_hand(used, config.ids.text_encoder):
        is_used: bool | None = False if recorded else None
        if used and used["directory"] == (None if encoder is None else str(encoder)):
            text, fitted, is_used = item_text.load(used, directory), codes, True
        else:
            found = item_text.read(config.ids, dataset, encoder)
            if found is None:
                return None
            # How many must move does not depend on the repair; "refuse" would stop here, and the
            # grid of "next_free" may be too small.
            ids = dataclasses.replace(config.ids, repair="suffix")
            text, fitted = found, item_ids.fit_ids(ids, dataset, found)
        values = nearest_neighbours(text.vectors, dataset)
        interval = bootstrap_interval(
            values, resamples=config.eval.resamples, seed=config.train.seed
        )
        rows.append(
            text.facts
            | {
                "used": is_used,
                "moved": fitted.metadata.get("repair", {}).get("moved", 0),
                "value": interval.mean,
                "interval": [interval.low, interval.high],
            }
        )
    left = [dataset.num_items - len(np.unique(seen)) for seen in dataset.split.history("valid")]
    chance = float(np.minimum(1, _K / np.array(left)).mean())
    return {"metric": f"hr@{_K}", "chance": chance, "rows": rows}


def nearest_neighbours(vectors: np.ndarray, dataset: Dataset) -> np.ndarray:
    """HR@10 of the neighbours of the last training item on the validation item.

    Args:
      vectors: `[I, D]`, unit rows or zeros.
      dataset: whose users are asked for.

    Returns:
      One value a user, float64 `[U]`.
    """

    def score(batch: Mapping[str, np.ndarray]) -> np.ndarray:
        return vectors[batch["history"][:, -1]] @ vectors.T

    rows = ranking_batches(dataset, "valid", filter_seen=True)
    return evaluate(score, rows, (_K,), TIES)[f"hr@{_K}"]


def lines(found: Mapping[str, Any] | None) -> list[str]:
    """What `compare` found, a line an encoder."""
    if found is None:
        return []
    return [
        f"  {row['encoder']}: {found['metric']} {row['value']:.4f} "
        f"[{row['interval'][0]:.3f}, {row['interval'][1]:.3f}] on validation by nearest texts "
        f"(chance {found['chance']:.4f}), {row['moved']:,} items moved by collision repair"
        for row in found["rows"]
    ]
