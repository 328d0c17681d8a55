"""The loss of BERT's pre-training: masked tokens, and whether a part follows the other."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.models import MaskedPairLM
from jaxrec.objectives.loss import Loss


def masked_loss(
    model: MaskedPairLM, params: Any, batch: Mapping[str, jax.Array], key: jax.Array | None
) -> Loss:
    """Cross-entropy of the predicted tokens plus that of "follows", in nats.

    As all pairs of a batch predict about the same number of tokens, the loss is the mean over pairs
    of the mean over their predicted tokens.

    Args:
      model: an encoder with both heads.
      params: its variables.
      batch: "tokens", "valid" and "types" `[B, T]`, "places", "labels" and "weights" `[B, P]`, and
        "follows" `[B]`; see `PairMasking.example`.
      key: dropout key; None for a deterministic pass.

    Returns:
      The sum over pairs, and their number; "masked" and "follows" are the two parts.
    """
    tokens, follows = masked_scores(model, params, batch, key)
    weights = batch["weights"]
    nats = -jnp.take_along_axis(jax.nn.log_softmax(tokens), batch["labels"][..., None], 2)[..., 0]
    masked = ((nats * weights).sum(1) / jnp.maximum(weights.sum(1), 1.0)).sum()
    log_p = jax.nn.log_softmax(follows)
    following = -jnp.take_along_axis(log_p, batch["follows"][:, None], 1).sum()
    return Loss(
        total=masked + following,
        weight=jnp.float32(len(follows)),
        parts={"masked": masked, "follows": following},
    )


def masked_scores(
    model: MaskedPairLM, params: Any, batch: Mapping[str, jax.Array], key: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Return the scores of all tokens at each place, and of not following and following.

    See `masked_loss` for the arguments.

    Returns:
      `[B, P, V]` and `[B, 2]` float32.
    """
    rngs = None if key is None else {"dropout": key}
    return model.apply(
        params,
        batch["tokens"],
        batch["valid"],
        key is None,
        types=batch["types"],
        places=batch["places"],
        rngs=rngs,
    )
