"""Virtual tokens: what a prefix or a prompt puts in front of every sequence.

They are numbers at and above the vocabulary's size (see `nn.kernel`), so positions, masks and
caches treat them as tokens. Here they are put into a batch, and their states are taken out again::

    PAD PAD BOS a b        ->        PAD PAD V V+1 BOS a b        P = 2
    a b | c d              ->        V V+1 a b | V V+1 c d        packed: each sequence has its own
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from jaxrec.core import ConfigError
from jaxrec.nn import TUNED


@dataclasses.dataclass(frozen=True)
class Virtual:
    """How many virtual tokens a tuned model expects.

    Attributes:
      read: in front of what a decoder or an encoder reads.
      written: in front of what the decoder of an encoder-decoder writes.
    """

    read: int = 0
    written: int = 0


def virtual_of(params: Any) -> Virtual:
    """Virtual tokens of a model's variables, from the prompts and prefixes among them.

    Args:
      params: `{"params": ..., "tuned": ...}`, of arrays or shapes; None for no model yet.
    """
    if params is None:
        return Virtual()
    writes = {"encoder", "decoder"} <= set(params["params"])
    read = written = 0
    for path, node in flatten_dict(params.get(TUNED, {}), sep="/").items():
        if path.endswith("/prompt"):
            read = node.shape[0]
        elif path.endswith("/prefix"):
            # [layers, P, G, H]
            count = node[0].shape[1]
            if writes and path.startswith("decoder/"):
                written = count
            else:
                read = count
    return Virtual(read, written)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepended:
    """A batch with virtual tokens in it: N = T + P for each sequence of a row.

    Attributes:
      tokens: `[B, N]` int32.
      valid: `[B, N]` bool, True for virtual tokens.
      source: `[B, N]` int32, which token of the row stands there; at a virtual one, the first of
        its sequence; None where nothing was put in.
      place: `[B, T]` int32, where each token of the row stands now; None likewise.
    """

    tokens: jax.Array
    valid: jax.Array
    source: jax.Array | None = None
    place: jax.Array | None = None

    def widen(self, x: jax.Array) -> jax.Array:
        """`[B, T]` segments, types or masks to `[B, N]`: as the first token of the sequence."""
        return x if self.source is None else jnp.take_along_axis(x, self.source, axis=1)

    def drop(self, states: jax.Array) -> jax.Array:
        """States `[B, N, D]` without those of virtual tokens: `[B, T, D]`."""
        if self.place is None:
            return states
        return jnp.take_along_axis(states, self.place[:, :, None], axis=1)


def prepend(
    tokens: jax.Array,
    valid: jax.Array,
    vocab_size: int,
    count: int,
    segments: jax.Array | None = None,
    sequences: int = 1,
) -> Prepended:
    """Put virtual tokens in front of the first valid token of every sequence.

    There, and not at the start of the row, so that valid tokens stay side by side. A row without a
    valid token gets none.

    Args:
      tokens: `[B, T]` int32.
      valid: `[B, T]` bool.
      vocab_size: V; virtual tokens are V ... V + P - 1.
      count: P; 0 leaves the batch as it is.
      segments: `[B, T]` int32, which of the sequences packed into a row; None for one a row.
      sequences: most of them in a row. Under `jit` nothing can check that.

    Raises:
      ConfigError: a row with more sequences (outside `jit`).
    """
    if not count:
        return Prepended(tokens=tokens, valid=valid)
    batch, length = tokens.shape
    if segments is None:
        first = valid & (jnp.cumsum(valid.astype(jnp.int32), axis=1) == 1)
    else:
        same = segments[:, :, None] == segments[:, None, :]
        earlier = jnp.tril(jnp.ones((length, length), bool), -1)[None]
        first = valid & ~jnp.any(same & earlier & valid[:, None, :], axis=2)
    number = jnp.cumsum(first.astype(jnp.int32), axis=1)
    if not isinstance(number, jax.core.Tracer) and (most := int(number.max(initial=0))) > sequences:
        raise ConfigError(f"a row packs {most} sequences, above sequences={sequences}")
    columns = jnp.arange(length, dtype=jnp.int32)[None]
    place = columns + count * number
    size = length + count * sequences
    slots = jnp.arange(size, dtype=jnp.int32)[None]
    rows = jnp.arange(batch, dtype=jnp.int32)[:, None]
    # The first virtual slot of each sequence; what lies beyond the row is dropped.
    begins = jnp.zeros((batch, size), bool)
    begins = begins.at[rows, jnp.where(first, place - count, size)].set(True, mode="drop")
    begun = jnp.cumsum(begins.astype(jnp.int32), axis=1)
    since = slots - jax.lax.cummax(jnp.where(begins, slots, -size), axis=1)
    virtual = (begun > 0) & (since < count)
    source = slots - count * begun + jnp.where(virtual, count - since, 0)
    there = source < length
    source = jnp.minimum(source, length - 1)
    real = jnp.take_along_axis(tokens, source, axis=1)
    return Prepended(
        tokens=jnp.where(virtual, vocab_size + since, jnp.where(there, real, 0)),
        valid=virtual | (there & jnp.take_along_axis(valid, source, axis=1)),
        source=source,
        place=place,
    )
