"""Beam search without the library's work on speed: one jitted call and plain einsums.

The history is read once a user. Attention of all beams over it is one einsum, and the beams' own
keys are stacked behind it and *moved* whenever beams are chosen. Logits and softmax span the whole
vocabulary, children are scattered into all codes, and one top-k runs over K C scores.
"""

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxrec.ids import IdVocabulary
from jaxrec.models import CausalLM, EncoderDecoder
from jaxrec.nn import ScoreTerms, SelfContext, attention_mask, positions_of
from support.padded_trie import PaddedTrie

Normalize = Literal["vocabulary", "codes", "legal"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PlainContext:
    """Beams attend to `[B, S]` history tokens, J earlier tokens of their own, and themselves."""

    valid: jax.Array
    positions: jax.Array
    own: int = dataclasses.field(metadata={"static": True})

    def distance(self, positions: jax.Array) -> jax.Array:
        """Distances to the history and to the J + 1 tokens: `[B, K, S + J + 1]`."""
        past = positions[:, :, None] - self.positions[:, None, :]
        back = jnp.arange(self.own, -1, -1, dtype=jnp.int32)
        own = jnp.broadcast_to(back[None, None], (*positions.shape, self.own + 1))
        return jnp.concatenate([past, own], axis=2)

    def attend(
        self,
        query: jax.Array,
        key: jax.Array,
        value: jax.Array,
        terms: ScoreTerms,
        layer: tuple[jax.Array, ...],
    ) -> jax.Array:
        """Attend with one softmax over history and own keys.

        `layer` holds keys and values, first `[B, S, G, H]` and then `[B, K, J, G, H]`. Query,
        key and value are `[B, K, heads, H]`: beams take the place of time.
        """
        history_key, history_value, own_key, own_value = layer
        keys = jnp.concatenate([own_key, key[:, :, None]], axis=2)
        values = jnp.concatenate([own_value, value[:, :, None]], axis=2)
        b, k, n, h = query.shape
        s, g = history_key.shape[1:3]
        query = query.reshape(b, k, g, n // g, h)
        f32 = jnp.float32
        past = jnp.einsum("bkgrh,bsgh->bgrks", query, history_key, preferred_element_type=f32)
        own = jnp.einsum("bkgrh,bkjgh->bgrkj", query, keys, preferred_element_type=f32)
        past = jnp.where(self.valid[:, None, None, None], past, jnp.finfo(f32).min)
        scores = jnp.concatenate([past, own], axis=-1).reshape(b, n, k, -1)
        weights = jax.nn.softmax(terms.apply(scores), axis=-1).astype(value.dtype)
        weights = weights.reshape(b, g, n // g, k, -1)
        out = jnp.einsum("bgrks,bsgh->bkgrh", weights[..., :s], history_value)
        out = out + jnp.einsum("bgrkj,bkjgh->bkgrh", weights[..., s:], values)
        return out.reshape(b, k, n, h)


@functools.partial(jax.jit, static_argnames=("model", "vocabulary", "beams", "normalize", "start"))
def plain_beam_search(
    model: CausalLM | EncoderDecoder,
    params: Any,
    trie: PaddedTrie,
    tokens: jax.Array,
    *,
    vocabulary: IdVocabulary,
    beams: int,
    normalize: Normalize = "codes",
    start: int = 0,
) -> tuple[jax.Array, jax.Array]:
    """Search as `jaxrec.decode.beam_search` does, with the same result.

    Args:
      model: a decoder, or an encoder-decoder whose encoder reads the history (static).
      params: parameters of the model.
      trie: all valid IDs.
      tokens: `[B, S]` int32, padded on the left with 0.
      vocabulary: token numbers of the codes (static).
      beams: K (static).
      normalize: over what the probabilities of a level sum to one (static).
      start: first token of the decoder of an encoder-decoder (static).

    Returns:
      items `[B, K]` int32 and scores `[B, K]` float32, best first.
    """
    valid = tokens != 0
    read: tuple[Any, ...] = ()
    if isinstance(model, EncoderDecoder):
        states = model.apply(params, tokens, valid, method="encode")
        read = (model.apply(params, states, method="memory"), valid)
        tokens = jnp.full((tokens.shape[0], 1), start, jnp.int32)
        valid = jnp.ones(tokens.shape, bool)
    batch = tokens.shape[0]
    positions = positions_of(valid)
    # Without `causal=True` the whole square of scores is computed.
    past = SelfContext(attention_mask(valid))
    hidden, history = model.apply(params, tokens, positions, past, *read, method="hidden")
    hidden = hidden[:, -1:]
    depth, _, _, heads, size = history[0].shape
    own = tuple(jnp.zeros((depth, batch, 1, 0, heads, size), x.dtype) for x in history)
    node = jnp.zeros((batch, 1), jnp.int32)
    score = jnp.zeros((batch, 1), jnp.float32)
    token = node
    for level, codes in enumerate(vocabulary.sizes):
        if level > 0:
            where = jnp.broadcast_to(positions[:, -1:] + level, token.shape)
            context = PlainContext(valid, positions, level - 1)
            hidden, new = model.apply(
                params, token, where, context, *read, cache=(*history, *own), method="hidden"
            )
            own = tuple(
                jnp.concatenate([x, y[:, :, :, None]], axis=3)
                for x, y in zip(own, new, strict=True)
            )
        logits = model.apply(params, hidden, method="logits")
        child = _spread(trie, level, node)
        logp = _log_softmax(logits, child >= 0, vocabulary.level(level), normalize)
        flat = (score[:, :, None] + logp).reshape(batch, -1)
        score, chosen = jax.lax.top_k(flat, min(beams, flat.shape[1]))
        parent = chosen // codes
        token = (chosen % codes).astype(jnp.int32) + jnp.int32(vocabulary.level(level).start)
        node = jnp.take_along_axis(child.reshape(batch, -1), chosen, axis=1)
        own = tuple(
            jnp.take_along_axis(x, parent[None, :, :, None, None, None], axis=2) for x in own
        )
    return trie.item(node), score


def _spread(trie: PaddedTrie, level: int, node: jax.Array) -> jax.Array:
    """Next nodes at all codes, `[B, K, C]`, of nodes `[B, K]`; -1 at illegal codes."""
    code, child = trie.children(level, node)
    batch, beams, _ = code.shape
    size = trie.sizes[level]
    row, beam = (jax.lax.broadcasted_iota(jnp.int32, code.shape, axis) for axis in (0, 1))
    at = jnp.where(child >= 0, code, size)
    every = jnp.full((batch, beams, size), -1, jnp.int32)
    return every.at[row, beam, at].set(child, mode="drop")


def _log_softmax(
    logits: jax.Array, legal: jax.Array, codes: slice, normalize: Normalize
) -> jax.Array:
    """Log-probabilities `[B, K, C]` of the codes of a level, from logits `[B, K, V]`."""
    if normalize == "vocabulary":
        logp = jax.nn.log_softmax(logits, axis=-1)[:, :, codes]
    elif normalize == "codes":
        logp = jax.nn.log_softmax(logits[:, :, codes], axis=-1)
    else:
        logp = jax.nn.log_softmax(logits[:, :, codes], axis=-1, where=legal)
    return jnp.where(legal, logp, -jnp.inf)
