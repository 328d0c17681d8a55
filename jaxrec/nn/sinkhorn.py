"""Matching as a layer: Gumbel-Sinkhorn and its hard form (Mena et al. 2018, arXiv:1802.08665).

Normalizing the rows and columns of a square matrix alternately makes it nearly doubly stochastic.
Gumbel noise turns the result into a random draw, and a low temperature brings it close to a
permutation. The straight-through form uses one entry per row, while the gradient sees all of them.

Shapes: `...` matrices, `C` codes.
"""

import jax
import jax.numpy as jnp


def gumbel_sinkhorn(
    logits: jax.Array, key: jax.Array | None, *, iterations: int = 3, temperature: float = 0.7
) -> jax.Array:
    """Normalize the rows, then the columns, of exp((logits + Gumbel noise) / τ) repeatedly.

    After the last round columns sum to 1 and rows sum to nearly 1; with more rounds both converge
    to 1 (Sinkhorn 1964). As τ approaches 0, the result approaches the permutation with the largest
    sum of logits (theorem 1 of the paper).

    Args:
      logits: `[..., C, C]` float32.
      key: random key of the noise; None for no noise.
      iterations: number of rounds. Hou et al. 2023 (arXiv:2210.12316) use 3.
      temperature: τ > 0. Hou et al. use 0.7.

    Returns:
      `[..., C, C]` float32, positive.

    Cost: O(iterations C²) per matrix.
    """
    if key is not None:
        logits = logits + jax.random.gumbel(key, logits.shape, logits.dtype)
    logs = logits / temperature
    for _ in range(iterations):
        logs = logs - jax.nn.logsumexp(logs, axis=-1, keepdims=True)
        logs = logs - jax.nn.logsumexp(logs, axis=-2, keepdims=True)
    return jnp.exp(logs)


def straight_through(shares: jax.Array) -> jax.Array:
    """Set each row's largest entry to 1 and the others to 0, with the gradient of `shares`.

    Rows choose independently, so two of them may choose the same column: the result need not be a
    permutation. (The code published with VQ-Rec rounds the largest entry up, which blocks the
    gradient.)

    Args:
      shares: `[..., C, C]`.

    Returns:
      `[..., C, C]`.
    """
    hard = jax.nn.one_hot(shares.argmax(-1), shares.shape[-1], dtype=shares.dtype)
    return hard + shares - jax.lax.stop_gradient(shares)
