"""Objectives of the neural sequential baselines, over all predictions of a batch.

Shapes: `B` batch, `M` predictions, `n` negatives, `I` items, `D` model width.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.baselines.history_negatives import (
    history_scores,
    is_repeat,
    repeat_bias,
    was_read,
)
from jaxrec.baselines.item_table import FIRST, FIXED, SequentialModel
from jaxrec.baselines.sequential_config import SequentialConfig
from jaxrec.nn import linear_cross_entropy, matrix_product
from jaxrec.objectives import (
    Loss,
    bce,
    bpr,
    cross_entropy,
    dro,
    info_nce,
    propensities,
    sampled_softmax,
)


def sequence_loss(
    config: SequentialConfig,
    model: SequentialModel,
    params: Any,
    batch: Mapping[str, jax.Array],
    key: jax.Array,
) -> Loss:
    """Sum of the objective over all predictions of a batch.

    Args:
      config: settings.
      model: result of `make_model`.
      params: variables of the model, with the collection "fixed".
      batch: "tokens" `[B, 1 + max_items]` int32 and, for bce and bpr, "negative"
        `[B, max_items, n]` int32, items. A body that reads times finds them in "times", `[B, 1 +
        max_items]` int32.
      key: random key for dropout, masks and draws.
    """
    corrupt, drop, draw = jax.random.split(key, 3)
    num_items = model.items.num_items
    read, target, counts = config.pairs(batch["tokens"], num_items, corrupt)
    times = batch["times"][:, : read.shape[1]] if "times" in batch else None
    states, table, bias = model.apply(params, read, None, False, times, rngs={"dropout": drop})
    target = jnp.where(counts, target - FIRST, 0)
    if config.history_negatives:
        losses = _sampled_with_history(config, params, (states, table, bias), read, target, draw)
        weight = counts.astype(jnp.float32)
        return Loss(total=(losses * weight).sum(), weight=weight.sum(), parts={})
    states = states.reshape(-1, states.shape[-1])
    target, counts = target.reshape(-1), counts.reshape(-1)
    weight = counts.astype(jnp.float32)
    if config.objective == "contrastive":
        fake = None
        if config.synthetic:
            fake = model.apply(params, target, config.synthetic, draw, method="synthetic")
        losses = info_nce(states, table[target], target, counts, fake)
        return Loss(total=jnp.where(counts, losses, 0.0).sum(), weight=weight.sum(), parts={})
    if config.objective == "cross_entropy" and not config.robust:
        if config.item_bias:
            # The bias becomes one more column of the table, multiplied by a constant 1.
            states = jnp.pad(states, ((0, 0), (0, 1)), constant_values=1)
            table = jnp.concatenate([table, bias[:, None]], axis=1)
        total = linear_cross_entropy(states, table, target, weight)
        return Loss(total=total, weight=weight.sum(), parts={})
    losses = prediction_losses(
        config,
        states,
        table,
        bias,
        target,
        batch["negative"].reshape(-1, config.negatives) if "negative" in batch else None,
        params[FIXED]["frequency"],
        draw,
    )
    return Loss(total=(losses * weight).sum(), weight=weight.sum(), parts={})


def prediction_losses(
    config: SequentialConfig,
    states: jax.Array,
    table: jax.Array,
    bias: jax.Array,
    target: jax.Array,
    negative: jax.Array | None,
    frequency: jax.Array,
    key: jax.Array,
) -> jax.Array:
    """The objective of each prediction.

    Args:
      config: settings that select the objective.
      states: `[M, D]`.
      table: `[I, D]`.
      bias: `[I]`.
      target: `[M]` int32.
      negative: `[M, n]` int32, for bce and bpr.
      frequency: `[I]` training counts.
      key: random key for the draws of sampled softmax.

    Returns:
      `[M]` float32.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrec.baselines import SasrecConfig
      >>> states, table, bias = jnp.eye(2), jnp.eye(2), jnp.zeros(2)
      >>> losses = prediction_losses(
      ...     SasrecConfig(), states, table, bias, jnp.array([0, 1]), None, jnp.ones(2),
      ...     jax.random.key(0),
      ... )
      >>> [round(x, 4) for x in losses.tolist()]  # ln(1 + 1/e) each
      [0.3133, 0.3133]
    """
    scores = None
    if config.objective == "cross_entropy" or config.robust:
        scores = all_scores(states, table, bias)
    if config.objective == "cross_entropy":
        assert scores is not None
        losses = cross_entropy(scores, target)
    else:
        positive = pick(states, table, bias, target[:, None])[:, 0]
        if config.objective == "sampled_softmax":
            losses = _sampled(config, states, table, bias, target, positive, frequency, key)
        else:
            assert negative is not None
            rank = {"bce": bce, "bpr": bpr}[config.objective]
            losses = rank(positive, pick(states, table, bias, negative))
    if config.robust:
        assert scores is not None
        robust = dro(scores, target, propensities(frequency), config.robust_beta)
        losses = losses + config.robust * robust
    return losses


def _sampled(
    config: SequentialConfig,
    states: jax.Array,
    table: jax.Array,
    bias: jax.Array,
    target: jax.Array,
    positive: jax.Array,
    frequency: jax.Array,
    key: jax.Array,
) -> jax.Array:
    """Sampled softmax. All predictions share the drawn items, so that one product scores them."""
    drawn, log_q = _draws(config, frequency, key)
    negative = all_scores(states, table[drawn], bias[drawn])
    return sampled_softmax(
        positive,
        negative,
        drawn[None].astype(target.dtype) == target[:, None],
        log_q[None] if config.log_q else None,
    )


def _sampled_with_history(
    config: SequentialConfig,
    params: Any,
    outputs: tuple[jax.Array, jax.Array, jax.Array],
    read: jax.Array,
    target: jax.Array,
    key: jax.Array,
) -> jax.Array:
    """Sampled softmax of states `[B, T, D]` whose negatives include the history: `[B, T]`."""
    states, table, bias = outputs
    drawn, log_q = _draws(config, params[FIXED]["frequency"], key)
    repeat = repeat_bias(params["params"])
    flat = states.reshape(-1, states.shape[-1])
    positive = pick(flat, table, bias, target.reshape(-1, 1)).reshape(target.shape)
    positive = positive + jnp.where(is_repeat(target, read, len(table)), repeat, 0.0)
    negative = all_scores(flat, table[drawn], bias[drawn]).reshape(*target.shape, -1)
    if config.log_q:
        negative = negative - log_q[None, None] - jnp.log(jnp.float32(config.negatives))
    out = was_read(drawn, read, len(table)) | (drawn[None, None] == target[:, :, None])
    negative = jnp.where(out, -jnp.inf, negative)
    history = history_scores(states, table, bias, read, target) + repeat
    highest = jnp.maximum(jnp.maximum(positive, negative.max(-1)), history.max(-1))
    top = jax.lax.stop_gradient(highest)
    total = jnp.exp(positive - top)
    for scores in (negative, history):
        total = total + jnp.exp(scores - top[..., None]).sum(-1)
    return jnp.log(total) + top - positive


def _draws(
    config: SequentialConfig, frequency: jax.Array, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Items drawn as the config says, `[n]`, and the log-probabilities of their draws, `[n]`."""
    q = frequency if config.proposal == "popularity" else jnp.ones_like(frequency)
    drawn = draw_items(q, config.negatives, key)
    return drawn, jnp.log(q / q.sum())[drawn]


def draw_items(counts: jax.Array, number: int, key: jax.Array) -> jax.Array:
    """Draw items in proportion to their counts, with replacement: `[I]` to `[number]` int32.

    The counts must be whole numbers whose sum is below 2^31, so that the probabilities are exact.

    Cost: O(I + number log I). Gumbel noise would need number · I random numbers.
    """
    below = jnp.cumsum(counts.astype(jnp.int32))
    places = jax.random.randint(key, (number,), 0, below[-1], jnp.int32)
    return jnp.searchsorted(below, places, side="right").astype(jnp.int32)


def all_scores(states: jax.Array, table: jax.Array, bias: jax.Array) -> jax.Array:
    """Scores of every row of a table: `[M, D]` states to `[M, I]` float32."""
    return matrix_product(states, table.T, jnp.float32) + bias[None]


def pick(states: jax.Array, table: jax.Array, bias: jax.Array, items: jax.Array) -> jax.Array:
    """Scores of selected items for each state: `[M, D]` and `[M, n]` int32 to `[M, n]` float32."""
    rows, biases = (jnp.take(x, items, axis=0, mode="clip") for x in (table, bias))
    return jnp.einsum("md,mnd->mn", states, rows) + biases
