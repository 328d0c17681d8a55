"""Where activations lie on the mesh, by the rules that place parameters.

Inside `with sharded(mesh, rules):` the functions here put constraints on what is being traced;
outside, and on one device, they do nothing. Left to itself the compiler follows the parameters:
with FSDP it would split the width of the stream as that of the kernels, and sum every product over
all devices, where gathering the kernels takes a fraction of that traffic.

An axis of an activation lies where its rule says, but for three:
  "embed", "head_size", "position" and "layers" say how parameters are kept; activations, and
    kernels while they are used, are whole along them;
  a mesh axis that the batch takes is not given to another axis of the same array;
  nor is one that a layer's heads or hidden units take given to "sequence".
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

# Axes that only say how parameters are kept.
_KEPT = ("embed", "head_size", "position", "layers")

# Name of gathered parameters in policies of rematerialization.
GATHERED = "gathered"

# Read while tracing, and part of the key of every compiled function.
_PLACES = jax.make_user_context(None)

Name = str | None


def sharded(mesh: Mesh, rules: ShardingRules) -> AbstractContextManager[Any]:
    """While it is entered, what is traced places its activations on `mesh` by `rules`."""
    return _PLACES((mesh, rules) if mesh.size > 1 else None)


def is_sharded() -> bool:
    """Whether what is being traced lies on several devices."""
    return _PLACES.value is not None


def constrain(x: jax.Array, *names: Name) -> jax.Array:
    """Place an activation by the logical names of its axes, None for axes that are whole.

    Raises:
      ConfigError: an axis whose size its devices do not divide.
    """
    if _PLACES.value is None:
        return x
    return jax.lax.with_sharding_constraint(x, _sharding(names, x.shape))


def move(x: jax.Array, names: tuple[Name, ...], to: tuple[Name, ...]) -> jax.Array:
    """Place an activation that lies as `names` says as `to` says, and its gradient back again.

    A constraint alone would hold for the gradient too, which would then be summed whole on every
    device before a part of it is taken.
    """
    if _PLACES.value is None:
        return x
    return _moved(x, _sharding(to, x.shape), _sharding(names, x.shape))


def gathered(param: jax.Array, names: tuple[Name, ...]) -> jax.Array:
    """A parameter as a layer uses it: whole along the axes that only say how it is kept.

    The gradient goes back to where the parameter is kept.
    """
    if _PLACES.value is None:
        return param
    mesh, rules = _PLACES.value
    kept = spec_of([() if name is None else rules.mesh_axes(name, mesh) for name in names])
    whole = _moved(param, _sharding(names, param.shape), NamedSharding(mesh, kept))
    return checkpoint_name(whole, GATHERED)


def by_rows(f: Callable[..., Any], *arrays: jax.Array) -> Any:
    """`f(*arrays)` where no row needs another: every device computes those of its own users.

    For operations that the compiler does not divide, but runs on all rows everywhere.

    Args:
      f: of arrays whose first axis are rows, to the same.
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
    """Devices over which B and T of an activation `[B, T, ...]` are split.

    Args:
      *names: of the other axes.
    """
    if _PLACES.value is None:
        return 1, 1
    mesh, _ = _PLACES.value
    batch, sequence, *_ = _axes(("batch", "sequence", *names))
    return ways(mesh, batch), ways(mesh, sequence)


def merge_rows(x: jax.Array, names: tuple[Name, ...] = (), others: tuple[Name, ...] = ()) -> Any:
    """`[B, T, ...]` as `[B T, ...]`, for a product of matrices.

    Nothing moves between devices, except that T is gathered where the product needs the devices
    that it is split over for another axis. Where T stays split, the tokens of a device come one
    after another: rows are in another order than a reshape gives, which `split_rows` undoes.

    Args:
      x: `[B, T, ...]`.
      names: of the axes of `x` after the first two.
      others: names of further axes of the other operand.
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
    """`[B T, ...]` of `merge_rows` as `[B, T, ...]`.

    Args:
      x: `[B T, ...]`.
      rows: (B, T).
      *names: `names` and `others` of `merge_rows`.
    """
    (batch, length), rest = rows, x.shape[1:]
    b, t = token_ways(*names)
    if t == 1 or batch % b or length % t:
        return x.reshape(batch, length, *rest)
    # [B T, ...] -> [b, t, B/b, T/t, ...] -> [b, B/b, t, T/t, ...] -> [B, T, ...]
    y = _merged(x).reshape(b, t, batch // b, length // t, *rest)
    return jnp.swapaxes(y, 1, 2).reshape(batch, length, *rest)


def _merged(x: jax.Array) -> jax.Array:
    """Rows over all devices that tokens are split over; the other axes as the compiler likes."""
    mesh, _ = _PLACES.value
    batch, sequence = _axes(("batch", "sequence"))
    free = [PartitionSpec.UNCONSTRAINED] * (x.ndim - 1)
    spec = PartitionSpec(*spec_of([batch + sequence]), *free)
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))


def _axes(names: tuple[Name, ...]) -> list[tuple[str, ...]]:
    """Mesh axes of each axis of an activation."""
    mesh, rules = _PLACES.value
    batch = rules.mesh_axes("batch", mesh)
    taken = set(batch)
    found: list[tuple[str, ...]] = [()] * len(names)
    # Tokens take what the others leave.
    for i in sorted(range(len(names)), key=lambda i: names[i] == "sequence"):
        name = names[i]
        if name == "batch":
            found[i] = batch
        elif name is not None and name not in _KEPT:
            found[i] = tuple(axis for axis in rules.mesh_axes(name, mesh) if axis not in taken)
            taken |= set(found[i])
    return found


def _sharding(names: tuple[Name, ...], shape: tuple[int, ...]) -> NamedSharding:
    mesh, _ = _PLACES.value
    found = _axes(names)
    for i, (name, axes, size) in enumerate(zip(names, found, shape, strict=True)):
        if size == 1:
            found[i] = ()
        elif size % ways(mesh, axes):
            raise ConfigError(
                f"axis {name!r} of an activation {shape} has size {size}, which the "
                f"{ways(mesh, axes)} devices of mesh axis {'+'.join(axes)!r} do not divide; change "
                f"that size or the mesh, or set sharding.{name} None"
            )
    return NamedSharding(mesh, spec_of(found))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _moved(x: jax.Array, to: NamedSharding, back: NamedSharding) -> jax.Array:
    # Both, or the compiler may gather what `x` was converted from, of twice the bytes.
    return jax.lax.with_sharding_constraint(jax.lax.with_sharding_constraint(x, back), to)


def _move_there(x: jax.Array, to: NamedSharding, back: NamedSharding) -> tuple[jax.Array, None]:
    return _moved(x, to, back), None


def _move_back(
    to: NamedSharding, back: NamedSharding, _: None, gradient: jax.Array
) -> tuple[jax.Array]:
    return (jax.lax.with_sharding_constraint(gradient, back),)


_moved.defvjp(_move_there, _move_back)
