"""What the table of scaling counts and compiles of a small Llama on eight devices, as JSON."""

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
    import scaling

    shape = dataclasses.replace(
        scaling.LLAMA_7B, width=128, depth=6, num_heads=8, mlp_width=352, vocab_size=4096
    )
    job = scaling.Job(8, "fsdp_tensor", 2, 64, "float32")
    print(json.dumps(scaling.compile_step(job, Path(dump), shape)))
