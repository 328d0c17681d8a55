"""A training step compiled for many devices from shapes alone: its memory and its collectives.

Run as a program, with a job as JSON and a directory, it compiles one step and prints the result as
JSON: the number of devices must be fixed before JAX starts, so each needs a process of its own.
"""

import dataclasses
import json
import math
import sys
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
    ways,
)
from jaxrec.models import ModelSpec, TransformerConfig
from jaxrec.objectives import Loss, language_loss
from jaxrec.train import (
    TrainConfig,
    TrainState,
    make_optimizer,
    make_shapes,
    make_step,
    shardings,
    step_memory,
)

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
      devices: number of devices of the mesh.
      rules: preset of the sharding rules.
      model_ways: devices on the "model" axis, for presets that use it.
      tokens: T, tokens of a sequence.
      dtype: dtype of the activations.
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
    """Compile one step; its memory, its collectives, and the counts of both by hand.

    Args:
      job: the program to compile.
      dump: directory to which XLA writes the partitioned program.
      shape: the model, which is untied and gated and has as many key heads as query heads.
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
    # A program that comes from the cache is not dumped.
    jax.config.update("jax_enable_compilation_cache", False)
    compiled = step.lower(state, batch).compile()
    seconds = time.monotonic() - begun
    (program,) = dump.glob("*jit_step*after_spmd-partitioning*.txt")
    count = Count(spec.config, mesh, rules, job)
    return {
        **dataclasses.asdict(job),
        "mesh": job.mesh_shape,
        "seconds": seconds,
        "parameters": sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state.params)),
        "counted": count.memory(state),
        "compiled": dataclasses.asdict(step_memory(compiled)),
        "counted_sent": count.sent(),
        "collectives": summary(collectives(program.read_text())),
    }


class Count:
    """What a step needs of one device, counted by hand, without norms, scalars and the batch."""

    def __init__(self, shape: TransformerConfig, mesh: Mesh, rules: ShardingRules, job: Job):
        """Compute the sizes of the parts that one device holds."""

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
        """Bytes at the moment when the step needs most.

        parameters, gradients, moments: float32, split as they are kept.
        stream: the states between blocks, which are kept for the backward pass.
        block: the gathered kernels of one block and their gradients; attention weights and their
          gradients in float32; about eight arrays as wide as the stream and four as wide as the
          MLP.
        head: its gathered table, its gradient in float32, and three chunks of logits. The head is
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
        parts = {
            "parameters": 4 * params,
            "moments": 8 * params,
            "gradients": 4 * params,
            "stream": self.size * c.depth * self.stream,
            "block": self.size * (2 * self.block + wide) + 2 * 4 * weights,
            "head": (self.size + 4) * self.table + 3 * 4 * logits,
        }
        rest = parts["block"], parts["head"]
        return parts | {"total": sum(parts.values()) - sum(rest) + max(rest)}

    def sent(self) -> dict[str, int]:
        """Bytes that a device sends in rings, where n devices send (n - 1) / n of an array.

        all-gather: all kernels that are kept split, once for the forward and once for the backward
          pass, and the table of the head once.
        reduce-scatter: the gradients of the kernels, and that of the table in float32.
        all-reduce, in two rounds: the stream after attention (twice, because it is computed again)
          and after the MLP, and its gradient at queries, keys, values, gate and up; the embedding
          vectors in float32, and the gradient of the head; also the gradients of parameters that
          data-parallel devices hold whole.
        all-to-all: the embedding vectors, from parts of their width to parts of the batch and back.
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


def summary(program: list[Collective]) -> dict[str, dict[str, int]]:
    """Number of arrays and bytes that a device sends, by kind of collective, without scalars."""
    counts: Counter[str] = Counter()
    sent: Counter[str] = Counter()
    for each in program:
        if each.size > 4:
            counts[each.kind] += each.times
            sent[each.kind] += each.sent
    return {kind: {"arrays": counts[kind], "sent": sent[kind]} for kind in counts}


if __name__ == "__main__":
    print(json.dumps(compile_step(Job(**json.loads(sys.argv[1])), Path(sys.argv[2]))))
