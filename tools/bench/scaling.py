"""Memory and collectives of a training step on 8, 64 and 256 devices, from shapes alone.

    python tools/bench/scaling.py [--devices 8,64,256] [--rules fsdp,tensor,fsdp_tensor]

Compiles the step of a 7B Llama (float32 parameters and moments, bfloat16 activations, AdamW,
blocks computed again) for that many devices and allocates nothing: `jax.ShapeDtypeStruct`s with
their shardings go in, and what the compiler planned comes out, beside what a hand counts. Every
mesh gets as many sequences as it has devices, so that tokens a device are the same.

The devices are fake CPU ones, each number of them in a process of its own. A CPU computes and keeps
bfloat16 in float32, which shows in its temporaries: with `--dtype float32` they agree with the
count. Collectives are read from the partitioned program before the passes of the CPU, and move
bfloat16. Ends with one JSON line.
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
from jax.sharding import Mesh

from jaxrec.core import (
    PRESETS,
    Collective,
    MeshConfig,
    ShardingRules,
    batch_sharding,
    collectives,
    make_mesh,
    show_bytes,
    ways,
)
from jaxrec.models import ModelSpec, TransformerConfig
from jaxrec.objectives import Loss, language_loss
from jaxrec.train import (
    StepMemory,
    TrainConfig,
    TrainState,
    make_optimizer,
    make_shapes,
    make_step,
    shardings,
    step_memory,
)

RULES = ("replicated", "fsdp", "tensor", "fsdp_tensor")
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """One program to compile.

    Attributes:
      devices: of the mesh.
      rules: a preset.
      model_ways: devices on the "model" axis, where the preset uses it.
      tokens: T.
      dtype: of activations.
    """

    devices: int
    rules: str
    model_ways: int
    tokens: int
    dtype: str

    @property
    def mesh_shape(self) -> tuple[int, int]:
        """(data, model)."""
        model = self.model_ways if "model" in PRESETS[self.rules].values() else 1
        return self.devices // model, model


def compile_step(job: Job, dump: Path, shape: TransformerConfig = LLAMA_7B) -> dict[str, Any]:
    """Compile one step; its memory, its collectives and the counts of both by hand.

    Args:
      job: which.
      dump: where XLA writes the partitioned program.
      shape: of the model; untied, gated, with as many key heads as query heads.
    """
    mesh, rules = make_mesh(MeshConfig(*job.mesh_shape)), ShardingRules(preset=job.rules)
    spec = ModelSpec("causal", dataclasses.replace(shape, dtype=job.dtype))
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
    (found,) = dump.glob("*jit_step*after_spmd-partitioning*.txt")
    count = Count(spec.config, mesh, rules, job)
    return {
        **dataclasses.asdict(job),
        "mesh": job.mesh_shape,
        "seconds": seconds,
        "parameters": sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state.params)),
        "counted": count.memory(state),
        "compiled": dataclasses.asdict(step_memory(compiled)),
        "counted_sent": count.sent(),
        "collectives": summary(collectives(found.read_text())),
    }


class Count:
    """What a step needs of a device, counted by hand. Norms, scalars and the batch are left out."""

    def __init__(self, shape: TransformerConfig, mesh: Mesh, rules: ShardingRules, job: Job):
        """Sizes of the parts of one device."""

        def split(name: str) -> int:
            return ways(mesh, rules.mesh_axes(name, mesh))

        self.shape, self.data, self.kept, self.model = (
            shape,
            split("batch"),
            split("embed"),
            split("mlp"),
        )
        self.size = jnp.dtype(shape.dtype).itemsize
        self.rows, self.length = job.devices // self.data, job.tokens
        # Elements of the stream, of the kernels of a block, and of a table.
        self.stream = self.rows * self.length * shape.width
        attention = 4 * shape.width * shape.num_heads * shape.head_width
        self.block = (attention + 3 * shape.width * shape.mlp_hidden) // self.model
        self.table = shape.vocab_size * shape.width // self.model

    def memory(self, state: TrainState) -> dict[str, int]:
        """Bytes at the moment when most are needed.

        parameters, gradients, moments: float32, as they are kept.
        stream: between blocks, kept for the backward pass.
        block: kernels of one block as they are gathered, and their gradients; attention weights and
          their gradients, float32; about eight arrays as wide as the stream and four as the MLP.
        head: its table likewise, with its gradient in float32, and three chunks of logits. It is
          done before the first block is computed again, so the larger of the two counts.
        """
        c = self.shape
        params = sum(
            math.prod(leaf.sharding.shard_shape(leaf.shape))
            for leaf in jax.tree.leaves(state.params)
        )
        weights = self.rows * c.num_heads // self.model * self.length**2
        tokens = self.rows * self.length
        wide = 8 * self.stream + 4 * tokens * c.mlp_hidden // self.model
        logits = min(1024, tokens) * c.vocab_size // self.model
        found = {
            "parameters": 4 * params,
            "moments": 8 * params,
            "gradients": 4 * params,
            "stream": self.size * c.depth * self.stream,
            "block": self.size * (2 * self.block + wide) + 2 * 4 * weights,
            "head": (self.size + 4) * self.table + 3 * 4 * logits,
        }
        rest = found["block"], found["head"]
        return found | {"total": sum(found.values()) - sum(rest) + max(rest)}

    def sent(self) -> dict[str, int]:
        """Bytes that a device sends in rings: n devices send (n - 1) / n of an array.

        all-gather: all kernels where they are kept split, for the forward and again for the
          backward pass, and the head's table once.
        reduce-scatter: their gradients; the table's in float32.
        all-reduce, of two rounds: the stream after attention, again where that is computed again,
          and after the MLP, and its gradient at queries, keys, values, gate and up; looked up
          vectors in float32 and the head's gradient. Likewise gradients of parameters that
          data-parallel devices hold whole.
        all-to-all: looked up vectors, from parts of their width to those of the batch, and back.
        """
        c, kernels = self.shape, self.shape.depth * self.block

        def ring(size: int, devices: int) -> int:
            return size * (devices - 1) // devices

        copies = self.data // self.kept
        of_stream = self.size * (8 * c.depth + 1) * self.stream + 4 * self.stream
        of_gradients = self.size * kernels + 2 * 4 * self.table
        return {
            "all-gather": ring(self.size * (2 * kernels + self.table), self.kept),
            "reduce-scatter": ring(self.size * kernels + 4 * self.table, self.kept),
            "all-reduce": 2 * (ring(of_stream, self.model) + ring(of_gradients, copies)),
            "all-to-all": 2 * ring(4 * self.stream, self.kept),
        }


def summary(found: list[Collective]) -> dict[str, dict[str, int]]:
    """Number of arrays and bytes that a device sends, by kind; scalars are left out."""
    counts: Counter[str] = Counter()
    sent: Counter[str] = Counter()
    for each in found:
        if each.size > 4:
            counts[each.kind] += each.times
            sent[each.kind] += each.sent
    return {kind: {"arrays": counts[kind], "sent": sent[kind]} for kind in counts}


def run_child(job: Job) -> dict[str, Any]:
    """Compile in a process of its own, whose number of devices is fixed before JAX starts."""
    with tempfile.TemporaryDirectory() as dump:
        flags = (
            f"--xla_force_host_platform_device_count={job.devices} --xla_dump_to={dump} "
            "--xla_dump_hlo_pass_re=spmd-partitioning --xla_dump_hlo_module_re=jit_step"
        )
        child = subprocess.run(
            [sys.executable, __file__, "--job", json.dumps(dataclasses.asdict(job)), dump],
            env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
            stdout=subprocess.PIPE,
            text=True,
        )
    if child.returncode:
        sys.exit(f"compiling {job} failed with exit code {child.returncode}")
    return json.loads(child.stdout.splitlines()[-1])


def print_tables(results: list[dict[str, Any]]) -> None:
    """Memory and collectives, counted by hand and compiled."""
    first = results[0]
    print(
        f"Llama, {first['parameters']:,} parameters, {first['tokens']:,} tokens a device and step, "
        f"activations in {first['dtype']}\n\nBytes on each device, counted by hand:"
    )
    head = ["rules", "devices", "data x model"]
    rows = [[*head, *first["counted"]]]
    rows += [[*_row(each), *map(show_bytes, each["counted"].values())] for each in results]
    _print(rows)
    print("\nAs compiled; arguments are parameters, moments and the batch:")
    rows = [[*head, "arguments", "temporaries", "total", "of the count", "compiled in"]]
    for each in results:
        memory = StepMemory(**each["compiled"])
        sizes = memory.arguments, memory.temporaries, memory.total
        share = memory.total / each["counted"]["total"]
        rows.append(
            [*_row(each), *map(show_bytes, sizes), f"{share:.2f}", f"{each['seconds']:.0f} s"]
        )
    _print(rows)
    print("\nCollectives of a step: arrays, bytes that each device sends, and those by hand:")
    rows = [[*head, *first["counted_sent"], "others"]]
    for each in results:
        found, cells = dict(each["collectives"]), []
        for kind, counted in each["counted_sent"].items():
            compiled = found.pop(kind, {"arrays": 0, "sent": 0})
            sizes = show_bytes(compiled["sent"]), show_bytes(counted)
            shown = f"{compiled['arrays']}: {sizes[0]} ({sizes[1]})"
            cells.append(shown if compiled["arrays"] or counted else "-")
        others = sum(rest["arrays"] for rest in found.values())
        sent = show_bytes(sum(rest["sent"] for rest in found.values()))
        rows.append([*_row(each), *cells, f"{others}: {sent}"])
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
    parser.add_argument("--rules", default="fsdp,tensor,fsdp_tensor", help=", ".join(RULES))
    parser.add_argument("--model", type=int, default=8, help='devices on the "model" axis')
    parser.add_argument("--tokens", type=int, default=2048, help="of a sequence")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        job, dump = Job(**json.loads(options.job[0])), Path(options.job[1])
        print(json.dumps(compile_step(job, dump)))
        return
    begun, results = time.monotonic(), []
    for rules in options.rules.split(","):
        if rules not in RULES:
            parser.error(f"no --rules {rules!r}; there are {', '.join(RULES)}")
        for devices in map(int, options.devices.split(",")):
            job = Job(
                devices=devices,
                rules=rules,
                model_ways=options.model,
                tokens=options.tokens,
                dtype=options.dtype,
            )
            print(f"compiling {rules} for {devices} devices", file=sys.stderr)
            results.append(run_child(job))
    print_tables(results)
    print(f"\n{time.monotonic() - begun:.0f} s in all")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
