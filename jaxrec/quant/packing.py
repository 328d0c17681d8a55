"""Packing of codes with fewer than eight bits into 32-bit words, without wasted bits.

A width that does not divide 32 is split into parts that do (3 = 2 + 1), and each part is packed on
its own. Every width thus costs exactly its bits, and unpacking needs only shifts and masks, which
XLA fuses with the operations that follow.
"""

import jax
import jax.numpy as jnp

WORD = 32


def parts_of(bits: int) -> tuple[int, ...]:
    """Return the powers of two that sum to `bits`, smallest first: 3 gives (1, 2)."""
    return tuple(1 << place for place in range(bits.bit_length()) if bits >> place & 1)


def unit_of(bits: int) -> tuple[int, int]:
    """Return the smallest number of codes that fills whole words, and of words: (32, 3) for 3."""
    smallest = parts_of(bits)[0]
    return WORD // smallest, bits // smallest


def pack(codes: jax.Array, bits: int) -> jax.Array:
    """Pack along the rows of a matrix; the last unit is padded with zeros.

    Args:
      codes: `[..., I, O]` integers in [0, 2^bits).
      bits: width of a code, below 8.

    Returns:
      `[..., U, P, O]` uint32: U units of P words each.
    """
    count, _ = unit_of(bits)
    rows, columns = codes.shape[-2:]
    units = -(-rows // count)
    padding = [(0, 0)] * (codes.ndim - 2) + [(0, units * count - rows), (0, 0)]
    codes = jnp.pad(codes.astype(jnp.uint32), padding)
    words = []
    below = 0
    for part in parts_of(bits):
        lanes = WORD // part
        piece = codes >> jnp.uint32(below) & jnp.uint32((1 << part) - 1)
        piece = piece.reshape(*codes.shape[:-2], units, count // lanes, lanes, columns)
        # Lanes do not overlap, so the sum is a bitwise or.
        words.append(jnp.sum(piece << _shifts(part, piece.ndim), axis=-2, dtype=jnp.uint32))
        below += part
    return jnp.concatenate(words, axis=-2)


def unpack(words: jax.Array, bits: int, rows: int) -> jax.Array:
    """Undo `pack`.

    Args:
      words: `[..., U, P, O]` uint32.
      bits: width of a code.
      rows: I.

    Returns:
      `[..., I, O]` uint8.
    """
    count, _ = unit_of(bits)
    units, _, columns = words.shape[-3:]
    codes = None
    below = start = 0
    for part in parts_of(bits):
        lanes = WORD // part
        size = count // lanes
        piece = words[..., start : start + size, None, :]
        piece = piece >> _shifts(part, piece.ndim) & jnp.uint32((1 << part) - 1)
        piece = piece.reshape(*words.shape[:-3], units * count, columns).astype(jnp.uint8)
        piece = piece << jnp.uint8(below)
        codes = piece if codes is None else codes | piece
        below += part
        start += size
    assert codes is not None
    return codes[..., :rows, :]


def _shifts(part: int, ndim: int) -> jax.Array:
    """Return the first bit of every lane of a word, along the second to last of `ndim` axes."""
    shifts = jnp.arange(0, WORD, part, dtype=jnp.uint32)
    return shifts.reshape(*(1,) * (ndim - 2), -1, 1)
