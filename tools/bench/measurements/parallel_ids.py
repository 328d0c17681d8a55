"""Ranking of IDs that are predicted in parallel: the walk over a graph against the exact ranking.

    python tools/bench parallel_ids [--items 1000000] [--users 64] [--catalogue vectors|codes]

The catalogue is synthetic. "vectors", the default, resembles the IDs of RPG: items are normal
vectors of 128 columns in 300 clusters of 20 smaller clusters each (36 % of the variance lie between
clusters, 36 % between smaller ones, 28 % within these), quantized by `jaxrec.ids.pq` into 32 codes.
The embeddings of codes are their centroids. "codes" has no vectors: at each place, an item has a
code of its cluster, of its smaller cluster, a code near one of those, or any code, and the places
have nothing in common. Its graph is harder to find, because the items lie in 1,024 directions
without an order.

A user's heads point at the codes of one item, with noise as long as the codes' embeddings;
log-probabilities are cosines divided by .03.

recall_of_exact   share of the exact top 10 that the walk finds, at --items
time_ratio_1m     seconds of the walk over those of the exact ranking, at --items
published         the same two numbers for the published walk: it begins at as many random items as
                  it keeps, and compares only neighbours (10 beams, 3 steps, no reverse edges)
growth_100k_10m   seconds of the walk in the largest catalogue over those in the smallest. Codes and
                  edges are random there: the cost of a walk does not depend on where edges lead,
                  except that random ones are the worst case for the caches
graph_recall      share of the exact neighbours of 64 items that the graph has before some of them
                  are given up for reverse edges

With the defaults, on 2 idle CPU cores (2026-12-01):

    exact                 2.94 ms a user
    walk                   .41 ms, .139 of the exact time, 98.0 % of the exact top 10
    walk, as published     .09 ms, .031 of the exact time,  1.7 %

The graph had 99.2 % of the true edges after 47 s of CPU time. The walk in ten million items took
1.06 times as long as in 100,000. All of it took 75 s. Bytes of a catalogue of ten million: 2.2 GB.

The graph of `--catalogue codes` is not found so well. With `--items 100000 --starts 16384
--rounds 2 --group 128` it had 67 % of the true edges, and the walk found 93 % of the exact top 10
in .76 of the exact time (2026-12-01). Its vectors are projected from 1,024 columns to 128. A
million such items are NOT MEASURED.
"""

import dataclasses
import functools
import time
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from support.header import machine_cores, print_header
from support.table import Table
from support.timing import measure

from jaxrec.core import ConfigError
from jaxrec.decode import (
    add_reverse_edges,
    cluster_items,
    cluster_neighbours,
    code_similarities,
    exact_top,
    graph_top,
    pack_codes,
    random_starts,
    recall,
    refine_neighbours,
    spread_starts,
)
from jaxrec.ids import pq

TOP, TEMPERATURE, WIDTH = 10, 0.03, 32
CLUSTERS, INNER, NEAR = 300, 20, 8
# Of the vectors: columns, standard deviations by cluster, smaller cluster and item, and how many of
# them the quantizer is fitted on.
COLUMNS, DEVIATIONS, FITTED = 128, (0.6, 0.6, 0.53), 8192
PART = 100_000
# The authors' settings for Amazon Beauty; edges are those of the graph.
PUBLISHED_BEAMS, PUBLISHED_STEPS = 10, 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The catalogue and the walk.

    Attributes:
      items: items of the catalogue with clusters.
      catalogue: "vectors" or "codes", see above.
      small: items of the smallest catalogue whose time is measured.
      large: items of the largest one; it takes 4 x edges + levels bytes an item.
      levels: codes of an ID.
      size: codes a place.
      users: users that are ranked together.
      noise: length of the noise of a user's heads, beside embeddings of length 1.
      edges: edges of an item.
      reverse: how many of them may lead to items that few others lead to.
      beams: nodes whose neighbours are visited in a step.
      steps: steps of a walk.
      starts: items at which walks begin, spread over the clusters.
      group: mean size of the clusters that build the graph.
      window: items with which each item is compared for its edges.
      rounds: rounds in which the neighbours of neighbours join the graph.
      repeats: turns of each side.
      seed: seed of everything.
    """

    items: int = 1_000_000
    catalogue: Literal["vectors", "codes"] = "vectors"
    small: int = 100_000
    large: int = 10_000_000
    levels: int = 32
    size: int = 256
    users: int = 64
    noise: float = 1.0
    edges: int = 48
    reverse: int = 16
    beams: int = 20
    steps: int = 4
    starts: int = 32_768
    group: int = 256
    window: int = 1024
    rounds: int = 0
    repeats: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.levels > COLUMNS:
            raise ConfigError(
                f"--levels {self.levels} cuts vectors of {COLUMNS} columns, and every code needs a "
                "column; lower it"
            )


def catalogue(options: Options, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Unit embeddings of the codes, `[L, C, D]`, and the IDs of items in clusters, `[I, L]`."""
    if options.catalogue == "vectors":
        return quantized_vectors(options, rng)
    rows, near = embeddings(options, rng)
    return rows, clustered_codes(options, near, rng)


def quantized_vectors(options: Options, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The catalogue of vectors; see `catalogue`."""
    outer, inner, own = DEVIATIONS
    centres = np.repeat(outer * rng.normal(size=(CLUSTERS, COLUMNS)), INNER, axis=0)
    centres = (centres + inner * rng.normal(size=centres.shape)).astype(np.float32)

    def draw(count: int) -> np.ndarray:
        noise = rng.standard_normal((count, COLUMNS), np.float32)
        return centres[rng.integers(0, len(centres), count)] + own * noise

    fitted = pq.fit(
        draw(max(FITTED, options.size)), options.levels, options.size, seed=options.seed, restarts=1
    )
    codes = np.empty((options.items, options.levels), np.uint8)
    for begin in range(0, options.items, PART):
        part = codes[begin : begin + PART]
        part[:] = pq.encode(fitted, draw(len(part)))
    rows = np.stack([fitted.codebooks[f"centroids_{place}"] for place in range(options.levels)])
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32), codes


def embeddings(options: Options, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Unit embeddings `[L, C, D]`, and the codes nearest to each code, `[L, C, NEAR]`."""
    groups = rng.normal(size=(options.levels, options.size // NEAR, WIDTH))
    rows = np.repeat(groups, NEAR, axis=1) + rng.normal(size=(options.levels, options.size, WIDTH))
    rows = (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)
    near = np.argsort(-np.einsum("lcd,lkd->lck", rows, rows), axis=2)[:, :, :NEAR]
    return rows, near.astype(np.uint8)


def clustered_codes(options: Options, near: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """IDs of items in clusters, `[I, L]` uint8."""
    count, levels, size = options.items, options.levels, options.size
    outer = rng.integers(0, size, (CLUSTERS, levels), dtype=np.uint8)
    inner = rng.integers(0, size, (CLUSTERS * INNER, levels), dtype=np.uint8)
    codes = np.empty((count, levels), np.uint8)
    for begin in range(0, count, PART):
        part = codes[begin : begin + PART]
        cluster = rng.integers(0, CLUSTERS * INNER, len(part))
        kind = rng.random(part.shape, np.float32)
        chosen = np.where(kind < 0.4, outer[cluster // INNER], inner[cluster])
        # A code near the chosen one: the first of its neighbours is the code itself.
        away = rng.integers(0, NEAR, part.shape, dtype=np.uint8)
        step = np.where(rng.random(part.shape, np.float32) < 0.5, 0, away)
        moved = near[np.arange(levels)[None], chosen, step]
        anything = rng.integers(0, size, part.shape, dtype=np.uint8)
        part[:] = np.where(kind > 0.85, anything, moved)
    return codes


def user_tables(options: Options, rows: np.ndarray, codes: np.ndarray, rng: Any) -> jax.Array:
    """Log-probabilities of the codes for users who each look for one item, `[B, L, C]`."""
    wanted = codes[rng.integers(0, len(codes), options.users)]
    heads = rows[np.arange(options.levels)[None], wanted]
    noise = rng.normal(size=heads.shape) / np.sqrt(heads.shape[-1])
    heads = heads + options.noise * noise.astype(np.float32)
    heads /= np.linalg.norm(heads, axis=-1, keepdims=True)
    cosines = jnp.einsum("bld,lcd->blc", jnp.asarray(heads), jnp.asarray(rows))
    return jax.nn.log_softmax(cosines / TEMPERATURE)


def walk(options: Options, table: Any, codes: Any, near: Any, starts: Any) -> Any:
    """The best items by the walk."""
    beams, steps = options.beams, options.steps
    return graph_top(table, codes, near, starts, TOP, beams=beams, steps=steps)


def published_walk(table: Any, codes: Any, near: Any, starts: Any) -> Any:
    """The best items by the walk as published."""
    beams, steps = PUBLISHED_BEAMS, PUBLISHED_STEPS
    return graph_top(table, codes, near, starts, TOP, beams=beams, steps=steps, keep=False)


def compare(options: Options) -> tuple[dict[str, Any], bool]:
    """Recall and time in the catalogue with clusters; also whether other work disturbed it."""
    rng = np.random.default_rng(options.seed)
    print(f"{options.items:,} items: making the catalogue ({options.catalogue})", flush=True)
    rows, codes = catalogue(options, rng)
    table = user_tables(options, rows, codes, rng)
    similarities = code_similarities(jnp.asarray(rows))
    print(f"{len(codes):,} items: building the graph", flush=True)
    begun = time.monotonic(), time.process_time()
    clusters = cluster_items(similarities, codes, options.group, seed=options.seed)
    near = cluster_neighbours(clusters, options.edges, window=options.window)
    on_device = jnp.asarray(codes)
    if options.rounds:
        near = np.asarray(
            refine_neighbours(similarities, on_device, jnp.asarray(near), rounds=options.rounds)
        )
    graph = jnp.asarray(add_reverse_edges(near, options.reverse))
    starts = {
        "walk": jnp.asarray(spread_starts(clusters, options.starts)),
        "published": jnp.asarray(random_starts(len(codes), PUBLISHED_BEAMS, options.seed)),
    }
    del clusters
    seconds, cpu = time.monotonic() - begun[0], time.process_time() - begun[1]
    some = rng.choice(len(codes), min(64, len(codes)), replace=False)
    own = np.asarray(similarities)[np.arange(options.levels)[None], codes[some]]
    true_near = exact_top(jnp.asarray(own), on_device, options.edges)[0]
    graph_recall = float(recall(near[some], np.asarray(true_near)).mean())
    print(
        f"{len(codes):,} items: graph in {seconds:.0f} s ({cpu:.0f} s of CPU time), "
        f"{graph_recall:.1%} of the true edges",
        flush=True,
    )
    packed = pack_codes(codes)
    exact = functools.partial(exact_top, table, on_device, TOP)
    sides = {
        "exact": exact,
        "walk": functools.partial(walk, options, table, packed, graph, starts["walk"]),
        "published": functools.partial(
            published_walk, table, packed, jnp.asarray(near), starts["published"]
        ),
    }
    best = np.asarray(exact()[0])
    found = {name: float(recall(np.asarray(sides[name]()[0]), best).mean()) for name in starts}
    times = measure(sides, options.repeats)
    record: dict[str, Any] = {"recall_of_exact": found["walk"]}
    busy = times["exact"].disturbed(machine_cores())
    each = {name: side.typical(busy) / options.users * 1e3 for name, side in times.items()}
    record["time_ratio_1m"] = each["walk"] / each["exact"]
    record["published"] = {
        "recall_of_exact": found["published"],
        "time_ratio": each["published"] / each["exact"],
    }
    record |= {"catalogue": options.catalogue, "items": len(codes), "graph_recall": graph_recall}
    record |= {"graph_seconds": seconds, "graph_cpu_seconds": cpu, "ms_a_user": each}
    return record, busy


def growth(options: Options) -> tuple[dict[str, Any], bool]:
    """Seconds of the walk in the largest catalogue over those in the smallest."""
    rng = np.random.default_rng(options.seed)
    rows, _ = embeddings(options, rng)
    sides = {}
    for name, count in (("small", options.small), ("large", options.large)):
        print(f"{count:,} items with random codes and edges", flush=True)
        codes = rng.integers(0, options.size, (count, options.levels), dtype=np.uint8)
        near = rng.integers(0, count, (count, options.edges), dtype=np.int32)
        table = user_tables(options, rows, codes, rng)
        starts = jnp.asarray(random_starts(count, options.starts, options.seed))
        arrays = table, pack_codes(codes), jnp.asarray(near), starts
        sides[name] = functools.partial(walk, options, *arrays)
    times = measure(sides, options.repeats)
    busy = times["large"].disturbed(machine_cores())
    small, large = (times[name].typical(busy) / options.users * 1e3 for name in ("small", "large"))
    print(
        f"walk in {options.large:,} items {large:.3f} ms a user, in {options.small:,} {small:.3f}: "
        f"{large / small:.2f} times"
    )
    each = {"small": small, "large": large}
    return {"growth_100k_10m": large / small, "growth_ms": each, "growth_edges": "random"}, busy


def run(options: Options) -> Table:
    """Compare both rankings, and the walk in two catalogues."""
    busy = print_header()
    record, disturbed = compare(options)
    grown, again = growth(options)
    record |= grown
    record["busy"] = busy or disturbed or again
    if record["busy"]:
        print("other work was running: ratios are of CPU time where it disturbed them")
    return Table(record, text=_text(record))


def _text(record: dict[str, Any]) -> str:
    """The rows of the comparison as a table."""
    rows = (
        ("exact", 1.0, 1.0),
        ("walk", record["time_ratio_1m"], record["recall_of_exact"]),
        (
            "walk, as published",
            *(record["published"][k] for k in ("time_ratio", "recall_of_exact")),
        ),
    )
    each = record["ms_a_user"].values()
    lines = ["| ranking | ms a user | share of the exact time | share of the exact top 10 |"]
    lines.append("|---|---|---|---|")
    for (name, ratio, share), value in zip(rows, each, strict=True):
        lines.append(f"| {name} | {value:.2f} | {ratio:.3f} | {share:.1%} |")
    return "\n".join(lines)
