"""Positions at which the children of each node begin, stored in about one byte per node.

starts[n] is non-decreasing. If most nodes have one child, it grows by about one per node. So each
block of 64 nodes stores one full number, and each node its difference to it in the narrowest type.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

BLOCK = 64


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Starts:
    """A compressed int32 array of N + 1 entries.

    Attributes:
      base: int32 [ceil((N + 1) / 64)].
      delta: [N + 1], narrowest unsigned type.
    """

    base: jax.Array
    delta: jax.Array

    @classmethod
    def pack(cls, starts: np.ndarray) -> "Starts":
        """Compress a non-decreasing array."""
        base = starts[::BLOCK].astype(np.int32)
        delta = starts - np.repeat(base, BLOCK)[: len(starts)]
        most = int(delta.max(initial=0))
        kind = np.uint8 if most < 1 << 8 else np.uint16 if most < 1 << 16 else np.uint32
        return cls(jnp.asarray(base), jnp.asarray(delta.astype(kind)))

    @property
    def num_nodes(self) -> int:
        """Number of nodes N."""
        return self.delta.shape[0] - 1

    def __getitem__(self, node: jax.Array) -> jax.Array:
        """Return starts[node], int32 in the shape of `node`, with two gathers."""
        return self.base[node // BLOCK] + self.delta[node].astype(jnp.int32)

    def unpack(self) -> jax.Array:
        """Return all entries, int32 [N + 1]."""
        return self[jnp.arange(self.delta.shape[0], dtype=jnp.int32)]
