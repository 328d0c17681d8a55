"""Item vectors from IDs: the mean of the embeddings of an ID's codes (Hou et al. 2023, "VQ-Rec").

The table has one row for every code of every level, so its size does not depend on the catalogue.
The items of another catalogue can replace those that were trained, if their IDs have the same
shape. An `assigned` table learns the meaning of the new codes: each row of the new table is one of
the rows of the old table.

Shapes: `I` items, `L` levels, `C` codes a level, `D` model width.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxrec.core import ConfigError
from jaxrec.ids import ItemCodes
from jaxrec.nn import fan_in_normal, gumbel_sinkhorn, mean_of_codes, straight_through

# Collection of arrays that are part of a model but not trained.
FIXED = "fixed"


def code_arrays(codes: ItemCodes) -> dict[str, np.ndarray]:
    """The collection "fixed" of a `CodeTable`: "codes" `[I, L]` and "exists" `[L, C]` bool.

    Raises:
      ConfigError: the IDs have different lengths.
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

    Its arrays "codes" and "exists" are in the collection `FIXED`, see `code_arrays`.

    Attributes:
      width: D.
      assigned: read a learned choice among the rows of "table" instead of the table itself. Row c
        of level l is the row that is selected by row c of "assign" `[L, C, C]` at that level
        (Gumbel-Sinkhorn, random if there is a "dropout" key).
    """

    width: int
    assigned: bool = False

    def setup(self) -> None:
        """Create the table."""
        levels, size = self.get_variable(FIXED, "exists").shape
        # The scale makes the mean of L rows as long as a row of a learned table.
        init = nn.with_partitioning(fan_in_normal(self.width, levels), ("layers", "vocab", "embed"))
        self.table = self.param("table", init, (levels, size, self.width), jnp.float32)
        if self.assigned:
            normal = nn.with_partitioning(nn.initializers.normal(1.0), ("layers", "vocab", None))
            self.assign = self.param("assign", normal, (levels, size, size), jnp.float32)
            # All uses of the table in a step share one draw.
            self.noise = self.make_rng("dropout") if self.has_rng("dropout") else None

    def embeddings(self) -> jax.Array:
        """Vectors of all codes, `[L, C, D]`."""
        if not self.assigned:
            return self.table
        return reassigned(self.table, self.assign, self.noise)

    def vectors(self, codes: jax.Array) -> jax.Array:
        """Vectors of IDs: `[..., L]` int32 to `[..., D]`."""
        return mean_of_codes(self.embeddings(), codes)

    def sizes(self) -> jax.Array:
        """Number of codes of each level, `[L]` int32."""
        return self.get_variable(FIXED, "exists").sum(-1, dtype=jnp.int32)

    def __call__(self) -> jax.Array:
        """Vectors of all items, `[I, D]`."""
        return self.vectors(self.get_variable(FIXED, "codes"))


def reassigned(table: jax.Array, assign: jax.Array, key: jax.Array | None = None) -> jax.Array:
    """Apply an assignment to a table: `[L, C, D]` and `[L, C, C]` logits to `[L, C, D]`."""
    chosen = straight_through(gumbel_sinkhorn(assign, key))
    # [L, C, C] x [L, C, D]
    return jnp.einsum("lcs,lsd->lcd", chosen, table)


def matched(new: np.ndarray, old: np.ndarray, size: int) -> np.ndarray:
    """Logits of an assignment from the codes that the same items have in both tables: ln(n + 1/10).

    Args:
      new: `[I, L]` codes of the items in the new table.
      old: `[I, L]` codes of the same items in the existing table.
      size: C.

    Returns:
      `[L, C, C]` float32; n counts the items with new code c and old code s at level l.

    Example:
      >>> import numpy as np
      >>> logits = matched(np.array([[0], [1], [1]]), np.array([[1], [0], [0]]), size=2)
      >>> logits.argmax(-1).tolist()  # the new codes 0 and 1 were the old codes 1 and 0
      [[1, 0]]
    """
    levels = np.broadcast_to(np.arange(new.shape[1]), new.shape)
    counts = np.zeros((new.shape[1], size, size), np.float32)
    np.add.at(counts, (levels, new, old), 1.0)
    return np.log(counts + 0.1)


def take_codes(params: Any) -> Any:
    """Replace an assigned table by the rows that its assignment selects.

    Args:
      params: parameters of a `CodeTable(assigned=True)`.

    Returns:
      Parameters of a `CodeTable()`.

    Example:
      >>> import jax.numpy as jnp
      >>> table = jnp.array([[[1.0], [2.0]]])
      >>> swap = jnp.array([[[0.0, 9.0], [9.0, 0.0]]])
      >>> take_codes({"table": table, "assign": swap})["table"].tolist()
      [[[2.0], [1.0]]]
    """
    return {"table": reassigned(params["table"], params["assign"])}
