"""Memory and collectives of a training step on 8, 64 and 256 devices, from shapes alone.

    python tools/bench scaling [--devices 8,64,256] [--rules fsdp,tensor,fsdp_tensor]

Compiles the step of a 7B Llama (float32 parameters and moments, bfloat16 activations, AdamW, blocks
computed again) for that many devices and allocates nothing: `jax.ShapeDtypeStruct`s with their
shardings go in, and the compiler's plan comes out, beside a count by hand. Every mesh gets as many
sequences as it has devices, so the tokens of a device stay the same.

The devices are fake CPU devices, and each number of them needs a process of its own. A CPU computes
and keeps bfloat16 in float32, which shows in its temporaries: with `--dtype float32` they agree
with the count. Collectives are read from the partitioned program before the passes of the CPU, so
they move bfloat16.
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any, Literal

from support import scaling_step
from support.header import choose, print_header
from support.scaling_step import Job
from support.table import Table

from jaxrec.core import show_bytes
from jaxrec.train import StepMemory

RULES = ("replicated", "fsdp", "tensor", "fsdp_tensor")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Which programs to compile.

    Attributes:
      devices: numbers of devices, separated by commas.
      rules: presets of the sharding rules, separated by commas, out of replicated, fsdp, tensor
        and fsdp_tensor.
      model: devices on the "model" axis.
      tokens: tokens of a sequence.
      dtype: dtype of the activations.
    """

    devices: str = "8,64,256"
    rules: str = "fsdp,tensor,fsdp_tensor"
    model: int = 8
    tokens: int = 2048
    dtype: Literal["bfloat16", "float32"] = "bfloat16"


def run_child(job: Job) -> dict[str, Any]:
    """Compile in a process of its own, which has the number of devices that the job needs."""
    with tempfile.TemporaryDirectory() as dump:
        flags = (
            f"--xla_force_host_platform_device_count={job.devices} --xla_dump_to={dump} "
            "--xla_dump_hlo_pass_re=spmd-partitioning --xla_dump_hlo_module_re=jit_step"
        )
        child = subprocess.run(
            [sys.executable, scaling_step.__file__, json.dumps(dataclasses.asdict(job)), dump],
            env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
            stdout=subprocess.PIPE,
            text=True,
        )
    if child.returncode:
        sys.exit(f"compiling {job} failed with exit code {child.returncode}")
    return json.loads(child.stdout.splitlines()[-1])


def print_tables(results: list[dict[str, Any]]) -> None:
    """Print memory and collectives, as counted by hand and as compiled."""
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
        rest, cells = dict(each["collectives"]), []
        for kind, counted in each["counted_sent"].items():
            compiled = rest.pop(kind, {"arrays": 0, "sent": 0})
            sizes = show_bytes(compiled["sent"]), show_bytes(counted)
            shown = f"{compiled['arrays']}: {sizes[0]} ({sizes[1]})"
            cells.append(shown if compiled["arrays"] or counted else "-")
        others = sum(other["arrays"] for other in rest.values())
        sent = show_bytes(sum(other["sent"] for other in rest.values()))
        rows.append([*_row(each), *cells, f"{others}: {sent}"])
    _print(rows)


def _row(each: dict[str, Any]) -> list[str]:
    return [each["rules"], str(each["devices"]), " x ".join(map(str, each["mesh"]))]


def _print(rows: list[list[str]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
        print("  " + "  ".join(cells))


def run(options: Options) -> Table:
    """Compile every preset for every number of devices."""
    rules = choose(options.rules, list(RULES), "preset")
    print_header()
    begun, results = time.monotonic(), []
    for preset in rules:
        for devices in map(int, options.devices.split(",")):
            job = Job(
                devices=devices,
                rules=preset,
                model_ways=options.model,
                tokens=options.tokens,
                dtype=options.dtype,
            )
            print(f"compiling {preset} for {devices} devices", file=sys.stderr)
            results.append(run_child(job))
    print_tables(results)
    print(f"\n{time.monotonic() - begun:.0f} s in all")
    return Table(results)
