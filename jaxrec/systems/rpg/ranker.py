"""RPG's ranker: the exact ranking in chunks of items, or the walk over the graph of items.

Shapes: `U` users, `B` users of a batch, `I` items, `L` places, `C` codes a place, `K` items of a
list.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import present
from jaxrec.decode import (
    PackedCodes,
    add_reverse_edges,
    bucket,
    cluster_items,
    cluster_neighbours,
    code_similarities,
    exact_top,
    graph_top,
    item_neighbours,
    pack_codes,
    random_starts,
    spread_starts,
)
from jaxrec.ids import pad_items
from jaxrec.runs import Asked, check_scores, mask_of, row_batches
from jaxrec.systems.rpg.config import GraphConfig
from jaxrec.systems.rpg.network import FIXED, RpgNetwork, next_codes
from jaxrec.systems.rpg.repeats import own_with_bias, repeat_bias, with_read

# Lists of excluded or wanted items are padded to these lengths, or to the longest.
_WIDTHS = (16, 128, 1024)
# Items of a cluster from which starts are spread, unless clusters build the graph as well.
_CLUSTER = 128
# Mean clusters with whose items each item is compared where clusters build the graph.
_WINDOW = 4


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Graph:
    """The graph of items and where walks begin.

    Attributes:
      codes: IDs of the items.
      neighbours: `[I, E]` int32.
      starts: `[S]` int32.
    """

    codes: PackedCodes
    neighbours: jax.Array
    starts: jax.Array


def make_graph(config: GraphConfig, variables: Any, seed: int = 0) -> Graph:
    """Build the graph of the items of a trained network.

    A graph of a catalogue with fewer items than edges has an edge to every item.
    """
    codes = variables[FIXED]["codes"]
    similarities, numbers = code_similarities(variables["params"]["table"]), np.asarray(codes)
    edges = min(config.edges, len(numbers))
    clusters = None
    if config.spread or config.group:
        size = config.group or _CLUSTER
        clusters = cluster_items(similarities, numbers, size, seed=seed)
    if config.group and clusters is not None:
        window = max(_WINDOW * config.group, edges)
        near = cluster_neighbours(clusters, edges, window=window)
    else:
        near = np.asarray(item_neighbours(similarities, codes, edges))
    near = add_reverse_edges(near, min(config.reverse, edges - 1))
    if config.spread and clusters is not None:
        starts = spread_starts(clusters, config.starts)
    else:
        starts = random_starts(len(numbers), config.starts, seed)
    return Graph(pack_codes(numbers), jnp.asarray(near), jnp.asarray(starts))


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class RpgRanker:
    """Ranks the catalogue by the log-probabilities of codes; see `Ranker`.

    Attributes:
      network: the network.
      variables: its variables; "codes" in `FIXED` are the IDs of the catalogue.
      config: settings of the walk.
      graph: the graph; needed if `ranking` is "graph".
      ranking: "exact" or "graph". Calls that allow only some items always rank exactly, because a
        walk need not meet any of them.
      batch_size: users of a full batch.
    """

    network: RpgNetwork
    variables: Any
    config: GraphConfig
    graph: Graph | None = None
    ranking: Literal["exact", "graph"] = "exact"
    batch_size: int = 64

    @property
    def num_items(self) -> int:
        """I."""
        return len(self.variables[FIXED]["codes"])

    @property
    def meaning(self) -> str:
        """What scores are."""
        bias = ", plus the bias of items that were read" if self.network.config.repeat_bias else ""
        return f"mean log-probability of the item's codes{bias}"

    def check(self, asked: Asked) -> None:
        """See `Ranker`. Every row can be read."""

    def best(self, asked: Asked, top: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Ranker`. Equal scores are in the order of the item numbers."""
        items = np.full((len(asked), top), -1, np.int32)
        scores = np.full((len(asked), top), -np.inf, np.float32)
        lengths = [
            0 if asked.excluded is None else len(asked.excluded[row]) for row in range(len(asked))
        ]
        for batch in row_batches(lengths, _widths(lengths), self.batch_size):
            part, count = asked.take(batch.rows), batch.count
            out = None if part.excluded is None else pad_items(part.excluded, batch.width)
            mask = None if part.allowed is None else mask_of(part.allowed, self.num_items)
            walks = self.ranking == "graph" and mask is None
            found = _best(
                self.network,
                top,
                self.config,
                self.variables,
                self._history(part),
                out,
                mask,
                self.graph if walks else None,
            )
            rows = batch.rows[:count]
            items[rows], scores[rows] = (np.asarray(x)[:count] for x in found)
        check_scores(scores)
        return items, scores

    def scores(self, asked: Asked, items: Sequence[np.ndarray]) -> list[np.ndarray]:
        """See `Ranker`."""
        found: list[np.ndarray] = [np.zeros(0, np.float32)] * len(asked)
        lengths = [len(row) for row in items]
        for batch in row_batches(lengths, _widths(lengths), self.batch_size):
            part = asked.take(batch.rows)
            wanted = pad_items([items[row] for row in batch.rows], batch.width)
            given = _of_items(self.network, self.variables, self._history(part), wanted)
            for row, values in zip(batch.rows[: batch.count], np.asarray(given), strict=False):
                # Lists are padded on the left.
                found[row] = values[batch.width - len(items[row]) :]
        for row in found:
            check_scores(row)
        return found

    @property
    def history_widths(self) -> list[int]:
        """Lengths to which histories are padded: one."""
        return [self.network.config.max_items]

    def list_length(self, top: int) -> int:
        """See `ServedRanker`: a short list is the beginning of any longer one."""
        return min(bucket(top, 64), self.num_items)

    def with_batch(self, size: int) -> "RpgRanker":
        """Return the ranker with batches of at most so many rows."""
        return dataclasses.replace(self, batch_size=size)

    def _history(self, part: Asked) -> np.ndarray:
        length = self.network.config.max_items
        return pad_items([present(row) for row in part.histories], length)


def _widths(lengths: Sequence[int]) -> list[int]:
    longest = max(lengths, default=0)
    return [width for width in _WIDTHS if width < longest] + [bucket(max(longest, 1))]


@functools.partial(jax.jit, static_argnames=("network", "top", "config"))
def _best(
    network: RpgNetwork,
    top: int,
    config: GraphConfig,
    variables: Any,
    history: jax.Array,
    excluded: jax.Array | None,
    allowed: jax.Array | None,
    graph: Graph | None,
) -> tuple[jax.Array, jax.Array]:
    table, codes = next_codes(network, variables, history), variables[FIXED]["codes"]
    out = excluded
    if network.config.repeat_bias:
        # Items that were read are ranked apart, so that the rest of the list needs no bias.
        out = history if excluded is None else jnp.concatenate([excluded, history], axis=1)
    if graph is None:
        found = exact_top(table, codes, top, out, allowed)
    else:
        found = graph_top(
            table,
            graph.codes,
            graph.neighbours,
            graph.starts,
            top,
            out,
            beams=config.beams,
            steps=config.steps,
            keep=config.keep,
        )
    if not network.config.repeat_bias:
        return found
    bias = repeat_bias(variables["params"], network.levels)
    scores = own_with_bias(table, codes, history, history, bias)
    return with_read(found, history, scores, excluded, allowed)


@functools.partial(jax.jit, static_argnames=("network",))
def _of_items(
    network: RpgNetwork, variables: Any, history: jax.Array, items: jax.Array
) -> jax.Array:
    table, codes = next_codes(network, variables, history), variables[FIXED]["codes"]
    bias = jnp.float32(0)
    if network.config.repeat_bias:
        bias = repeat_bias(variables["params"], network.levels)
    return own_with_bias(table, codes, items, history, bias)
