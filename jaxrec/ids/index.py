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
below any node are contiguous. Two ways to read a node, chosen for each level when it is built:

- *mask*: a bitmask a node. Legality of all codes is one gather of ceil(C/32) words; the state of a
  chosen child is starts + popcount of the lower bits. N_l * ceil(C_l / 32) * 4 bytes.
- *window*: the node's slice of `edges`, padded to the level's widest node. No extra memory; used
  where nodes are narrow anyway, or masks would pass `mask_limit` bytes.

Shapes: `B` batch, `K` beams, `L` levels, `C_l` codes, `I` items, `N_l` nodes at depth l (N_0 = 1,
N_L = I), `S` excluded items.

Memory, bytes: sum over l of s_l N_l + w_l N_{l+1} + mask_l, plus 4 I (leaf_items) and w L I (the
IDs), with w the bytes of a code (1 up to 256 codes, 2 up to 65,536, else 4) and s_l those of a
start: 1 where nodes have few children, else 2 or 4.

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

from jaxrec.core.errors import ConfigError, DataError
from jaxrec.ids import _build, _files, _nodes
from jaxrec.ids._starts import Starts
from jaxrec.ids.codes import ItemCodes, check_codes

_KIND = "item index"

Array = jax.Array


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["starts", "edges", "masks", "leaf_items", "packed_codes"],
    meta_fields=["sizes", "max_children"],
)
@dataclasses.dataclass(frozen=True, eq=False)
class ItemIndex:
    """Trie of all IDs; a pytree, so it passes through `jax.jit` as an argument.

    A state at depth l is a node number, 0 at the root; a negative state is no node: it has no legal
    code, its children are -1 and so is its item.

    Attributes:
      starts: L compressed arrays, int32 [N_l + 1].
      edges: L arrays [N_{l+1}] of the narrowest unsigned type: the code of each edge.
      masks: L arrays uint32 [N_l, ceil(C_l / 32)], or None where the level is read by windows.
      leaf_items: int32 [I], the item of each leaf.
      packed_codes: [I, L] of the narrowest unsigned type; `item_codes` gives int32.
      sizes: codebook size of each level.
      max_children: no node of the level has more children.
    """

    starts: tuple[Starts, ...]
    edges: tuple[Array, ...]
    masks: tuple[Array | None, ...]
    leaf_items: Array
    packed_codes: Array
    sizes: tuple[int, ...]
    max_children: tuple[int, ...]

    @classmethod
    def build(
        cls,
        item_codes: ItemCodes | np.ndarray,
        sizes: Sequence[int] | None = None,
        *,
        mask_limit: int = 1 << 26,
        room: float = 0.0,
    ) -> "ItemIndex":
        """Build the index of unique IDs, in O(I log I) on the host.

        Args:
          item_codes: ItemCodes, or codes [I, L] with `sizes`.
          sizes: codebook size of each level, if `item_codes` is an array.
          mask_limit: most bytes that the masks of one level may take.
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
        masked = tuple(
            _build.mask_bytes(arrays, l, size) <= mask_limit and widest[l] > _nodes.NARROW
            for l, size in enumerate(level_sizes)
        )
        shapes = _build.shapes_with_room(arrays, level_sizes, room)
        return cls._on_device(_build.padded(arrays, shapes), level_sizes, widest, masked)

    @classmethod
    def _on_device(
        cls,
        arrays: dict[str, np.ndarray],
        sizes: tuple[int, ...],
        widest: tuple[int, ...],
        masked: tuple[bool, ...],
    ) -> "ItemIndex":
        masks: list[Array | None] = []
        for l, size in enumerate(sizes):
            starts, edges = arrays[f"starts_{l}"], arrays[f"edges_{l}"]
            mask = _build.bitmask(starts, edges, -(-size // 32)) if masked[l] else None
            masks.append(None if mask is None else jnp.asarray(mask))
        return cls(
            starts=tuple(Starts.pack(arrays[f"starts_{l}"]) for l in range(len(sizes))),
            edges=tuple(jnp.asarray(arrays[f"edges_{l}"]) for l in range(len(sizes))),
            masks=tuple(masks),
            leaf_items=jnp.asarray(arrays["leaf_items"]),
            packed_codes=jnp.asarray(arrays["codes"]),
            sizes=sizes,
            max_children=widest,
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
        live = np.zeros(self.packed_codes.shape[0], bool)
        live[np.asarray(self.leaf_items)[: self.num_leaves()]] = True
        table = np.asarray(self.packed_codes)
        for item in np.atleast_1d(np.asarray([] if remove is None else remove, np.int64)):
            if not (0 <= item < len(live) and live[item]):
                raise DataError(f"item {item} cannot be removed: the index has no such item")
            live[item] = False
        if codes is not None:
            new, _ = check_codes(codes, self.sizes)
            top = int(np.flatnonzero(live).max(initial=-1)) + 1
            given = np.arange(top, top + len(new)) if items is None else np.asarray(items, np.int64)
            if given.shape != (len(new),) or given.min() < 0:
                raise DataError(f"{len(new)} added IDs need as many item numbers, got {given}")
            more = max(int(given.max()) + 1 - len(table), 0)
            table, live = np.pad(table, ((0, more), (0, 0))), np.pad(live, (0, more))
            table[given], live[given] = new, True
        if not live.any():
            raise DataError("an index cannot lose its last item")
        numbers = np.flatnonzero(live)
        arrays = _build.flat_arrays(table[live].astype(np.int32), self.sizes, numbers)
        arrays["codes"] = table
        widest = [int(np.diff(arrays[f"starts_{l}"]).max()) for l in range(self.levels)]
        shapes = {f"edges_{l}": edges.shape[0] for l, edges in enumerate(self.edges)}
        shapes |= {f"starts_{l}": starts.delta.shape[0] for l, starts in enumerate(self.starts)}
        shapes |= {"leaf_items": self.leaf_items.shape[0], "codes": self.packed_codes.shape[0]}
        if any(len(arrays[name]) > size for name, size in shapes.items()):
            shapes = _build.shapes_with_room(arrays, self.sizes, 0.25)
        if any(new > old for new, old in zip(widest, self.max_children, strict=True)):
            grown = [_build.with_room(width, 0.25) for width in widest]
            limits = zip(self.sizes, self.max_children, grown, strict=True)
            children = tuple(min(size, max(old, new)) for size, old, new in limits)
        else:
            children = self.max_children
        masked = tuple(mask is not None for mask in self.masks)
        return self._on_device(_build.padded(arrays, shapes), self.sizes, children, masked)

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

    def legal(self, level: int, node: Array, alive: Any = None) -> Array:
        """Return which codes continue each node, bool [..., C_l].

        Cost a node: mask C_l bit tests, and C_l gathers more with a bool `alive`; window
        max_children * C_l compares if narrow, else max_children scattered writes. With excluded
        edges S scattered writes more. Nothing depends on I.

        Args:
          level: l, a Python int.
          node: states at depth l, int32 [...].
          alive: None, or what `restrict` or `exclude` returned, or its entry for this level: bool
            [N_{l+1}] for all nodes, bool [B, N_{l+1}] for nodes [B, ...], or int32 [B, S] of
            `exclude` for nodes [B, ...].
        """
        if isinstance(alive, tuple | list):
            alive = alive[level]
        if alive is None:
            return self._legal(level, node, None)
        if alive.dtype == jnp.bool_:
            if alive.ndim == 1:
                return self._legal(level, node, alive)
            return jax.vmap(lambda n, a: self._legal(level, n, a))(node, alive)
        if alive.ndim == 1:
            return self._legal_but(level, node, alive)
        return jax.vmap(lambda n, a: self._legal_but(level, n, a))(node, alive)

    def child(self, level: int, node: Array, code: Array) -> Array:
        """Return the state, int32 [...], that `code` leads to from `node`; -1 if it is not legal.

        Cost: ceil(C_l / 32) words (mask), or log2(max_children) dependent gathers (window).
        `node` and `code` have one shape; `code` may be any int32.
        """
        node, code = node.astype(jnp.int32), code.astype(jnp.int32)
        valid = (node >= 0) & (code >= 0) & (code < self.sizes[level])
        node, code = jnp.maximum(node, 0), jnp.where(valid, code, 0)
        starts, edges, mask = self.starts[level], self.edges[level], self.masks[level]
        if mask is not None:
            edge, found = _nodes.child_by_mask(mask, starts, node, code)
        else:
            width = self.max_children[level]
            edge, found = _nodes.child_by_search(edges, starts, node, code, width)
        return jnp.where(valid & found, edge, -1)

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
        leaves = jnp.take(allowed, self.leaf_items, axis=-1)
        pad = [(0, 0)] * (leaves.ndim - 1) + [(1, 0)]
        prefix = jnp.pad(jnp.cumsum(leaves.astype(jnp.int32), axis=-1), pad)
        alive = []
        for bounds in self._leaf_bounds()[:-1]:
            at = jnp.take(prefix, bounds, axis=-1)
            alive.append(at[..., 1:] > at[..., :-1])
        return (*alive, leaves)

    def exclude(self, items: Array) -> tuple[Array, ...]:
        """Return the edges below which every item is excluded: L arrays int32 [(B,) S], -1 unused.

        The result goes where that of `restrict` goes, and means the same; O(S log S) a row and
        level, whatever I.

        Args:
          items: excluded items, int32 [S] or [B, S]; may repeat; negative: padding.
        """
        if items.ndim == 2:
            return jax.vmap(self.exclude)(items)
        states = self.path(self.codes_of(items))  # [S, L]
        states = states[jnp.argsort(states[:, -1])]  # sorted leaves: sorted at every level
        leaf = states[:, -1]
        fresh = (leaf >= 0) & (leaf != jnp.roll(leaf, 1).at[0].set(-1))
        count = jnp.pad(jnp.cumsum(fresh.astype(jnp.int32)), (1, 0))
        dead = []
        for level in range(self.levels):
            edge = jnp.maximum(states[:, level], 0)
            begin, end = self._leaf_begin(level, edge), self._leaf_begin(level, edge + 1)
            inside = count[jnp.searchsorted(leaf, end)] - count[jnp.searchsorted(leaf, begin)]
            dead.append(jnp.where((leaf >= 0) & (inside == end - begin), edge, -1))
        return tuple(dead)

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
            "masked": [mask is not None for mask in self.masks],
            "max_children": list(self.max_children),
        }
        _files.write_mapped(Path(directory) / "index.safetensors", arrays, settings)

    @classmethod
    def load(cls, directory: str | Path) -> "ItemIndex":
        """Read what `save` wrote, memory-mapped: one array at a time goes to the device.

        Raises:
          DataError: missing or damaged file.
        """
        path = Path(directory) / "index.safetensors"
        arrays, settings = _files.read_mapped(path, _KIND)
        try:
            sizes, widest = tuple(settings["sizes"]), tuple(settings["max_children"])
            return cls._on_device(arrays, sizes, widest, tuple(settings["masked"]))
        except KeyError as error:
            raise DataError(f"{path} lacks {error}; write it again with `jaxrec ids`") from error

    def _leaf_begin(self, level: int, edge: Array) -> Array:
        """First leaf below edges [...] of a level; of the edge after the last: the leaves' end."""
        for starts in self.starts[level + 1 :]:
            edge = starts[edge]
        return edge

    def _leaf_bounds(self) -> list[Array]:
        """For edges of each level, where their leaves begin: L arrays int32 [N_{l+1} + 1]."""
        bounds = [jnp.arange(self.leaf_items.shape[0] + 1, dtype=jnp.int32)]
        for starts in self.starts[:0:-1]:
            bounds.append(bounds[-1][starts.unpack()])
        return bounds[::-1]

    def _legal(self, level: int, node: Array, alive: Array | None) -> Array:
        """Legal codes of nodes [...] under alive edges [N_{l+1}] that all nodes share."""
        starts, mask, size = self.starts[level], self.masks[level], self.sizes[level]
        safe = jnp.maximum(node, 0)
        if mask is not None:
            legal = _nodes.legal_by_mask(mask, starts, safe, size, alive)
        else:
            width = self.max_children[level]
            legal = _nodes.legal_by_window(self.edges[level], starts, safe, size, width, alive)
        return legal & (node >= 0)[..., None]

    def _legal_but(self, level: int, node: Array, dead: Array) -> Array:
        """Legal codes of nodes [...] without the edges `dead` [S]."""
        legal, safe = self._legal(level, node, None), jnp.maximum(node, 0)
        return _nodes.without(legal, self.edges[level], self.starts[level], safe, dead)
