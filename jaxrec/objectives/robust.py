"""Distributionally robust optimization over items (Yang et al., SIGIR 2023, "DROS").

The form of the published code (YangZhengyi98/DROS), in which every item's squared score is pushed
to 0 and the target's to 1, the worst-fitted items first, and popular items a little more.

Shapes: `...` predictions, `I` items.
"""

import jax
import jax.numpy as jnp


def propensities(counts: jax.Array, power: float = 0.05) -> jax.Array:
    """p_j = ((n_j + 1) / Σ_i (n_i + 1))^power of the training counts n: `[I]` to `[I]` float32."""
    smoothed = counts.astype(jnp.float32) + 1.0
    return (smoothed / smoothed.sum()) ** power


def dro(
    scores: jax.Array, target: jax.Array, propensity: jax.Array, beta: float = 1.0
) -> jax.Array:
    """ln( Σ_j exp(p_j s_j² / β) - exp(p_t s_t² / β) + exp(p_t (s_t - 1)² / β) ).

    Args:
      scores: `[..., I]` s.
      target: `[...]` int32 t.
      propensity: `[I]` p, of `propensities`.
      beta: β > 0, how far from the training distribution the worst case may be: the smaller, the
        more the worst-fitted items count.

    Returns:
      `[...]`.
    """
    items = jax.lax.broadcasted_iota(jnp.int32, scores.shape, scores.ndim - 1)
    # The sum less the target's term plus its other term is the sum with one term exchanged, which
    # cannot cancel or overflow.
    wanted = (items == target[..., None]).astype(scores.dtype)
    weight = propensity.reshape((1,) * (scores.ndim - 1) + propensity.shape)
    return jax.nn.logsumexp(weight * jnp.square(scores - wanted) / beta, axis=-1)
