"""Sharding constraints for activations, from the same rules that place parameters.

Inside `with sharded(mesh, rules):` the functions here constrain whatever is being traced. Outside
of it, and on one device, they do nothing. Without constraints the compiler would follow the
parameters: with FSDP it would split the width of the residual stream like that of the kernels and
sum every product over all devices. Gathering the kernels takes a fraction of that traffic.

An axis of an activation lies where its rule says, with three exceptions:
  "embed", "head_size", "position" and "layers" describe how parameters are stored. Activations,
    and kernels while they are in use, are whole along them.
  A mesh axis that the batch occupies is not given to another axis of the same array.
  A mesh axis that a layer's heads or hidden units occupy is not given to "sequence".
"""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxrec.core.errors import ConfigError
from jaxrec.core.mesh import ShardingRules, spec_of, ways

# Axes that only describe how parameters are stored.
_KEPT = ("embed", "head_size", "position", "layers")

# Name under which rematerialization policies find gathered parameters.
GATHERED = "gathered"

# JAX makes this context part of the cache key of every compiled function.
_PLACES = jax.make_user_context(None)

Name = str | None


def sharded(mesh: Mesh, rules: ShardingRules) -> AbstractContextManager[Any]:
    """Return a context in which traced functions place their activations on `mesh` by `rules`."""
    return _PLACES((mesh, rules) if mesh.size > 1 else None)


def is_sharded() -> bool:
    """Whether the function that is being traced runs on several devices."""
    return _PLACES.value is not None


def constrain(x: jax.Array, *names: Name) -> jax.Array:
    """Place an activation by the logical names of its axes.

    Args:
      x: the activation.
      *names: one name per axis; None for an axis that every device holds whole.

    Raises:
      ConfigError: the size of an axis is not a multiple of its number of devices.
    """
    if _PLACES.value is None:
        return x
    return jax.lax.with_sharding_constraint(x, _sharding(names, x.shape))


def move(x: jax.Array, names: tuple[Name, ...], to: tuple[Name, ...]) -> jax.Array:
    """Move an activation from the placement `names` to the placement `to`, and its gradient back.

    A plain constraint would also apply to the gradient: every device would sum the whole gradient
    and then keep only its own part.
    """
    if _PLACES.value is None:
        return x
    return _moved(x, _sharding(to, x.shape), _sharding(names, x.shape))


def gathered(param: jax.Array, names: tuple[Name, ...]) -> jax.Array:
    """Return a parameter as a layer uses it: whole along the axes that only describe its storage.

    The gradient returns to the stored placement of the parameter.
    """
    if _PLACES.value is None:
        return param
    mesh, rules = _PLACES.value
    kept = spec_of([() if name is None else rules.mesh_axes(name, mesh) for name in names])
    whole = _moved(param, _sharding(names, param.shape), NamedSharding(mesh, kept))
    return checkpoint_name(whole, GATHERED)


def by_rows(f: Callable[..., Any], *arrays: jax.Array) -> Any:
    """Compute `f(*arrays)` with each device working on its own rows.

    Use it for row-wise operations that the compiler does not partition: without it, every device
    would compute all rows.

    Args:
      f: a function whose inputs and outputs all have rows as their first axis, and in which no row
        depends on another.
      *arrays: `[rows, ...]`.
    """
    if _PLACES.value is None:
        return f(*arrays)
    mesh, rules = _PLACES.value
    batch = rules.mesh_axes("batch", mesh)
    if arrays[0].shape[0] % ways(mesh, batch):
        return f(*arrays)
    spec = spec_of([batch])
    return jax.shard_map(f, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)(*arrays)


def token_ways(*names: Name) -> tuple[int, int]:
    """Return the numbers of devices over which B and T of an activation `[B, T, ...]` are split.

    Args:
      *names: logical names of the other axes.
    """
    if _PLACES.value is None:
        return 1, 1
    mesh, _ = _PLACES.value
    batch, sequence, *_ = _axes(("batch", "sequence", *names))
    return ways(mesh, batch), ways(mesh, sequence)


def merge_rows(x: jax.Array, names: tuple[Name, ...] = (), others: tuple[Name, ...] = ()) -> Any:
    """Merge `[B, T, ...]` into `[B T, ...]`, for a matrix product.

    Nothing moves between devices, except that T is gathered if the product needs its devices for
    another axis. If T stays split, the tokens of each device stand next to each other, so rows come
    in another order than after a reshape; `split_rows` undoes this.

    Args:
      x: `[B, T, ...]`.
      names: logical names of the axes of `x` after the first two.
      others: logical names of further axes of the other operand.
    """
    (batch, length), rest = x.shape[:2], x.shape[2:]
    b, t = token_ways(*names, *others)
    before = token_ways(*names)[1]
    if t < before and length % before == 0:
        x = move(x, ("batch", "sequence", *names), ("batch", None, *names))
    if t == 1 or batch % b or length % t:
        return x.reshape(-1, *rest)
    # [B, T, ...] -> [b, B/b, t, T/t, ...] -> [b, t, B/b, T/t, ...] -> [B T, ...]
    y = x.reshape(b, batch // b, t, length // t, *rest)
    return _merged(jnp.swapaxes(y, 1, 2).reshape(-1, *rest))


def split_rows(x: jax.Array, rows: tuple[int, ...], *names: Name) -> jax.Array:
    """Undo `merge_rows`: `[B T, ...]` to `[B, T, ...]`.

    Args:
      x: `[B T, ...]`.
      rows: (B, T).
      *names: the `names` and `others` that `merge_rows` was given.
    """
    (batch, length), rest = rows, x.shape[1:]
    b, t = token_ways(*names)
    if t == 1 or batch % b or length % t:
        return x.reshape(batch, length, *rest)
    # [B T, ...] -> [b, t, B/b, T/t, ...] -> [b, B/b, t, T/t, ...] -> [B, T, ...]
    y = _merged(x).reshape(b, t, batch // b, length // t, *rest)
    return jnp.swapaxes(y, 1, 2).reshape(batch, length, *rest)


def _merged(x: jax.Array) -> jax.Array:
    """Split rows over all devices that tokens are split over; leave other axes to the compiler."""
    mesh, _ = _PLACES.value
    batch, sequence = _axes(("batch", "sequence"))
    free = [PartitionSpec.UNCONSTRAINED] * (x.ndim - 1)
    spec = PartitionSpec(*spec_of([batch + sequence]), *free)
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))


def _axes(names: tuple[Name, ...]) -> list[tuple[str, ...]]:
    """Return the mesh axes of each axis of an activation."""
    mesh, rules = _PLACES.value
    batch = rules.mesh_axes("batch", mesh)
    taken = set(batch)
    axes: list[tuple[str, ...]] = [()] * len(names)
    # "sequence" comes last: it takes the mesh axes that the other axes leave free.
    for i in sorted(range(len(names)), key=lambda i: names[i] == "sequence"):
        name = names[i]
        if name == "batch":
            axes[i] = batch
        elif name is not None and name not in _KEPT:
            axes[i] = tuple(axis for axis in rules.mesh_axes(name, mesh) if axis not in taken)
            taken |= set(axes[i])
    return axes


def _sharding(names: tuple[Name, ...], shape: tuple[int, ...]) -> NamedSharding:
    mesh, _ = _PLACES.value
    placed = _axes(names)
    for i, (name, axes, size) in enumerate(zip(names, placed, shape, strict=True)):
        if size == 1:
            placed[i] = ()
        elif size % ways(mesh, axes):
            raise ConfigError(
                f"axis {name!r} of an activation {shape} has size {size}, which the "
                f"{ways(mesh, axes)} devices of mesh axis {'+'.join(axes)!r} do not divide; change "
                f"that size or the mesh, or set sharding.{name} to None"
            )
    return NamedSharding(mesh, spec_of(placed))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _moved(x: jax.Array, to: NamedSharding, back: NamedSharding) -> jax.Array:
    # With `to` alone, the compiler may gather the wider array that `x` was converted from.
    return jax.lax.with_sharding_constraint(jax.lax.with_sharding_constraint(x, back), to)


def _move_there(x: jax.Array, to: NamedSharding, back: NamedSharding) -> tuple[jax.Array, None]:
    return _moved(x, to, back), None


def _move_back(
    to: NamedSharding, back: NamedSharding, _: None, gradient: jax.Array
) -> tuple[jax.Array]:
    return (jax.lax.with_sharding_constraint(gradient, back),)


_moved.defvjp(_move_there, _move_back)
