"""Print as JSON what the scaling measurement says about a small Llama on eight devices."""

import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "bench"))

with tempfile.TemporaryDirectory() as dump:
    # Read when JAX starts.
    os.environ["XLA_FLAGS"] += f" --xla_dump_to={dump} --xla_dump_hlo_pass_re=spmd-partitioning"
    from support import scaling_step

    shape = dataclasses.replace(
        scaling_step.LLAMA_7B, width=128, depth=6, num_heads=8, mlp_width=352, vocab_size=4096
    )
    job = scaling_step.Job(devices=8, rules="fsdp_tensor", model_ways=2, tokens=64, dtype="float32")
    print(json.dumps(scaling_step.compile_step(job, Path(dump), shape)))
