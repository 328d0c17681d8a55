"""Memory and collectives of a training step on 8, 64 and 256 devices, from shapes alone.

    python tools/bench/scaling.py [--devices 8,64,256] [--rules fsdp,tensor,fsdp_tensor]
    python tools/bench/scaling.py --platform tpu --devices 8     # needs libtpu, no TPU

Compiles the step of a 7B Llama (float32 parameters and moments, bfloat16 activations, AdamW,
recomputed blocks) for that many devices and allocates nothing: `jax.ShapeDtypeStruct`s with their
shardings go in, and what the compiler planned comes out. Every mesh gets as many sequences as it
has devices, so that tokens a device are the same.

The devices are fake CPU ones, each number of them in a process of its own, or with `--platform tpu`
those of a TPU that libtpu describes and compiles for, in many minutes a program. A CPU computes
bfloat16 in float32, so its temporaries are up to twice those of a TPU; collectives are read from
the partitioned program before the passes of the CPU. Ends with one JSON line.
"""

import argparse
import dataclasses
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh

from jaxrec.core.collectives import Collective, collectives
from jaxrec.core.mesh import PRESETS, ShardingRules, batch_sharding, ways
from jaxrec.core.units import show_bytes
from jaxrec.models import ModelSpec, TransformerConfig
from jaxrec.objectives import Loss, language_loss
from jaxrec.train import TrainConfig, TrainState, make_optimizer, make_shapes, make_step
from jaxrec.train.memory import step_memory
from jaxrec.train.step import shardings

LLAMA_7B = TransformerConfig(
    vocab_size=32_000,
    width=4096,
    depth=32,
    num_heads=32,
    mlp_width=11_008,
    norm_eps=1e-5,
    tie_embeddings=False,
    dtype="bfloat16",
    remat="full",
)
# Described by libtpu: a pod slice of so many chips.
TPU = {8: "v5p:2x2x2", 64: "v5p:4x4x4", 256: "v5p:4x8x8"}
KINDS = ("all-gather", "reduce-scatter", "all-reduce", "all-to-all", "collective-permute")


@dataclasses.dataclass(frozen=True)
class Job:
    """One program to compile.

    Attributes:
      devices: of the mesh.
      rules: a preset.
      model_ways: devices on the "model" axis, where the preset uses it.
      tokens: T.
      platform: "cpu" or "tpu".
    """

    devices: int
    rules: str
    model_ways: int
    tokens: int
    platform: str

    @property
    def mesh_shape(self) -> tuple[int, int]:
        """(data, model)."""
        used = {axis for rule in PRESETS[self.rules].values() for axis in np.atleast_1d(rule)}
        model = self.model_ways if "model" in used else 1
        return self.devices // model, model


def make_mesh(job: Job) -> Mesh:
    if job.platform == "tpu":
        from jax.experimental import topologies

        devices = topologies.get_topology_desc(TPU[job.devices], "tpu").devices
    else:
        devices = jax.devices()
    axes = (AxisType.Auto, AxisType.Auto)
    return Mesh(np.array(devices).reshape(job.mesh_shape), ("data", "model"), axis_types=axes)


def compile_step(job: Job, dump: str) -> dict[str, Any]:
    """Compile one step; its memory, its collectives and the arithmetic of the same."""
    mesh, rules = make_mesh(job), ShardingRules(job.rules)
    spec = ModelSpec("causal", LLAMA_7B)
    model, config = spec.build(), TrainConfig(batch_size=job.devices)
    optimizer = make_optimizer(config)
    state = make_shapes(spec.shapes(), optimizer, mesh, rules, config)
    place = batch_sharding(mesh, rules)
    batch = {
        name: jax.ShapeDtypeStruct((job.devices, job.tokens + 1), dtype, sharding=place)
        for name, dtype in (
            ("tokens", jnp.int32),
            ("valid", jnp.bool_),
            ("weights", jnp.float32),
        )
    }

    def loss(params: Any, batch: Any, key: jax.Array) -> Loss:
        return language_loss(model, params, batch, None)

    begun = time.monotonic()
    step = make_step(loss, optimizer, config, mesh, rules, out_shardings=shardings(state))
    compiled = step.lower(state, batch).compile()
    seconds = time.monotonic() - begun
    if job.platform == "tpu":
        text = compiled.as_text()
    else:
        (found,) = Path(dump).glob("*jit_step*after_spmd-partitioning*.txt")
        text = found.read_text()
    return {
        **dataclasses.asdict(job),
        "mesh": job.mesh_shape,
        "seconds": seconds,
        "parameters": sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state.params)),
        "arithmetic": arithmetic(job, mesh, rules, state),
        "compiled": dataclasses.asdict(step_memory(compiled)),
        "collectives": summary(collectives(text)),
    }


def arithmetic(job: Job, mesh: Mesh, rules: ShardingRules, state: TrainState) -> dict[str, int]:
    """Bytes on each device, counted by hand.

    Parameters, their gradients and two moments, float32; the stream before every block, kept for
    the backward pass in bfloat16; one block's kernels as they are gathered, and their gradients,
    bfloat16; the head's table likewise with its gradient in float32, and three arrays of a chunk of
    logits.
    """
    c, size = LLAMA_7B, mesh.size
    params = sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) for leaf in jax.tree.leaves(state.params)
    )
    split = {
        name: ways(mesh, rules.mesh_axes(name, mesh))
        for name in ("batch", "sequence", "heads", "mlp", "vocab")
    }
    tokens = size // split["batch"] * job.tokens // split["sequence"]
    attention = 4 * c.width * c.num_heads * c.head_width // split["heads"]
    block = attention + 3 * c.width * c.mlp_hidden // split["mlp"]
    table, rows = c.vocab_size * c.width // split["vocab"], min(1024, tokens)
    return {
        "parameters": 4 * params,
        "gradients": 4 * params,
        "moments": 8 * params,
        "stream": 2 * c.depth * tokens * c.width,
        "block": 2 * 2 * block,
        "head": (2 + 4) * table + 3 * 4 * rows * c.vocab_size // split["vocab"],
    }


def summary(found: list[Collective]) -> dict[str, dict[str, int]]:
    """Number of arrays and bytes that a device sends, by kind; scalars are left out."""
    counts: Counter[str] = Counter()
    sent: Counter[str] = Counter()
    for each in found:
        if each.size > 4:
            counts[each.kind] += each.times
            sent[each.kind] += each.sent
    return {kind: {"arrays": counts[kind], "sent": sent[kind]} for kind in KINDS if counts[kind]}


def run_child(job: Job) -> dict[str, Any]:
    """Compile in a process of its own, whose number of devices is fixed before JAX starts."""
    with tempfile.TemporaryDirectory() as dump:
        environment = os.environ | {"JAX_PLATFORMS": "cpu"}
        environment["XLA_FLAGS"] = (
            f"--xla_force_host_platform_device_count={job.devices} --xla_dump_to={dump} "
            "--xla_dump_hlo_pass_re=spmd-partitioning --xla_dump_hlo_module_re=jit_step"
        )
        if job.platform == "tpu":
            del environment["XLA_FLAGS"]
            environment |= {
                "TPU_SKIP_MDS_QUERY": "1",
                "TPU_ACCELERATOR_TYPE": "v5p-8",
                "TPU_WORKER_HOSTNAMES": "localhost",
            }
        arguments = [sys.executable, __file__, "--job", json.dumps(dataclasses.asdict(job)), dump]
        child = subprocess.run(arguments, env=environment, stdout=subprocess.PIPE, text=True)
    if child.returncode:
        sys.exit(f"compiling {job} failed with exit code {child.returncode}")
    return json.loads(child.stdout.splitlines()[-1])


def print_tables(results: list[dict[str, Any]]) -> None:
    first = results[0]
    print(
        f"Llama, {first['parameters']:,} parameters, {first['tokens']:,} tokens a device and step, "
        f"compiled for {first['platform']}\n\nBytes on each device. By hand:"
    )
    names = list(first["arithmetic"])
    rows = [["rules", "devices", "data x model", *names, "sum"]]
    for each in results:
        sizes = list(each["arithmetic"].values())
        rows.append([*_row(each), *(show_bytes(size) for size in [*sizes, sum(sizes)])])
    _print(rows)
    print("\nAs compiled (arguments are parameters, moments and the batch):")
    rows = [
        ["rules", "devices", "data x model", "arguments", "temporaries", "total", "compiled in"]
    ]
    for each in results:
        found = each["compiled"]
        total = found["arguments"] + found["outputs"] + found["temporaries"] - found["aliased"]
        sizes = [found["arguments"], found["temporaries"], total]
        rows.append([*_row(each), *map(show_bytes, sizes), f"{each['seconds']:.0f} s"])
    _print(rows)
    print("\nCollectives of a step: arrays, and bytes that each device sends:")
    rows = [["rules", "devices", "data x model", *KINDS]]
    for each in results:
        cells = [each["collectives"].get(kind) for kind in KINDS]
        shown = [f"{cell['arrays']}, {show_bytes(cell['sent'])}" if cell else "-" for cell in cells]
        rows.append([*_row(each), *shown])
    _print(rows)


def _row(each: dict[str, Any]) -> list[str]:
    return [each["rules"], str(each["devices"]), " x ".join(map(str, each["mesh"]))]


def _print(rows: list[list[str]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
        print("  " + "  ".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", default="8,64,256", help="numbers of devices")
    parser.add_argument("--rules", default="fsdp,tensor,fsdp_tensor", help=", ".join(PRESETS))
    parser.add_argument("--model", type=int, default=8, help='devices on the "model" axis')
    parser.add_argument("--tokens", type=int, default=2048, help="of a sequence")
    parser.add_argument("--platform", choices=("cpu", "tpu"), default="cpu")
    parser.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps(compile_step(Job(**json.loads(options.job[0])), options.job[1])))
        return
    results = []
    for rules in options.rules.split(","):
        for devices in map(int, options.devices.split(",")):
            job = Job(devices, rules, options.model, options.tokens, options.platform)
            print(f"compiling {rules} for {devices} devices", file=sys.stderr)
            results.append(run_child(job))
    print_tables(results)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
