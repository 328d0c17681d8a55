"""Memory of a training step, as the compiler plans it from shapes alone, before any allocation."""

import dataclasses
import math
from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.core import ResourceError, show_bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepMemory:
    """Bytes on each device during a step. Validation, which may decode, is not counted.

    Attributes:
      arguments: state, batch and frozen parameters.
      outputs: new state and metrics.
      temporaries: activations, gradients and everything else in between.
      aliased: outputs that take the place of arguments.
      limit: memory of the device; None if the device does not report it, like a CPU.

    Example:
      >>> memory = StepMemory(arguments=300, outputs=200, temporaries=50, aliased=200)
      >>> memory.total
      350
    """

    arguments: int
    outputs: int
    temporaries: int
    aliased: int
    limit: int | None = None

    @property
    def total(self) -> int:
        """Bytes in use at the same time."""
        return self.arguments + self.outputs + self.temporaries - self.aliased

    def __str__(self) -> str:
        known = "unknown" if self.limit is None else show_bytes(self.limit)
        return (
            f"{show_bytes(self.total)} on each device ({show_bytes(self.arguments)} arguments + "
            f"{show_bytes(self.outputs)} outputs + {show_bytes(self.temporaries)} temporaries - "
            f"{show_bytes(self.aliased)} in place); device memory: {known}"
        )

    def check(self) -> None:
        """Reject a step that cannot run.

        Raises:
          ResourceError: the step needs more memory than a device has.
        """
        if self.limit is not None and self.total > self.limit:
            raise ResourceError(f"a training step needs {self}; {ADVICE}")


ADVICE = (
    "lower train.batch_size, raise train.accumulate, set model.remat full, split the parameters "
    "over more devices (sharding.preset), or train fewer of them (tune.method lora or qlora)"
)


def step_memory(compiled: Any, limit: int | None = None) -> StepMemory:
    """Read the compiler's plan from the result of `jax.jit(...).lower(...).compile()`."""
    analysis = compiled.memory_analysis()
    return StepMemory(
        arguments=analysis.argument_size_in_bytes,
        outputs=analysis.output_size_in_bytes,
        temporaries=analysis.temp_size_in_bytes,
        aliased=analysis.alias_size_in_bytes,
        limit=limit,
    )


def device_memory() -> int | None:
    """Bytes that a program may use on a device of this process; None if the device does not say."""
    return (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")


def count_bytes(tree: Any) -> dict[str, int]:
    """Bytes of a tree of arrays or shapes by dtype, the largest first.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> tree = {"w": jax.ShapeDtypeStruct((4, 8), jnp.float32), "n": jnp.zeros(3, jnp.int8)}
      >>> count_bytes(tree)
      {'float32': 128, 'int8': 3}
    """
    counts: Counter[str] = Counter()
    for leaf in jax.tree.leaves(tree):
        counts[leaf.dtype.name] += math.ceil(math.prod(leaf.shape) * _bits(leaf.dtype) / 8)
    return dict(counts.most_common())


def _bits(dtype: Any) -> int:
    """Bits of one number; int4 has fewer than eight, because a device packs it."""
    if jnp.issubdtype(dtype, jnp.integer):
        return jnp.iinfo(dtype).bits
    if jnp.issubdtype(dtype, jnp.floating):
        return jnp.finfo(dtype).bits
    return 8 * dtype.itemsize
