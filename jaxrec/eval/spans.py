"""Strict precision, recall and F1 of tagged spans: a span is right if its place and kind are.

Shapes: `S` texts.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from jaxrec.core import DataError
from jaxrec.data import Span


@dataclasses.dataclass(frozen=True, eq=False)
class SpanMatches:
    """Numbers of spans in each text; sums of them give micro-averaged scores.

    Attributes:
      right: `[S]` predicted spans that are gold spans.
      predicted: `[S]` predicted spans.
      gold: `[S]` gold spans.

    Example:
      >>> import numpy as np
      >>> SpanMatches(np.array([1]), np.array([1]), np.array([3])).scores()
      {'precision': 1.0, 'recall': 0.3333333333333333, 'f1': 0.5}
    """

    right: np.ndarray
    predicted: np.ndarray
    gold: np.ndarray

    def scores(self) -> dict[str, float]:
        """Precision, recall and F1 over all texts; 0 where nothing was predicted, or is gold."""
        right, predicted, gold = (float(x.sum()) for x in (self.right, self.predicted, self.gold))
        return {
            "precision": right / predicted if predicted else 0.0,
            "recall": right / gold if gold else 0.0,
            "f1": 2 * right / (predicted + gold) if predicted + gold else 0.0,
        }

    def values(self) -> dict[str, np.ndarray]:
        """One value per text whose mean is exactly each score, for a bootstrap over texts.

        Every score is a ratio of sums, Σ a / Σ b; for F1, a = 2 right and b = predicted + gold. The
        values are those of its linear expansion, q + (a_s - q b_s) / mean(b) with the ratio q. A
        bootstrap of their mean is that of the score up to terms of second order (the delta method).
        Paired tests may use them too.

        Returns:
          `[S]` float64 of "precision", "recall" and "f1".
        """
        ratios = {
            "precision": (self.right, self.predicted),
            "recall": (self.right, self.gold),
            "f1": (2 * self.right, self.predicted + self.gold),
        }
        found = {}
        for name, (above, below) in ratios.items():
            score = self.scores()[name]
            mean = below.mean() if below.any() else 1.0
            found[name] = score + (above - score * below) / mean
        return found

    def __add__(self, other: "SpanMatches") -> "SpanMatches":
        """Matches of two kinds of spans on the same texts, together."""
        return SpanMatches(
            self.right + other.right, self.predicted + other.predicted, self.gold + other.gold
        )


def match_spans(gold: Sequence[Iterable[Span]], predicted: Sequence[Iterable[Span]]) -> SpanMatches:
    """Count the spans of each text; a span that is listed twice counts once.

    Args:
      gold: spans of each of S texts.
      predicted: spans of the same texts.

    Raises:
      DataError: other numbers of texts.

    Example:
      >>> from jaxrec.data import Span
      >>> gold, wrong = Span(0, 2, "skill"), Span(0, 1, "skill")
      >>> match_spans([[gold], [gold]], [[gold], [wrong]]).scores()["f1"]
      0.5
    """
    if len(gold) != len(predicted):
        raise DataError(
            f"there are gold spans of {len(gold)} texts and predicted spans of {len(predicted)}"
        )
    pairs = [(set(a), set(b)) for a, b in zip(gold, predicted, strict=True)]
    return SpanMatches(
        np.array([len(a & b) for a, b in pairs], np.int64),
        np.array([len(b) for _, b in pairs], np.int64),
        np.array([len(a) for a, _ in pairs], np.int64),
    )
