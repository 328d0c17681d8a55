"""Next-token cross-entropy over histories written as item IDs.

An aligned history (see `ids.sequences`) has every level at a known column, so a position's softmax
runs over the codes of the level it predicts: the same distribution that decoding searches, at 1/L of
the cost of the whole vocabulary.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.ids import IdVocabulary
from jaxrec.models import CausalLM
from jaxrec.nn import SelfContext, causal_mask, positions_of


def id_loss(
    model: CausalLM,
    params: Any,
    tokens: jax.Array,
    key: jax.Array | None,
    *,
    vocabulary: IdVocabulary,
) -> tuple[jax.Array, jax.Array]:
    """Sum over levels of the mean negative log-likelihood of each level's codes, in nats an item.

    Args:
      model: the decoder.
      params: its parameters.
      tokens: `[B, 1 + items * L]` int32 aligned histories.
      key: dropout key; None for a deterministic pass.
      vocabulary: token numbers of the codes.

    Returns:
      The loss, and `[L]` mean negative log-likelihood of each level. -log p(item) is their sum: the
      chain rule over the ID's codes.
    """
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    valid = inputs != 0
    rngs = None if key is None else {"dropout": key}
    hidden, _ = model.apply(
        params,
        inputs,
        positions_of(valid),
        SelfContext(causal_mask(valid)),
        None,
        key is None,
        method="hidden",
        rngs=rngs,
    )
    levels = vocabulary.levels
    batch, length, width = hidden.shape
    # [B, items, L, D] and [B, items, L]
    hidden = hidden.reshape(batch, length // levels, levels, width)
    targets = targets.reshape(batch, length // levels, levels)
    losses = []
    for level in range(levels):
        rows = vocabulary.level(level)
        logits = model.apply(
            params, hidden[:, :, level], rows.start, rows.stop - rows.start, method="logits"
        )
        # PAD and BOS are no items, and never a target.
        weight = (targets[:, :, level] >= rows.start).astype(jnp.float32)
        code = jnp.maximum(targets[:, :, level] - rows.start, 0)
        losses.append(mean_cross_entropy(logits, code, weight))
    by_level = jnp.stack(losses)
    return by_level.sum(), by_level


def mean_cross_entropy(logits: jax.Array, target: jax.Array, weight: jax.Array) -> jax.Array:
    """Weighted mean of -log softmax(logits)[target].

    Args:
      logits: `[..., C]` float32.
      target: `[...]` int32.
      weight: `[...]` float32, 0 to leave a position out; all zero gives 0.
    """
    chosen = jnp.take_along_axis(logits, target[..., None], axis=-1)[..., 0]
    loss = jax.nn.logsumexp(logits, axis=-1) - chosen
    return (loss * weight).sum() / jnp.maximum(weight.sum(), 1.0)
