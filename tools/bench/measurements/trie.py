"""What the constraint costs a search step, against the size of the catalogue.

    python tools/bench trie [--items 10000,1000000] [--large] [--shapes 4x256,8x2048]
                            [--codes zipf] [--batch 32] [--beams 50] [--repeats 20]

For 10k, 100k and 1M items (10M with --large), with uniform and Zipf codes: the time of the step of
each level and of the whole search, from logits `[B, K, C]`, scores and nodes to the next beams. The
sides are ours (`search_step`), a free step (the same log-softmax and top-k over K C scores, without
a trie), and the padded gather that STATIC publishes (`padded_trie.py`). The nodes are those that
beams reach when they walk down from the root by random logits. Ours and the padded gather must
choose the same beams. Turns alternate.
"""

import dataclasses
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from support.catalogues import distinct_codes
from support.header import print_header
from support.padded_trie import PaddedTrie, padded_step, whole_padded
from support.search_step import free_step, our_step, random_logits, whole_free, whole_search
from support.table import Table
from support.timing import measure, timed

from jaxrec.decode import beam_widths
from jaxrec.ids import ItemIndex

SIDES = ("ours", "free", "padded")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Which catalogues to search, and how.

    Attributes:
      items: sizes of the catalogues, separated by commas.
      large: 10 million items too.
      shapes: levels x codes a level, separated by commas.
      codes: distributions of the codes, separated by commas: uniform, zipf.
      batch: users.
      beams: beams a user.
      repeats: turns of each side.
    """

    items: str = "10000,100000,1000000"
    large: bool = False
    shapes: str = "4x256,8x2048"
    codes: str = "uniform,zipf"
    batch: int = 32
    beams: int = 50
    repeats: int = 20


class Case:
    """One catalogue, both of its tries, and the nodes that beams reach on their way down."""

    def __init__(self, codes: np.ndarray, size: int, batch: int, beams: int) -> None:
        self.items, levels = codes.shape
        sizes = (size,) * levels
        self.seconds, self.index = timed(lambda: ItemIndex.build(codes, sizes))
        self.trie = PaddedTrie.build(codes, sizes)
        self.widths = beam_widths(self.index, beams)
        self.logits = random_logits(batch, self.widths, sizes)
        node, score = jnp.zeros((batch, 1), jnp.int32), jnp.zeros((batch, 1), jnp.float32)
        self.reached = []
        for level, width in enumerate(self.widths):
            self.reached.append((node, score))
            walk = jax.jit(our_step, static_argnums=(1, 5))
            score, _, _, node = walk(self.index, level, node, score, self.logits[level], width)

    def level(self, level: int) -> dict[str, Any]:
        """The step of one level, of each side."""
        width, logits = self.widths[level], self.logits[level]
        node, score = self.reached[level]
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
        seconds = {name: times[name].typical(busy) for name in SIDES}
        name = "whole" if level is None else str(level)
        cells = " ".join(f"{1e6 * seconds[side]:>10.0f}" for side in SIDES)
        print(f"  {name:>6} {cells} {seconds['ours'] / seconds['free']:>10.2f}", flush=True)
        totals = seconds
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


def run(options: Options) -> Table:
    """Measure every catalogue of every shape and distribution."""
    busy = print_header()
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
    return Table({"rows": results})
