"""Estimates of KL(π‖π_ref) from tokens that π generated.

The three estimators are those of Schulman, Approximating KL Divergence, 2020. Their means over
samples of π estimate the divergence: `k1` and `k3` without bias, `k2` with a small one. The
gradient of their means is another matter. In a reward, which is not differentiated, only `k1` has
the gradient of the divergence. As a term of a loss, GRPO differentiates `k3`.
"""

import jax
import jax.numpy as jnp

from jaxrec.align.shapes import check_same


def k1(log_p: jax.Array, log_ref: jax.Array) -> jax.Array:
    """k1 = ln π - ln π_ref: unbiased, with a high variance, and negative for some tokens.

    Args:
      log_p: ln π of each token, `[...]`.
      log_ref: ln π_ref of each token, `[...]`.

    Returns:
      `[...]`.

    Raises:
      ConfigError: the shapes differ.

    Example:
      >>> float(k1(jnp.float32(-1.0), jnp.float32(-1.5)))
      0.5
    """
    check_same(log_p=log_p, log_ref=log_ref)
    return log_p - log_ref


def k2(log_p: jax.Array, log_ref: jax.Array) -> jax.Array:
    """k2 = (ln π - ln π_ref)² / 2: never negative, with a low variance and a small bias.

    Args:
      log_p: ln π of each token, `[...]`.
      log_ref: ln π_ref of each token, `[...]`.

    Returns:
      `[...]`.

    Raises:
      ConfigError: the shapes differ.

    Example:
      >>> float(k2(jnp.float32(-1.0), jnp.float32(-1.5)))
      0.125
    """
    check_same(log_p=log_p, log_ref=log_ref)
    return 0.5 * (log_p - log_ref) ** 2


def k3(log_p: jax.Array, log_ref: jax.Array) -> jax.Array:
    """k3 = π_ref / π - 1 - ln(π_ref / π): unbiased and never negative.

    Args:
      log_p: ln π of each token, `[...]`.
      log_ref: ln π_ref of each token, `[...]`.

    Returns:
      `[...]`.

    Raises:
      ConfigError: the shapes differ.

    Example:
      >>> round(float(k3(jnp.float32(-1.0), jnp.float32(-1.5))), 4)
      0.1065
    """
    check_same(log_p=log_p, log_ref=log_ref)
    # exp(x) - 1 loses all digits where the two policies are nearly equal.
    return jnp.expm1(log_ref - log_p) - (log_ref - log_p)
