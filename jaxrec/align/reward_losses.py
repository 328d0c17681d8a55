"""Losses of a reward model: of pairs, of the best of n, and of scores.

Shapes: `...` prompts, `K` answers to a prompt. Padding is an answer that no weight names.
"""

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError


def pairwise_loss(
    rewards: jax.Array,
    wins: jax.Array,
    *,
    margin: float | jax.Array = 0.0,
    centering: float = 0.0,
) -> jax.Array:
    """Σ_ij w_ij [-ln σ(r_i - r_j - m_ij) + c (r_i + r_j)²], over all pairs of a prompt.

    With w_ij = 1 / C(K, 2) for each pair in which i is better than j, this is the loss of Ouyang et
    al. 2022 (arXiv:2203.02155, equation 1). The margin m is that of Touvron et al. 2023
    (arXiv:2307.09288, equation 2), and c keeps the rewards near 0 (Eisenstein et al. 2023,
    arXiv:2312.09244). Without c, adding a constant to all rewards changes nothing.

    Args:
      rewards: r, `[..., K]`.
      wins: w, `[..., K, K]`; 0 for what is no pair.
      margin: m, a number or an array that broadcasts to `[..., K, K]`.
      centering: c.

    Returns:
      `[...]`.

    Raises:
      ConfigError: the shapes do not fit.

    Example:
      >>> wins = jnp.array([[0.0, 1.0], [0.0, 0.0]])
      >>> round(float(pairwise_loss(jnp.zeros(2), wins)), 4)  # ln 2
      0.6931
    """
    if wins.shape != (*rewards.shape, rewards.shape[-1] if rewards.ndim else 0):
        raise ConfigError(
            f"wins must be [..., K, K] for rewards [..., K], got {list(wins.shape)} and "
            f"{list(rewards.shape)}"
        )
    r_i, r_j = rewards[..., :, None], rewards[..., None, :]
    # -ln σ(x) is softplus(-x).
    m = jnp.broadcast_to(jnp.asarray(margin, rewards.dtype), wins.shape)
    losses = jax.nn.softplus(m - (r_i - r_j)) + centering * (r_i + r_j) ** 2
    return jnp.sum(wins * losses, axis=(-2, -1))


def best_of_n_loss(rewards: jax.Array, best: jax.Array, present: jax.Array) -> jax.Array:
    """-Σ_k b_k ln softmax(r)_k: cross-entropy of the answer that was chosen as the best.

    (Ziegler et al. 2019, arXiv:1909.08593, equation 1.)

    Args:
      rewards: r, `[..., K]`.
      best: b, `[..., K]`, share of the labelers who chose an answer.
      present: `[..., K]` bool, False for padding.

    Returns:
      `[...]`; 0 for a prompt without a best answer.

    Raises:
      ConfigError: the shapes differ.

    Example:
      >>> best, present = jnp.array([1.0, 0, 0, 0]), jnp.ones(4, bool)
      >>> round(float(best_of_n_loss(jnp.zeros(4), best, present)), 4)  # ln 4
      1.3863
    """
    _check_like(rewards, best=best, present=present)
    log_p = jax.nn.log_softmax(jnp.where(present, rewards, -jnp.inf), axis=-1)
    # The log-probability of padding is infinite, and 0 times infinity is no number.
    return -jnp.sum(best * jnp.where(present, log_p, 0.0), axis=-1)


def regression_loss(rewards: jax.Array, targets: jax.Array, present: jax.Array) -> jax.Array:
    """Σ_k (r_k - t_k)² over the answers of a prompt that have a target.

    Args:
      rewards: r, `[..., K]`.
      targets: t, `[..., K]`; anything for answers without a target.
      present: `[..., K]` bool, whether an answer has a target.

    Returns:
      `[...]`.

    Raises:
      ConfigError: the shapes differ.

    Example:
      >>> float(regression_loss(jnp.zeros(2), jnp.array([3.0, 9.0]), jnp.array([True, False])))
      9.0
    """
    _check_like(rewards, targets=targets, present=present)
    # Selected before the square: a target that is NaN must not reach the gradient.
    errors = rewards - jnp.where(present, targets, rewards)
    return jnp.sum(errors**2, axis=-1)


def _check_like(rewards: jax.Array, **arrays: jax.Array) -> None:
    for name, array in arrays.items():
        if array.shape != rewards.shape:
            raise ConfigError(
                f"{name} must have the shape {list(rewards.shape)} of the rewards, got "
                f"{list(array.shape)}"
            )
