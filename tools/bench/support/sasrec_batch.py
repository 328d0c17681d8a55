"""The random batch on which both sides of a SASRec row train."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Shape:
    """The shape of a batch, and the size of the catalogue."""

    rows: int
    length: int
    items: int

    def histories(self) -> np.ndarray:
        """Full histories with the item after them, `[rows, length + 1]`."""
        return np.random.default_rng(0).integers(0, self.items, (self.rows, self.length + 1))

    def negatives(self) -> np.ndarray:
        """One negative item a position, `[rows, length]`."""
        return np.random.default_rng(1).integers(0, self.items, (self.rows, self.length))
