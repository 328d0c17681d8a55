"""One model family beside Hugging Face in PyTorch: import, outputs, greedy tokens and export."""

import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
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


def compare_family(name: str, directory: Path) -> dict[str, Any]:
    """Compare a family, with a tiny model of random weights.

    Args:
      name: key of `PEERS`.
      directory: empty directory for the weights of both sides.

    Returns:
      The largest difference of the outputs, whether greedy tokens are the same (None for a family
      that generates none), the seconds of the import, and whether an export gives the same outputs.
    """
    theirs = make_peer(name, directory / "in")
    begin = time.perf_counter()
    ours = import_model(directory / "in")
    jax.block_until_ready(ours.params)
    seconds = time.perf_counter() - begin
    differences = []
    for length in LENGTHS:
        inputs = batch(name, length)
        expected = compared(inputs, their_output(theirs, inputs))
        difference = np.abs(expected - compared(inputs, our_output(ours, inputs))).max()
        differences.append(float(difference))
    greedy = None
    if ours.spec.kind in ("causal", "encoder_decoder"):
        prompts = batch(name, 10)
        same = our_greedy(ours, prompts, 64) == their_greedy(theirs, prompts, 64)
        greedy = bool(same.all())
    export_model(ours, directory / "out", shard_bytes=40_000)
    kind = getattr(transformers, PEERS[name].architecture)
    back = kind.from_pretrained(directory / "out", attn_implementation="eager").eval()
    # The inputs of the last length, through the exported model.
    again = compared(inputs, their_output(back, inputs))
    return {
        "logits": max(differences),
        "greedy": greedy,
        "import_s": round(seconds, 3),
        "round_trip": bool(np.abs(again - expected).max() <= 1e-5),
    }
