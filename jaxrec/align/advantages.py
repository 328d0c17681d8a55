"""Generalized advantage estimation (Schulman et al. 2016, arXiv:1506.02438) over responses.

Shapes: `B` responses, `R` tokens of a response.
"""

import jax
import jax.numpy as jnp


def gae(
    rewards: jax.Array, values: jax.Array, mask: jax.Array, gamma: float = 1.0, lam: float = 0.95
) -> tuple[jax.Array, jax.Array]:
    """Estimate the advantage of each token, and the return that its value should predict.

    delta_t = r_t + gamma * V_{t+1} - V_t,  A_t = delta_t + gamma * lam * A_{t+1},  R_t = A_t + V_t

    The value after the last token of a response is 0.

    Args:
      rewards: `[B, R]` float32, r_t.
      values: `[B, R]` float32, V_t of the state before token t.
      mask: `[B, R]` bool, the tokens of the response; those after its end are False.
      gamma: discount of a reward one token later.
      lam: weight of later differences: 0 trusts the values, 1 trusts the rewards.

    Returns:
      Advantages and returns, `[B, R]` float32 each, 0 outside the mask.

    Example:
      >>> rewards, values = jnp.array([[0.0, 1.0, 9.0]]), jnp.array([[0.5, 0.25, 9.0]])
      >>> advantages, returns = gae(rewards, values, jnp.array([[True, True, False]]), lam=1.0)
      >>> advantages.tolist(), returns.tolist()
      ([[0.5, 0.75, 0.0]], [[1.0, 1.0, 0.0]])
    """
    values = jnp.where(mask, values, 0.0)
    later = jnp.pad(values[:, 1:], ((0, 0), (0, 1)))
    delta = jnp.where(mask, rewards + gamma * later - values, 0.0)

    def back(advantage: jax.Array, delta_t: jax.Array) -> tuple[jax.Array, jax.Array]:
        advantage = delta_t + gamma * lam * advantage
        return advantage, advantage

    _, rows = jax.lax.scan(back, jnp.zeros_like(delta[:, 0]), delta.T, reverse=True)
    advantages = jnp.where(mask, rows.T, 0.0)
    return advantages, advantages + values
