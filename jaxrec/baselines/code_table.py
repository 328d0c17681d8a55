"""Item vectors from IDs: the mean of the embeddings of an ID's codes (Hou et al. 2023, "VQ-Rec").

The table has a row for every code of every level, so its size does not depend on the catalogue, and
other items with IDs of the same shape can take the place of those it was trained on. What their
codes then stand for is learned by `assigned` tables: a row of the new table is one of the old.

Shapes: `I` items, `L` levels, `C` codes a level, `D` model width.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxrec.core import ConfigError
from jaxrec.ids import ItemCodes
from jaxrec.nn import fan_in_normal, gumbel_sinkhorn, straight_through

# Collection of arrays that are part of a model and are not trained.
FIXED = "fixed"


def code_arrays(codes: ItemCodes) -> dict[str, np.ndarray]:
    """The collection "fixed" of a `CodeTable`: "codes" `[I, L]` and "exists" `[L, C]` bool.

    Raises:
      ConfigError: IDs of different lengths.
    """
    if codes.lengths.min() < codes.levels:
        raise ConfigError(
            f"a code table needs IDs of one length, got lengths {codes.lengths.min()} to "
            f"{codes.levels}; close them with ids.closed"
        )
    exists = np.arange(max(codes.sizes)) < np.array(codes.sizes)[:, None]
    return {"codes": codes.codes, "exists": exists}


class CodeTable(nn.Module):
    """Vectors of codes and of IDs.

    Its arrays "codes" and "exists" lie in the collection `FIXED`, see `code_arrays`.

    Attributes:
      width: D.
      assigned: whether the table that is read is a learned choice among the rows of "table": row c
        of level l is the row that its row of "assign" `[L, C, C]` picks (Gumbel-Sinkhorn, random
        where there is a "dropout" key).
    """

    width: int
    assigned: bool = False

    def setup(self) -> None:
        """Create the table."""
        levels, size = self.get_variable(FIXED, "exists").shape
        # The mean of L rows becomes as long as a row of a learned table.
        init = nn.with_partitioning(fan_in_normal(self.width, levels), ("layers", "vocab", "embed"))
        self.table = self.param("table", init, (levels, size, self.width), jnp.float32)
        if self.assigned:
            normal = nn.with_partitioning(nn.initializers.normal(1.0), ("layers", "vocab", None))
            self.assign = self.param("assign", normal, (levels, size, size), jnp.float32)
            # One draw for all uses of the table in a step.
            self.noise = self.make_rng("dropout") if self.has_rng("dropout") else None

    def embeddings(self) -> jax.Array:
        """Vectors of all codes, `[L, C, D]`."""
        if not self.assigned:
            return self.table
        return reassigned(self.table, self.assign, self.noise)

    def vectors(self, codes: jax.Array) -> jax.Array:
        """Vectors of IDs: `[..., L]` int32 to `[..., D]`."""
        levels, size, width = self.table.shape
        offsets = jnp.arange(levels, dtype=codes.dtype) * size
        offsets = offsets.reshape((1,) * (codes.ndim - 1) + (levels,))
        rows = self.embeddings().reshape(levels * size, width)
        return jnp.take(rows, codes + offsets, axis=0).mean(-2)

    def sizes(self) -> jax.Array:
        """Codes of each level, `[L]` int32."""
        return self.get_variable(FIXED, "exists").sum(-1, dtype=jnp.int32)

    def __call__(self) -> jax.Array:
        """Vectors of all items, `[I, D]`."""
        return self.vectors(self.get_variable(FIXED, "codes"))


def reassigned(table: jax.Array, assign: jax.Array, key: jax.Array | None = None) -> jax.Array:
    """What an assignment makes of a table: `[L, C, D]` and `[L, C, C]` logits to `[L, C, D]`."""
    chosen = straight_through(gumbel_sinkhorn(assign, key))
    # [L, C, C] x [L, C, D]
    return jnp.einsum("lcs,lsd->lcd", chosen, table)


def matched(new: np.ndarray, old: np.ndarray, size: int) -> np.ndarray:
    """Logits of an assignment by what both codes of the same items say: ln(n + 1/10).

    Args:
      new: `[I, L]` codes of the table that is to be made.
      old: `[I, L]` codes of the table that there is.
      size: C.

    Returns:
      `[L, C, C]` float32; n counts the items with new code c and old code s at level l.
    """
    levels = np.broadcast_to(np.arange(new.shape[1]), new.shape)
    counts = np.zeros((new.shape[1], size, size), np.float32)
    np.add.at(counts, (levels, new, old), 1.0)
    return np.log(counts + 0.1)


def take_codes(params: Any) -> Any:
    """Parameters of a table whose assignment is fixed: of `CodeTable(assigned=True)` to without."""
    return {"table": reassigned(params["table"], params["assign"])}
