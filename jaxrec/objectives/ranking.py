"""Losses that rank a target above sampled items: pure functions of scores.

Shapes: `...` predictions, `n` negatives of a prediction.
"""

import jax
import jax.numpy as jnp


def bce(positive: jax.Array, negative: jax.Array) -> jax.Array:
    """-ln σ(s_t) - Σ_j ln(1 - σ(s_j)): binary cross-entropy with negatives.

    (Kang and McAuley 2018, arXiv:1808.09781, equation 6, with one negative; He et al. 2017,
    arXiv:1708.05031, equation 7, with several.)

    Args:
      positive: `[...]` scores of the targets.
      negative: `[..., n]` scores of the negatives.

    Returns:
      `[...]`.

    Example:
      >>> import jax.numpy as jnp
      >>> round(float(bce(jnp.float32(0.0), jnp.zeros(3))), 4)  # 4 ln 2
      2.7726
    """
    return jax.nn.softplus(-positive) + jax.nn.softplus(negative).sum(-1)


def bpr(positive: jax.Array, negative: jax.Array) -> jax.Array:
    """-Σ_j ln σ(s_t - s_j): Bayesian personalized ranking.

    (Rendle et al. 2009, arXiv:1205.2618, section 4.1.)

    Args:
      positive: `[...]` scores of the targets.
      negative: `[..., n]` scores of the negatives.

    Returns:
      `[...]`.

    Example:
      >>> import jax.numpy as jnp
      >>> round(float(bpr(jnp.float32(2.0), jnp.full(3, 2.0))), 4)  # 3 ln 2
      2.0794
    """
    return jax.nn.softplus(negative - positive[..., None]).sum(-1)


def sampled_softmax(
    positive: jax.Array,
    negative: jax.Array,
    same: jax.Array,
    log_q: jax.Array | None = None,
) -> jax.Array:
    """-ln of the target's probability in a softmax over itself and n items drawn from q.

    Items are drawn with replacement. With `log_q` the sum over the drawn items is an unbiased
    estimate of the sum over the catalogue without the target, Σ_{j ≠ t} exp(s_j) = E[1/n Σ exp(s_j
    - ln q_j)], so the loss approaches the full cross-entropy as n grows (importance sampling:
      Bengio and Senécal
    2008, section III). The score of the target is not corrected, because it was not drawn. Without
    `log_q` no score is corrected.

    Args:
      positive: `[...]` scores of the targets.
      negative: `[..., n]` scores of the drawn items.
      same: `[..., n]` bool, True where the drawn item is the target; such a draw is left out, so
        that the target counts once.
      log_q: `[..., n]` log-probabilities with which the items were drawn; None for no correction.

    Returns:
      `[...]`.

    Example:
      >>> import jax.numpy as jnp
      >>> drawn, same = jnp.zeros(2), jnp.array([True, False])
      >>> round(float(sampled_softmax(jnp.float32(0.0), drawn, same)), 4)  # ln 2
      0.6931
    """
    if log_q is not None:
        negative = negative - log_q - jnp.log(jnp.float32(negative.shape[-1]))
    negative = jnp.where(same, -jnp.inf, negative)
    # The target is added to the sum, because concatenation would copy the scores of the batch.
    top = jax.lax.stop_gradient(jnp.maximum(positive, negative.max(-1)))
    total = jnp.exp(positive - top) + jnp.exp(negative - top[..., None]).sum(-1)
    return jnp.log(total) + top - positive
