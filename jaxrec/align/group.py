"""GRPO: policy optimization whose baseline is the mean reward of a group of answers.

GRPO: Shao et al. 2024, arXiv:2402.03300. Dr. GRPO: Liu et al. 2025, arXiv:2503.20783. The answers
of a group belong to one prompt; they may be texts of different lengths, or item IDs.

Shapes: `B` prompts, `G` answers of a prompt, `T` tokens of an answer.
"""

import jax
import jax.numpy as jnp

from jaxrec.align.kl import k3
from jaxrec.align.losses import importance_ratio, policy_loss
from jaxrec.core import ConfigError

# Published code adds it to the standard deviation, which is 0 where all rewards are equal.
_EPS = 1e-4


def group_advantages(
    rewards: jax.Array, valid: jax.Array | None = None, *, scaled: bool = True
) -> jax.Array:
    """Return how much better each answer is than its group, `[B, G]` float32.

    A_i = (r_i - mean) / (std + 1e-4), with the standard deviation of a sample (divisor G - 1).
    Dr. GRPO leaves the division out, because it favours groups whose rewards hardly differ.

    Args:
      rewards: `[B, G]` float32.
      valid: `[B, G]` bool, which answers exist; None for all. Others have the advantage 0.
      scaled: divide by the standard deviation (GRPO), or not (Dr. GRPO).

    Raises:
      ConfigError: `valid` has another shape than the rewards.

    Example:
      >>> rewards = jnp.array([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
      >>> group_advantages(rewards, scaled=False).tolist()
      [[0.75, -0.25, -0.25, -0.25], [0.0, 0.0, 0.0, 0.0]]
      >>> [round(x, 3) for x in group_advantages(rewards)[0].tolist()]
      [1.5, -0.5, -0.5, -0.5]
    """
    valid = jnp.ones(rewards.shape, bool) if valid is None else valid
    if valid.shape != rewards.shape:
        raise ConfigError(f"valid must have shape {rewards.shape}, got {valid.shape}")
    count = valid.sum(axis=1, keepdims=True).astype(jnp.float32)
    mean = jnp.where(valid, rewards, 0.0).sum(axis=1, keepdims=True) / jnp.maximum(count, 1.0)
    gap = jnp.where(valid, rewards - mean, 0.0)
    if not scaled:
        return gap
    variance = jnp.square(gap).sum(axis=1, keepdims=True) / jnp.maximum(count - 1.0, 1.0)
    return gap / (jnp.sqrt(variance) + _EPS)


def grpo(
    log_probs: jax.Array,
    advantages: jax.Array,
    mask: jax.Array,
    *,
    old: jax.Array | None = None,
    reference: jax.Array | None = None,
    clip: float = 0.2,
    beta: float = 0.04,
    per_length: bool = True,
) -> jax.Array:
    """Return the loss of each answer, `[B, G]` float32; its mean over all answers is minimized.

    With rho_t = pi(o_t) / pi_old(o_t) and the estimate of the KL D_t = ref/pi - log(ref/pi) - 1::

        loss = 1/|o| sum_t [max(-A rho_t, -A clip(rho_t, 1 - eps, 1 + eps)) + beta D_t]

    Dr. GRPO divides by T instead of the answer's own length |o|, so that long wrong answers do not
    cost less.

    Args:
      log_probs: `[B, G, T]` log pi of each token.
      advantages: `[B, G]`, see `group_advantages`.
      mask: `[B, G, T]` bool, tokens of the answers.
      old: `[B, G, T]` log pi_old of the policy that made the answers; None for the present policy,
        where the ratio is 1 and its gradient that of log pi.
      reference: `[B, G, T]` log ref; None leaves the KL out.
      clip: eps, how far the ratio may move before it stops to count.
      beta: weight of the KL.
      per_length: divide by |o| (GRPO), or by T (Dr. GRPO).

    Raises:
      ConfigError: arrays of other shapes.

    Example:
      >>> log_probs, mask = jnp.zeros((1, 2, 3)), jnp.ones((1, 2, 3), bool)
      >>> grpo(log_probs, jnp.array([[0.5, -0.5]]), mask).tolist()
      [[-0.5, 0.5]]
    """
    others = {"mask": mask, "old": old, "reference": reference}
    for name, array in others.items():
        if array is not None and array.shape != log_probs.shape:
            raise ConfigError(f"{name} must have shape {log_probs.shape}, got {array.shape}")
    if advantages.shape != log_probs.shape[:-1]:
        raise ConfigError(
            f"advantages must have shape {log_probs.shape[:-1]}, one for each answer, got "
            f"{advantages.shape}"
        )
    ratio = importance_ratio(log_probs, jax.lax.stop_gradient(log_probs if old is None else old))
    loss = policy_loss(ratio, advantages[..., None], clip)
    if reference is not None:
        loss = loss + beta * k3(log_probs, reference)
    lengths = mask.sum(axis=-1) if per_length else jnp.full(mask.shape[:-1], mask.shape[-1])
    return jnp.where(mask, loss, 0.0).sum(axis=-1) / jnp.maximum(lengths, 1).astype(jnp.float32)
