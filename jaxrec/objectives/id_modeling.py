"""Next-token cross-entropy over histories written as item IDs.

In an aligned history (see `ids.sequences`) every level has a known column. The softmax of a
position therefore covers only the codes of the level that it predicts: this is the distribution
that decoding searches, at 1/L of the cost of the whole vocabulary.

Packed histories keep this property at no cost. Of each history the model reads BOS and all tokens
except the last, so n items occupy n L columns, and every item of a row starts at a multiple of L:

predicted   a0  a1  b0  b1  c0  c1      history a b, then history c; L = 2
read        BOS a0  a1  b0  BOS c0

A model that reads the history in both directions predicts only the item after the history:

encoder-decoder     source  BOS a0 a1 b0 b1     written  PAD c0     predicted  c0 c1
prefix decoder      read    BOS a0 a1 b0 b1 c0                      predicted  c0 c1
                            `---- prefix ----`
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError
from jaxrec.ids import BOS, PAD, IdVocabulary
from jaxrec.models import CausalLM, EncoderDecoder
from jaxrec.nn import SelfContext, attention_mask, positions_of
from jaxrec.objectives.loss import Loss
from jaxrec.peft import prepend, virtual_of

# From so many codes a level's loss is computed without storing the scores of all predictions.
_WIDE = 2048


def id_loss(
    model: CausalLM,
    params: Any,
    tokens: jax.Array,
    key: jax.Array | None,
    *,
    vocabulary: IdVocabulary,
    segments: jax.Array | None = None,
) -> Loss:
    """Negative log-likelihood of every item of the batch given the items before it, in nats.

    Args:
      model: the decoder.
      params: its parameters. If they hold the virtual tokens of a prefix or prompt, these are put
        before every history and are never targets.
      tokens: `[B, 1 + items * L]` int32 aligned histories. With `segments`, `[B, items, L]`: the
        items of packed histories, without BOS.
      key: dropout key; None for a deterministic pass.
      vocabulary: token numbers of the codes.
      segments: `[B, items]` int32, number of the history, within its row, that an item belongs to;
        negative for padding, which comes last.

    Returns:
      The sum over the batch's items of -log p(item), which by the chain rule is the sum over the
      levels of the ID, and the part of each level.

    Raises:
      ConfigError: histories are too long for learned positions (packed ones are not checked), or
        packed histories are combined with virtual tokens.
    """
    if segments is None:
        inputs, targets = tokens[:, :-1], tokens[:, 1:]
    else:
        inputs, targets, segments = _unpack(tokens, segments)
    slots = virtual_of(params).read
    if segments is not None and slots:
        raise ConfigError(
            f"packed histories cannot be combined with the {slots} virtual tokens of tune.method "
            "prefix or prompt, which a row's histories would share; set batches.layout to pad or "
            "bucket"
        )
    read = prepend(inputs, inputs != PAD, model.config.vocab_size, slots)
    fix = "lower max_items, or tune.virtual_tokens if virtual tokens are in use"
    if segments is None:
        model.config.check_length(read.tokens.shape[1], "histories", fix)
    rngs = None if key is None else {"dropout": key}
    hidden, _ = model.apply(
        params,
        read.tokens,
        positions_of(read.valid, segments),
        SelfContext(attention_mask(read.valid, segments=segments), causal=True),
        None,
        key is None,
        method="hidden",
        rngs=rngs,
    )
    hidden = read.drop(hidden)
    return _of_levels(model, params, hidden, targets, vocabulary)


def next_item_loss(
    model: CausalLM | EncoderDecoder,
    params: Any,
    source: jax.Array,
    target: jax.Array,
    key: jax.Array | None,
    *,
    vocabulary: IdVocabulary,
) -> Loss:
    """Negative log-likelihood of the item after each history, read in both directions, in nats.

    Args:
      model: an encoder-decoder, whose encoder reads the histories and whose decoder starts from
        PAD; or a decoder that reads them as its prefix.
      params: its parameters, without virtual tokens.
      source: `[B, S]` int32 histories, padded with PAD on either side for an encoder, and on the
        left for a decoder.
      target: `[B, L]` int32, tokens of the items that follow.
      key: dropout key; None for a deterministic pass.
      vocabulary: token numbers of the codes.

    Returns:
      The same sums as `id_loss`.
    """
    seen, settled = source != PAD, key is None
    rngs = None if key is None else {"dropout": key}
    length = source.shape[1]

    def run(module: CausalLM | EncoderDecoder) -> jax.Array:
        if isinstance(module, EncoderDecoder):
            written = jnp.pad(target[:, :-1], ((0, 0), (1, 0)), constant_values=PAD)
            there = jnp.ones(written.shape, bool)
            context = SelfContext(attention_mask(there), causal=True)
            memory = module.memory(module.encode(source, seen, settled))
            positions = positions_of(there)
            return module.hidden(written, positions, context, memory, seen, deterministic=settled)[
                0
            ]
        read = jnp.concatenate([source, target[:, :-1]], axis=1)
        prefix = jnp.pad(seen, ((0, 0), (0, read.shape[1] - length)))
        context = SelfContext(attention_mask(read != PAD, prefix=prefix))
        positions = positions_of(read != PAD)
        hidden, _ = module.hidden(read, positions, context, deterministic=settled)
        return hidden[:, length - 1 :]

    hidden = model.apply(params, method=run, rngs=rngs)
    return _of_levels(model, params, hidden, target, vocabulary)


def _of_levels(
    model: CausalLM | EncoderDecoder,
    params: Any,
    hidden: jax.Array,
    targets: jax.Array,
    vocabulary: IdVocabulary,
) -> Loss:
    """Loss of whole items from the states that predict their tokens.

    Args:
      model: its head scores the states.
      params: its parameters.
      hidden: `[B, items * L, D]`.
      targets: `[B, items * L]` int32 tokens; special tokens are never targets.
      vocabulary: token numbers of the codes.
    """
    levels = vocabulary.levels
    batch, length, width = hidden.shape
    # [B, items, L, D] and [B, items, L]
    hidden = hidden.reshape(batch, length // levels, levels, width)
    targets = targets.reshape(batch, length // levels, levels)
    # An item has all of its levels or none, so the first level tells whether it counts.
    weight = (targets[:, :, 0] >= vocabulary.num_special).astype(jnp.float32)
    losses = []
    for level in range(levels):
        rows = vocabulary.level(level)
        size = rows.stop - rows.start
        if size >= _WIDE:
            # Scores of so many codes are not stored, which takes less memory and less time.
            target = jnp.maximum(targets[:, :, level], rows.start)
            states = hidden[:, :, level]
            losses.append(
                model.apply(params, states, target, weight, rows.start, size, method="loss")
            )
            continue
        logits = model.apply(params, hidden[:, :, level], rows.start, size, method="logits")
        code = jnp.maximum(targets[:, :, level] - rows.start, 0)
        losses.append((cross_entropy(logits, code) * weight).sum())
    parts = {f"loss/level_{level}": loss for level, loss in enumerate(losses)}
    return Loss(total=jnp.stack(losses).sum(), weight=weight.sum(), parts=parts)


def _unpack(tokens: jax.Array, segments: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What the model reads and predicts in packed rows, and segments: `[B, items * L]` each."""
    batch, items, levels = tokens.shape
    targets = tokens.reshape(batch, items * levels)
    segments = jnp.repeat(segments, levels, axis=1)
    first = segments[:, 1:] != segments[:, :-1]
    first = jnp.pad(first, ((0, 0), (1, 0)), constant_values=True)
    before = jnp.pad(targets[:, :-1], ((0, 0), (1, 0)))
    inputs = jnp.where(segments < 0, PAD, jnp.where(first, BOS, before))
    return inputs, targets, segments


def cross_entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
    """-log softmax(logits)[target]: `[..., C]` float32 and `[...]` int32 to `[...]`.

    Example:
      >>> import jax.numpy as jnp
      >>> logits = jnp.log(jnp.array([[0.25, 0.75]]))
      >>> [round(x, 4) for x in cross_entropy(logits, jnp.array([0])).tolist()]  # ln 4
      [1.3863]
    """
    chosen = jnp.take_along_axis(logits, target[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - chosen
