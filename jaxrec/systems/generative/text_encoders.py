"""How well the item vectors of each text encoder at hand recommend, without any training."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.data import Dataset
from jaxrec.eval import bootstrap_interval
from jaxrec.ids import ItemCodes
from jaxrec.items import ids as item_ids, text as item_text
from jaxrec.runs import RankConfig, rank_users
from jaxrec.systems.generative.config import Config

_K = 10


def compare(
    config: Config, dataset: Dataset, codes: ItemCodes, directory: Path
) -> dict[str, Any] | None:
    """Measure all text encoders at hand, whether the run uses them or not.

    Each figure is that of a recommender that knows only the texts: it recommends the nearest
    neighbours of a user's last training item, by cosine of the text vectors. They are ranked for
    the *validation* item like the baselines, without seen items and so without the last item.

    Args:
      config: the config of a run.
      dataset: its data.
      codes: its IDs, whose metadata say which encoder they use; IDs are fitted anew with each other
        encoder.
      directory: of the run.

    Returns:
      "metric", "chance" (the figure of random lists) and "rows": the facts of `ItemText`, "used"
      (None if the run does not say), "moved" (number of items that collision repair gave another
      ID), "value" and "interval". JSON-able; None if the IDs use no texts.

    Raises:
      ConfigError, DataError: an encoder at hand that cannot be used; the message names it.
    """
    recorded, used = "text" in codes.metadata, codes.metadata.get("text")
    if recorded and used is None:
        return None
    decode = RankConfig(repeated_target=config.decode.repeated_target)
    rows = []
    for encoder in item_text.at_hand(used, config.ids.text_encoder):
        is_used: bool | None = False if recorded else None
        if used and used["directory"] == (None if encoder is None else str(encoder)):
            text, fitted, is_used = item_text.load(used, directory), codes, True
        else:
            encoded = item_text.read(config.ids, dataset, encoder)
            if encoded is None:
                return None
            # The number of items to move does not depend on the repair. "refuse" would stop here,
            # and the grid of "next_free" may be too small.
            ids = dataclasses.replace(config.ids, repair="suffix")
            text, fitted = encoded, item_ids.fit_ids(ids, dataset, encoded)
        values = nearest_neighbours(text.vectors, dataset, decode)
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
    split = dataset.split
    removed = decode.removed(split.history("valid"), split.target("valid")) or []
    left = [dataset.num_items - len(np.unique(items)) for items in removed]
    chance = float(np.minimum(1, _K / np.array(left)).mean())
    return {"metric": f"hr@{_K}", "chance": chance, "rows": rows}


def nearest_neighbours(
    vectors: np.ndarray, dataset: Dataset, decode: RankConfig | None = None
) -> np.ndarray:
    """Return the HR@10 of the last training item's neighbours on the validation item.

    Args:
      vectors: `[I, D]`, rows of unit length or zeros.
      dataset: the data.
      decode: which items the ranking leaves out; None for the default of `RankConfig`.

    Returns:
      One value per user, float64 `[U]`.
    """

    def score(batch: Mapping[str, np.ndarray]) -> np.ndarray:
        return vectors[batch["history"][:, -1]] @ vectors.T

    return rank_users(score, dataset, "valid", decode or RankConfig(), (_K,))[f"hr@{_K}"]


def lines(encoders: Mapping[str, Any] | None) -> list[str]:
    """Write what `compare` returned as text, with one line per encoder."""
    if encoders is None:
        return []
    return [
        f"  {row['encoder']}: {encoders['metric']} {row['value']:.4f} "
        f"[{row['interval'][0]:.3f}, {row['interval'][1]:.3f}] on validation by nearest texts "
        f"(chance {encoders['chance']:.4f}), {row['moved']:,} items moved by collision repair"
        for row in encoders["rows"]
    ]
