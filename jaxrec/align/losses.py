"""The clipped losses of PPO (Schulman et al. 2017, arXiv:1707.06347), one number per token.

They are not averaged here, so that a caller can weight tokens and add micro-batches up exactly.
"""

import jax
import jax.numpy as jnp


def importance_ratio(logprobs: jax.Array, old: jax.Array) -> jax.Array:
    """Return rho = exp(log pi - log pi_old), which is 1 for an unchanged policy.

    Args:
      logprobs: `[...]` log-probabilities of the tokens under the policy.
      old: `[...]` those under the policy that wrote the tokens.

    Example:
      >>> importance_ratio(jnp.array([-1.0]), jnp.array([-1.0])).tolist()
      [1.0]
    """
    return jnp.exp(logprobs - old)


def policy_loss(ratio: jax.Array, advantages: jax.Array, clip: float = 0.2) -> jax.Array:
    """Return max(-A * rho, -A * clip(rho, 1 - eps, 1 + eps)).

    Args:
      ratio: `[...]` rho of `importance_ratio`.
      advantages: `[...]` A.
      clip: eps, how far the ratio may move before it stops to count.

    Example:
      >>> policy_loss(jnp.array([1.0, 1.5, 1.5]), jnp.array([2.0, 2.0, -2.0])).tolist()
      [-2.0, -2.4000000953674316, 3.0]
    """
    kept = jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    return jnp.maximum(-advantages * ratio, -advantages * kept)


def is_clipped(ratio: jax.Array, advantages: jax.Array, clip: float = 0.2) -> jax.Array:
    """Return where the clipping of `policy_loss` removes the gradient: `[...]` bool.

    Example:
      >>> is_clipped(jnp.array([1.0, 1.5, 1.5]), jnp.array([2.0, 2.0, -2.0])).tolist()
      [False, True, False]
    """
    return jnp.where(advantages > 0, ratio > 1.0 + clip, ratio < 1.0 - clip) & (advantages != 0)


def value_loss(
    values: jax.Array, old: jax.Array, returns: jax.Array, clip: float = 0.2
) -> jax.Array:
    """Return half of max((V - R)^2, (clip(V, V_old - c, V_old + c) - R)^2).

    Args:
      values: `[...]` V, predicted now.
      old: `[...]` V_old, predicted when the responses were written.
      returns: `[...]` R.
      clip: c, how far a value may move from the old one before it stops to count.

    Example:
      >>> value_loss(jnp.array([1.0]), jnp.array([0.0]), jnp.array([1.0]), clip=0.5).tolist()
      [0.125]
    """
    kept = jnp.clip(values, old - clip, old + clip)
    return 0.5 * jnp.maximum(jnp.square(values - returns), jnp.square(kept - returns))
