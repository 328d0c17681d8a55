"""IdVocabulary: the codes of all levels, side by side in one token vocabulary.

0    1    2 .. C_0+1   C_0+2 .. C_0+C_1+1   ...
PAD  BOS  level 0      level 1              ...

If IDs are written in text tokens, all levels share one range, and code c is the same token at every
level.
"""

import dataclasses
import itertools
from typing import Any, TypeVar

import numpy as np

from jaxrec.core import ConfigError

Array = TypeVar("Array", np.ndarray, Any)  # numpy or JAX

PAD = 0
BOS = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class IdVocabulary:
    """Token numbers of ID codes, for numpy and JAX arrays.

    Attributes:
      sizes: codebook size of each level, length L.
      num_special: number of tokens before the first code (PAD=0, BOS=1, then any others).
      shared: whether all levels use the same tokens, as IDs in text tokens do. Then `num_special`
        may be 0.
      end: token that ends an ID in a shared vocabulary and fills it up to L. The model only chooses
        the first one, and a search does not score the others.

    Raises:
      ConfigError: a size is below 1, there is no room for PAD and BOS, or an END token is given for
        a vocabulary that is not shared or has no such code.

    Example:
      >>> vocabulary = IdVocabulary(sizes=(4, 2))
      >>> vocabulary.tokens(np.array([[3, 1]])).tolist(), vocabulary.size
      ([[5, 7]], 8)
      >>> vocabulary.codes(np.array([[5, 7]])).tolist(), vocabulary.level(1)
      ([[3, 1]], slice(6, 8, None))
    """

    sizes: tuple[int, ...]
    num_special: int = 2
    shared: bool = False
    end: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(int(size) for size in self.sizes))
        if not self.sizes or min(self.sizes) < 1:
            raise ConfigError(f"sizes must be positive, one per level, got {self.sizes}")
        if self.end is not None and not self.shared:
            raise ConfigError(f"end token {self.end} needs a shared vocabulary; set shared=True")
        if self.num_special < (0 if self.shared else 2):
            raise ConfigError(
                f"num_special must hold PAD and BOS, at least 2, got {self.num_special}"
            )
        if self.end is not None and not self.num_special <= self.end < self.size:
            raise ConfigError(
                f"end token {self.end} must be the token of a code, in "
                f"{self.num_special}..{self.size - 1}"
            )

    @property
    def levels(self) -> int:
        """ID length L."""
        return len(self.sizes)

    @property
    def offsets(self) -> np.ndarray:
        """Token of code 0 at each level, int32 [L]."""
        if self.shared:
            return np.full(len(self.sizes), self.num_special, np.int32)
        starts = itertools.accumulate(self.sizes[:-1], initial=self.num_special)
        return np.fromiter(starts, np.int32, len(self.sizes))

    @property
    def size(self) -> int:
        """Number of tokens V, special ones included."""
        return self.num_special + (max(self.sizes) if self.shared else sum(self.sizes))

    def level(self, level: int) -> slice:
        """Return the token range of a level; `logits[..., vocabulary.level(l)]` has C_l columns."""
        start = int(self.offsets[level])
        return slice(start, start + self.sizes[level])

    def tokens(self, codes: Array) -> Array:
        """Return the token numbers, int32 [..., L], of codes [..., L]."""
        return codes.astype(np.int32) + self._aligned(codes)

    def codes(self, tokens: Array) -> Array:
        """Return the codes, int32 [..., L], of token numbers [..., L]; the last axis is an ID."""
        return tokens.astype(np.int32) - self._aligned(tokens)

    def _aligned(self, array: Array) -> np.ndarray:
        if array.shape[-1] != self.levels:
            raise ConfigError(
                f"the last axis must hold {self.levels} levels, got shape {array.shape}"
            )
        # Implicit rank promotion may be switched off, so all axes are explicit.
        return self.offsets.reshape((1,) * (array.ndim - 1) + (self.levels,))
