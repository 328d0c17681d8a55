"""Contrastive learning of states and item vectors, and negatives that no catalogue holds.

Shapes: `M` predictions of a batch, `D` vector width, `L` levels of an ID, `C` codes a level.
"""

import jax
import jax.numpy as jnp


def info_nce(
    states: jax.Array,
    positives: jax.Array,
    items: jax.Array,
    counts: jax.Array,
    fake: jax.Array | None = None,
) -> jax.Array:
    """-ln exp(s·v⁺) / (exp(s·v⁺) + Σ_j exp(s·v_j) + exp(s·ṽ)): InfoNCE with in-batch negatives.

    The v_j are the targets of the batch's other predictions, of all the domains that share it (Hou
    et al. 2023, arXiv:2210.12316, equation 7). A prediction with the same target is no negative and
    has no part in the sum. (The code published with the paper sets its logit to 0 before the
    exponential, which leaves exp(0) = 1 a duplicate in the sum.) So the loss is the cross-entropy
    of a softmax over the batch's *distinct* other predictions, counted as often as they occur.

    Args:
      states: `[M, D]` s; logits are plain products, so scale them first: for cosines over a
        temperature τ, unit vectors of which one side is divided by τ.
      positives: `[M, D]` vectors v⁺ of the targets.
      items: `[M]` int, which item each target is.
      counts: `[M]` bool, False for padding, which is nobody's negative.
      fake: `[M, D]` a negative ṽ of each prediction's own; None for none.

    Returns:
      `[M]` float32, without meaning where `counts` is False.

    Cost: 2 M² D operations and O(M²) memory.
    """
    logits = jnp.einsum("md,nd->mn", states, positives, preferred_element_type=jnp.float32)
    own = jnp.eye(len(items), dtype=bool)
    other = counts[None, :] & (items[:, None] != items[None, :])
    logits = jnp.where(own | other, logits, -jnp.inf)
    positive = jnp.diagonal(logits)
    total = jax.nn.logsumexp(logits, axis=-1)
    if fake is not None:
        drawn = jnp.einsum("md,md->m", states, fake, preferred_element_type=jnp.float32)
        total = jnp.logaddexp(total, drawn)
    return total - positive


def semi_synthetic(codes: jax.Array, sizes: jax.Array, share: float, key: jax.Array) -> jax.Array:
    """IDs near the given ones: each digit is replaced with probability ρ by a random one.

    A digit that is drawn anew may come out as it was. (Hou et al. 2023, section 2.3.2, ρ = .75.)

    Args:
      codes: `[..., L]` int32.
      sizes: `[L]` int32, codes that each level has.
      share: ρ.
      key: of the draws.
    """
    which, what = jax.random.split(key)
    limit = jnp.broadcast_to(sizes.astype(codes.dtype), codes.shape)
    drawn = jax.random.randint(what, codes.shape, 0, limit, codes.dtype)
    return jnp.where(jax.random.bernoulli(which, share, codes.shape), drawn, codes)
