"""Time and quality of making item IDs, and size and build time of their index.

    python tools/bench item_ids [--large]

Product quantization runs beside faiss at the same settings (8 segments, 256 centroids, 100,000 x
384 vectors). Then come collaborative indexing of 100,000 items, and the index at 10k, 100k and 1M
items (10M with --large) for 8 levels of 2,048 codes and 4 of 256, uniform and Zipf-like, on one
core.
"""

import dataclasses
import functools
import os
from typing import Any

import numpy as np
from support.catalogues import distinct_codes
from support.header import print_header, require
from support.table import Table
from support.timing import timed

from jaxrec.ids import ItemIndex, collaborative, pq

ITEMS, WIDTH, SEGMENTS, CENTROIDS = 100_000, 384, 8, 256


@dataclasses.dataclass(frozen=True)
class Options:
    """How large the catalogues are.

    Attributes:
      large: build the index of 10 million items too.
    """

    large: bool = False


def run(options: Options) -> Table:
    """Measure quantization, collaborative indexing and the index."""
    require("faiss")
    print_header("faiss-cpu")
    record: dict[str, Any] = quantization()
    record["collaborative_seconds_100k"] = round(graph(), 2)
    record |= index(10_000_000 if options.large else 1_000_000)
    return Table(record)


def quantization() -> dict[str, float]:
    """Our product quantization against that of faiss: distortion and seconds, as ratios."""
    import faiss

    rng = np.random.default_rng(0)
    # Clusters in a space whose variance falls off, as it does in vectors of texts.
    scale = np.arange(1, WIDTH + 1) ** -0.5
    centers = rng.normal(size=(2000, WIDTH)) * scale
    noise = 0.7 * rng.normal(size=(ITEMS, WIDTH)) * scale
    vectors = (centers[rng.integers(0, 2000, ITEMS)] + noise).astype(np.float32)
    spread = ((vectors - vectors.mean(0)) ** 2).sum()

    def theirs() -> float:
        quantizer = faiss.ProductQuantizer(WIDTH, SEGMENTS, 8)
        quantizer.train(vectors)
        decoded = quantizer.decode(quantizer.compute_codes(vectors))
        return float(((vectors - decoded) ** 2).sum() / spread)

    def ours() -> float:
        return pq.fit(vectors, SEGMENTS, CENTROIDS).metadata["distortion"]

    # Turns alternate; the faster of two runs of each side counts.
    runs = [(timed(theirs), timed(ours)) for _ in range(2)]
    (their_s, theirs_), (our_s, ours_) = (
        min((run[k] for run in runs), key=lambda r: r[0]) for k in (0, 1)
    )
    print(f"product quantization, {ITEMS:,} x {WIDTH}, {SEGMENTS} x {CENTROIDS}")
    print(f"  faiss   {their_s:6.1f} s  distortion {theirs_:.4f}")
    print(f"  jaxrec  {our_s:6.1f} s  distortion {ours_:.4f}\n", flush=True)
    return {
        "pq_distortion_ratio": round(ours_ / theirs_, 4),
        "pq_seconds_ratio": round(our_s / their_s, 3),
    }


def graph() -> float:
    """Seconds of collaborative indexing, on histories of 20 items mostly from one of 500 groups."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, 500, ITEMS)
    order = np.argsort(group, kind="stable")
    bounds = np.searchsorted(group[order], np.arange(501))
    histories = []
    for own in rng.integers(0, 500, 100_000):
        inside = order[rng.integers(bounds[own], bounds[own + 1], 17)]
        histories.append(np.concatenate([inside, rng.integers(0, ITEMS, 3)]))
    seconds, codes = timed(lambda: collaborative.fit(histories, ITEMS, clusters=20, leaf=500))
    print(
        f"collaborative indexing, {ITEMS:,} items, {len(histories):,} histories of 20: "
        f"{seconds:.1f} s, mean length {codes.lengths.mean():.2f}\n",
        flush=True,
    )
    return seconds


def index(most: int) -> dict[str, float]:
    """Build indexes of up to `most` items on one core; the bytes an item and seconds of 1M."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    print(
        "index on one core: items, levels x codes, draw: build s, bytes an item (with masks, maps)"
    )
    built_of = {}
    for levels, size in ((8, 2048), (4, 256)):
        for draw in ("uniform", "zipf"):
            items = 10_000
            while items <= most:
                codes = distinct_codes(items, levels, size, draw)
                work = functools.partial(ItemIndex.build, codes, (size,) * levels)
                seconds, built = timed(work)
                sizes = {name: part / len(codes) for name, part in built.nbytes.items()}
                print(
                    f"  {len(codes):>10,}  {levels} x {size:<5} {draw:<8} {seconds:6.2f} s  "
                    f"{sizes['trie']:5.1f}  (+{sizes['masks']:.1f}, +{sizes['maps']:.0f})",
                    flush=True,
                )
                built_of[items, levels, draw] = (seconds, sizes["trie"])
                items *= 10
    os.sched_setaffinity(0, allowed)
    million = [(row, key) for key, row in built_of.items() if key[0] == 1_000_000]
    return {
        "index_bytes_per_item": round(max(row[1] for row, key in million if key[1] == 8), 2),
        "index_bytes_per_item_4x256": round(max(row[1] for row, key in million if key[1] == 4), 2),
        "index_seconds_1m": round(max(row[0] for row, _ in million), 2),
    }
