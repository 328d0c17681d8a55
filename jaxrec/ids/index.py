"""ItemIndex: the trie of all item IDs as flat arrays on the device.

IDs are sorted lexicographically, and every distinct prefix is a node. Edges are stored as
compressed rows, level by level. *The state of a child is its edge number*, so the next state needs
no storage:

    IDs (0,1) (0,2) (3,1)      depth 0    depth 1     depth 2 (leaves)
                               node 0 --0--> 0 --1--> 0
                                     |         `-2--> 1
                                     `--3--> 1 --1--> 2
    starts = ([0 2], [0 2 3])    edges = ([0 3], [1 2 1])    leaf_items = items in sorted order

`starts` takes about one byte per node (see `_starts`), so a trie whose paths separate early costs
little more than the codes of its edges.

The children of node n at level l are the edges starts[l][n] .. starts[l][n + 1] - 1, and the leaves
below any node are contiguous. A node can be read in two ways, and neither pads to the widest node:

- *window*: the first `windows[l]` edges, at least 8; these are all edges of a narrow node.
- *mask*: the few wide nodes, which have more children, also have a bitmask of their codes. The
  window is widened until the masks of a level fit one byte per item (`mask_limit`).

Shapes: `B` batch, `K` beams, `L` levels, `C_l` codes, `W_l` = ceil(C_l / 32) words of a bitmask,
`I` items, `N_l` nodes at depth l (N_0 = 1, N_L = I), `S` excluded items, `M` children in a window.

Memory in bytes: the sum over l of s_l N_l + w_l N_{l+1} + mask_l, plus 4 I (leaf_items) and w L I
(the IDs). Here w is the size of a code (1 up to 256 codes, 2 up to 65,536, else 4), s_l the size of
a start (1 if nodes have few children, else 2 or 4), and mask_l = N_l / 4 + 4 W_l per wide node.

`updated` adds and removes items. An index that was built with `room` keeps its shapes, so programs
that were compiled for it do not compile again.
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
# Up to so many children are always read one by one; only wider nodes are worth a mask.
NARROW = 8
# A level counts as forced if at least this share of its nodes has a single item below it.
_FORCED = 0.999

Array = jax.Array


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["starts", "edges", "masks", "leaf_items", "packed_codes"],
    meta_fields=["sizes", "max_children", "windows", "forced_level"],
)
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ItemIndex:
    """Trie of all IDs; it is a pytree, so it can be an argument of jitted functions.

    A state at depth l is a node number, and 0 at the root. A negative state is not a node: it has
    no legal codes, and its children and its item are -1.

    Attributes:
      starts: L compressed arrays, int32 [N_l + 1].
      edges: L arrays [N_{l+1}], narrowest unsigned type: the code of each edge.
      masks: for each level the bitmasks of its wide nodes, or None if it has none.
      leaf_items: int32 [I], the item of each leaf.
      packed_codes: [I, L], narrowest unsigned type; `item_codes` gives int32.
      sizes: codebook size of each level.
      max_children: an upper bound on the children of a node, per level.
      windows: number of children that are read one by one, per level; wider nodes have a mask.
      forced_level: depth from which on nearly every node leads to a single item; only a hint.

    Example:
      >>> index = ItemIndex.build(np.array([[0, 1], [0, 2], [3, 1]]), sizes=(4, 3))
      >>> index.legal(0, jnp.int32(0)).tolist()
      [True, False, False, True]
      >>> index.lookup(jnp.array([[0, 2], [3, 2]])).tolist()  # no item has the ID (3, 2)
      [1, -1]
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
          item_codes: ItemCodes, or codes [I, L] together with `sizes`.
          sizes: codebook size of each level, if `item_codes` is an array.
          mask_limit: maximum bytes for the masks of one level; None allows one byte per item, and
            at least 64 KiB.
          room: share of items that can be added later without a change of shapes.

        Raises:
          ConfigError: codes are given without sizes, or `room` is negative.
          DataError: two items have the same ID, or a code is outside `sizes`.
        """
        if room < 0:
            raise ConfigError(f"room must not be negative, got {room}")
        if isinstance(item_codes, ItemCodes):
            codes, level_sizes = item_codes.codes, item_codes.sizes
        elif sizes is None:
            raise ConfigError(
                "codes were given without sizes; give the codebook size of each level"
            )
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
        """Make the masks, with room for `rows` per level, and move all arrays to the device."""
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
        """Return the index with some items added and others removed, in O(I log I) on the host.

        The shapes stay the same while the index has room (see `build`). Otherwise it grows by a
        quarter.

        Args:
          codes: IDs of added items [A, L]; None adds none.
          items: numbers of the added items [A]; None takes the numbers after the largest. An item
            that is already in the index gets the new ID.
          remove: numbers of removed items [R]; None removes none.

        Raises:
          DataError: another item has one of the IDs, a code is outside `sizes`, an item to remove
            is not in the index, the numbers of IDs and items differ, or no item is left.

        Example:
          >>> index = ItemIndex.build(np.array([[0, 1], [0, 2]]), sizes=(4, 3), room=1.0)
          >>> changed = index.updated(codes=np.array([[3, 0]]), remove=np.array([0]))
          >>> changed.lookup(jnp.array([[0, 1], [0, 2], [3, 0]])).tolist()
          [-1, 1, 2]
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
        """Number of items I for which the arrays have room."""
        return self.packed_codes.shape[0]

    def num_leaves(self) -> int:
        """Return the number of items in the trie; this reads from the device."""
        return int(self.starts[-1][jnp.int32(self.starts[-1].num_nodes)])

    @property
    def item_codes(self) -> Array:
        """IDs of all items, int32 [I, L]."""
        return self.packed_codes.astype(jnp.int32)

    @property
    def nbytes(self) -> dict[str, int]:
        """Bytes of the trie, of its masks, and of the maps between leaves, items and IDs."""
        parts = {
            "trie": (self.starts, self.edges),
            "masks": self.masks,
            "maps": (self.leaf_items, self.packed_codes),
        }
        return {name: sum(x.nbytes for x in jax.tree.leaves(part)) for name, part in parts.items()}

    def words(self, level: int, node: Array, alive: Any = None) -> Array:
        """Return which codes continue each node as bitmasks, uint32 [..., W_l].

        Bit c % 32 of word c // 32 stands for code c. The cost per node is M W_l comparisons, plus a
        read of W_l words if the level has wide nodes; in that case a bool `alive` costs C_l more
        reads. Excluded edges cost S W_l comparisons. The cost depends neither on I nor on the
        widest node.

        Args:
          level: l, a Python int.
          node: states at depth l, int32 [...].
          alive: None for all items; or the result of `restrict` or `exclude`; or its entry for this
            level: bool [N_{l+1}] for all nodes, bool [B, N_{l+1}] for nodes [B, ...], or int32
            [B, S] from `exclude` for nodes [B, ...].
        """
        if isinstance(alive, tuple | list):
            alive = alive[level]
        if alive is not None and alive.ndim == 2:
            return jax.vmap(lambda n, a: self._words(level, n, a))(node, alive)
        return self._words(level, node, alive)

    def legal(self, level: int, node: Array, alive: Any = None) -> Array:
        """Return which codes continue each node, bool [..., C_l]; see `words` for the arguments."""
        return unpack_bits(self.words(level, node, alive), self.sizes[level])

    def children(self, level: int, node: Array, alive: Any = None) -> tuple[Array, Array, Array]:
        """Return codes, states and existence of the children in each node's window, [..., M].

        If the level has no masks, these are all children. `words` explains the arguments.
        """
        if isinstance(alive, tuple | list):
            alive = alive[level]
        if alive is not None and alive.ndim == 2:
            return jax.vmap(lambda n, a: self._children(level, n, a))(node, alive)
        return self._children(level, node, alive)

    def child(self, level: int, node: Array, code: Array) -> Array:
        """Return the state, int32 [...], that `code` leads to from `node`; -1 if it is not legal.

        The cost is log2(max_children) dependent reads. `node` and `code` have the same shape, and
        `code` may be any int32.
        """
        node, code = node.astype(jnp.int32), code.astype(jnp.int32)
        valid = (node >= 0) & (code >= 0) & (code < self.sizes[level])
        node, code = jnp.maximum(node, 0), jnp.where(valid, code, 0)
        edge, exists = _nodes.child_by_search(
            self.edges[level], self.starts[level], node, code, self.max_children[level]
        )
        return jnp.where(valid & exists, edge, -1)

    def leaves(self, depth: int, node: Array) -> tuple[Array, Array]:
        """Return the first leaf below nodes at a depth, and the number of leaves, int32 [...].

        A negative state has no leaves. The cost is two chains of L - depth reads.
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
        """Return the item, int32 [...], of each ID [..., L]; -1 if no item has it."""
        return self.item(self.path(codes)[..., -1])

    def codes_of(self, item: Array) -> Array:
        """Return the IDs, int32 [..., L], of items [...]; all -1 for what is no item."""
        codes = self.packed_codes[jnp.clip(item, 0, self.num_items - 1)].astype(jnp.int32)
        return jnp.where(((item >= 0) & (item < self.num_items))[..., None], codes, -1)

    def restrict(self, allowed: Array) -> tuple[Array, ...]:
        """Return which edges lead to an allowed item: L arrays bool [(B,) N_{l+1}].

        The cost is one prefix sum over the leaves and two gathers per edge: O(B I) time and memory.
        To exclude a few items from a large catalogue, `exclude` needs only O(B S).

        Args:
          allowed: bool [I] or [B, I]; a mask of another width is a ConfigError.
        """
        _subsets.check_allowed(allowed, self.num_items)
        return _subsets.restrict(self.starts, self.leaf_items, allowed)

    def exclude(self, items: Array) -> tuple[Array, ...]:
        """Return the edges below which every item is excluded: L arrays int32 [(B,) S], -1 unused.

        The result can be used wherever a result of `restrict` can, with the same meaning. The cost
        is O(S log S) per row and level, whatever I.

        Args:
          items: excluded items, int32 [S] or [B, S]. They may repeat; -1 is padding.
            An item outside the catalogue is a DataError.
        """
        _subsets.check_excluded(items, self.num_items)
        if items.ndim == 2:
            return jax.vmap(self.exclude)(items)
        return _subsets.exclude(self.starts, self.path(self.codes_of(items)))

    def save(self, directory: str | Path) -> None:
        """Write `index.safetensors`, whole or not at all; `load` makes the masks again.

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
        """Read the index that `save` wrote through a memory map, one array at a time.

        Raises:
          DataError: the file is missing or damaged.
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
        """Compute `words` of nodes [...], given alive edges [N_{l+1}] or excluded edges [S]."""
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
        """Compute `children` of nodes [...], given alive edges [N_{l+1}] or excluded edges [S]."""
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
