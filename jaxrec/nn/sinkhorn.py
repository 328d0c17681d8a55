"""Matching as a layer: Gumbel-Sinkhorn and its hard form (Mena et al. 2018, arXiv:1802.08665).

A square matrix of logits becomes nearly doubly stochastic by normalizing its rows and columns in
turn. Gumbel noise makes it a random draw, a low temperature brings it near to a permutation, and
the straight-through form uses one entry a row while the gradient sees all of them.

Shapes: `...` matrices, `C` codes.
"""

import jax
import jax.numpy as jnp


def gumbel_sinkhorn(
    logits: jax.Array, key: jax.Array | None, *, iterations: int = 3, temperature: float = 0.7
) -> jax.Array:
    """Normalize rows, then columns, `iterations` times: exp of (logits + Gumbel noise) / τ.

    After the last round columns sum to 1 and rows do so nearly; with more rounds both do (Sinkhorn
    1964), with τ towards 0 the result tends to the permutation of the largest sum of logits
    (theorem 1 of the paper).

    Args:
      logits: `[..., C, C]` float32.
      key: of the noise; None for none.
      iterations: rounds. Hou et al. 2023 (arXiv:2210.12316) use 3.
      temperature: τ > 0; theirs is .7.

    Returns:
      `[..., C, C]` float32, positive.

    Cost: O(iterations C²) a matrix.
    """
    if key is not None:
        logits = logits + jax.random.gumbel(key, logits.shape, logits.dtype)
    logs = logits / temperature
    for _ in range(iterations):
        logs = logs - jax.nn.logsumexp(logs, axis=-1, keepdims=True)
        logs = logs - jax.nn.logsumexp(logs, axis=-2, keepdims=True)
    return jnp.exp(logs)


def straight_through(shares: jax.Array) -> jax.Array:
    """One entry a row, the largest, with the gradient of `shares`: `[..., C, C]` to the same.

    Rows choose by themselves, so two of them may choose one column: no permutation is promised.
    (The code published with VQ-Rec rounds the largest entry up, which lets no gradient through.)
    """
    hard = jax.nn.one_hot(shares.argmax(-1), shares.shape[-1], dtype=shares.dtype)
    return hard + shares - jax.lax.stop_gradient(shares)
