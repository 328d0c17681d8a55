"""IdVocabulary: codes of all levels laid side by side as one token vocabulary.

0    1    2 .. C_0+1   C_0+2 .. C_0+C_1+1   ...
PAD  BOS  level 0      level 1              ...

Where IDs are written in the tokens of a text, all levels share these: code c is token c everywhere.
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
    """Token numbers of ID codes; works on numpy and JAX arrays alike.

    Attributes:
      sizes: codebook size of each level, length L.
      num_special: tokens before the first code (PAD=0, BOS=1, then any that the caller adds).
      shared: the codes of all levels are the same tokens, those of a text; `num_special` may be 0.
      end: of a shared vocabulary the token that ends an ID, and fills it up to L. What follows the
        first is no choice of the model's, and a search counts nothing for it.

    Raises:
      ConfigError: a size below 1, or no room for PAD and BOS.
    """

    sizes: tuple[int, ...]
    num_special: int = 2
    shared: bool = False
    end: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(int(size) for size in self.sizes))
        if not self.sizes or min(self.sizes) < 1:
            raise ConfigError(f"sizes must be positive, one a level, got {self.sizes}")
        if self.end is not None and not self.shared:
            raise ConfigError(f"end token {self.end} needs a shared vocabulary; set shared")
        if self.num_special < (0 if self.shared else 2):
            raise ConfigError(
                f"num_special must hold PAD and BOS, at least 2, got {self.num_special}"
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
        """Token range of one level: `logits[..., vocabulary.level(l)]` are its C_l codes."""
        start = int(self.offsets[level])
        return slice(start, start + self.sizes[level])

    def tokens(self, codes: Array) -> Array:
        """Return int32 token ids [..., L] of codes [..., L]."""
        return codes.astype(np.int32) + self._aligned(codes)

    def codes(self, tokens: Array) -> Array:
        """Return int32 codes [..., L] of token ids [..., L] whose last axis starts at level 0."""
        return tokens.astype(np.int32) - self._aligned(tokens)

    def _aligned(self, array: Array) -> np.ndarray:
        if array.shape[-1] != self.levels:
            raise ConfigError(f"the last axis must hold {self.levels} levels, got {array.shape}")
        # All axes spelled out: implicit rank promotion may be switched off.
        return self.offsets.reshape((1,) * (array.ndim - 1) + (self.levels,))
