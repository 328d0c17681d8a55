"""Distributionally robust optimization over items (Yang et al., SIGIR 2023, "DROS").

This is the form of the published code (YangZhengyi98/DROS). It pulls the target's score to 1 and
every other item's score to 0. The items that fit worst count most, and popular items count a little
more than others.

Shapes: `...` predictions, `I` items.
"""

import jax
import jax.numpy as jnp


def propensities(counts: jax.Array, power: float = 0.05) -> jax.Array:
    """p_j = ((n_j + 1) / Σ_i (n_i + 1))^power of the training counts n: `[I]` to `[I]` float32.

    Example:
      >>> import jax.numpy as jnp
      >>> propensities(jnp.array([2, 0]), power=1.0).tolist()
      [0.75, 0.25]
    """
    smoothed = counts.astype(jnp.float32) + 1.0
    return (smoothed / smoothed.sum()) ** power


def dro(
    scores: jax.Array, target: jax.Array, propensity: jax.Array, beta: float = 1.0
) -> jax.Array:
    """ln( Σ_j exp(p_j s_j² / β) - exp(p_t s_t² / β) + exp(p_t (s_t - 1)² / β) ).

    Args:
      scores: `[..., I]` s.
      target: `[...]` int32 t.
      propensity: `[I]` p, from `propensities`.
      beta: β > 0, inverse strength of the robustness: the smaller it is, the more the items that
        fit worst dominate the loss.

    Returns:
      `[...]`.

    Example:
      >>> import jax.numpy as jnp
      >>> scores, target = jnp.array([[1.0, 0.0]]), jnp.array([0])
      >>> round(float(dro(scores, target, jnp.ones(2))[0]), 4)  # a perfect fit: ln(e^0 + e^0)
      0.6931
    """
    items = jax.lax.broadcasted_iota(jnp.int32, scores.shape, scores.ndim - 1)
    # Exchanging the target's term inside the sum avoids the cancellation and the overflow that
    # subtracting it from the sum could cause.
    wanted = (items == target[..., None]).astype(scores.dtype)
    weight = propensity.reshape((1,) * (scores.ndim - 1) + propensity.shape)
    return jax.nn.logsumexp(weight * jnp.square(scores - wanted) / beta, axis=-1)
