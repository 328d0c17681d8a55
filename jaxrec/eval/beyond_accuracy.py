"""Qualities of recommended lists besides accuracy: coverage, concentration, novelty and diversity.

Shapes: `U` users, `K` places of a list, `I` items, `F` features of an item.
"""

import dataclasses

import numpy as np

from jaxrec.core import ConfigError, DataError, check_numbers, present

# The names that `list_quality` returns, in the order in which tables show them.
QUALITIES = ("coverage", "gini", "novelty", "popularity", "popularity_lift", "diversity")


@dataclasses.dataclass(frozen=True, eq=False)
class Catalogue:
    """What the qualities need to know about the items.

    Attributes:
      counts: `[I]`, number of training interactions of each item.
      features: `[I, F]`, for instance genres as 0 and 1; None if there are none. An item whose
        features are all 0 has cosine 0 to every other item.
    """

    counts: np.ndarray
    features: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Reject features of another number of items."""
        if self.features is not None and len(self.features) != len(self.counts):
            raise ConfigError(
                f"features of {len(self.features)} items for a catalogue of {len(self.counts)} "
                "items; expected one row per item"
            )


def list_quality(
    items: np.ndarray, catalogue: Catalogue, histories: list[np.ndarray] | None = None
) -> dict[str, float]:
    """Measure qualities of all users' lists.

    - coverage: share of the catalogue that occurs in at least one list.
    - gini: Gini index of how often items are listed, over all I items: 0 if all items are listed
      equally often, close to 1 if few items occupy all places.
    - novelty: mean of -log2 p(i) in bits, with p(i) the item's share of the training interactions
      after adding one to each count (Vargas and Castells, Rank and relevance in novelty and
      diversity metrics, RecSys 2011).
    - popularity: mean share of the training interactions of a listed item.
    - popularity_lift: mean popularity of a user's list divided by that of the user's history, minus
      1, averaged over users (Abdollahpouri et al., The unfairness of popularity bias, 2019); only
      with `histories`.
    - diversity: 1 - cosine of the features of two places of a list, averaged over pairs and then
      over users (Ziegler et al., Improving recommendation lists through topic diversification, WWW
      2005); only with `catalogue.features`, over users whose list has at least two items.

    Args:
      items: `[U, K]`, -1 in unfilled places.
      catalogue: counts and features of the items.
      histories: U arrays of the items that each user had met.

    Raises:
      DataError: no list holds an item, or one holds an item outside the catalogue.

    Example:
      >>> import numpy as np
      >>> catalogue = Catalogue(counts=np.array([7, 1, 0, 0]))
      >>> quality = list_quality(np.array([[0, 1], [0, 1]]), catalogue)
      >>> quality["coverage"], quality["gini"], quality["popularity"]
      (0.5, 0.5, 0.5)
    """
    listed, filled = np.maximum(items, 0), items >= 0
    if not filled.any():
        raise DataError("no list holds an item; all places of all users are unfilled (-1)")
    count = len(catalogue.counts)
    check_numbers(items, count, "items of a list")
    if histories is not None:
        check_numbers(histories, count, "items of a history")
    shown = np.bincount(items[filled], minlength=count)
    share = (catalogue.counts + 1) / (catalogue.counts + 1).sum()
    popularity = catalogue.counts / max(catalogue.counts.sum(), 1)
    quality = {
        "coverage": float((shown > 0).mean()),
        "gini": gini(shown),
        "novelty": float(-np.log2(share)[items[filled]].mean()),
        "popularity": float(popularity[items[filled]].mean()),
    }
    some = filled.any(1)
    if histories is not None:
        mine = (popularity[listed] * filled).sum(1)[some] / filled.sum(1)[some]
        theirs = [popularity[present(histories[user])].mean() for user in np.flatnonzero(some)]
        quality["popularity_lift"] = float((mine / np.maximum(theirs, 1e-12) - 1).mean())
    if catalogue.features is not None:
        quality["diversity"] = _diversity(listed, filled, catalogue.features)
    return quality


def gini(counts: np.ndarray) -> float:
    """Gini index of counts `[I]`: Σ_i (2 i - I - 1) x(i) / (I Σ x), with x sorted and i from 1.

    Raises:
      DataError: all counts are 0.
    """
    ordered, size = np.sort(np.asarray(counts, np.float64)), len(counts)
    if ordered.sum() <= 0:
        raise DataError("the Gini index is undefined if all counts are 0")
    rank = np.arange(1, size + 1)
    return float(((2 * rank - size - 1) * ordered).sum() / (size * ordered.sum()))


def _diversity(listed: np.ndarray, filled: np.ndarray, features: np.ndarray) -> float:
    """Mean over lists of 1 - cosine, averaged over the pairs of places of a list."""
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    unit = np.divide(features, norms, out=np.zeros(features.shape), where=norms > 0)
    values = []
    for row, there in zip(listed, filled, strict=True):
        mine = unit[row[there]]
        size = len(mine)
        if size > 1:
            # |Σ x|² = Σ |x|² + 2 Σ_{pairs} x·y gives the cosines of all pairs at once.
            both = (mine.sum(0) ** 2).sum() - (mine**2).sum()
            values.append(1 - both / (size * (size - 1)))
    return float(np.mean(values)) if values else 0.0


def thirds(values: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Three groups of about equal size by increasing value: [("1-4", mask), ...].

    Args:
      values: `[U]` integers, for instance lengths of the users' histories. Equal values share a
        group; if this leaves a group empty, there are fewer groups.

    Example:
      >>> import numpy as np
      >>> [(name, int(mask.sum())) for name, mask in thirds(np.array([1, 2, 3, 5, 8, 13]))]
      [('1-2', 2), ('3-5', 2), ('8-13', 2)]
    """
    low, high = np.quantile(values, [1 / 3, 2 / 3], method="inverted_cdf")
    groups = [values <= low, (values > low) & (values <= high), values > high]
    return [(f"{values[mask].min()}-{values[mask].max()}", mask) for mask in groups if mask.any()]
