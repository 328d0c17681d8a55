"""Prefixes: every item of a history is a target, preceded by the items before it.

Models that read a history in both directions predict one item per pass, so each prefix of a history
is an example (Rajput et al. 2023, "Recommender Systems with Generative Retrieval", section 3.2; Hua
et al. 2023, section 4.2). Examples replace windows: streams, batches and buckets work the same.
"""

import functools

import numpy as np

from jaxrec.core import DataError
from jaxrec.data.pipeline import Windows


class Prefixes(Windows):
    """The endless stream of examples: up to `length` - 1 items and the item that follows them.

    In an epoch, every item except the first of each history is the target of one example. The order
    depends on the seed and the epoch.

    Example:
        >>> prefixes = Prefixes.of([np.array([3, 4, 5])], length=3, seed=0)
        >>> sorted(items.tolist() for items, _ in prefixes.draw(range(2)))
        [[3, 4], [3, 4, 5]]
    """

    @functools.cached_property
    def _examples(self) -> tuple[np.ndarray, np.ndarray]:
        """First and end [W] of the examples in `items`, history by history."""
        start = np.repeat(self.offsets[:-1], np.diff(self.offsets))
        target = np.flatnonzero(np.arange(len(self.items)) > start)
        if not len(target):
            raise DataError(
                "no user has 2 items to train on; an example needs one item to read and one to "
                "predict"
            )
        return np.maximum(start[target], target - self.length + 1), target + 1

    @property
    def per_epoch(self) -> int:
        """W, the number of examples in an epoch."""
        return len(self._examples[0])

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """Number of items [W] of the examples of an epoch, including the target."""
        first, end = self._examples
        return end - first

    def epoch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return first and end [W] of each example of an epoch, in training order."""
        first, end = self._examples
        order = self.generator(number).permutation(len(first))
        return first[order], end[order]
