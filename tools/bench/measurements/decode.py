"""Constrained beam search beside its peers, side by side in one process.

    python tools/bench decode [--rows causal-b32-s80-k50] [--repeats 5] [--no-peer]
    python tools/bench decode --preset h100 --no-peer       # the table of one GPU, in bfloat16

All sides have the same random weights, the same random catalogue and the same random histories.
Turns alternate, so that a busy machine slows all sides; quote ratios of medians. The sides are ours
(`jaxrec.decode.beam_search`), plain (`plain_decode.py`: one jitted call without any work on speed),
Hugging Face constrained, free and tuned (`peers_decode.py`), and the floor (`roofline.py`, from
peaks measured on this device). In float32 our ranked items and those of Hugging Face must be the
same for every user; otherwise the exit code is 1.

The split: the prefill and the search (all search steps, on random logits) are timed alone, and the
model's steps are the rest of the whole. The price of the constraint is the search with the trie
less the same top-k without it, as a share of the whole.
"""

import dataclasses
import gc
import sys
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from support.decode_rows import NORMALIZE, Row, random_weights, rows_of
from support.header import (
    choose,
    machine_cores,
    print_header,
    require,
    require_accelerator,
    use_threads,
)
from support.padded_trie import PaddedTrie
from support.plain_decode import plain_beam_search
from support.roofline import Peaks, floor
from support.search_step import random_logits, whole_free, whole_search
from support.table import Table
from support.timing import Times, copy_peak, matmul_peak, measure, timed

from jaxrec.core import keep_memory
from jaxrec.decode import (
    Catalogue,
    Prompts,
    SearchOptions,
    beam_search,
    beam_widths,
    read_histories,
)
from jaxrec.ids import ItemIndex

PEERS = ("hf_constrained", "hf_free", "hf_tuned")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What to decode.

    Attributes:
      preset: which rows: those that a CPU can measure, or those of one H100.
      rows: names of rows, separated by commas; empty for all of the preset.
      repeats: turns of each side.
      threads: threads of each side; 0 for all cores.
      peer: measure Hugging Face too, which needs PyTorch.
      memory: compile for a second beam width, to see what a beam adds to memory.
    """

    preset: Literal["cpu", "h100"] = "cpu"
    rows: str = ""
    repeats: int = 5
    threads: int = 1
    peer: bool = True
    memory: bool = True


class Ours:
    """The model, catalogue and histories of a row, and the programs compiled for them."""

    def __init__(self, row: Row, normalize: Any) -> None:
        self.row, self.model, self.normalize = row, row.spec.build(), normalize
        self.codes = row.codes()
        self.histories = row.tokens(self.codes)
        self.params = random_weights(row.spec)
        self.size = sum(x.size for x in jax.tree.leaves(self.params))
        self.index = ItemIndex.build(self.codes, row.vocabulary.sizes)
        self.trie = PaddedTrie.build(self.codes, row.vocabulary.sizes)
        self.tokens = jnp.asarray(self.histories)
        self.compile_seconds, self._run = timed(lambda: self.compiled(row.beams))

    def compiled(self, beams: int) -> Any:
        """Compile `beam_search` for the shapes of this row."""

        def search(params: Any, index: ItemIndex, tokens: jax.Array) -> Any:
            return beam_search(
                self.model,
                params,
                Catalogue(index, self.row.vocabulary),
                Prompts(tokens=tokens),
                SearchOptions(beams=beams, normalize=self.normalize),
            )

        return jax.jit(search).lower(self.params, self.index, self.tokens).compile()

    def run(self) -> Any:
        """Run the whole decode."""
        return self._run(self.params, self.index, self.tokens)

    def plain(self) -> Any:
        """Run the same decode without any work on speed."""
        return plain_beam_search(
            self.model,
            self.params,
            self.trie,
            self.tokens,
            vocabulary=self.row.vocabulary,
            beams=self.row.beams,
            normalize=self.normalize,
        )

    def pieces(self) -> dict[str, Callable[[], Any]]:
        """The prefill alone, and all search steps alone, with the trie and without it."""
        widths = beam_widths(self.index, self.row.beams)
        logits = random_logits(self.row.batch, widths, self.row.vocabulary.sizes)
        prefill = jax.jit(self._prefill)
        search = jax.jit(lambda index, logits: whole_search(index, logits, widths))
        free = jax.jit(lambda logits: whole_free(logits, widths))
        return {
            "prefill": lambda: prefill(self.params, self.tokens),
            "search": lambda: search(self.index, logits),
            "search_free": lambda: free(logits),
        }

    def _prefill(self, params: Any, tokens: jax.Array) -> Any:
        return read_histories(self.model, params, Prompts(tokens=tokens))


def run_row(row: Row, options: Options, peaks: Peaks, busy: bool) -> dict[str, Any]:
    """Measure one row and print it."""
    c = row.config
    # Without a peer to agree with, normalize as the library does by default.
    ours = Ours(row, NORMALIZE if options.peer else "codes")
    print(
        f"\n{row.name}: {row.kind}, {ours.size / 1e6:.1f}M parameters, width {c.width}, MLP "
        f"{c.mlp_hidden}, {c.num_heads}/{c.kv_heads} heads of {c.head_width}, depth {c.depth}, "
        f"{c.dtype}; {row.batch} x {row.history} tokens, {row.beams} beams, {row.levels} codes of "
        f"{row.size}, {len(ours.codes):,} items; normalized over {ours.normalize}; "
        f"compiled in {ours.compile_seconds:.1f} s",
        flush=True,
    )
    runs = {"ours": ours.run, "plain": ours.plain}
    peer = None
    if options.peer:
        peer = make_peer(ours)
        runs |= {name: getattr(peer, name.removeprefix("hf_")) for name in PEERS}
    times = measure(runs, options.repeats)
    pieces = measure(ours.pieces(), max(options.repeats, 10))
    least = floor(
        row.spec,
        row.vocabulary,
        row.batch,
        row.history,
        row.beams,
        jnp.dtype(c.dtype).itemsize,
        peaks,
    )
    for name, time_ in times.items():
        compared = "" if name == "ours" else against_ours(times, name, busy)
        print(f"  {name:<15}{described(time_)}{compared}")
    print_goal(row, times, busy or times["ours"].disturbed(machine_cores()))
    whole = times["ours"].median
    print(
        f"  floor          {1e3 * least.total:9.2f} ms (prefill {1e3 * least.prefill:.2f}); ours "
        f"reaches {least.total / whole:.0%} of it, its prefill "
        f"{least.prefill_flops / pieces['prefill'].median / peaks.flops:.0%} of the products' peak"
    )
    print_split(row, whole, pieces)
    sizes = ", ".join(f"{part} {n / len(ours.codes):.1f}" for part, n in ours.index.nbytes.items())
    print(f"  bytes an item: {sizes}; padded trie {ours.trie.nbytes / len(ours.codes):.1f}")
    if options.memory:
        print_memory(ours)
    record = {"name": row.name, **{f"{name}_ms": None for name in ("ours", "plain", *PEERS)}}
    record |= {f"{name}_ms": round(1e3 * t.median, 3) for name, t in times.items()}
    record |= {"floor_ms": round(1e3 * least.total, 3), "rows_agree": None}
    if peer is not None:
        record["rows_agree"] = agreement(ours, peer)
    gc.collect()
    return record


def described(times: Times) -> str:
    """Median, fastest and CPU time."""
    wall, cpu = times.median, min(times.cpu)
    return f"{1e3 * wall:9.2f} ms   fastest {1e3 * min(times.wall):9.2f}   CPU {1e3 * cpu:9.2f}"


def ratio(times: dict[str, Times], name: str, busy: bool) -> float:
    """How many times as long as ours a side takes; in CPU time if the machine is busy."""
    return times[name].typical(busy) / times["ours"].typical(busy)


def against_ours(times: dict[str, Times], name: str, busy: bool) -> str:
    """The ratio to our side, in words."""
    return f"   x{ratio(times, name, busy):.2f} of ours" + (" in CPU time" if busy else "")


def print_goal(row: Row, times: dict[str, Times], busy: bool) -> None:
    """Print the goals of a row, and whether they are reached unless the machine is busy."""
    if row.goal_ms is not None:
        print(f"  goal: at most {row.goal_ms:.0f} ms; {1e3 * times['ours'].median:.1f}")
    if "hf_tuned" in times:
        goals = {"hf_constrained": row.goal, "hf_tuned": 2.0}
        verdicts = [
            f"{name} x{goal:.0f} ({verdict(ratio(times, name, busy), goal, busy)})"
            for name, goal in goals.items()
            if goal is not None
        ]
        print(f"  goal: {', '.join(verdicts)}")


def verdict(measured: float, goal: float, busy: bool) -> str:
    """Whether a ratio reaches its goal; a busy machine decides nothing."""
    if busy:
        return "not judged, other work is running"
    return "reached" if measured >= goal else "missed"


def print_split(row: Row, whole: float, pieces: dict[str, Times]) -> None:
    """Print what prefill, steps and search take, and the price of the constraint."""
    prefill, search, free = (pieces[name].median for name in ("prefill", "search", "search_free"))
    steps = max(whole - prefill - search, 0.0)
    print(
        f"  split: prefill {1e3 * prefill:.2f} ms, {row.levels - 1} steps {1e3 * steps:.2f}, "
        f"search {1e3 * search:.2f}; without the trie {1e3 * free:.2f}: the constraint takes "
        f"{(search - free) / whole:+.1%} of the whole"
    )


def print_memory(ours: Ours) -> None:
    """Print the temporary bytes at two beam widths, beside what a beam must add."""
    row, few, many = ours.row, 10, min(250, len(ours.codes))
    used = {k: ours.compiled(k).memory_analysis().temp_size_in_bytes for k in (few, many)}
    c, item = row.config, jnp.dtype(row.config.dtype).itemsize
    token = 2 * c.depth * c.kv_heads * c.head_width * item
    more = (used[many] - used[few]) / (many - few) / row.batch
    print(
        f"  memory: {used[few] / 1e6:.1f} MB at {few} beams, {used[many] / 1e6:.1f} at {many}: "
        f"{more / 1e3:.1f} kB a beam and user; its suffix is {(row.levels - 1) * token / 1e3:.1f}, "
        f"a copy of the history would be {row.history * token / 1e3:.1f}"
    )


def make_peer(ours: Ours) -> Any:
    """Build the side of Hugging Face for a row."""
    import torch
    from support.peers_decode import Peer

    row = ours.row
    return Peer(
        row.spec,
        ours.params,
        ours.codes,
        row.vocabulary,
        ours.histories,
        row.beams,
        ours.normalize,
        row.config.dtype,
        "cuda" if torch.cuda.is_available() else "cpu",
    )


def agreement(ours: Ours, peer: Any) -> float:
    """Share of users for whom ours and constrained Hugging Face rank the same items."""
    mine, theirs = ours.run(), peer.constrained(scores=True)
    same = (ours.codes[np.asarray(mine.items)] == theirs.codes).all(-1)
    rows = same.all(-1)
    apart = np.abs(np.asarray(mine.scores) - theirs.scores).max()
    tuned = (peer.tuned().codes == theirs.codes).all((1, 2)).mean()
    print(
        f"  rows that agree with Hugging Face: {rows.mean():.1%} (scores within {apart:.1e}); "
        f"its tuned form with its own: {tuned:.1%}"
    )
    if not rows.all():
        user = int(np.argmin(rows))
        place = int(np.argmin(same[user]))
        gap = theirs.scores[user, place] - np.asarray(mine.scores)[user, place]
        print(f"  user {user} differs from place {place} on, where scores differ by {gap:.1e}")
    return float(rows.mean())


def peaks_of(dtype: Any, accelerated: bool) -> Peaks:
    """Measure and print the peaks of this device."""
    size, chain, megabytes = (8192, 20, 4096) if accelerated else (1024, 4, 256)
    peaks = Peaks(matmul_peak(dtype, size, chain), copy_peak(megabytes))
    print(
        f"{jnp.dtype(dtype).name} products {peaks.flops / 1e12:.3g} TFLOP/s, copies "
        f"{peaks.bandwidth / 1e9:.0f} GB/s"
    )
    return peaks


def prepare_peer(preset: str) -> None:
    """Import PyTorch; exit if it cannot measure the preset in reasonable time."""
    require("torch", "transformers", otherwise=", or pass --no-peer to measure ours alone")
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    if preset == "h100" and not torch.cuda.is_available():
        sys.exit("torch sees no GPU, and on a CPU the peer would take hours; pass --no-peer")


def run(options: Options) -> Table:
    """Measure the chosen rows, one after the other."""
    keep_memory()
    accelerated = require_accelerator(options.preset)
    available = rows_of(options.preset)
    chosen = choose(options.rows, [row.name for row in available])
    rows = [row for row in available if row.name in chosen]
    jax.config.update("jax_enable_compilation_cache", False)
    if options.peer:
        prepare_peer(options.preset)
    use_threads(0 if accelerated else options.threads)
    busy = print_header(*(("torch", "transformers") if options.peer else ()))
    peaks = peaks_of(jnp.dtype(rows[0].config.dtype), accelerated)
    results = [run_row(row, options, peaks, busy) for row in rows]
    exact = [row.name for row in rows if row.config.dtype == "float32"]
    wrong = [r["name"] for r in results if r["name"] in exact and (r["rows_agree"] or 1.0) < 1.0]
    failures = (f"ranked items differ from Hugging Face's in {', '.join(wrong)}",) if wrong else ()
    return Table({"rows": results}, failures=failures)
