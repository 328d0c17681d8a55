"""The divergence of a policy from its reference: estimators, and controllers of its weight.

The estimators read the log-probabilities of tokens that the policy wrote (Schulman, "Approximating
KL divergence", 2020). As a reward only k1 has the gradient of the reverse KL in expectation; k2
and k3 have a smaller variance and serve as monitors.
"""

import dataclasses

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError


def k1(logprobs: jax.Array, reference: jax.Array) -> jax.Array:
    """Estimate KL(policy || reference) by log pi - log pi_ref: unbiased, and may be negative.

    Args:
      logprobs: `[...]` log-probabilities under the policy, which drew the tokens.
      reference: `[...]` those under the reference.

    Example:
      >>> k1(jnp.array([-1.0]), jnp.array([-1.5])).tolist()
      [0.5]
    """
    return logprobs - reference


def k2(logprobs: jax.Array, reference: jax.Array) -> jax.Array:
    """Estimate KL(policy || reference) by half the squared difference: never negative, biased.

    The arguments are those of `k1`.

    Example:
      >>> k2(jnp.array([-1.0]), jnp.array([-2.0])).tolist()
      [0.5]
    """
    return 0.5 * jnp.square(logprobs - reference)


def k3(logprobs: jax.Array, reference: jax.Array) -> jax.Array:
    """Estimate KL(policy || reference) by exp(-d) - 1 + d with d = log pi - log pi_ref.

    It is unbiased and never negative. The arguments are those of `k1`.

    Example:
      >>> k3(jnp.array([-1.0]), jnp.array([-1.0])).tolist()
      [0.0]
    """
    difference = reference - logprobs
    return jnp.expm1(difference) - difference


@dataclasses.dataclass(frozen=True)
class AdaptiveKL:
    """Moves the weight of the KL so that the KL approaches a target (Ziegler et al. 2019).

    Attributes:
      target: wanted KL of a whole response, in nats.
      horizon: number of episodes in which the weight can change by a fifth of itself.

    Raises:
      ConfigError: a target or horizon that is not positive.

    Example:
      >>> round(AdaptiveKL(target=6.0).update(0.1, kl=60.0, episodes=500), 6)
      0.101
    """

    target: float
    horizon: int = 10_000

    def __post_init__(self) -> None:
        for name in ("target", "horizon"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"kl {name} must be above 0, got {getattr(self, name)}")

    def update(self, beta: float, kl: float, episodes: int) -> float:
        """Return the weight after a batch.

        It is beta * (1 + clip(kl / target - 1, -.2, .2) * n / horizon).

        Args:
          beta: the weight so far.
          kl: mean over the batch of the KL of whole responses (sum of `k1`).
          episodes: n, number of responses in the batch.
        """
        error = min(max(kl / self.target - 1.0, -0.2), 0.2)
        return beta * (1.0 + error * episodes / self.horizon)
