"""Measures of rewards on a part: the loss of the run, pairs, best answers and scores.

A metric has one value for each prompt, and the mean of these values is the metric over all pairs,
answers or choices, so that the bootstrap can resample prompts.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.align import score_rows
from jaxrec.core import DataError
from jaxrec.eval import calibration_error, pair_auc, pair_calibration
from jaxrec.systems.reward.config import RewardModelConfig
from jaxrec.systems.reward.data import Encoded
from jaxrec.systems.reward.network import loss_of


def score_part(config: RewardModelConfig, score: Any, params: Any, encoded: Encoded) -> np.ndarray:
    """Return the rewards of a part, `[P, K]` float32; 0 for answers that are padding.

    Args:
      config: of the run.
      score: compiled `reward_of`.
      params: of the model.
      encoded: the part.

    Raises:
      DataError: a reward is not finite.
    """
    found = score_rows(score, params, *encoded.flat(), config.eval.batch_size)
    if not np.isfinite(found).all():
        raise DataError(
            f"{(~np.isfinite(found)).sum()} of {len(found)} rewards are not finite; train again "
            "with a lower --train.lr"
        )
    rewards = np.zeros(encoded.present.shape, np.float32)
    rewards[encoded.present] = found
    return rewards


def loss_values(config: RewardModelConfig, rewards: np.ndarray, encoded: Encoded) -> np.ndarray:
    """Return the loss of each prompt `[P]`, scaled so that the mean is that of training."""
    names = ("wins", "best", "scores", "scored", "present")
    batch = {name: jnp.asarray(getattr(encoded, name)) for name in names}

    totals, weights = _row_losses(config, jnp.asarray(rewards), batch)
    return _shared(np.asarray(totals, np.float64), np.asarray(weights, np.float64))


@functools.partial(jax.jit, static_argnums=0)
def _row_losses(config: RewardModelConfig, rewards: jax.Array, batch: Any) -> Any:
    """Loss and weight of each prompt; compiled once, because every validation calls it."""

    def one(r: jax.Array, row: Any) -> tuple[jax.Array, jax.Array]:
        loss = loss_of(config, r[None], {name: value[None] for name, value in row.items()})
        return loss.total, loss.weight

    return jax.vmap(one)(rewards, batch)


def _shared(totals: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return totals / weights.mean()


def pair_rewards(rewards: np.ndarray, encoded: Encoded) -> tuple[np.ndarray, np.ndarray]:
    """Rewards of the better and of the worse answer of every pair of a part: two `[N]`."""
    row, better, worse = np.nonzero(encoded.wins > 0)
    return rewards[row, better], rewards[row, worse]


def part_values(
    config: RewardModelConfig, rewards: np.ndarray, encoded: Encoded, *, loss: bool = True
) -> dict[str, np.ndarray]:
    """Measure rewards on a part: one value for each prompt, by the name of the metric.

    Args:
      config: of the run.
      rewards: `[P, K]`.
      encoded: the part.
      loss: whether the rewards are on the scale of the model, so that they have a loss.
    """
    values = {"loss": loss_values(config, rewards, encoded)} if loss else {}
    wins = encoded.wins.astype(np.float64)
    if wins.any():
        hits = (np.sign(rewards[:, :, None] - rewards[:, None, :]) + 1) / 2
        values["accuracy"] = _shared((wins * hits).sum(axis=(1, 2)), wins.sum(axis=(1, 2)))
    if encoded.best.any():
        shown = np.where(encoded.present, rewards, -np.inf)
        chosen = shown == shown.max(axis=1, keepdims=True)
        share = chosen / chosen.sum(axis=1, keepdims=True)
        best = encoded.best.astype(np.float64)
        values["best_accuracy"] = _shared((best * share).sum(axis=1), best.sum(axis=1))
    return values


def pair_facts(config: RewardModelConfig, rewards: np.ndarray, encoded: Encoded) -> dict[str, Any]:
    """AUC and calibration over the pairs of a part: JSON-able; {} without pairs."""
    better, worse = pair_rewards(rewards, encoded)
    if not len(better):
        return {}
    bins = pair_calibration(better, worse, config.eval.bins)
    return {
        "auc": pair_auc(better, worse),
        "calibration_error": calibration_error(bins),
        "calibration": [part._asdict() for part in bins],
    }
