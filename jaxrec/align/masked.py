"""Means and whitening over the tokens of responses, without their padding."""

import jax
import jax.numpy as jnp


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Return the mean over the cells of a mask: float32 scalar, 0 if the mask is empty.

    Args:
      values: `[...]` float32; cells outside the mask may hold anything.
      mask: `[...]` bool.

    Example:
      >>> float(masked_mean(jnp.array([1.0, 3.0, jnp.nan]), jnp.array([True, True, False])))
      2.0
    """
    count = jnp.maximum(mask.sum(dtype=jnp.float32), 1.0)
    return jnp.where(mask, values, 0.0).sum() / count


def masked_variance(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Return the variance over the cells of a mask (the sum of squares divided by their number).

    The arguments are those of `masked_mean`.

    Example:
      >>> float(masked_variance(jnp.array([1.0, 3.0, 9.0]), jnp.array([True, True, False])))
      1.0
    """
    return masked_mean(jnp.square(values - masked_mean(values, mask)), mask)


def whiten(values: jax.Array, mask: jax.Array, shift_mean: bool = True) -> jax.Array:
    """Scale to variance 1 over a mask, and shift the mean to 0 or keep it.

    (x - mean) * rsqrt(var + 1e-8), plus the mean if it is kept.

    Args:
      values: `[...]` float32.
      mask: `[...]` bool.
      shift_mean: False keeps the mean, as the whitening of rewards does.

    Returns:
      `[...]` float32, 0 outside the mask.

    Example:
      >>> whiten(jnp.array([1.0, 3.0, 9.0]), jnp.array([True, True, False])).tolist()
      [-1.0, 1.0, 0.0]
    """
    mean = masked_mean(values, mask)
    scaled = (values - mean) * jax.lax.rsqrt(masked_variance(values, mask) + 1e-8)
    return jnp.where(mask, scaled if shift_mean else scaled + mean, 0.0)


def explained_variance(values: jax.Array, returns: jax.Array, mask: jax.Array) -> jax.Array:
    """Return 1 - Var(returns - values) / Var(returns): 1 is perfect, 0 is as good as a constant.

    Args:
      values: `[...]` float32, predicted.
      returns: `[...]` float32, observed.
      mask: `[...]` bool.

    Example:
      >>> returns, mask = jnp.array([1.0, 2.0]), jnp.array([True, True])
      >>> float(explained_variance(returns, returns, mask))
      1.0
    """
    spread = masked_variance(returns, mask)
    return 1.0 - masked_variance(returns - values, mask) / jnp.maximum(spread, 1e-8)
