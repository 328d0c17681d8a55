"""Beam search over valid item IDs only: from histories to items and scores in one jitted call.

Prefill reads each history once; then one wide step a level extends all beams, with logits of that
level's codes alone. Illegal codes are removed *before* the top-k, so the search is exact for its
beam width: with as many beams as items it ranks the whole catalogue.
"""

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError
from jaxrec.decode.cache import BeamCache, BeamContext
from jaxrec.ids import IdVocabulary, ItemIndex
from jaxrec.models import CausalLM
from jaxrec.nn import SelfContext, attention_mask, positions_of

Normalize = Literal["codes", "legal"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Recommendations:
    """Ranked items of a batch of users.

    Attributes:
      items: `[B, K]` int32, best first, no item twice; -1 where fewer items are allowed than beams.
      scores: `[B, K]` float32 log-probabilities of the IDs; -inf where `items` is -1.
    """

    items: jax.Array
    scores: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Beams:
    """Loop state: `node` and `token` `[B, K]` int32, `score` `[B, K]`, `ancestors` `[B, K, J]`."""

    node: jax.Array
    token: jax.Array
    score: jax.Array
    ancestors: jax.Array


def beam_widths(index: ItemIndex, beams: int) -> tuple[int, ...]:
    """Beams kept after each level: at most `beams`, and no more than the trie has nodes there."""
    return tuple(min(beams, edges.shape[0]) for edges in index.edges)


def check_beams(num_items: int, beams: int) -> None:
    """Reject a beam width that the catalogue cannot fill, before any work.

    Raises:
      ConfigError: beams below 1 or above the number of items.
    """
    if not 1 <= beams <= num_items:
        raise ConfigError(
            f"decode.beams must lie between 1 and the catalogue's {num_items} items, got {beams}"
        )


@functools.partial(jax.jit, static_argnames=("model", "vocabulary", "beams", "normalize"))
def beam_search(
    model: CausalLM,
    params: Any,
    index: ItemIndex,
    tokens: jax.Array,
    allowed: jax.Array | None = None,
    excluded: jax.Array | None = None,
    *,
    vocabulary: IdVocabulary,
    beams: int,
    normalize: Normalize = "codes",
) -> Recommendations:
    """Generate the `beams` best items after each history.

    Args:
      model: the decoder (static).
      params: its parameters.
      index: all valid IDs.
      tokens: `[B, S]` int32 histories as ID tokens, padded on the left with PAD.
      allowed: `[B, I]` bool items that may be recommended; None for all.
      excluded: `[B, E]` int32 items that may not, such as the user's history, padded with -1; None
        for none. Costs O(E log E) a user, whatever I. At most one of `allowed` and `excluded`.
      vocabulary: token numbers of the codes (static).
      beams: K, beams after each level (static).
      normalize: log-probabilities over all codes of a level, or over the legal ones only.

    Returns:
      `Recommendations` of `[B, min(beams, I)]`.

    Cost a user: one prefill of S tokens, then L-1 steps of K tokens, each reading the history's
    keys and values once, and a top-k over K C_l scores a level. The trace is unrolled over levels.
    """
    valid = tokens != 0
    positions = positions_of(valid)
    batch = tokens.shape[0]
    widths = beam_widths(index, beams)
    alive = _alive(index, allowed, excluded)

    past = SelfContext(attention_mask(valid), causal=True)
    hidden, (key, value) = model.apply(params, tokens, positions, past, method="hidden")
    cache = BeamCache(key, value)
    # The history is one beam at the root of the trie.
    hidden = hidden[:, -1:]
    state = _Beams(
        node=jnp.zeros((batch, 1), jnp.int32),
        token=jnp.zeros((batch, 1), jnp.int32),
        score=jnp.zeros((batch, 1), jnp.float32),
        ancestors=jnp.zeros((batch, 1, 0), jnp.int32),
    )
    for level, width in enumerate(widths):
        if level > 0:
            where = jnp.broadcast_to(positions[:, -1:] + level, state.token.shape)
            context = BeamContext(valid, positions, state.ancestors)
            hidden, key_value = model.apply(
                params, state.token, where, context, cache, method="hidden"
            )
            cache = cache.extend(key_value)
        rows = vocabulary.level(level)
        # [B, K, C]
        logits = model.apply(params, hidden, rows.start, rows.stop - rows.start, method="logits")
        legal = index.legal(level, state.node, alive)
        scores = state.score[:, :, None] + log_probabilities(logits, legal, normalize)
        state = _advance(index, level, rows.start, state, scores, width)

    return Recommendations(index.item(state.node), state.score)


def _alive(index: ItemIndex, allowed: jax.Array | None, excluded: jax.Array | None) -> Any:
    if allowed is not None and excluded is not None:
        raise ConfigError(
            "beam_search got both `allowed` and `excluded`; clear the excluded items in `allowed`"
        )
    if excluded is not None:
        return index.exclude(excluded)
    return None if allowed is None else index.restrict(allowed)


def log_probabilities(logits: jax.Array, legal: jax.Array, normalize: Normalize) -> jax.Array:
    """Log-softmax over codes, -inf at illegal ones: `[..., C]` to `[..., C]`."""
    if normalize == "legal":
        logits = jnp.where(legal, logits, -jnp.inf)
        # A dead beam has no legal child; its maximum of -inf must not turn into NaN.
        top = jnp.maximum(logits.max(-1, keepdims=True), jnp.finfo(jnp.float32).min)
        total = jnp.log(jnp.exp(logits - top).sum(-1, keepdims=True))
        return jnp.where(legal, logits - top - total, -jnp.inf)
    return jnp.where(legal, jax.nn.log_softmax(logits, axis=-1), -jnp.inf)


def _advance(
    index: ItemIndex, level: int, offset: int, state: _Beams, scores: jax.Array, width: int
) -> _Beams:
    """Keep the best `width` of `[B, K, C]` continuations and move them down the trie."""
    batch, beams, codes = scores.shape
    flat = scores.reshape(batch, beams * codes)
    best, chosen = jax.lax.top_k(flat, min(width, beams * codes))
    parent, code = chosen // codes, (chosen % codes).astype(jnp.int32)
    parent = parent.astype(jnp.int32)
    node = index.child(level, jnp.take_along_axis(state.node, parent, axis=1), code)
    # More beams than legal continuations: the rest are marked dead, and so are their descendants.
    node = jnp.where(jnp.isfinite(best), node, -1)
    path = jnp.take_along_axis(state.ancestors, parent[:, :, None], axis=1)
    own = jnp.broadcast_to(jnp.arange(best.shape[1], dtype=jnp.int32), best.shape)
    ancestors = jnp.concatenate([path, own[:, :, None]], axis=2)
    return _Beams(node=node, token=code + jnp.int32(offset), score=best, ancestors=ancestors)
