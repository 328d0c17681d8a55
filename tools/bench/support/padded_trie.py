"""The padded-gather method: a trie as tables and rows of (code, next node), read at fixed width.

An independent implementation of what STATIC describes (Su et al. 2026, "Vectorizing the Trie:
Efficient Constrained Decoding for LLM-based Generative Retrieval on Accelerators", arXiv
2602.22647). The first levels are a dense table of next nodes. The levels below are a compressed
sparse row matrix whose entries hold code and next node side by side, so that one slice as wide as
the level's widest node reads all children of a beam. Entries past a node's end are masked,
log-probabilities are gathered at the children, and the top-k runs over beams x width candidates.

Shapes: `N_l` nodes at depth l, `E_l` = N_{l+1} edges, `W_l` children of the widest node.
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.ids import sort_order

# The first two levels are dense, as published.
DENSE = 2

Array = jax.Array
Step = tuple[Array, Array, Array, Array]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["tables", "pairs", "starts", "leaf_items"],
    meta_fields=["sizes", "widths"],
)
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PaddedTrie:
    """All IDs; nodes of a depth are numbered in lexicographic order, as in `ItemIndex`.

    Memory: 4 N_l C_l bytes a dense level, 8 (E_l + W_l) + 4 N_l a sparse one, 4 I for the items.

    Attributes:
      tables: for each dense level int32 `[N_l, C_l]`, the next node or -1.
      pairs: for each other level int32 `[E_l + W_l, 2]`, code and next node; -1 in the padding.
      starts: for each other level int32 `[N_l + 1]`, where the pairs of a node begin.
      leaf_items: int32 `[I]`, the item of each leaf.
      sizes: codebook size of each level.
      widths: W_l of each level.
    """

    tables: tuple[Array, ...]
    pairs: tuple[Array, ...]
    starts: tuple[Array, ...]
    leaf_items: Array
    sizes: tuple[int, ...]
    widths: tuple[int, ...]

    @classmethod
    def build(cls, codes: np.ndarray, sizes: Sequence[int], dense: int = DENSE) -> "PaddedTrie":
        """Build from distinct IDs `[I, L]`, in O(I log I)."""
        order = sort_order(codes, sizes)
        ranked = codes[order]
        fresh = np.zeros(len(codes), bool)
        fresh[0] = True
        parents = np.zeros(1, np.int64)
        tables, pairs, offsets, widths = [], [], [], []
        for level, size in enumerate(sizes):
            fresh[1:] |= ranked[1:, level] != ranked[:-1, level]
            rows = np.flatnonzero(fresh)
            starts = np.append(np.searchsorted(rows, parents), len(rows)).astype(np.int32)
            code, edge = ranked[rows, level], np.arange(len(rows), dtype=np.int32)
            widths.append(int(np.diff(starts).max()))
            if level < dense:
                table = np.full((len(parents), size), -1, np.int32)
                table[np.repeat(np.arange(len(parents)), np.diff(starts)), code] = edge
                tables.append(jnp.asarray(table))
            else:
                pair = np.full((len(rows) + widths[-1], 2), -1, np.int32)
                pair[: len(rows), 0], pair[: len(rows), 1] = code, edge
                pairs.append(jnp.asarray(pair))
                offsets.append(jnp.asarray(starts))
            parents = rows
        items = jnp.asarray(order.astype(np.int32))
        return cls(
            tables=tuple(tables),
            pairs=tuple(pairs),
            starts=tuple(offsets),
            leaf_items=items,
            sizes=tuple(sizes),
            widths=tuple(widths),
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays except the items."""
        return sum(x.nbytes for x in (*self.tables, *self.pairs, *self.starts))

    def children(self, level: int, node: Array) -> tuple[Array, Array]:
        """Codes and next nodes `[B, K, W]` of nodes `[B, K]`; the next node is -1 if there is none.

        On dense levels W is C_l, on the others the width of the widest node.
        """
        safe = jnp.maximum(node, 0)
        if level < len(self.tables):
            child = self.tables[level][safe]
            code = jax.lax.broadcasted_iota(jnp.int32, child.shape, 2)
        else:
            pairs, starts = (
                self.pairs[level - len(self.tables)],
                self.starts[level - len(self.tables)],
            )
            width = self.widths[level]
            cut = jax.vmap(lambda first: jax.lax.dynamic_slice(pairs, (first, 0), (width, 2)))
            both = cut(starts[safe].reshape(-1)).reshape(*node.shape, width, 2)
            count = (starts[safe + 1] - starts[safe])[..., None]
            inside = jax.lax.broadcasted_iota(jnp.int32, (*node.shape, width), 2) < count
            code, child = jnp.maximum(both[..., 0], 0), jnp.where(inside, both[..., 1], -1)
        return code, jnp.where((node >= 0)[..., None], child, -1)

    def item(self, leaf: Array) -> Array:
        """The items of leaves; -1 for a negative leaf."""
        return jnp.where(leaf >= 0, self.leaf_items[jnp.maximum(leaf, 0)], -1)


def padded_step(
    trie: PaddedTrie, level: int, node: Array, score: Array, logits: Array, width: int
) -> Step:
    """One search step over candidates that are padded to the widest node.

    Args:
      trie: all IDs.
      level: l, a Python int.
      node: `[B, K]` int32, the nodes of the beams; negative for dead beams.
      score: `[B, K]` float32, their scores so far.
      logits: `[B, K, C]` float32, normalized over all codes.
      width: beams to keep.

    Returns:
      score, parent, code, node, each `[B, width]`; places that no legal continuation fills have
      score -inf and node -1.

    Cost: a log-softmax over B K C, then B K W slices, gathers and a top-k over K W a user.
    """
    batch, beams, _ = logits.shape
    code, child = trie.children(level, node)
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits, axis=-1), code, axis=2)
    total = jnp.where(child >= 0, score[:, :, None] + chosen, -jnp.inf)
    best, place = jax.lax.top_k(total.reshape(batch, -1), width)
    slots = total.shape[2]
    flat = (x.reshape(batch, beams * slots) for x in (code, child))
    code, child = (jnp.take_along_axis(x, place, axis=1) for x in flat)
    return best, (place // slots).astype(jnp.int32), code, child


def whole_padded(trie: PaddedTrie, logits: list[Array], widths: tuple[int, ...]) -> Step:
    """Walk down the trie by the logits of each level, `[B, K_l, C_l]`; return the last step."""
    batch = logits[0].shape[0]
    node, score = jnp.zeros((batch, 1), jnp.int32), jnp.zeros((batch, 1), jnp.float32)
    for level, width in enumerate(widths):
        step = padded_step(trie, level, node, score, logits[level], width)
        score, _, _, node = step
    return step
