"""What the constraint costs a search step, against the size of the catalogue.

    python tools/bench/trie.py [--items 10000,1000000] [--large] [--shapes 4x256,8x2048]
                               [--codes zipf] [--batch 32] [--beams 50] [--repeats 20]

For 10k, 100k and 1M items (10M with --large), uniform and Zipf codes: the time of each level's step
and of the whole search, from logits `[B, K, C]`, scores and nodes to the next beams, for ours
(`search_step`), for a free step (the same log-softmax and top-k over K C scores, without a trie)
and for the padded gather that STATIC publishes (`padded_trie.py`). The nodes are those that beams
reach which walk down from the root by random logits. All must choose the same beams, but for the
free step. Turns alternate; ends with one JSON line.
"""

import argparse
import json
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from catalogues import distinct_codes
from padded_trie import PaddedTrie, padded_step, whole_padded
from search_step import free_step, our_step, random_logits, whole_free, whole_search
from timing import Times, environment, measure

from jaxrec.decode import beam_widths
from jaxrec.ids import ItemIndex

SIDES = ("ours", "free", "padded")


class Case:
    """One catalogue, both of its tries, and what beams meet on their way down."""

    def __init__(self, codes: np.ndarray, size: int, batch: int, beams: int) -> None:
        self.items, levels = codes.shape
        sizes = (size,) * levels
        begin = time.perf_counter()
        self.index = ItemIndex.build(codes, sizes)
        self.seconds = time.perf_counter() - begin
        self.trie = PaddedTrie.build(codes, sizes)
        self.widths = beam_widths(self.index, beams)
        self.logits = random_logits(batch, self.widths, sizes)
        node, score = jnp.zeros((batch, 1), jnp.int32), jnp.zeros((batch, 1), jnp.float32)
        self.met = []
        for level, width in enumerate(self.widths):
            self.met.append((node, score))
            walk = jax.jit(our_step, static_argnums=(1, 5))
            score, _, _, node = walk(self.index, level, node, score, self.logits[level], width)

    def level(self, level: int) -> dict[str, Any]:
        """One step of each side."""
        width, logits = self.widths[level], self.logits[level]
        node, score = self.met[level]
        ours = jax.jit(lambda index, n, s, x: our_step(index, level, n, s, x, width))
        padded = jax.jit(lambda trie, n, s, x: padded_step(trie, level, n, s, x, width))
        free = jax.jit(lambda s, x: free_step(s, x, width))
        return {
            "ours": lambda: ours(self.index, node, score, logits),
            "free": lambda: free(score, logits),
            "padded": lambda: padded(self.trie, node, score, logits),
        }

    def whole(self) -> dict[str, Any]:
        """All levels of each side, in one call."""
        ours = jax.jit(lambda index, x: whole_search(index, x, self.widths))
        padded = jax.jit(lambda trie, x: whole_padded(trie, x, self.widths))
        free = jax.jit(lambda x: whole_free(x, self.widths))
        return {
            "ours": lambda: ours(self.index, self.logits),
            "free": lambda: free(self.logits),
            "padded": lambda: padded(self.trie, self.logits),
        }


def seconds(times: Times, busy: bool) -> float:
    """Median of the clock; of CPU time the least, where other work spoils the clock."""
    return min(times.cpu) if busy else times.median


def run_case(case: Case, draw: str, size: int, repeats: int, busy: bool) -> dict[str, Any]:
    """Measure one catalogue and print it."""
    levels = len(case.widths)
    own = sum(case.index.nbytes[part] for part in ("trie", "masks")) / case.items
    other = case.trie.nbytes / case.items
    print(
        f"\n{case.items:,} items, {levels} codes of {size}, {draw}: built in {case.seconds:.2f} s, "
        f"{own:.1f} bytes an item ({case.index.nbytes['trie'] / case.items:.1f} without masks), "
        f"padded {other:.1f}; widest nodes {', '.join(map(str, case.trie.widths))}"
    )
    print(f"  {'level':>6} {'ours us':>10} {'free us':>10} {'padded us':>10} {'ours/free':>10}")
    totals = {}
    for level in [*range(levels), None]:
        runs = case.whole() if level is None else case.level(level)
        ours, padded = (np.asarray(runs[name]()[3]) for name in ("ours", "padded"))
        if not (ours == padded).all():
            sys.exit(f"ours and the padded gather choose different beams at level {level}")
        times = measure(runs, repeats)
        found = {name: seconds(times[name], busy) for name in SIDES}
        name = "whole" if level is None else str(level)
        cells = " ".join(f"{1e6 * found[side]:>10.0f}" for side in SIDES)
        print(f"  {name:>6} {cells} {found['ours'] / found['free']:>10.2f}", flush=True)
        totals = found
    return {
        "items": case.items,
        "codes": draw,
        "levels": levels,
        "size": size,
        "step_overhead_percent": round(100 * (totals["ours"] / totals["free"] - 1), 1),
        "padded_ratio": round(totals["padded"] / totals["ours"], 2),
        "bytes_per_item": round(own, 2),
        "padded_bytes_per_item": round(other, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", default="10000,100000,1000000", help="separated by commas")
    parser.add_argument("--large", action="store_true", help="10M items too")
    parser.add_argument("--shapes", default="4x256,8x2048", help="levels x codes")
    parser.add_argument("--codes", default="uniform,zipf")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--beams", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    busy = environment(peer=False)
    unit = "least CPU time" if busy else "medians"
    print(f"{options.batch} users, {options.beams} beams, {unit} of {options.repeats} turns")
    counts = [int(count) for count in options.items.split(",")]
    counts += [10_000_000] if options.large else []
    results = []
    for shape in options.shapes.split(","):
        levels, size = (int(number) for number in shape.split("x"))
        for draw in options.codes.split(","):
            for count in counts:
                codes = distinct_codes(count, levels, size, draw)
                case = Case(codes, size, options.batch, options.beams)
                results.append(run_case(case, draw, size, options.repeats, busy))
    print(json.dumps({"rows": results}))


if __name__ == "__main__":
    main()
