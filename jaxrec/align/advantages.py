"""From scores of whole answers to rewards and advantages of tokens.

Shapes: `B` answers, `T` tokens of an answer, `G` answers to one prompt.
"""

import jax
import jax.numpy as jnp

from jaxrec.align.kl import k1
from jaxrec.align.shapes import check_same
from jaxrec.core import ConfigError


def token_rewards(
    scores: jax.Array, log_p: jax.Array, log_ref: jax.Array, mask: jax.Array, beta: float
) -> jax.Array:
    """Rewards r_t = -β k1_t, with the score of the answer added at its last token.

    (Ziegler et al. 2019, arXiv:1909.08593, equation 2, as rewards of single tokens.)

    Args:
      scores: of the answers, `[B]`.
      log_p: ln π of each token when it was generated, `[B, T]`.
      log_ref: ln π_ref of each token, `[B, T]`.
      mask: True for the tokens of the answer, `[B, T]`.
      beta: β.

    Returns:
      `[B, T]`, 0 where the mask is False. An answer without tokens has no reward.

    Raises:
      ConfigError: the shapes do not fit.

    Example:
      >>> log_p = jnp.zeros((1, 3))
      >>> mask = jnp.array([[True, True, False]])
      >>> token_rewards(jnp.ones(1), log_p, log_p - 1, mask, 0.25).tolist()
      [[-0.25, 0.75, 0.0]]
    """
    check_same(mask, log_p=log_p, log_ref=log_ref)
    if scores.shape != log_p.shape[:-1]:
        raise ConfigError(
            f"scores must have one value for each answer, {list(log_p.shape[:-1])}, got "
            f"{list(scores.shape)}"
        )
    penalties = jnp.where(mask, -beta * k1(log_p, log_ref), 0)
    # True at the last True of each row: no token of the answer comes after it.
    after = jnp.cumsum(mask[..., ::-1], -1)[..., ::-1]
    last = mask & (after == 1)
    return penalties + jnp.where(last, scores[..., None], 0)


def gae(
    rewards: jax.Array,
    values: jax.Array,
    mask: jax.Array | None = None,
    *,
    gamma: float = 1.0,
    lam: float = 0.95,
) -> tuple[jax.Array, jax.Array]:
    """Generalized advantage estimation.

    δ_t = r_t + γ V_{t+1} - V_t, where V after the last token is 0
    A_t = δ_t + γ λ A_{t+1} = Σ_l (γ λ)^l δ_{t+l}

    (Schulman et al. 2015, arXiv:1506.02438, equation 16.)

    Args:
      rewards: r_t, `[..., T]`.
      values: V_t before each token, `[..., T]`.
      mask: True for the tokens of the answer; others are skipped as if they were not there.
      gamma: γ.
      lam: λ.

    Returns:
      Advantages A_t and returns A_t + V_t, `[..., T]`, both 0 where the mask is False.

    Raises:
      ConfigError: the shapes differ.

    Example:
      >>> advantages, returns = gae(jnp.array([0.0, 1.0]), jnp.array([0.5, 0.5]), lam=0.5)
      >>> advantages.tolist(), returns.tolist()
      ([0.25, 0.5], [0.75, 1.0])
    """
    check_same(mask, rewards=rewards, values=values)
    present = jnp.ones(rewards.shape, bool) if mask is None else mask

    def step(
        after: tuple[jax.Array, jax.Array], token: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        advantage, next_value = after
        reward, value, here = token
        delta = reward + gamma * next_value - value
        new = delta + gamma * lam * advantage
        kept = jnp.where(here, new, advantage), jnp.where(here, value, next_value)
        return kept, jnp.where(here, new, 0)

    zero = jnp.zeros(rewards.shape[:-1], rewards.dtype)
    # [T, ...] for the scan over tokens, from the last one back.
    tokens = tuple(jnp.moveaxis(x, -1, 0) for x in (rewards, values, present))
    _, advantages = jax.lax.scan(step, (zero, zero), tokens, reverse=True)
    advantages = jnp.moveaxis(advantages, 0, -1)
    return advantages, jnp.where(present, advantages + values, 0)


def whiten(x: jax.Array, mask: jax.Array | None = None, *, shift: bool = True) -> jax.Array:
    """(x - μ) / √(σ² + 1e-8), with the mean and variance over all entries of the batch.

    Args:
      x: any shape.
      mask: True for the entries that count; the others become 0.
      shift: False adds μ again, as rewards are whitened; advantages are shifted.

    Returns:
      The shape of `x`.

    Raises:
      ConfigError: the mask has another shape.

    Example:
      >>> whiten(jnp.array([1.0, 3.0])).round(3).tolist()
      [-1.0, 1.0]
      >>> [round(x, 3) for x in whiten(jnp.array([1.0, 3.0]), shift=False).tolist()]
      [1.0, 3.0]
    """
    check_same(mask, x=x)
    mean = x.mean(where=mask)
    variance = x.var(where=mask)
    whitened = (x - mean) * jax.lax.rsqrt(variance + 1e-8) + (0 if shift else mean)
    return whitened if mask is None else jnp.where(mask, whitened, 0)


def group_advantages(rewards: jax.Array, *, scale: bool = True, eps: float = 1e-4) -> jax.Array:
    """A_i = (r_i - mean) / (std + ε) over the G answers to one prompt, as in GRPO.

    (Shao et al. 2024, arXiv:2402.03300, section 4.1.2. Liu et al. 2025, arXiv:2503.20783, Dr. GRPO,
    leave the division out.) The standard deviation is that of the G rewards themselves, without
    Bessel's correction. A group with equal rewards has advantages of 0.

    Args:
      rewards: `[..., G]`.
      scale: False leaves the division out.
      eps: ε.

    Returns:
      `[..., G]`.

    Raises:
      ConfigError: fewer than two answers.

    Example:
      >>> group_advantages(jnp.array([1.0, 0.0, 0.0, 1.0])).round(2).tolist()
      [1.0, -1.0, -1.0, 1.0]
      >>> group_advantages(jnp.array([1.0, 0.0, 0.0, 1.0]), scale=False).tolist()
      [0.5, -0.5, -0.5, 0.5]
    """
    if rewards.ndim == 0 or rewards.shape[-1] < 2:
        raise ConfigError(
            f"a group needs at least 2 answers to compare, got rewards {list(rewards.shape)}"
        )
    centred = rewards - rewards.mean(-1, keepdims=True)
    return centred / (rewards.std(-1, keepdims=True) + eps) if scale else centred
