"""ItemIndex: the trie of all item IDs as flat arrays on the device.

IDs are sorted lexicographically; every distinct prefix is a node. Level-order compressed rows, in
which *a child's state is its edge number*, so that the next state needs no storage:

    IDs (0,1) (0,2) (3,1)      depth 0    depth 1     depth 2 (leaves)
                               node 0 --0--> 0 --1--> 0
                                     |         `-2--> 1
                                     `--3--> 1 --1--> 2
    starts = ([0 2], [0 2 3])    edges = ([0 3], [1 2 1])    leaf_items = items in sorted order

`starts` is stored in about a byte a node (see `_starts`), so a trie whose paths part early costs
little more than the codes of its edges.

The children of node n at level l are the edges starts[l][n] .. starts[l][n + 1] - 1, and the leaves
below any node are contiguous. A node is read in two ways, neither of which pads to the widest:

- *window*: the first `windows[l]` edges, at least 8; all of them in a narrow node.
- *mask*: nodes with more children, the few wide ones, also have a bitmask of their codes. The
  window is widened until the masks of a level fit a byte an item (`mask_limit`).

Shapes: `B` batch, `K` beams, `L` levels, `C_l` codes, `W_l` = ceil(C_l / 32) words of a bitmask,
`I` items, `N_l` nodes at depth l (N_0 = 1, N_L = I), `S` excluded items, `M` children in a window.

Memory, bytes: sum over l of s_l N_l + w_l N_{l+1} + mask_l, plus 4 I (leaf_items) and w L I (the
IDs), with w the bytes of a code (1 up to 256 codes, 2 up to 65,536, else 4), s_l those of a start,
1 where nodes have few children, else 2 or 4, and mask_l = N_l / 4 + 4 W_l for each wide node.

Items come and go by `updated`: an index built with `room` keeps its shapes, so nothing that was
compiled for it compiles again.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError, DataError, read_mapped, unpack_bits, write_mapped
from jaxrec.ids import _build, _changes, _nodes, _subsets
from jaxrec.ids._masks import WideMasks
from jaxrec.ids._starts import Starts
from jaxrec.ids.codes import ItemCodes, check_codes

_KIND = "item index"
# Children of a node that are always read one by one; only wider nodes are worth a mask.
NARROW = 8
# Share of nodes with a single item below them from which a level counts as forced.
_FORCED = 0.999

Array = jax.Array


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["starts", "edges", "masks", "leaf_items", "packed_codes"],
    meta_fields=["sizes", "max_children", "windows", "forced_level"],
)
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ItemIndex:
    """Trie of all IDs; a pytree, so it passes through `jax.jit` as an argument.

    A state at depth l is a node number, 0 at the root; a negative state is no node: it has no legal
    code, its children are -1 and so is its item.

    Attributes:
      starts: L compressed arrays, int32 [N_l + 1].
      edges: L arrays [N_{l+1}] of the narrowest unsigned type: the code of each edge.
      masks: L bitmasks of the level's wide nodes, or None where it has none.
      leaf_items: int32 [I], the item of each leaf.
      packed_codes: [I, L] of the narrowest unsigned type; `item_codes` gives int32.
      sizes: codebook size of each level.
      max_children: no node of the level has more children.
      windows: children that are read one by one; nodes with more of them have a mask.
      forced_level: depth from which on nearly every node leads to one item only; a hint.
    """

    starts: tuple[Starts, ...]
    edges: tuple[Array, ...]
    masks: tuple[WideMasks | None, ...]
    leaf_items: Array
    packed_codes: Array
    sizes: tuple[int, ...]
    max_children: tuple[int, ...]
    windows: tuple[int, ...]
    forced_level: int

    @classmethod
    def build(
        cls,
        item_codes: ItemCodes | np.ndarray,
        sizes: Sequence[int] | None = None,
        *,
        mask_limit: int | None = None,
        room: float = 0.0,
    ) -> "ItemIndex":
        """Build the index of unique IDs, in O(I log I) on the host.

        Args:
          item_codes: ItemCodes, or codes [I, L] with `sizes`.
          sizes: codebook size of each level, if `item_codes` is an array.
          mask_limit: most bytes of the masks of one level; None for one an item, or 64 KiB.
          room: share of items that may be added later without a change of shapes.

        Raises:
          ConfigError: an array without sizes, or a negative room.
          DataError: two items with one ID, or codes outside `sizes`.
        """
        if room < 0:
            raise ConfigError(f"room must not be negative, got {room}")
        if isinstance(item_codes, ItemCodes):
            codes, level_sizes = item_codes.codes, item_codes.sizes
        elif sizes is None:
            raise ConfigError("an array of codes needs sizes, the codebook size of each level")
        else:
            codes, level_sizes = check_codes(item_codes, sizes)
        arrays = _build.flat_arrays(codes, level_sizes)
        arrays["codes"] = codes.astype(_build.narrow_type(max(level_sizes)))
        widest = tuple(
            min(size, _build.with_room(int(np.diff(arrays[f"starts_{l}"]).max()), room))
            for l, size in enumerate(level_sizes)
        )
        limit = max(len(codes), 1 << 16) if mask_limit is None else mask_limit
        windows = tuple(
            _build.narrow_children(arrays[f"starts_{l}"], -(-size // 32), NARROW, limit)
            for l, size in enumerate(level_sizes)
        )
        forced = _build.forced_level(arrays, len(level_sizes), _FORCED)
        shapes = _build.shapes_with_room(arrays, level_sizes, room)
        rows = tuple(
            _build.with_room(int((np.diff(arrays[f"starts_{l}"]) > window).sum()), room)
            for l, window in enumerate(windows)
        )
        arrays = _build.padded(arrays, shapes)
        return cls._on_device(arrays, level_sizes, widest, windows, rows, forced)

    @classmethod
    def _on_device(
        cls,
        arrays: dict[str, np.ndarray],
        sizes: tuple[int, ...],
        widest: tuple[int, ...],
        windows: tuple[int, ...],
        rows: tuple[int, ...],
        forced: int,
    ) -> "ItemIndex":
        """Make the masks and move everything to the device; `rows` masks a level have room."""
        masks: list[WideMasks | None] = []
        for l, size in enumerate(sizes):
            starts, edges = arrays[f"starts_{l}"], arrays[f"edges_{l}"]
            if windows[l] >= widest[l]:
                masks.append(None)
                continue
            wide, words = _build.wide_masks(starts, edges, -(-size // 32), windows[l])
            masks.append(WideMasks.pack(wide, words, len(starts) - 1, rows[l]))
        return cls(
            starts=tuple(Starts.pack(arrays[f"starts_{l}"]) for l in range(len(sizes))),
            edges=tuple(jnp.asarray(arrays[f"edges_{l}"]) for l in range(len(sizes))),
            masks=tuple(masks),
            leaf_items=jnp.asarray(arrays["leaf_items"]),
            packed_codes=jnp.asarray(arrays["codes"]),
            sizes=sizes,
            max_children=widest,
            windows=windows,
            forced_level=forced,
        )

    def updated(
        self,
        codes: np.ndarray | None = None,
        items: np.ndarray | None = None,
        remove: np.ndarray | None = None,
    ) -> "ItemIndex":
        """Return the index after items were added and removed, in O(I log I) on the host.

        Shapes stay as they are while the index has room (see `build`); else it grows by a quarter.

        Args:
          codes: IDs of added items [A, L]; None for none.
          items: their numbers [A]; None for the numbers after the largest. A number that the index
            has gets the new ID.
          remove: numbers of removed items [R]; None for none.

        Raises:
          DataError: an ID that another item has, codes outside the sizes, a removed number that the
            index lacks, or not one number an ID.
        """
        leaves = np.asarray(self.leaf_items)[: self.num_leaves()]
        table, live = _changes.changed(
            np.asarray(self.packed_codes), leaves, self.sizes, codes, items, remove
        )
        numbers = np.flatnonzero(live)
        arrays = _build.flat_arrays(table[live].astype(np.int32), self.sizes, numbers)
        arrays["codes"] = table
        counts = [np.diff(arrays[f"starts_{l}"]) for l in range(self.levels)]
        wide = [int((c > w).sum()) for c, w in zip(counts, self.windows, strict=True)]
        rows = [0 if mask is None else mask.words.shape[0] for mask in self.masks]
        shapes = {f"edges_{l}": edges.shape[0] for l, edges in enumerate(self.edges)}
        shapes |= {f"starts_{l}": starts.delta.shape[0] for l, starts in enumerate(self.starts)}
        shapes |= {"leaf_items": self.leaf_items.shape[0], "codes": self.packed_codes.shape[0]}
        if any(len(arrays[name]) > size for name, size in shapes.items()):
            shapes = _build.shapes_with_room(arrays, self.sizes, 0.25)
        children = list(self.max_children)
        for l, size in enumerate(self.sizes):
            if (widest := int(counts[l].max())) > children[l]:
                children[l] = min(size, _build.with_room(widest, 0.25))
            if wide[l] > rows[l]:
                rows[l] = _build.with_room(wide[l], 0.25)
        return self._on_device(
            _build.padded(arrays, shapes),
            self.sizes,
            tuple(children),
            self.windows,
            tuple(rows),
            self.forced_level,
        )

    @property
    def levels(self) -> int:
        """ID length L."""
        return len(self.sizes)

    @property
    def num_items(self) -> int:
        """Number of items I that the arrays hold, free places included."""
        return self.packed_codes.shape[0]

    def num_leaves(self) -> int:
        """Number of items that the trie leads to; reads the device."""
        return int(self.starts[-1][jnp.int32(self.starts[-1].num_nodes)])

    @property
    def item_codes(self) -> Array:
        """IDs of all items, int32 [I, L]."""
        return self.packed_codes.astype(jnp.int32)

    @property
    def nbytes(self) -> dict[str, int]:
        """Bytes of the trie itself, of its masks, and of the maps between leaves, items and IDs."""
        parts = {
            "trie": (self.starts, self.edges),
            "masks": self.masks,
            "maps": (self.leaf_items, self.packed_codes),
        }
        return {name: sum(x.nbytes for x in jax.tree.leaves(part)) for name, part in parts.items()}

    def words(self, level: int, node: Array, alive: Any = None) -> Array:
        """Return which codes continue each node as bitmasks, uint32 [..., W_l].

        Bit c % 32 of word c // 32 is code c. Cost a node: M W_l compares, and a read of W_l words
        where the level has wide nodes; there a bool `alive` costs C_l reads more. Excluded edges
        cost S W_l compares. Nothing depends on I, nor on the widest node.

        Args:
          level: l, a Python int.
          node: states at depth l, int32 [...].
          alive: None, or what `restrict` or `exclude` returned, or its entry for this level: bool
            [N_{l+1}] for all nodes, bool [B, N_{l+1}] for nodes [B, ...], or int32 [B, S] of
            `exclude` for nodes [B, ...].
        """
        if isinstance(alive, tuple | list):
            alive = alive[level]
        if alive is not None and alive.ndim == 2:
            return jax.vmap(lambda n, a: self._words(level, n, a))(node, alive)
        return self._words(level, node, alive)

    def legal(self, level: int, node: Array, alive: Any = None) -> Array:
        """Return which codes continue each node, bool [..., C_l]; arguments as of `words`."""
        return unpack_bits(self.words(level, node, alive), self.sizes[level])

    def children(self, level: int, node: Array, alive: Any = None) -> tuple[Array, Array, Array]:
        """Return codes, states and existence of each node's children, [..., M]: its window.

        All children, where the level has no masks. Arguments as of `words`.
        """
        if isinstance(alive, tuple | list):
            alive = alive[level]
        if alive is not None and alive.ndim == 2:
            return jax.vmap(lambda n, a: self._children(level, n, a))(node, alive)
        return self._children(level, node, alive)

    def child(self, level: int, node: Array, code: Array) -> Array:
        """Return the state, int32 [...], that `code` leads to from `node`; -1 if it is not legal.

        Cost: log2(max_children) dependent reads. `node` and `code` have one shape; `code` may be
        any int32.
        """
        node, code = node.astype(jnp.int32), code.astype(jnp.int32)
        valid = (node >= 0) & (code >= 0) & (code < self.sizes[level])
        node, code = jnp.maximum(node, 0), jnp.where(valid, code, 0)
        edge, found = _nodes.child_by_search(
            self.edges[level], self.starts[level], node, code, self.max_children[level]
        )
        return jnp.where(valid & found, edge, -1)

    def leaves(self, depth: int, node: Array) -> tuple[Array, Array]:
        """Return the first leaf below nodes at a depth, and how many there are, int32 [...].

        None below a negative state. Cost: two chains of L - depth reads.
        """
        safe = jnp.maximum(node, 0)
        begin, end = (_subsets.leaf_begin(self.starts[depth:], n) for n in (safe, safe + 1))
        return begin, jnp.where(node >= 0, end - begin, 0)

    def item(self, leaf: Array) -> Array:
        """Return the item, int32 [...], of each state at depth L; -1 for a negative state."""
        return jnp.where(leaf >= 0, self.leaf_items[jnp.maximum(leaf, 0)], -1)

    def path(self, codes: Array) -> Array:
        """Return the states at depths 1..L along IDs [..., L], int32 [..., L]; -1 off the trie."""
        node, states = jnp.zeros(codes.shape[:-1], jnp.int32), []
        for level in range(self.levels):
            node = self.child(level, node, codes[..., level])
            states.append(node)
        return jnp.stack(states, axis=-1)

    def lookup(self, codes: Array) -> Array:
        """Return the item, int32 [...], of each ID [..., L], or -1 if no item has it."""
        return self.item(self.path(codes)[..., -1])

    def codes_of(self, item: Array) -> Array:
        """Return the IDs, int32 [..., L], of items [...]; -1 throughout for a negative item."""
        codes = self.packed_codes[jnp.maximum(item, 0)].astype(jnp.int32)
        return jnp.where((item >= 0)[..., None], codes, -1)

    def restrict(self, allowed: Array) -> tuple[Array, ...]:
        """Return which edges lead to an allowed item: L arrays bool [(B,) N_{l+1}].

        One prefix sum over the leaves and two gathers an edge: O(B I) time and memory. To exclude a
        few items from a large catalogue, `exclude` needs O(B S) instead.

        Args:
          allowed: bool [I] or [B, I].
        """
        return _subsets.restrict(self.starts, self.leaf_items, allowed)

    def exclude(self, items: Array) -> tuple[Array, ...]:
        """Return the edges below which every item is excluded: L arrays int32 [(B,) S], -1 unused.

        The result goes where that of `restrict` goes, and means the same; O(S log S) a row and
        level, whatever I.

        Args:
          items: excluded items, int32 [S] or [B, S]; may repeat; negative: padding.
        """
        if items.ndim == 2:
            return jax.vmap(self.exclude)(items)
        return _subsets.exclude(self.starts, self.path(self.codes_of(items)))

    def save(self, directory: str | Path) -> None:
        """Write `index.safetensors`, whole or not at all; masks are made on loading.

        Raises:
          ResourceError: the disk is full or the directory cannot be written.
        """
        arrays = {"leaf_items": np.asarray(self.leaf_items), "codes": np.asarray(self.packed_codes)}
        for l in range(self.levels):
            arrays[f"starts_{l}"] = np.asarray(self.starts[l].unpack())
            arrays[f"edges_{l}"] = np.asarray(self.edges[l])
        settings = {
            "kind": _KIND,
            "sizes": list(self.sizes),
            "max_children": list(self.max_children),
            "windows": list(self.windows),
            "rows": [0 if mask is None else mask.words.shape[0] for mask in self.masks],
            "forced_level": self.forced_level,
        }
        write_mapped(Path(directory) / "index.safetensors", arrays, settings)

    @classmethod
    def load(cls, directory: str | Path) -> "ItemIndex":
        """Read what `save` wrote, memory-mapped: one array at a time goes to the device.

        Raises:
          DataError: missing or damaged file.
        """
        path = Path(directory) / "index.safetensors"
        arrays, settings = read_mapped(path, _KIND)
        try:
            return cls._on_device(
                arrays,
                tuple(settings["sizes"]),
                tuple(settings["max_children"]),
                tuple(settings["windows"]),
                tuple(settings["rows"]),
                settings["forced_level"],
            )
        except KeyError as error:
            raise DataError(f"{path} lacks {error}; write it again with `jaxrec ids`") from error

    def _words(self, level: int, node: Array, alive: Array | None) -> Array:
        """`words` of nodes [...] under alive edges [N_{l+1}] or without dead ones [S]."""
        edges, starts, masks = self.edges[level], self.starts[level], self.masks[level]
        safe, count = jnp.maximum(node, 0), -(-self.sizes[level] // 32)
        dead = alive if alive is not None and alive.dtype != jnp.bool_ else None
        alive = None if dead is not None else alive
        codes, _, there = _nodes.children(edges, starts, safe, self.windows[level], alive)
        words = _nodes.words_of_codes(codes, there, count)
        if masks is not None:
            wide, full = _nodes.wide_words(masks, starts, safe, alive)
            words = jnp.where(wide[..., None], full, words)
        if dead is not None:
            words = words & ~_nodes.dead_words(edges, starts, safe, dead, count)
        return jnp.where((node >= 0)[..., None], words, jnp.uint32(0))

    def _children(self, level: int, node: Array, alive: Array | None) -> tuple[Array, Array, Array]:
        """`children` of nodes [...] under alive edges [N_{l+1}] or without dead ones [S]."""
        edges, starts = self.edges[level], self.starts[level]
        dead = alive if alive is not None and alive.dtype != jnp.bool_ else None
        codes, edge, there = _nodes.children(
            edges,
            starts,
            jnp.maximum(node, 0),
            self.windows[level],
            None if dead is not None else alive,
        )
        if dead is not None:
            row = dead.reshape((1,) * edge.ndim + (-1,))
            there = there & ~(edge[..., None] == row).any(axis=-1)
        return codes, edge, there & (node >= 0)[..., None]
