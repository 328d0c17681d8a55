"""Memory of a training step, as the compiler plans it from shapes alone, before any allocation."""

import contextlib
import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.core import (
    OutOfMemory,
    flatten,
    host_memory,
    is_out_of_memory,
    option,
    show_bytes,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepMemory:
    """Bytes on each device during a step. Validation, which may decode, is not counted.

    Attributes:
      arguments: state, batch and frozen parameters.
      outputs: new state and metrics.
      temporaries: activations, gradients and everything else in between.
      aliased: outputs that take the place of arguments.
      limit: memory of the device, see `device_memory`; None if it is unknown.

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
          OutOfMemory: the step needs more memory than a device has.
        """
        if self.limit is not None and self.total > self.limit:
            raise OutOfMemory(f"a training step needs {self}; {ADVICE}")


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
    """Bytes that a program may use on a device of this process; None if the device does not say.

    The CPU devices of a process share the memory of the host.
    """
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        memory = host_memory()
        return None if memory is None else memory // jax.local_device_count()
    return (device.memory_stats() or {}).get("bytes_limit")


def check_arrays(trees: Mapping[str, Any], limit: int | None) -> None:
    """Reject a training whose arrays alone cannot fit on a device, before anything is compiled.

    Args:
      trees: trees of `jax.ShapeDtypeStruct` by what they are, such as "trained".
      limit: memory of a device; None if it is unknown.

    Raises:
      OutOfMemory: the message names the largest arrays.

    Example:
      >>> shapes = {"w": jax.ShapeDtypeStruct((4, 8), jnp.float32)}
      >>> check_arrays({"trained": shapes}, limit=100)  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      jaxrec.core.errors.OutOfMemory: the arrays of a training step need 128 B on each device; \
device memory: 100 B; the largest are trained w [4, 8] 128 B; use a smaller model ...
    """
    sizes = {
        f"{name} {jax.tree_util.keystr(path, simple=True, separator='/')} {list(leaf.shape)}": (
            _bytes_on_device(leaf)
        )
        for name, tree in trees.items()
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
    total = sum(sizes.values())
    if limit is None or total <= limit:
        return
    largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
    shown = ", ".join(f"{name:.100} {show_bytes(sizes[name])}" for name in largest)
    raise OutOfMemory(
        f"the arrays of a training step need {show_bytes(total)} on each device; device memory: "
        f"{show_bytes(limit)}; the largest are {shown}; use a smaller model (model.width, "
        "model.depth), lower train.batch_size, split the parameters over more devices "
        "(sharding.preset), or train fewer of them (tune.method lora or qlora)"
    )


def _bytes_on_device(leaf: jax.ShapeDtypeStruct) -> int:
    """Bytes of the part of an array that one device holds."""
    sharding = getattr(leaf, "sharding", None)
    shape = leaf.shape if sharding is None else sharding.shard_shape(leaf.shape)
    return math.ceil(math.prod(shape) * _bits(leaf.dtype) / 8)


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


@contextlib.contextmanager
def memory_explained(config: Any) -> Iterator[None]:
    """Train in this block; running out of memory is an error of one line that names settings.

    Args:
      config: of any system. The settings that are furthest above their defaults are named.

    Raises:
      OutOfMemory: memory ran out, or a check found that it would.

    Example:
      >>> from jaxrec.train import TrainConfig
      >>> with memory_explained(TrainConfig(batch_size=6400)):
      ...     raise OutOfMemory("too large")
      Traceback (most recent call last):
      jaxrec.core.errors.OutOfMemory: too large; settings far above their defaults: \
--batch-size 6400 (default 64)
    """
    try:
        yield
    except Exception as error:
        said = " ".join(str(error).split())
        if is_out_of_memory(error):
            said = f"training ran out of memory ({said[:200]}); {ADVICE}"
        elif not isinstance(error, OutOfMemory):
            raise
        raise OutOfMemory(said + _far_above(config)) from error


def _far_above(config: Any) -> str:
    """Name the three whole numbers that are furthest above their defaults."""
    defaults = _defaults(type(config))
    above = {
        name: (value / defaults[name], value)
        for name, value in flatten(config)
        if type(value) is type(defaults.get(name)) is int and value >= 4 * defaults[name] > 0
    }
    largest = sorted(above, key=lambda name: -above[name][0])[:3]
    shown = [
        f"{option(f'--{name}')} {above[name][1]} (default {defaults[name]})" for name in largest
    ]
    return f"; settings far above their defaults: {', '.join(shown)}" if shown else ""


def _defaults(kind: type) -> dict[str, Any]:
    """The default of every setting by name; none of a config that needs arguments."""
    try:
        return dict(flatten(kind()))
    except TypeError:
        return {}
