"""What new tokens attend to in text generation: a shared prefix, a row's slots, and one another.

A *shared prefix* is a run of tokens that all rows begin with, such as the demonstrations before
many questions. Its keys and values are stored once, and the queries of all rows read them in one
product of matrices. The softmax over the prefix and the softmax over a row's own tokens are merged
through their sums, as in `kernels.merge_parts`. Without a softmax (HSTU) the two parts are added.

Shapes: `B` rows, `T` tokens that are read at once, `S` slots, `P` slots of the prefix.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.kernels import Part, SharedHistory, history_attention, merge_parts
from jaxrec.nn import KeyValue, ScoreTerms


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SharedPrefix:
    """Keys and values of the tokens that all rows begin with; `read_prefix` makes them.

    Attributes:
      key: `[depth, G, P, H]`, so that each head's tokens lie in one run.
      value: `[depth, G, P, H]`.
      valid: `[P]` bool, False for free slots, which follow the tokens.

    Example:
      >>> zeros = jnp.zeros((2, 1, 4, 8))
      >>> SharedPrefix(zeros, zeros, jnp.array([True, True, True, False])).length.item()
      3
    """

    key: jax.Array
    value: jax.Array
    valid: jax.Array

    @property
    def capacity(self) -> int:
        """P, the number of slots."""
        return self.valid.shape[0]

    @property
    def length(self) -> jax.Array:
        """Number of tokens, int32 scalar."""
        return jnp.sum(self.valid, dtype=jnp.int32)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CacheContext:
    """New tokens attend to cached ones and among themselves.

    Attributes:
      past: `[B, T or 1, S]` bool, which slots are seen; None if there is no slot yet.
      past_positions: `[B, S]` int32; None if there is no slot yet.
      own: `[B, T, T]` bool, mask among the new tokens, true on the diagonal.
    """

    past: jax.Array | None
    past_positions: jax.Array | None
    own: jax.Array

    def distance(self, positions: jax.Array) -> jax.Array:
        """Distances to the slots and then to the new tokens: `[B, T, S + T]`."""
        keys = positions
        if self.past_positions is not None:
            keys = jnp.concatenate([self.past_positions, positions], axis=1)
        return positions[:, :, None] - keys[:, None, :]

    def attend(
        self,
        query: jax.Array,
        key: jax.Array,
        value: jax.Array,
        terms: ScoreTerms,
        layer: KeyValue | None,
    ) -> jax.Array:
        """Take one softmax over slots and new tokens; `layer` is two arrays `[B, S, G, H]`.

        Cost: O(B N H T (S + T)) products and one read of the layer's slots, which are not copied
        into a longer array.
        """
        return self.part(query, key, value, terms, layer).out

    def part(
        self,
        query: jax.Array,
        key: jax.Array,
        value: jax.Array,
        terms: ScoreTerms,
        layer: KeyValue | None,
    ) -> Part:
        """Return what `attend` returns, and the logarithm of the softmax's denominator."""
        b, t, n, h = query.shape
        g = key.shape[2]
        blocks = [(key, value, self.own)]
        if layer is not None and self.past is not None:
            blocks.insert(0, (*layer, self.past))
        scores, first = [], 0
        for keys, _, seen in blocks:
            part = slice(first, first + keys.shape[1])
            first = part.stop
            if terms.allowed is not None:
                seen = seen & terms.allowed[:, :, part]
            # [B, G, N/G, T, S or T], as one batched product of matrices
            logits = jnp.einsum(
                "btgnh,bsgh->bgnts",
                query.reshape(b, t, g, n // g, h),
                keys,
                preferred_element_type=jnp.float32,
            )
            bias = None if terms.bias is None else terms.bias[..., part]
            logits = dataclasses.replace(terms, bias=bias).apply(logits.reshape(b, n, t, -1))
            scores.append(jnp.where(seen[:, None], logits, jnp.finfo(jnp.float32).min))
        weights, total, top = _weigh(scores, terms)

        def weighted(weights: jax.Array, values: jax.Array) -> jax.Array:
            weights = (weights / total).astype(values.dtype).reshape(b, g, n // g, t, -1)
            return jnp.einsum("bgnts,bsgh->btgnh", weights, values)

        outs = [weighted(w, values) for w, (_, values, _) in zip(weights, blocks, strict=True)]
        out = outs[0] if len(outs) == 1 else outs[0] + outs[1]
        lse = jnp.swapaxes((top + jnp.log(total))[..., 0], 1, 2)
        return Part(out.reshape(b, t, n, h), lse)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PrefixContext:
    """New tokens attend to the prefix of all rows, to their own row's slots and to one another.

    What two rows of two new tokens see, without slots; the first two columns are the prefix, whose
    keys are the same for both rows::

        1 1 | 1 0        1 1 | 1 0
        1 1 | 1 1        1 1 | 1 1

    Attributes:
      prefix: `[P]` bool, the slots of the prefix that hold a token.
      own: what a token sees of its own row.
    """

    prefix: jax.Array
    own: CacheContext

    def distance(self, positions: jax.Array) -> jax.Array:
        """Distances to the prefix, the slots and the new tokens: `[B, T, P + S + T]`."""
        places = jnp.arange(self.prefix.shape[0], dtype=jnp.int32)
        past = positions[:, :, None] - places[None, None]
        return jnp.concatenate([past, self.own.distance(positions)], axis=2)

    def attend(
        self, query: jax.Array, key: jax.Array, value: jax.Array, terms: ScoreTerms, layer: Any
    ) -> jax.Array:
        """Take one softmax over prefix, slots and new tokens.

        Args:
          query: `[B, T, N, H]`.
          key: `[B, T, G, H]`, keys of the new tokens.
          value: `[B, T, G, H]`.
          terms: bias, cap and mask of the scores.
          layer: keys and values of the prefix, `[G, P, H]` each, and of the rows' slots,
            `[B, S, G, H]` each; None instead of the latter if there is no slot yet.

        Cost: O(B N H T (P + S + T)) products; the prefix is read once for all rows.
        """
        (prefix_key, prefix_value), slots = layer
        b, t, n, h = query.shape
        p = self.prefix.shape[0]
        own, past = terms, ScoreTerms(softcap=terms.softcap, pointwise=terms.pointwise)
        seen = self.prefix[None]
        if terms.allowed is not None:
            narrow = terms.allowed[:, :, :p] & self.prefix[None, None]
            seen = jnp.broadcast_to(narrow, (b, t, p)).reshape(1, b * t, p)
            own = dataclasses.replace(own, allowed=terms.allowed[:, :, p:])
        if terms.bias is not None:
            # [B, N, T, P] -> [1, N, B T, P]: all tokens of all rows are queries of one history.
            bias = jnp.broadcast_to(terms.bias[..., :p], (b, n, t, p))
            past = dataclasses.replace(past, bias=jnp.swapaxes(bias, 0, 1).reshape(1, n, b * t, p))
            own = dataclasses.replace(own, bias=terms.bias[..., p:])
        history = SharedHistory(key=prefix_key[None], value=prefix_value[None], valid=seen)
        read = history_attention(query.reshape(1, b * t, n, h), history, past)
        common = Part(read.out.reshape(b, t, n, h), read.lse.reshape(b, t, n))
        parts = [common, self.own.part(query, key, value, own, slots)]
        return merge_parts(parts, terms).astype(query.dtype)


def _weigh(
    scores: list[jax.Array], terms: ScoreTerms
) -> tuple[list[jax.Array], jax.Array, jax.Array]:
    """Do what `ScoreTerms.weigh` does, for scores of the same queries in several arrays."""
    if terms.pointwise is not None:
        found = [terms.weigh(block) for block in scores]
        return [weights for weights, _, _ in found], *found[0][1:]
    # The softmaxes are merged through their common maximum and sum. A token sees itself, so the
    # maximum is a real score and masked ones vanish.
    top = scores[-1].max(-1, keepdims=True)
    for block in scores[:-1]:
        top = jnp.maximum(top, block.max(-1, keepdims=True))
    weights = [jnp.exp(block - top) for block in scores]
    total = sum((block.sum(-1, keepdims=True) for block in weights), start=jnp.float32(0.0))
    return weights, total, top
