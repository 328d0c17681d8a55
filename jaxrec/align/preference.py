"""Losses of preferences: DPO for pairs, and S-DPO for one chosen answer among several.

Shapes: `...` examples, `n` rejected answers of an example.
"""

import jax

from jaxrec.align.shapes import check_same
from jaxrec.core import ConfigError


def dpo(
    chosen: jax.Array,
    rejected: jax.Array,
    ref_chosen: jax.Array,
    ref_rejected: jax.Array,
    *,
    beta: float = 0.1,
) -> jax.Array:
    """-ln σ(β [(ln π(y_w) - ln π_ref(y_w)) - (ln π(y_l) - ln π_ref(y_l))]).

    (Rafailov et al. 2023, arXiv:2305.18290, equation 7.)

    Args:
      chosen: ln π(y_w), the sum over the tokens of the chosen answer, `[...]`.
      rejected: ln π(y_l), `[...]`.
      ref_chosen: ln π_ref(y_w), `[...]`.
      ref_rejected: ln π_ref(y_l), `[...]`.
      beta: β.

    Returns:
      `[...]`.

    Raises:
      ConfigError: the shapes differ.

    Example:
      >>> import jax.numpy as jnp
      >>> zero = jnp.float32(0.0)
      >>> round(float(dpo(zero, zero, zero, zero)), 4)  # ln 2
      0.6931
    """
    check_same(chosen=chosen, rejected=rejected, ref_chosen=ref_chosen, ref_rejected=ref_rejected)
    return jax.nn.softplus(-beta * ((chosen - ref_chosen) - (rejected - ref_rejected)))


def s_dpo(
    chosen: jax.Array,
    rejected: jax.Array,
    ref_chosen: jax.Array,
    ref_rejected: jax.Array,
    *,
    beta: float = 1.0,
) -> jax.Array:
    """-ln σ(-ln Σ_l exp(β r_l - β r_w)), with r = ln π - ln π_ref.

    (Chen et al. 2024, arXiv:2406.09215, equation 10.) With one rejected answer this is `dpo`.

    Args:
      chosen: ln π(y_w), `[...]`.
      rejected: ln π(y_l), `[..., n]`.
      ref_chosen: ln π_ref(y_w), `[...]`.
      ref_rejected: ln π_ref(y_l), `[..., n]`.
      beta: β.

    Returns:
      `[...]`.

    Raises:
      ConfigError: the shapes do not fit, or there are no rejected answers.

    Example:
      >>> import jax.numpy as jnp
      >>> zero, three = jnp.zeros(()), jnp.zeros(3)
      >>> round(float(s_dpo(zero, three, zero, three)), 4)  # ln 4
      1.3863
    """
    check_same(chosen=chosen, ref_chosen=ref_chosen)
    check_same(rejected=rejected, ref_rejected=ref_rejected)
    if rejected.shape[:-1] != chosen.shape or not rejected.shape or rejected.shape[-1] < 1:
        raise ConfigError(
            f"rejected must be [..., n] beside chosen [...] with n of 1 or more, got "
            f"{list(rejected.shape)} and {list(chosen.shape)}"
        )
    r_w = (chosen - ref_chosen)[..., None]
    r_l = rejected - ref_rejected
    # -ln σ(-x) is softplus(x).
    return jax.nn.softplus(jax.nn.logsumexp(beta * (r_l - r_w), axis=-1))
