"""Ranking of IDs that are predicted in parallel: the walk over a graph against the exact ranking.

    python tools/bench parallel_ids [--items 1000000] [--users 64]

A synthetic catalogue has items in clusters with smaller clusters inside: at each place, an item has
a code of its cluster, of its smaller cluster, a code near one of those, or any code. Embeddings of
the codes are random, with near codes alike. A user's heads point at the codes of an item with
noise; log-probabilities are cosines divided by .03.

recall_of_exact   share of the exact top 10 that the walk finds, at --items
time_ratio_1m     seconds of the walk over those of the exact ranking, at --items
published         the same two numbers for a walk that begins at as many random items as it keeps
growth_100k_10m   seconds of the walk in the largest catalogue over those in the smallest; codes and
                  edges are random there, because only the time matters (random edges are the worst
                  case for the cache)

With 100,000 items and 4,096 starts, on 2 CPU cores that other jobs shared (2026-11-30, least CPU
time): the exact ranking took .63 ms a user and the walk .38 ms, with 92 % of the exact list and
68 % of the true edges. As many random starts as kept nodes found 13 %. With
the default of 16,384 starts and one turn, .70 and .55 ms, 93 % and 69 %; the walk in ten million
items took 1.37 times as long as in 100,000. All of that took 33 s. A million items are NOT
MEASURED: their graph was not complete after 290 s on the shared cores.

The graph of a catalogue of a million items is built by `forest_neighbours`, in small groups of
similar items; `graph_recall` says which share of the exact neighbours of 64 items it has.
"""

import dataclasses
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from support.header import machine_cores, print_header
from support.table import Table
from support.timing import measure

from jaxrec.decode import (
    code_similarities,
    exact_top,
    forest_neighbours,
    graph_top,
    random_starts,
    recall,
)

TOP, TEMPERATURE, WIDTH = 10, 0.03, 32
CLUSTERS, INNER, NEAR = 300, 20, 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The catalogue and the walk.

    Attributes:
      items: items of the catalogue with clusters.
      small: items of the smallest catalogue whose time is measured.
      large: items of the largest one; it takes 4 x edges + levels bytes an item.
      levels: codes of an ID.
      size: codes a place.
      users: users that are ranked together.
      noise: length of the noise of a user's heads, beside embeddings of length 1.
      edges: neighbours of an item.
      beams: nodes that are kept after each step.
      steps: steps of a walk.
      starts: random items of which the best are the first nodes.
      keep: let kept nodes compete with their neighbours.
      trees: trees that build the graph.
      rounds: rounds in which the neighbours of neighbours join it.
      repeats: turns of each side.
      seed: seed of everything.
    """

    items: int = 1_000_000
    small: int = 100_000
    large: int = 10_000_000
    levels: int = 32
    size: int = 256
    users: int = 64
    noise: float = 1.0
    edges: int = 50
    beams: int = 20
    steps: int = 4
    starts: int = 16_384
    keep: bool = True
    trees: int = 2
    rounds: int = 3
    repeats: int = 5
    seed: int = 0


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
    for begin in range(0, count, 100_000):
        part = codes[begin : begin + 100_000]
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
    noise = rng.normal(size=heads.shape) / np.sqrt(WIDTH)
    heads = heads + options.noise * noise.astype(np.float32)
    heads /= np.linalg.norm(heads, axis=-1, keepdims=True)
    cosines = jnp.einsum("bld,lcd->blc", jnp.asarray(heads), jnp.asarray(rows))
    return jax.nn.log_softmax(cosines / TEMPERATURE)


def walk(options: Options, table: Any, codes: Any, near: Any, starts: Any) -> Any:
    """The best items by the walk."""
    return graph_top(
        table,
        codes,
        near,
        starts,
        TOP,
        beams=options.beams,
        steps=options.steps,
        keep=options.keep,
    )


def compare(options: Options) -> tuple[dict[str, Any], bool]:
    """Recall and time in the catalogue with clusters; also whether other work disturbed it."""
    rng = np.random.default_rng(options.seed)
    rows, near_codes = embeddings(options, rng)
    codes = clustered_codes(options, near_codes, rng)
    table = user_tables(options, rows, codes, rng)
    similarities = code_similarities(jnp.asarray(rows))
    print(f"{len(codes):,} items: building the graph", flush=True)
    begun = time.monotonic()
    near = forest_neighbours(
        similarities,
        codes,
        options.edges,
        trees=options.trees,
        rounds=options.rounds,
        group=max(1024, 2 * options.edges),
        seed=options.seed,
    )
    seconds = time.monotonic() - begun
    some = rng.choice(len(codes), min(64, len(codes)), replace=False)
    own = np.asarray(similarities)[np.arange(options.levels)[None], codes[some]]
    on_device, graph = jnp.asarray(codes), jnp.asarray(near)
    true_near = exact_top(jnp.asarray(own), on_device, options.edges)[0]
    graph_recall = float(recall(near[some], np.asarray(true_near)).mean())
    print(
        f"{len(codes):,} items: graph in {seconds:.0f} s, {graph_recall:.1%} of the true edges",
        flush=True,
    )
    exact = functools.partial(exact_top, table, on_device, TOP)
    starts = {
        "walk": jnp.asarray(random_starts(len(codes), options.starts, options.seed)),
        "published": jnp.asarray(random_starts(len(codes), options.beams, options.seed)),
    }
    sides = {"exact": exact} | {
        name: functools.partial(walk, options, table, on_device, graph, where)
        for name, where in starts.items()
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
    record |= {"graph_recall": graph_recall, "ms_a_user": each}
    for name, value in each.items():
        share = f", {found[name]:.1%} of the exact list" if name in found else ""
        print(f"  {name:10} {value:8.3f} ms a user{share}", flush=True)
    return record, busy


def growth(options: Options) -> tuple[float, bool]:
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
        arrays = table, jnp.asarray(codes), jnp.asarray(near), starts
        sides[name] = functools.partial(walk, options, *arrays)
    times = measure(sides, options.repeats)
    busy = times["large"].disturbed(machine_cores())
    ratio = times["large"].typical(busy) / times["small"].typical(busy)
    print(f"walk in {options.large:,} items over that in {options.small:,}: {ratio:.2f}")
    return ratio, busy


def run(options: Options) -> Table:
    """Compare both rankings, and the walk in two catalogues."""
    busy = print_header()
    record, disturbed = compare(options)
    ratio, again = growth(options)
    record |= {"growth_100k_10m": ratio}
    record["busy"] = busy or disturbed or again
    if record["busy"]:
        print("other work was running: ratios are of CPU time where it disturbed them")
    return Table(record)
