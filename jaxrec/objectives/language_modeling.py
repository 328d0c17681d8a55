"""Next-token cross-entropy over texts: over the whole text, or over the part that weights select.

Weights that select only the answer turn language modeling into instruction tuning (Wei et al. 2022,
arXiv:2109.01652).
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.models import CausalLM, EncoderDecoder
from jaxrec.nn import SelfContext, attention_mask, positions_of
from jaxrec.objectives.loss import Loss


def language_loss(
    model: CausalLM | EncoderDecoder,
    params: Any,
    batch: Mapping[str, jax.Array],
    key: jax.Array | None,
) -> Loss:
    """Negative log-likelihood of the weighted tokens given the tokens before them, in nats.

    Args:
      model: a decoder or an encoder-decoder.
      params: its variables.
      batch: "tokens" `[B, T]` int32, "valid" `[B, T]` bool, and "weights" `[B, T]` float32 of the
        tokens as targets; the first token of a row is never a target. An encoder-decoder also needs
        "source" `[B, S]` int32 and "source_valid" `[B, S]` bool. A decoder also takes "prefix"
        `[B, T]` bool, tokens that attend to one another in both directions, and "segments" `[B, T]`
        int32, numbers of the texts that are packed into a row.
      key: dropout key; None for a deterministic pass.

    Returns:
      The weighted sum over targets, and the sum of the weights.

    Cost: the logits of all tokens are never stored; see `LanguageHead.loss`.
    """
    tokens, valid = batch["tokens"], batch["valid"]
    inputs, seen = tokens[:, :-1], valid[:, :-1]
    # Virtual tokens (see `nn.kernel`) have numbers above the vocabulary and are never targets, and
    # neither are tokens that are only read, which have no logit.
    written = model.config.vocab_size - model.config.read_only
    real = valid[:, 1:] & (tokens[:, 1:] < written)
    targets = jnp.where(real, tokens[:, 1:], 0)
    weights = batch["weights"][:, 1:] * real.astype(jnp.float32)
    rngs = None if key is None else {"dropout": key}
    settled = key is None
    segments, prefix = batch.get("segments"), batch.get("prefix")
    if segments is not None:
        # The first token of a text is not predicted from the text before it.
        same = segments[:, 1:] == segments[:, :-1]
        weights = weights * same.astype(jnp.float32)
        segments = segments[:, :-1]
    if prefix is not None:
        prefix = prefix[:, :-1]
    context = SelfContext(attention_mask(seen, True, prefix, segments), causal=prefix is None)
    positions = positions_of(seen, segments)

    def run(module: CausalLM | EncoderDecoder) -> jax.Array:
        if isinstance(module, EncoderDecoder):
            source_valid = batch["source_valid"]
            memory = module.memory(module.encode(batch["source"], source_valid, settled))
            hidden, _ = module.hidden(
                inputs, positions, context, memory, source_valid, deterministic=settled
            )
        else:
            hidden, _ = module.hidden(inputs, positions, context, deterministic=settled)
        return module.loss(hidden, targets, weights)

    total = model.apply(params, method=run, rngs=rngs)
    return Loss(total=total, weight=weights.sum(), parts={})
