"""What a parameter tree may hold besides plain arrays, and how layers read it.

Model code does not depend on any method of tuning or quantization. A leaf called `kernel` may hold
a `StoredKernel` instead of an array (integers with their scales, say), and the collection `TUNED`
may hold, at the path of a layer, nodes that change what the layer computes. Both are pytrees made
by tree transforms, so they scan over layers, shard, train and decode as arrays do.

Nodes of `TUNED`, by the layer that reads them:
  `update` of an `Einsum`, an embedding or a language head: a `KernelUpdate`, added to the product;
  `attention_adapter`, `cross_adapter`, `mlp_adapter` of a block: a `Bottleneck`, applied to what
    that sub-layer adds to the residual stream;
  `prefix` of an attention layer: keys and values `[P, G, H]` that replace those of virtual tokens;
  `prompt` of an embedding: `[P, D]`, the vectors of virtual tokens.

Virtual tokens are token numbers from the vocabulary's size on: slot `i` is token `V + i`. They have
positions, mask entries and cache slots like other tokens, so packing, padding and beam search treat
all tokens alike.
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
    """A kernel stored as something other than a plain array.

    It stands for a matrix `[I, O]`, of which axis I is contracted. A stack of layers is one node:
    each of its leaves has a leading axis of layers.
    """

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of the array that it stands for, including the axis of layers if there is one."""

    @abc.abstractmethod
    def product(self, x: jax.Array) -> jax.Array:
        """Multiply `[M, I]` by the kernel: `[M, O]`, in the dtype of `x`."""

    @abc.abstractmethod
    def dense(self, dtype: Any = jnp.float32) -> jax.Array:
        """Return the matrix, `[..., I, O]`; a stack of layers has a leading axis."""

    @abc.abstractmethod
    def boxed(self, axes: tuple[str | None, ...]) -> Self:
        """Return the node with every array in an `nn.Partitioned` that names its axes.

        Args:
          axes: logical names of the axes `[..., I, O]`, from `KernelSpec.matrix_axes`.
        """


class KernelUpdate(Protocol):
    """A low-rank change of a kernel, stored separately as two thin matrices."""

    def factors(self) -> tuple[jax.Array, jax.Array]:
        """Return `[I, R]` and `[R, O]`; their product, scale included, is added to the kernel."""
        ...

    def branch(self, x: jax.Array, seed: jax.Array | None) -> jax.Array:
        """Map `[B, ..., I]` to `[B, ..., O]`.

        Args:
          x: `[B, ..., I]`, the layer's input.
          seed: `[2]` uint32 seed of dropout; None for no dropout.
        """
        ...


class Bottleneck(Protocol):
    """A small network applied to what a sub-layer adds to the residual stream."""

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map `[B, T, D]` to the same shape."""
        ...


class KernelBox(nn.Partitioned):
    """A kernel with its axis names, and the number of its leading axes that are contracted.

    `contracted` does not count the axis of layers.
    """

    contracted: int = struct.field(default=1, pytree_node=False)


def with_kernel_axes(
    init: Callable[..., jax.Array], axes: tuple[str, ...], contracted: int
) -> Callable[..., KernelBox]:
    """Return an initializer that puts what `init` returns in a `KernelBox`."""
    return lambda *arguments: KernelBox(init(*arguments), axes, contracted=contracted)


@dataclasses.dataclass(frozen=True, kw_only=True)
class KernelSpec:
    """One kernel of a model, without its values.

    Attributes:
      shape: shape of one layer's kernel.
      axes: logical name of each axis of `shape`.
      contracted: how many leading axes of `shape` are contracted.
      layers: depth of the stack that contains it; None outside stacks.
    """

    shape: tuple[int, ...]
    axes: tuple[str, ...]
    contracted: int
    layers: int | None = None

    @property
    def inner(self) -> int:
        """I, number of rows of the kernel as a matrix."""
        return math.prod(self.shape[: self.contracted])

    @property
    def outer(self) -> int:
        """O, number of columns of the kernel as a matrix."""
        return math.prod(self.shape[self.contracted :])

    @property
    def stack(self) -> tuple[int, ...]:
        """`(layers,)` for a stacked kernel, else `()`."""
        return () if self.layers is None else (self.layers,)

    @property
    def matrix_axes(self) -> tuple[str | None, ...]:
        """Logical names of `[..., I, O]`: a matrix axis is named after its first kernel axis."""
        stack = () if self.layers is None else ("layers",)
        return (*stack, self.axes[0], self.axes[self.contracted])

    def matrix(self, kernel: Any) -> jax.Array:
        """Reshape a plain kernel to `[..., I, O]`."""
        return kernel.reshape(*self.stack, self.inner, self.outer)

    def kernel(self, matrix: Any) -> jax.Array:
        """Reshape `[..., I, O]` to a plain kernel."""
        return matrix.reshape(*self.stack, *self.shape)


def kernel_specs(boxed: Any) -> dict[str, KernelSpec]:
    """Describe every kernel of a model, by the path of its layer, joined by "/".

    Args:
      boxed: variables from `Module.init`, or their shapes, still in their boxes.

    Returns:
      {"decoder/blocks/attention/query": spec, ...}, in the order of the tree.
    """
    specs = {}
    leaves = flatten_dict(boxed["params"], is_leaf=lambda _, leaf: isinstance(leaf, nn.Partitioned))
    for path, leaf in leaves.items():
        if isinstance(leaf, KernelBox):
            stacked = leaf.names[0] == "layers"
            specs["/".join(path[:-1])] = KernelSpec(
                shape=leaf.value.shape[int(stacked) :],
                axes=leaf.names[int(stacked) :],
                contracted=leaf.contracted,
                layers=leaf.value.shape[0] if stacked else None,
            )
    return specs


def tuned(module: nn.Module, name: str) -> Any:
    """Return the node `name` that tuning put beside a layer's parameters, or None."""
    return module.get_variable(TUNED, name)


def branch_seed(module: nn.Module) -> jax.Array | None:
    """Return the dropout seed of an update's branch; None if the caller gave no dropout key."""
    if not module.has_rng("dropout"):
        return None
    return jax.random.key_data(module.make_rng("dropout"))[:2]


def virtual_slots(tokens: jax.Array, vocab_size: int) -> jax.Array:
    """Return the slot of each virtual token, -1 for real tokens: int32, shaped as `tokens`."""
    return jnp.where(tokens >= vocab_size, tokens - vocab_size, -1)


def put_virtual(slots: jax.Array, rows: jax.Array, x: jax.Array) -> jax.Array:
    """Replace `x` by `rows[slot]` at virtual tokens.

    Args:
      slots: `[B, T]`, from `virtual_slots`.
      rows: `[P, ...]`, one row per slot.
      x: `[B, T, ...]`.
    """
    chosen = jnp.take(rows, jnp.clip(slots, 0, rows.shape[0] - 1), axis=0).astype(x.dtype)
    virtual = (slots >= 0).reshape(*slots.shape, *(1,) * (x.ndim - 2))
    return jnp.where(virtual, chosen, x)
