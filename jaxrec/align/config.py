"""Settings of PPO."""

import dataclasses
from typing import Literal

from jaxrec.core import (
    ConfigError,
    Count,
    NotNegative,
    Number,
    Positive,
    Rate,
    Share,
    check_ranges,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PpoSettings:
    """Settings of PPO with a KL penalty. Hashable, so that it is static under `jax.jit`.

    Attributes:
      response: R, most tokens of a response.
      temperature: what logits are divided by, in sampling and in every log-probability.
      minibatches: number of minibatches of a rollout. A rollout has this many times
        `train.batch_size` episodes.
      epochs: passes over a rollout, each in a new order.
      beta: weight of the divergence from the reference in the reward; the first one if it adapts.
      kl_target: divergence of a whole response, in nats, towards which `beta` adapts; 0 keeps it.
      kl_horizon: number of episodes in which `beta` can change by a fifth of itself.
      kl_estimator: estimate of the divergence in the reward: "k1", or "k3", whose gradient is
        biased.
      kl_budget: divergence of a whole response at which training stops; 0 for no limit.
      gamma: discount of a reward one token later.
      lam: weight of later differences in the advantages.
      whiten_rewards: scale the rewards of a rollout to variance 1, which also rescales `beta`.
      whiten: whether advantages are whitened over the "rollout", over each "minibatch", or not.
      clip: how far the probability ratio may move from 1.
      value_clip: how far a value may move from the one at the time of writing.
      value_weight: weight of the value loss.
      unended_score: score of a response that no end token ended; None keeps its own.
      unended_penalty: what is subtracted from the score of such a response.
      pretraining_weight: weight of the language-model loss on pre-training text (PPO-ptx); 0 for
        none.

    Raises:
      ConfigError: a value out of range, or values that contradict one another.

    Example:
      >>> PpoSettings(minibatches=2, epochs=4).updates
      8
    """

    response: Count = 53
    temperature: Positive = 0.7
    minibatches: Count = 1
    epochs: Count = 4
    beta: NotNegative = 0.05
    kl_target: NotNegative = 0.0
    kl_horizon: Count = 10_000
    kl_estimator: Literal["k1", "k3"] = "k1"
    kl_budget: NotNegative = 0.0
    gamma: Share = 1.0
    lam: Share = 0.95
    whiten_rewards: bool = False
    whiten: Literal["rollout", "minibatch", "none"] = "rollout"
    clip: Rate = 0.2
    value_clip: Positive = 0.2
    value_weight: NotNegative = 0.1
    unended_score: Number | None = None
    unended_penalty: NotNegative = 0.0
    pretraining_weight: NotNegative = 0.0

    def __post_init__(self) -> None:
        check_ranges(self, "--ppo.")
        if self.unended_score is not None and self.unended_penalty:
            raise ConfigError(
                f"ppo.unended_score {self.unended_score:g} replaces the score from which "
                f"ppo.unended_penalty {self.unended_penalty:g} is subtracted; set one of them"
            )
        if self.kl_target and not self.beta:
            raise ConfigError(
                f"ppo.beta 0 cannot adapt to ppo.kl_target {self.kl_target:g}, because it is "
                "multiplied; start from a positive ppo.beta"
            )

    @property
    def updates(self) -> int:
        """Optimizer steps of a rollout."""
        return self.epochs * self.minibatches
