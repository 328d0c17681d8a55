"""The search step that the decoder takes, alone: from logits and nodes to the next beams."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.decode import log_probabilities
from jaxrec.ids import ItemIndex

Step = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


def search_step(
    index: ItemIndex,
    level: int,
    node: jax.Array,
    score: jax.Array,
    logits: jax.Array,
    width: int,
    normalize: str = "codes",
    alive: Any = None,
) -> Step:
    """Keep the best `width` legal continuations.

    Args:
      index: all valid IDs.
      level: l, a Python int.
      node: `[B, K]` int32.
      score: `[B, K]` float32.
      logits: `[B, K, C]` float32.
      width: beams to keep.
      normalize: as in `beam_search`.
      alive: as in `ItemIndex.legal`.

    Returns:
      score, parent, code, node, each `[B, width]`; score -inf and node -1 where too few are legal.
    """
    legal = index.legal(level, node, alive)
    scores = score[:, :, None] + log_probabilities(logits, legal, normalize)
    best, parent, code = widest(scores, width)
    node = index.child(level, jnp.take_along_axis(node, parent, axis=1), code)
    return best, parent, code, jnp.where(jnp.isfinite(best), node, -1)


def free_step(score: jax.Array, logits: jax.Array, width: int) -> Step:
    """As `search_step` where every code is legal: no trie is read; the nodes are the codes."""
    scores = score[:, :, None] + jax.nn.log_softmax(logits, axis=-1)
    best, parent, code = widest(scores, width)
    return best, parent, code, code


def widest(scores: jax.Array, width: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The best `width` of `[B, K, C]`: score, beam and code, each `[B, width]`."""
    batch, beams, codes = scores.shape
    best, place = jax.lax.top_k(scores.reshape(batch, beams * codes), width)
    return best, (place // codes).astype(jnp.int32), (place % codes).astype(jnp.int32)
