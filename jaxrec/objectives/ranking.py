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
    """
    return jax.nn.softplus(-positive) + jax.nn.softplus(negative).sum(-1)


def bpr(positive: jax.Array, negative: jax.Array) -> jax.Array:
    """-Σ_j ln σ(s_t - s_j): `[...]` and `[..., n]` to `[...]`.

    (Rendle et al. 2009, arXiv:1205.2618, section 4.1.)
    """
    return jax.nn.softplus(negative - positive[..., None]).sum(-1)


def sampled_softmax(
    positive: jax.Array,
    negative: jax.Array,
    same: jax.Array,
    log_q: jax.Array | None = None,
) -> jax.Array:
    """-ln of the target's share among itself and n items drawn, with replacement, from q.

    With `log_q` the sum over the drawn items estimates that over the catalogue without bias,
    Σ_{j ≠ t} exp(s_j) = E[1/n Σ exp(s_j - ln q_j)], so the loss tends to the full cross-entropy
    (importance sampling: Bengio and Senécal 2008, section III). The target was not drawn, so its
    score is not corrected. Without `log_q` the drawn items count as they are.

    Args:
      positive: `[...]` scores of the targets.
      negative: `[..., n]` scores of the drawn items.
      same: `[..., n]` bool, where the drawn item is the target, which then counts once.
      log_q: `[..., n]` log-probabilities with which the items were drawn; None for no correction.

    Returns:
      `[...]`.
    """
    if log_q is not None:
        negative = negative - log_q - jnp.log(jnp.float32(negative.shape[-1]))
    negative = jnp.where(same, -jnp.inf, negative)
    # The target joins the sum, not the array: scores of a whole batch are worth no copy.
    top = jax.lax.stop_gradient(jnp.maximum(positive, negative.max(-1)))
    total = jnp.exp(positive - top) + jnp.exp(negative - top[..., None]).sum(-1)
    return jnp.log(total) + top - positive
