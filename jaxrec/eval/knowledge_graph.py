"""Completion of a knowledge graph: at which rank the right entity stands among candidates.

A question such as (Paris, capital of, ?) may have several right answers. The filtered setting
removes those that are not asked for, so that a model is not punished for knowing them (Bordes et
al., Translating Embeddings for Modeling Multi-relational Data, 2013, section 4.1). Candidates with
equal scores share the mean of their ranks: a model that scores all alike gets the middle rank, not
the first one.
"""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import ArrayLike

from jaxrec.core import ConfigError, DataError


def filtered_rank(scores: ArrayLike, gold: int, known: Collection[int] = ()) -> float:
    """Rank of the right candidate, from 1 on; a tie gets the mean of its ranks.

    Args:
      scores: of the candidates, `[E]`, the higher the likelier.
      gold: place of the candidate that is asked for.
      known: places of other right candidates, which are left out. `gold` itself may be among them.

    Raises:
      ConfigError: no candidate at one of these places.
      DataError: a score is nan.

    Example:
      >>> filtered_rank([0.9, 0.5, 0.5, 0.1], gold=1)
      2.5
      >>> filtered_rank([0.9, 0.5, 0.5, 0.1], gold=1, known={0, 1})
      1.5
    """
    values = np.asarray(scores, np.float64)
    for place in (gold, *known):
        if values.ndim != 1 or not 0 <= place < len(values):
            raise ConfigError(
                f"there is no candidate {place}; scores must be [E], got {list(values.shape)}"
            )
    if np.isnan(values).any():
        raise DataError("the score of a candidate is nan; check the model's logits")
    kept = np.ones(len(values), bool)
    kept[list(known)] = False
    kept[gold] = True
    others = values[kept]
    higher = np.count_nonzero(others > values[gold])
    equal = np.count_nonzero(others == values[gold])
    return float(higher + (equal + 1) / 2)


def rank_metrics(ranks: Sequence[float], ks: Sequence[int] = (1, 3, 10)) -> dict[str, np.ndarray]:
    """Reciprocal rank, and whether the rank is at most k, for each question.

    A mean rank that lies between whole numbers is a hit at k if it is at most k, as in PyKEEN's
    realistic ranks (Berrendorf et al., On the Ambiguity of Rank-Based Evaluation, 2020).

    Args:
      ranks: from 1 on, `[N]`.
      ks: cut-offs.

    Returns:
      "mrr" and "hits@k" for each k: name -> float64 `[N]`.

    Raises:
      DataError: no ranks, or one below 1.
      ConfigError: a cut-off below 1.

    Example:
      >>> found = rank_metrics([1.0, 4.0])
      >>> found["mrr"].tolist(), found["hits@3"].tolist()
      ([1.0, 0.25], [1.0, 0.0])
    """
    values = np.asarray(ranks, np.float64)
    if values.ndim != 1 or not values.size or not (values >= 1).all():
        raise DataError(f"ranks must be numbers from 1 on, of shape [N], got {ranks!r:.80}")
    if min(ks, default=1) < 1:
        raise ConfigError(f"cut-offs must be at least 1, got {list(ks)}")
    return {"mrr": 1 / values} | {f"hits@{k}": (values <= k).astype(np.float64) for k in ks}
