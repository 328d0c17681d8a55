"""Virtual tokens: the slots of a prefix or prompt in front of every sequence.

Their numbers start at the vocabulary's size V (see `nn.kernel`), so positions, masks and caches
treat them like other tokens. This module inserts them into a batch and removes their states again::

    PAD PAD BOS a b        ->        PAD PAD V V+1 BOS a b        P = 2
    a b | c d              ->        V V+1 a b | V V+1 c d        packed: one prompt per sequence
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
      read: in front of the input of a decoder-only model or an encoder.
      written: in front of the decoder's tokens in an encoder-decoder.
    """

    read: int = 0
    written: int = 0


def virtual_of(params: Any) -> Virtual:
    """Count the virtual tokens of a model from the prompts and prefixes in its variables.

    Args:
      params: `{"params": ..., "tuned": ...}`, of arrays or shapes; None, without a model, counts as
        no virtual tokens.

    Example:
      >>> virtual_of({"params": {}, "tuned": {"embedding": {"prompt": jnp.zeros((3, 16))}}})
      Virtual(read=3, written=0)
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
    """A batch with virtual tokens: N = T + P times the number of sequences in a row.

    Attributes:
      tokens: `[B, N]` int32.
      valid: `[B, N]` bool, True for virtual tokens.
      source: `[B, N]` int32, the original column of each token; a virtual token has the column of
        the first token of its sequence. None if there are no virtual tokens.
      place: `[B, T]` int32, the new column of each original token. None if there are no virtual
        tokens.
    """

    tokens: jax.Array
    valid: jax.Array
    source: jax.Array | None = None
    place: jax.Array | None = None

    def widen(self, x: jax.Array) -> jax.Array:
        """Map `[B, T]` segments, types or masks to `[B, N]`; virtual tokens copy the next token."""
        return x if self.source is None else jnp.take_along_axis(x, self.source, axis=1)

    def drop(self, states: jax.Array) -> jax.Array:
        """Remove the states of virtual tokens from `[B, N, D]`: `[B, T, D]`."""
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
    """Insert virtual tokens in front of the first valid token of every sequence.

    They go there, not at the start of the row, so that valid tokens stay contiguous. A row without
    valid tokens gets none.

    Args:
      tokens: `[B, T]` int32.
      valid: `[B, T]` bool, False for padding.
      vocab_size: V; virtual tokens are V ... V + P - 1.
      count: P; 0 leaves the batch unchanged.
      segments: `[B, T]` int32, which of the sequences packed into a row a token belongs to; None
        for one sequence per row.
      sequences: maximum number of sequences in a row; not checked under `jit`.

    Raises:
      ConfigError: a row has more sequences than `sequences`.

    Example:
      >>> tokens = jnp.array([[0, 5, 6]])
      >>> prepend(tokens, tokens > 0, vocab_size=10, count=2).tokens.tolist()
      [[0, 10, 11, 5, 6]]
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
        raise ConfigError(
            f"a row packs {most} sequences, more than sequences={sequences}; raise the limit"
        )
    columns = jnp.arange(length, dtype=jnp.int32)[None]
    place = columns + count * number
    size = length + count * sequences
    slots = jnp.arange(size, dtype=jnp.int32)[None]
    rows = jnp.arange(batch, dtype=jnp.int32)[:, None]
    # Mark the first virtual slot of each sequence; columns beyond the row are dropped.
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
