"""Running a model layer by layer, for methods that inspect or change one layer at a time.

The blocks of a stack share code and have stacked parameters, so a layer is a slice of them, run by
the model's own `Block`. A Flax interceptor captures the input of every `Einsum`, so the model needs
no code for recording. A method visits the layers in execution order and returns new parameters for
each; the next layer is fed by the new or by the original ones.

Layers are processed one at a time, batch by batch on the device. Memory holds the residual stream
and the masks of all batches, but no activations inside layers and no gradients of other layers.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.core import DataError
from jaxrec.models import BLOCKS, Block, HstuBlock, MemoryBlock, ModelSpec, PerLayer, Shared, Stack
from jaxrec.nn import TUNED, Context, Einsum, KernelSpec, KeyValue, kernel_specs

# Keyword arguments of a model: `tokens` and `valid` `[B, T]`, for an encoder-decoder also `targets`
# and `targets_valid`, and any others that it accepts (`prefix`, `segments`, `types`).
Batch = Mapping[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Statistic:
    """A statistic of a kernel's inputs that can be accumulated over batches.

    Attributes:
      of: maps rows `[M, I]` float32 and a mask of the rows that count, `[M]` bool, to a tree of
        arrays.
      merge: combines the arrays of two batches.
    """

    of: Callable[[jax.Array, jax.Array], Any]
    merge: Callable[[jax.Array, jax.Array], jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Feed:
    """What a layer reads from one batch.

    Attributes:
      x: `[B, T, D]`, the residual stream.
      rows: `[B, T]` bool, the tokens that are not padding.
      own, shared: the other inputs of a block, `own` with a leading axis of layers; None for a
        memory projection.
    """

    x: jax.Array
    rows: jax.Array
    own: PerLayer | None = None
    shared: Shared | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of a stack.

    Attributes:
      path: path of the stack: "decoder/blocks" or "decoder/memory_projection".
      index: number of the layer in the stack.
      module: the Flax module that computes it.
      params: its parameters.
      tuned: its slice of the `TUNED` collection.
      feeds: its inputs, one `Feed` per batch.
      specs: its kernels by name ("attention/query"), without an axis of layers.
    """

    path: str
    index: int
    module: nn.Module
    params: Any
    tuned: Any
    feeds: Sequence[Feed]
    specs: dict[str, KernelSpec]

    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Group the names of kernels that share an input, in execution order."""
        seen: dict[int, list[str]] = {}
        alive: list[jax.Array] = []  # keeps ids unique

        def note(name: str, x: jax.Array) -> None:
            alive.append(x)
            seen.setdefault(id(x), []).append(name)

        def trace(params: Any, tuned: Any, feed: Feed) -> Any:
            return run_layer(self.module, params, tuned, feed, jnp.int32(0), note)

        jax.eval_shape(trace, self.params, self.tuned, self.feeds[0])
        return tuple(tuple(names) for names in seen.values())

    def gather(self, params: Any, statistic: Statistic, names: tuple[str, ...]) -> dict[str, Any]:
        """Accumulate a statistic of kernel inputs over all batches, by kernel name.

        Args:
          params: parameters of the layer; some of its kernels may already be quantized.
          statistic: what to accumulate.
          names: names of the kernels.
        """
        total: dict[str, Any] | None = None
        for feed in self.feeds:
            index = jnp.int32(self.index)
            found = _gather(self.module, statistic, names, params, self.tuned, feed, index)
            total = found if total is None else jax.tree.map(statistic.merge, total, found)
        assert total is not None
        return total

    def outputs(self, params: Any) -> list[jax.Array]:
        """Return the residual stream after the layer, `[B, T, D]`, for every batch."""
        index = jnp.int32(self.index)
        return [_stream(self.module, params, self.tuned, feed, index) for feed in self.feeds]


def run_layer(
    module: nn.Module,
    params: Any,
    tuned: Any,
    feed: Feed,
    index: jax.Array,
    note: Callable[[str, jax.Array], None] | None = None,
) -> tuple[jax.Array, KeyValue]:
    """Run one layer on one batch.

    Args:
      module: the Flax module of the layer.
      params: its parameters.
      tuned: its slice of the `TUNED` collection.
      feed: its inputs.
      index: number of the layer, an int32 scalar.
      note: called with the name and the input of every kernel.

    Returns:
      The residual stream after the layer `[B, T, D]`, which a memory projection does not change,
      and the keys and values, each `[B, T, G, H]`.
    """

    def record(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        if note and isinstance(context.module, Einsum) and context.method_name == "updated":
            note("/".join(context.module.path), args[0])
        return call(*args, **kwargs)

    variables = {"params": params, TUNED: tuned}
    with nn.intercept_methods(record):
        if feed.shared is None:
            return module.apply(variables, feed.x)
        own = jax.tree.map(lambda leaf: leaf[index], feed.own)
        return module.apply(variables, feed.x, own, feed.shared, True)


@functools.partial(jax.jit, static_argnums=0)
def _stream(module: nn.Module, params: Any, tuned: Any, feed: Feed, index: jax.Array) -> jax.Array:
    return run_layer(module, params, tuned, feed, index)[0]


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _gather(
    module: nn.Module,
    statistic: Statistic,
    names: tuple[str, ...],
    params: Any,
    tuned: Any,
    feed: Feed,
    index: jax.Array,
) -> dict[str, Any]:
    found = {}
    rows = feed.rows.reshape(-1)

    def note(name: str, x: jax.Array) -> None:
        if name in names:
            found[name] = statistic.of(x.astype(jnp.float32).reshape(rows.size, -1), rows)

    run_layer(module, params, tuned, feed, index, note)
    return found


def walk(
    spec: ModelSpec,
    variables: Any,
    batches: Sequence[Batch],
    visit: Callable[[Layer], Any],
    teacher: bool = False,
) -> Any:
    """Visit every layer of every stack, in execution order.

    Args:
      spec: the model.
      variables: {"params": tree}, with the `TUNED` collection of an adapter if there is one.
      batches: calibration data; every distinct shape is compiled separately.
      visit: maps a layer to its new parameters.
      teacher: feed each layer with the outputs of the original layers, not of the new ones.

    Returns:
      The "params" tree with the new parameters.

    Raises:
      DataError: there are no batches.
    """
    if not batches:
        raise DataError("calibration needs at least one batch, got none")
    specs = kernel_specs(spec.shapes())
    original, tuned = variables["params"], variables.get(TUNED, {})
    params = original
    for path, module in _stages(spec, specs):
        entered = original if teacher else params
        feeds = [_enter(spec, path, entered, tuned, batch) for batch in batches]
        stacked, stacked_tuned = _find(params, path), _find(tuned, path)
        prefix = path + "/"
        own = {
            name.removeprefix(prefix): dataclasses.replace(found, layers=None)
            for name, found in specs.items()
            if name.startswith(prefix)
        }
        depth = jax.tree.leaves(stacked)[0].shape[0]
        done = []
        for index in range(depth):
            layer = Layer(
                path=path,
                index=index,
                module=module,
                params=_layer_of(stacked, index),
                tuned=_layer_of(stacked_tuned, index),
                feeds=feeds,
                specs=own,
            )
            done.append(visit(layer))
            if index + 1 < depth:
                outputs = layer.outputs(layer.params if teacher else done[-1])
                feeds = [
                    dataclasses.replace(feed, x=x) for feed, x in zip(feeds, outputs, strict=True)
                ]
        params = _put(params, path, jax.tree.map(lambda *leaves: jnp.stack(leaves), *done))
    return params


def _stages(
    spec: ModelSpec, specs: dict[str, KernelSpec]
) -> Iterator[tuple[str, Block | HstuBlock | MemoryBlock]]:
    """Yield the path and module of every stack of layers, in execution order."""
    found = {path.split("/blocks/")[0] for path in specs if "/blocks/" in path}
    for stack in sorted(found, key=lambda path: not path.endswith("encoder")):
        config = spec.config
        if spec.kind == "encoder_decoder" and stack == "encoder":
            config = config.encoder
        memory = f"{stack}/memory_projection"
        if any(path.startswith(memory) for path in specs):
            yield memory, MemoryBlock(config)
        yield f"{stack}/blocks", BLOCKS[config.block](config)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _enter(spec: ModelSpec, path: str, params: Any, tuned: Any, batch: Batch) -> Feed:
    """Return the inputs of a stack's first layer; XLA drops everything that follows it."""
    stack, part = path.rsplit("/", 1)
    wanted = "memory" if part == "memory_projection" else "__call__"
    is_target = spec.kind == "encoder_decoder" and path == "decoder/blocks"
    rows = batch["targets_valid" if is_target else "valid"]
    found: list[Feed] = []

    def of_blocks(
        module: Stack,
        x: jax.Array,
        positions: jax.Array,
        context: Context,
        cache: Any = None,
        memory: KeyValue | None = None,
        memory_valid: jax.Array | None = None,
        deterministic: bool = True,
        slots: jax.Array | None = None,
    ) -> Feed:
        own, shared = module.read(positions, context, cache, memory, memory_valid, slots)
        return Feed(x=x, rows=rows, own=own, shared=shared)

    def record(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        module = context.module
        is_call = isinstance(module, Stack) and context.method_name == wanted
        if is_call and "/".join(module.path) == stack:
            of_memory = wanted == "memory"
            found.append(
                Feed(x=args[0], rows=rows) if of_memory else of_blocks(module, *args, **kwargs)
            )
        return call(*args, **kwargs)

    with nn.intercept_methods(record):
        spec.build().apply({"params": params, TUNED: tuned}, **batch)
    return found[0]


def _layer_of(stacked: Any, index: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], stacked)


def _find(tree: Any, path: str) -> Any:
    for name in path.split("/"):
        tree = tree.get(name, {})
    return tree


def _put(tree: Any, path: str, value: Any) -> Any:
    name, _, rest = path.partition("/")
    return {**tree, name: _put(tree[name], rest, value) if rest else value}
