"""Every item of a history as a target of its own, after the items before it.

Models that read a history in both directions predict one item a reading, so each prefix of a
history is an example (Rajput et al. 2023, "Recommender Systems with Generative Retrieval", section
3.2; Hua et al. 2023, section 4.2). Examples stand in place of windows: the same stream, batches and
buckets serve both.
"""

import functools

import numpy as np

from jaxrec.core import DataError
from jaxrec.data.pipeline import Windows


class Prefixes(Windows):
    """The endless stream of examples: up to `length` - 1 items, and the one that follows them.

    An epoch has every item but the first of each history as the last of an example, once, in an
    order that depends on the seed and the epoch.
    """

    @functools.cached_property
    def _examples(self) -> tuple[np.ndarray, np.ndarray]:
        """[W] first and [W] end of the examples in `items`, history by history."""
        start = np.repeat(self.offsets[:-1], np.diff(self.offsets))
        target = np.flatnonzero(np.arange(len(self.items)) > start)
        if not len(target):
            raise DataError("no user has 2 items to train on: one is read, one predicted")
        return np.maximum(start[target], target - self.length + 1), target + 1

    @property
    def per_epoch(self) -> int:
        """W: the examples of an epoch."""
        return len(self._examples[0])

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """[W] items of the examples of an epoch, the target among them."""
        first, end = self._examples
        return end - first

    def epoch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return [W] first and [W] end of each example of an epoch, in training order."""
        first, end = self._examples
        order = self.generator(number).permutation(len(first))
        return first[order], end[order]
