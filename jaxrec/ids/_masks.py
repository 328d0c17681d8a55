"""Bitmasks for the wide nodes of a level; most nodes of a trie are narrow and need none.

The row of a wide node is its rank among the wide nodes, read from a bitmap with counts:

    nodes      0 1 2 3 4      wide    0 1 0 0 1      row of node 4 = 1 wide node before it
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class WideMasks:
    """Masks of R wide nodes among N nodes.

    Attributes:
      wide: uint32 [ceil(N / 32)]; bit n says whether node n is wide.
      before: int32 [ceil(N / 32)]; number of wide nodes in the words before.
      words: uint32 [R, W]; bit c of row r says whether code c continues the node.
    """

    wide: Array
    before: Array
    words: Array

    @classmethod
    def pack(cls, wide: np.ndarray, words: np.ndarray, nodes: int, rows: int) -> "WideMasks":
        """Pack bool [N] and masks [R, W], with room for `nodes` nodes and `rows` masks."""
        bits = np.zeros(-(-max(nodes, 1) // 32) * 32, np.uint8)
        bits[: len(wide)] = wide
        packed = np.packbits(bits.reshape(-1, 32), axis=1, bitorder="little").view("<u4")[:, 0]
        counts = bits.reshape(-1, 32).sum(axis=1, dtype=np.int32)
        padded = np.zeros((max(rows, 1), words.shape[1]), np.uint32)
        padded[: len(words)] = words
        return cls(
            jnp.asarray(packed.astype(np.uint32)),
            jnp.asarray((np.cumsum(counts) - counts).astype(np.int32)),
            jnp.asarray(padded),
        )

    def read(self, node: Array) -> tuple[Array, Array]:
        """Return whether nodes [...] are wide, and masks [..., W], which are garbage if not."""
        word, bit = node >> 5, (node & 31).astype(jnp.uint32)
        own = self.wide[word]
        below = lax.population_count(own & ((jnp.uint32(1) << bit) - jnp.uint32(1)))
        row = self.before[word] + below.astype(jnp.int32)
        return (own >> bit) & jnp.uint32(1) == 1, self.words[row]
