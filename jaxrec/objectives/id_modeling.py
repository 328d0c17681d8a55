"""Next-token cross-entropy over histories written as item IDs.

An aligned history (see `ids.sequences`) has every level at a known column, so a position's softmax
runs over the codes of the level it predicts: the same distribution that decoding searches, at 1/L
of the cost of the whole vocabulary.

Packed histories keep that at no cost. What the model reads of a history is BOS and all tokens but
the last, so n items take n L columns, and every item of a row is predicted from a multiple of L on:

predicted   a0  a1  b0  b1  c0  c1      history a b, then history c; L = 2
read        BOS a0  a1  b0  BOS c0

A model that reads the history in both directions predicts one item after it:

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
      params: its parameters; the virtual tokens of a prefix or prompt among them are put in front
        of every history, and are never targets.
      tokens: `[B, 1 + items * L]` int32 aligned histories. With `segments`, `[B, items, L]`: the
        items of histories packed behind one another, without BOS.
      key: dropout key; None for a deterministic pass.
      vocabulary: token numbers of the codes.
      segments: `[B, items]` int32, which of its row's histories an item belongs to; negative for
        padding, which comes last.

    Returns:
      Sums over the batch's items of -log p(item), which the chain rule makes the sum over the ID's
      levels, and of each level's share.

    Raises:
      ConfigError: histories that are too long for learned positions (packed ones are not checked),
        or packed ones with virtual tokens.
    """
    if segments is None:
        inputs, targets = tokens[:, :-1], tokens[:, 1:]
    else:
        inputs, targets, segments = _read(tokens, segments)
    slots = virtual_of(params).read
    if segments is not None and slots:
        raise ConfigError(
            f"packed histories would have to share a row's {slots} virtual tokens; use "
            "batches.layout pad or bucket with tune.method prefix or prompt"
        )
    read = prepend(inputs, inputs != PAD, model.config.vocab_size, slots)
    fix = "lower max_items, or tune.virtual_tokens where there are such"
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
    """Negative log-likelihood of one item after each history read in both directions, in nats.

    Args:
      model: an encoder-decoder, whose encoder reads the histories and whose decoder starts from
        PAD; or a decoder, whose prefix they are.
      params: its parameters, without virtual tokens.
      source: `[B, S]` int32 histories, padded with PAD on either side for an encoder, on the left
        for a decoder.
      target: `[B, L]` int32, tokens of the items that follow.
      key: dropout key; None for a deterministic pass.
      vocabulary: token numbers of the codes.

    Returns:
      As of `id_loss`.
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
      model: whose head scores the states.
      params: its parameters.
      hidden: `[B, items * L, D]`.
      targets: `[B, items * L]` int32 tokens; special ones are no items, and never a target.
      vocabulary: token numbers of the codes.
    """
    levels = vocabulary.levels
    batch, length, width = hidden.shape
    # [B, items, L, D] and [B, items, L]
    hidden = hidden.reshape(batch, length // levels, levels, width)
    targets = targets.reshape(batch, length // levels, levels)
    # An item is there at all levels or at none.
    weight = (targets[:, :, 0] >= vocabulary.num_special).astype(jnp.float32)
    losses = []
    for level in range(levels):
        rows = vocabulary.level(level)
        logits = model.apply(
            params, hidden[:, :, level], rows.start, rows.stop - rows.start, method="logits"
        )
        code = jnp.maximum(targets[:, :, level] - rows.start, 0)
        losses.append((cross_entropy(logits, code) * weight).sum())
    parts = {f"loss/level_{level}": loss for level, loss in enumerate(losses)}
    return Loss(total=jnp.stack(losses).sum(), weight=weight.sum(), parts=parts)


def _read(tokens: jax.Array, segments: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of packed rows what the model reads, what it predicts, and whose it is: `[B, items * L]`."""
    batch, items, levels = tokens.shape
    targets = tokens.reshape(batch, items * levels)
    segments = jnp.repeat(segments, levels, axis=1)
    first = segments[:, 1:] != segments[:, :-1]
    first = jnp.pad(first, ((0, 0), (1, 0)), constant_values=True)
    before = jnp.pad(targets[:, :-1], ((0, 0), (1, 0)))
    inputs = jnp.where(segments < 0, PAD, jnp.where(first, BOS, before))
    return inputs, targets, segments


def cross_entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
    """-log softmax(logits)[target]: `[..., C]` float32 and `[...]` int32 to `[...]`."""
    chosen = jnp.take_along_axis(logits, target[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - chosen
