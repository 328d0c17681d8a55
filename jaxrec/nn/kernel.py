"""What may stand in a parameter tree beside plain arrays, and how layers read it.

A model's code names no method of tuning or quantization. A leaf called `kernel` may hold a
`StoredKernel` in place of an array (integers with their scales, say), and the collection `TUNED`
may hold, at the path of a layer, nodes that change what the layer computes. Both are pytrees made
by transforms of trees, so they scan over layers, shard, train and decode as arrays do.

Nodes of `TUNED`, by the layer that reads them:
  `update` of an `Einsum`, an embedding or a language head: a `KernelUpdate`, added to the product;
  `attention_adapter`, `cross_adapter`, `mlp_adapter` of a block: a `Bottleneck`, applied to what
    that sub-layer adds to the stream;
  `prefix` of an attention: keys and values `[P, G, H]` in place of those of virtual tokens;
  `prompt` of an embedding: `[P, D]`, the vectors of virtual tokens.

Virtual tokens are numbers at and above the vocabulary's size: slot `i` is token `V + i`. They take
positions, masks and cache slots like any others, so packing, padding and beam search need not know.
"""

import abc
import dataclasses
import math
from collections.abc import Callable
from typing import Any, Protocol, Self

import jax
import jax.numpy as jnp
from flax import linen as nn, struct
from flax.traverse_util import flatten_dict

TUNED = "tuned"


class StoredKernel(abc.ABC):
    """A kernel that is no plain array: `[I, O]` as a matrix, I contracted.

    A stack of layers is one node whose every leaf has a leading axis of layers.
    """

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of the array that it stands for, with the axis of layers if there is one."""

    @abc.abstractmethod
    def product(self, x: jax.Array) -> jax.Array:
        """Multiply `[M, I]` by the kernel: `[M, O]`, in the dtype of `x`."""

    @abc.abstractmethod
    def dense(self, dtype: Any = jnp.float32) -> jax.Array:
        """Return the matrix, `[..., I, O]`: the leading axes are those of a stack of layers."""

    @abc.abstractmethod
    def boxed(self, axes: tuple[str | None, ...]) -> Self:
        """Put every array in an `nn.Partitioned` that names its axes.

        Args:
          axes: logical names of `[..., I, O]`, of `KernelSpec.matrix_axes`.
        """


class KernelUpdate(Protocol):
    """A change of a kernel that is kept apart from it, as a product of two thin matrices."""

    def factors(self) -> tuple[jax.Array, jax.Array]:
        """Return `[I, R]` and `[R, O]` whose product is added to the kernel, scale included."""
        ...

    def branch(self, x: jax.Array, seed: jax.Array | None) -> jax.Array:
        """Map `[B, ..., I]` to `[B, ..., O]`; `seed` `[2]` uint32 for dropout, None for none."""
        ...


class Bottleneck(Protocol):
    """A small network on what a sub-layer adds to the residual stream."""

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map `[B, T, D]` to the same shape."""
        ...


class KernelBox(nn.Partitioned):
    """Axis names of a kernel, and how many of its own leading axes are contracted."""

    contracted: int = struct.field(default=1, pytree_node=False)


def with_kernel_axes(
    init: Callable[..., jax.Array], axes: tuple[str, ...], contracted: int
) -> Callable[..., KernelBox]:
    """Box what an initializer gives as a kernel."""
    return lambda *arguments: KernelBox(init(*arguments), axes, contracted=contracted)


@dataclasses.dataclass(frozen=True, kw_only=True)
class KernelSpec:
    """One kernel of a model, without its values.

    Attributes:
      shape: of one layer's kernel.
      axes: logical name of each axis of `shape`.
      contracted: how many leading axes of `shape` are contracted.
      layers: depth of the stack that it lies in; None outside stacks.
    """

    shape: tuple[int, ...]
    axes: tuple[str, ...]
    contracted: int
    layers: int | None = None

    @property
    def inner(self) -> int:
        """I, rows of the kernel as a matrix."""
        return math.prod(self.shape[: self.contracted])

    @property
    def outer(self) -> int:
        """O, columns of the kernel as a matrix."""
        return math.prod(self.shape[self.contracted :])

    @property
    def stack(self) -> tuple[int, ...]:
        """`(layers,)` of a stacked kernel, else `()`."""
        return () if self.layers is None else (self.layers,)

    @property
    def matrix_axes(self) -> tuple[str | None, ...]:
        """Logical names of `[..., I, O]`: each matrix axis takes that of its first kernel axis."""
        stack = () if self.layers is None else ("layers",)
        return (*stack, self.axes[0], self.axes[self.contracted])

    def matrix(self, kernel: Any) -> jax.Array:
        """A plain kernel as `[..., I, O]`."""
        return kernel.reshape(*self.stack, self.inner, self.outer)

    def kernel(self, matrix: Any) -> jax.Array:
        """`[..., I, O]` as a plain kernel."""
        return matrix.reshape(*self.stack, *self.shape)


def kernel_specs(boxed: Any) -> dict[str, KernelSpec]:
    """Every kernel of a model, by the path of its layer, joined by "/".

    Args:
      boxed: variables of `Module.init`, or their shapes, with the boxes on.

    Returns:
      {"decoder/blocks/attention/query": spec, ...}, in the order of the tree.
    """
    found = {}
    leaves = flatten_dict(boxed["params"], is_leaf=lambda _, leaf: isinstance(leaf, nn.Partitioned))
    for path, leaf in leaves.items():
        if isinstance(leaf, KernelBox):
            stacked = leaf.names[0] == "layers"
            found["/".join(path[:-1])] = KernelSpec(
                shape=leaf.value.shape[int(stacked) :],
                axes=leaf.names[int(stacked) :],
                contracted=leaf.contracted,
                layers=leaf.value.shape[0] if stacked else None,
            )
    return found


def tuned(module: nn.Module, name: str) -> Any:
    """The node called `name` that tuning put beside a layer's parameters; None for none."""
    return module.get_variable(TUNED, name)


def branch_seed(module: nn.Module) -> jax.Array | None:
    """Seed of the dropout on an update's branch: there in training, when a key is given."""
    if not module.has_rng("dropout"):
        return None
    return jax.random.key_data(module.make_rng("dropout"))[:2]


def virtual_slots(tokens: jax.Array, vocab_size: int) -> jax.Array:
    """Slot of each virtual token, -1 for real ones: int32 of the shape of `tokens`."""
    return jnp.where(tokens >= vocab_size, tokens - vocab_size, -1)


def put_virtual(slots: jax.Array, rows: jax.Array, x: jax.Array) -> jax.Array:
    """Put `rows[slot]` in place of `x` at virtual tokens.

    Args:
      slots: `[B, T]`, of `virtual_slots`.
      rows: `[P, ...]`.
      x: `[B, T, ...]`.
    """
    chosen = jnp.take(rows, jnp.clip(slots, 0, rows.shape[0] - 1), axis=0).astype(x.dtype)
    there = (slots >= 0).reshape(*slots.shape, *(1,) * (x.ndim - 2))
    return jnp.where(there, chosen, x)
