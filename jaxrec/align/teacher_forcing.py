"""Log-probabilities of several items after one history, by teacher forcing, in a single pass.

The history is read once and its items branch off it, so G items of L levels cost G (L - 1) tokens
more than the history, instead of G histories. For a history h and two items of three levels::

    read        h h h  a0 a1  b0 b1
    sees        h h h                    row of each token; 1 is "sees"
    a0          1 1 1  1  .   .  .
    a1          1 1 1  1  1   .  .
    b0          1 1 1  .  .   1  .
    b1          1 1 1  .  .   1  1
    predicts    a0,b0 from the last h;  a1 from a0;  a2 from a1;  ...

Every probability is over the codes of its level, legal or not: this is the sequential model that
training learns, whatever a search normalizes over and however items were drawn.

Shapes: `B` histories, `S` tokens of a history, `G` items of each, `L` levels.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError
from jaxrec.ids import PAD, IdVocabulary
from jaxrec.models import CausalLM
from jaxrec.nn import SelfContext, attention_mask, positions_of
from jaxrec.objectives import cross_entropy
from jaxrec.peft import virtual_of


def item_log_probs(
    model: CausalLM,
    params: Any,
    histories: jax.Array,
    items: jax.Array,
    *,
    vocabulary: IdVocabulary,
    normalize: Literal["codes", "vocabulary"] = "codes",
) -> jax.Array:
    """Return the log-probability of each code of items after histories, `[B, G, L]` float32.

    The log-probability of an item is the sum over its codes. The pass is deterministic and has
    gradients.

    Args:
      model: the decoder.
      params: its variables, without virtual tokens.
      histories: `[B, S]` int32 tokens, padded on the left, see `ids.write_histories`.
      items: `[B, G, L]` int32 tokens of items. A row of PAD is no item and has log-probability 0.
      vocabulary: token numbers of the codes.
      normalize: what the probabilities of a code add up to 1 over: the "codes" of its level, or all
        tokens of the "vocabulary", as trainers of texts have it.

    Raises:
      ConfigError: other levels than the vocabulary's, another `normalize`, or the virtual tokens of
        a tuned model.

    Cost: one pass over S + G (L - 1) tokens a history, with a mask of its square.

    Example:
      >>> from jaxrec.testing.brute_force import make_case
      >>> case = make_case(0, sizes=(6,), share=1.0)
      >>> items = case.vocabulary.tokens(case.codes)[None].repeat(3, axis=0)
      >>> def total(params):
      ...     given = (case.model, params, case.tokens, jnp.asarray(items))
      ...     return jnp.exp(item_log_probs(*given, vocabulary=case.vocabulary)).sum((1, 2))
      >>> [round(float(x), 4) for x in jax.jit(total)(case.params)]  # six items of one code
      [1.0, 1.0, 1.0]
    """
    batch, group, levels = items.shape
    if levels != vocabulary.levels:
        raise ConfigError(
            f"items of {levels} tokens do not fit a vocabulary of {vocabulary.levels} levels"
        )
    if normalize not in ("codes", "vocabulary"):
        raise ConfigError(f'normalize must be "codes" or "vocabulary", got {normalize!r}')
    if virtual_of(params).read:
        raise ConfigError(
            "items branch off a history, which leaves no place for virtual tokens; tune by "
            "tune.method full, lora, qlora or adapter"
        )
    length = histories.shape[1]
    valid, there = histories != PAD, items[:, :, 0] != PAD
    # [B, G (L - 1)]
    branches = items[:, :, :-1].reshape(batch, -1)
    read = jnp.concatenate([histories, branches], axis=1)
    positions = positions_of(valid)
    ends = positions[:, -1:] + 1
    steps = jnp.arange(levels - 1, dtype=jnp.int32)
    later = ends + jnp.tile(steps, group)[None]
    context = SelfContext(_mask(valid, group, levels - 1), ordered=False, causal=True)
    hidden, _ = model.apply(
        params, read, jnp.concatenate([positions, later], axis=1), context, method="hidden"
    )
    # [B, 1, 1, D] of the histories, then [B, G, L - 1, D]
    root = hidden[:, length - 1][:, None]
    branched = hidden[:, length:].reshape(batch, group, levels - 1, hidden.shape[-1])
    result = []
    for level in range(levels):
        codes = normalize == "codes"
        rows = vocabulary.level(level) if codes else slice(0, model.config.vocab_size)
        states = root if level == 0 else branched[:, :, level - 1]
        logits = model.apply(params, states, rows.start, rows.stop - rows.start, method="logits")
        code = jnp.maximum(items[:, :, level] - rows.start, 0)
        logits = jnp.broadcast_to(logits, (batch, group, logits.shape[-1]))
        result.append(jnp.where(there, -cross_entropy(logits, code), 0.0))
    return jnp.stack(result, axis=-1)


def _mask(valid: jax.Array, group: int, steps: int) -> jax.Array:
    """Which tokens see which, as drawn above: `[B, S]` bool to `[B, S + G R, S + G R]`."""
    batch, length = valid.shape
    more = group * steps
    own = jnp.kron(jnp.eye(group, dtype=jnp.int32), jnp.tril(jnp.ones((steps, steps), jnp.int32)))
    own = jnp.broadcast_to(own.astype(bool)[None], (batch, more, more))
    past = jnp.broadcast_to(valid[:, None], (batch, more, length))
    upper = jnp.pad(attention_mask(valid), ((0, 0), (0, 0), (0, more)))
    return jnp.concatenate([upper, jnp.concatenate([past, own], axis=2)], axis=1)
