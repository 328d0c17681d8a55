"""What lists are like apart from their hits: coverage, concentration, novelty, popularity, variety.

Shapes: `U` users, `K` places of a list, `I` items, `F` features of an item.
"""

import dataclasses

import numpy as np

from jaxrec.core import ConfigError, DataError

# Names that `list_quality` returns, in the order of a table.
QUALITIES = ("coverage", "gini", "novelty", "popularity", "popularity_lift", "diversity")


@dataclasses.dataclass(frozen=True, eq=False)
class Catalogue:
    """What is known of the items.

    Attributes:
      counts: `[I]`, in how many training interactions each occurs.
      features: `[I, F]`, such as its genres as 0 and 1; None where there are none. An item whose
        features are all 0 is unlike every other.
    """

    counts: np.ndarray
    features: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Reject features of other items."""
        if self.features is not None and len(self.features) != len(self.counts):
            raise ConfigError(
                f"features of {len(self.features)} items for a catalogue of {len(self.counts)}"
            )


def list_quality(
    items: np.ndarray, catalogue: Catalogue, histories: list[np.ndarray] | None = None
) -> dict[str, float]:
    """Qualities of all users' lists.

    - coverage: share of the catalogue that is in some list.
    - gini: Gini index of how often items are listed, over all I items: 0 if all are equally often,
      towards 1 if few have all places.
    - novelty: mean of -log2 p(i), p(i) the share of training interactions that item i has, one
      added to each count; in bits (Vargas and Castells, Rank and relevance in novelty and
      diversity metrics, RecSys 2011).
    - popularity: mean share of the training interactions that a listed item has.
    - popularity_lift: mean popularity of a list over that of the user's history, minus 1, averaged
      over users (Abdollahpouri et al., The unfairness of popularity bias, 2019); only with
      `histories`.
    - diversity: mean over users of 1 - cosine of features between two places of a list
      (Ziegler et al., Improving recommendation lists through topic diversification, WWW 2005); only
      with `catalogue.features`, over users with at least two items.

    Args:
      items: `[U, K]`, -1 in unfilled places.
      catalogue: what is known of the items.
      histories: U arrays of the items that each user had met.

    Raises:
      DataError: no list holds an item.
    """
    listed, filled = np.maximum(items, 0), items >= 0
    if not filled.any():
        raise DataError("no list holds an item")
    count = len(catalogue.counts)
    shown = np.bincount(items[filled], minlength=count)
    share = (catalogue.counts + 1) / (catalogue.counts + 1).sum()
    popularity = catalogue.counts / max(catalogue.counts.sum(), 1)
    found = {
        "coverage": float((shown > 0).mean()),
        "gini": gini(shown),
        "novelty": float(-np.log2(share)[items[filled]].mean()),
        "popularity": float(popularity[items[filled]].mean()),
    }
    some = filled.any(1)
    if histories is not None:
        mine = (popularity[listed] * filled).sum(1)[some] / filled.sum(1)[some]
        theirs = [popularity[histories[user]].mean() for user in np.flatnonzero(some)]
        found["popularity_lift"] = float((mine / np.maximum(theirs, 1e-12) - 1).mean())
    if catalogue.features is not None:
        found["diversity"] = _diversity(listed, filled, catalogue.features)
    return found


def gini(counts: np.ndarray) -> float:
    """Gini index of counts `[I]`: sum over i of (2 i - I - 1) x(i) / (I sum x), x sorted, i from 1.

    Raises:
      DataError: all counts are 0.
    """
    ordered, size = np.sort(np.asarray(counts, np.float64)), len(counts)
    if ordered.sum() <= 0:
        raise DataError("the Gini index of nothing but zeros is undefined")
    rank = np.arange(1, size + 1)
    return float(((2 * rank - size - 1) * ordered).sum() / (size * ordered.sum()))


def _diversity(listed: np.ndarray, filled: np.ndarray, features: np.ndarray) -> float:
    """Mean over lists of 1 - cosine, over pairs of places."""
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    unit = np.divide(features, norms, out=np.zeros(features.shape), where=norms > 0)
    values = []
    for row, there in zip(listed, filled, strict=True):
        mine = unit[row[there]]
        size = len(mine)
        if size > 1:
            # All pairs at once: |sum|^2 holds every cosine of a pair twice, and each item's own.
            both = (mine.sum(0) ** 2).sum() - (mine**2).sum()
            values.append(1 - both / (size * (size - 1)))
    return float(np.mean(values)) if values else 0.0


def thirds(values: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Three groups of about equal size by rising value: [("1-4", mask), ...].

    Args:
      values: `[U]` integers, such as how long each user's history is. Equal ones share a group;
        where that leaves one empty, there are fewer.
    """
    low, high = np.quantile(values, [1 / 3, 2 / 3], method="inverted_cdf")
    groups = [values <= low, (values > low) & (values <= high), values > high]
    return [(f"{values[mask].min()}-{values[mask].max()}", mask) for mask in groups if mask.any()]
