"""Losses of policy gradients with clipped ratios: PPO, GRPO and Dr. GRPO.

Shapes: `B` answers, `T` tokens of an answer.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrec.align.kl import k3
from jaxrec.align.shapes import check_same
from jaxrec.core import ConfigError


class PolicyStats(NamedTuple):
    """What a policy step did, for logs; nothing here is differentiated.

    Attributes:
      ratio: mean of ρ = π / π_old, near 1.
      clip_fraction: share of tokens whose ρ is outside of 1 ± ε.
      approx_kl: mean of (ln ρ)² / 2, an estimate of KL(π_old‖π).
    """

    ratio: jax.Array
    clip_fraction: jax.Array
    approx_kl: jax.Array


def ppo_policy_loss(
    log_p: jax.Array,
    log_old: jax.Array,
    advantages: jax.Array,
    mask: jax.Array,
    *,
    clip: float = 0.2,
) -> tuple[jax.Array, PolicyStats]:
    """Mean over tokens of max(-A ρ, -A clip(ρ, 1 - ε, 1 + ε)), with ρ = exp(ln π - ln π_old).

    (Schulman et al. 2017, arXiv:1707.06347, equation 7.)

    Args:
      log_p: ln π of each token, `[B, T]`.
      log_old: ln π_old of each token when it was generated, `[B, T]`.
      advantages: A, `[B, T]`.
      mask: True for the tokens that count, `[B, T]`.
      clip: ε.

    Returns:
      The loss, and what the step did.

    Raises:
      ConfigError: the shapes differ.

    Example:
      >>> log_p, mask = jnp.log(jnp.array([[0.5, 0.5]])), jnp.ones((1, 2), bool)
      >>> log_old = jnp.log(jnp.array([[0.25, 0.5]]))
      >>> loss, stats = ppo_policy_loss(log_p, log_old, jnp.ones((1, 2)), mask)
      >>> round(float(loss), 4), float(stats.clip_fraction)  # -(1.2 + 1) / 2
      (-1.1, 0.5)
    """
    check_same(mask, log_p=log_p, log_old=log_old, advantages=advantages)
    log_ratio = _log_ratio(log_p, log_old, mask)
    loss = _mean(-_clipped(log_ratio, advantages, clip), mask)
    ratio = jax.lax.stop_gradient(jnp.exp(log_ratio))
    outside = (jnp.abs(ratio - 1) > clip).astype(ratio.dtype)
    approx_kl = _mean(0.5 * jax.lax.stop_gradient(log_ratio) ** 2, mask)
    return loss, PolicyStats(_mean(ratio, mask), _mean(outside, mask), approx_kl)


def ppo_value_loss(
    values: jax.Array,
    old_values: jax.Array,
    returns: jax.Array,
    mask: jax.Array,
    *,
    clip: float = 0.2,
) -> jax.Array:
    """½ mean over tokens of max((V - R)², (clip(V, V_old - ε, V_old + ε) - R)²).

    Args:
      values: V of each token, `[B, T]`.
      old_values: V_old when the answer was generated, `[B, T]`.
      returns: R, `[B, T]`.
      mask: True for the tokens that count, `[B, T]`.
      clip: ε.

    Raises:
      ConfigError: the shapes differ.

    Example:
      >>> one = jnp.ones((1, 1))
      >>> float(ppo_value_loss(one, 0 * one, one, one > 0, clip=0.5))  # ½ (0.5 - 1)²
      0.125
    """
    check_same(mask, values=values, old_values=old_values, returns=returns)
    clipped = jnp.clip(values, old_values - clip, old_values + clip)
    squares = jnp.maximum((values - returns) ** 2, (clipped - returns) ** 2)
    return 0.5 * _mean(squares, mask)


def grpo_loss(
    log_p: jax.Array,
    log_old: jax.Array,
    log_ref: jax.Array,
    advantages: jax.Array,
    mask: jax.Array,
    *,
    clip: float = 0.2,
    beta: float = 0.04,
    by_length: bool = True,
) -> jax.Array:
    """Mean over answers of 1/|o| Σ_t -[min(ρ A, clip(ρ, 1 - ε, 1 + ε) A) - β k3].

    (Shao et al. 2024, arXiv:2402.03300, equation 3. Liu et al. 2025, arXiv:2503.20783, Dr. GRPO,
    divide by a constant instead of the length |o|, because the division favours short correct and
    long wrong answers.)

    Args:
      log_p: ln π of each token, `[B, T]`.
      log_old: ln π_old of each token when it was generated, `[B, T]`.
      log_ref: ln π_ref of each token, `[B, T]`.
      advantages: A of each answer, `[B]`; see `group_advantages`.
      mask: True for the tokens of the answers, `[B, T]`.
      clip: ε.
      beta: β; k3 is differentiated.
      by_length: divide by the length of the answer; False divides by T, as Dr. GRPO.

    Raises:
      ConfigError: the shapes do not fit.

    Example:
      >>> log_p = jnp.zeros((2, 4))
      >>> mask = jnp.array([[True] * 4, [True, False, False, False]])
      >>> advantages = jnp.array([1.0, -1.0])
      >>> float(grpo_loss(log_p, log_p, log_p, advantages, mask))
      0.0
      >>> float(grpo_loss(log_p, log_p, log_p, advantages, mask, by_length=False))  # -(4 - 1) / 8
      -0.375
    """
    check_same(mask, log_p=log_p, log_old=log_old, log_ref=log_ref)
    if log_p.ndim != 2 or advantages.shape != log_p.shape[:1]:
        raise ConfigError(
            f"advantages must be [B] and log_p [B, T], got {list(advantages.shape)} and "
            f"{list(log_p.shape)}; give one advantage for each answer"
        )
    gain = _clipped(_log_ratio(log_p, log_old, mask), advantages[:, None], clip)
    # Where the mask is False both are set equal, so that no gradient is infinite there.
    penalty = k3(jnp.where(mask, log_p, 0), jnp.where(mask, log_ref, 0))
    total = jnp.where(mask, beta * penalty - gain, 0).sum(-1)
    length = jnp.maximum(mask.sum(-1), 1) if by_length else jnp.full(len(log_p), log_p.shape[-1])
    return (total / length.astype(total.dtype)).mean()


def _log_ratio(log_p: jax.Array, log_old: jax.Array, mask: jax.Array) -> jax.Array:
    """The logarithm of ρ, and 0 where the mask is False, whatever stands there."""
    return jnp.where(mask, log_p, 0) - jnp.where(mask, log_old, 0)


def _clipped(log_ratio: jax.Array, advantages: jax.Array, clip: float) -> jax.Array:
    """The smaller of ρ A and clip(ρ, 1 - ε, 1 + ε) A."""
    ratio = jnp.exp(log_ratio)
    return jnp.minimum(ratio * advantages, jnp.clip(ratio, 1 - clip, 1 + clip) * advantages)


def _mean(x: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean where the mask is True; 0 where it is True nowhere."""
    count = jnp.maximum(mask.sum(), 1).astype(x.dtype)
    return jnp.where(mask, x, 0).sum() / count
