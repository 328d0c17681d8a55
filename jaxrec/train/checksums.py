"""Checksums of a tree of arrays, computed on the devices that hold the arrays.

A file's checksum only says that the file is as written. These checksums go into the record of a
checkpoint and are computed again from the restored arrays, so they also cover everything in
between: compression, resharding, and missing chunks that read as zeros. They are integer sums, so
they are the same on every mesh and for any number of processes.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# A row of `Checked.leaves`: dtype, shape, checksum.
Row = list[Any]


@dataclasses.dataclass(frozen=True)
class Checked:
    """Checksums of a tree, and whether its numbers are finite.

    Attributes:
      leaves: maps the path of each array to [dtype, shape, checksum]; JSON-serializable.
      not_finite: paths of arrays with an infinity or a NaN.
    """

    leaves: dict[str, Row]
    not_finite: list[str]


def check(tree: Any) -> Checked:
    """Read all arrays once, on their devices."""
    sums, finite = (np.asarray(x).tolist() for x in _summaries(tree))
    shapes = describe(tree)
    leaves = {
        path: [*row, int(sum_)] for (path, row), sum_ in zip(shapes.items(), sums, strict=True)
    }
    bad = [path for path, good in zip(shapes, finite, strict=True) if not good]
    return Checked(leaves, bad)


def describe(tree: Any) -> dict[str, Row]:
    """Map the path of each array or shape to [dtype, shape]."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): [str(leaf.dtype), list(leaf.shape)]
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


@jax.jit
def _summaries(tree: Any) -> tuple[jax.Array, jax.Array]:
    """Checksums uint32, and whether all numbers are finite: one entry for each leaf."""
    leaves = jax.tree.leaves(tree)
    finite = [
        jnp.isfinite(x).all() if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.array(True)
        for x in leaves
    ]
    return jnp.stack([_checksum(x) for x in leaves]), jnp.stack(finite)


def _checksum(x: jax.Array) -> jax.Array:
    """Sum modulo 2^32 of the hash of every element's bits and place.

    The hash is MurmurHash3's finalizer, which is one-to-one. Therefore a change of one element
    always changes the sum, and a change of several elements is missed with probability 2^-32.
    """
    bits = _bits(x)
    place = jnp.zeros(bits.shape, jnp.uint32)
    for axis, size in enumerate(bits.shape):
        place = place * jnp.uint32(size % (1 << 32)) + jax.lax.broadcasted_iota(
            jnp.uint32, bits.shape, axis
        )
    h = bits ^ (place * jnp.uint32(0x9E3779B1))
    h = (h ^ (h >> 16)) * jnp.uint32(0x85EBCA6B)
    h = (h ^ (h >> 13)) * jnp.uint32(0xC2B2AE35)
    return (h ^ (h >> 16)).sum(dtype=jnp.uint32)


def _bits(x: jax.Array) -> jax.Array:
    """The bits of the numbers as uint32; numbers of 64 bits add a last axis of two."""
    size = x.dtype.itemsize
    if size == 8:
        return jax.lax.bitcast_convert_type(x, jnp.uint32)
    if jnp.issubdtype(x.dtype, jnp.inexact):
        x = jax.lax.bitcast_convert_type(x, jnp.dtype(f"uint{8 * size}"))
    return x.astype(jnp.uint32)
