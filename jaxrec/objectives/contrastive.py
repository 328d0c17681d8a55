"""Contrastive learning of states and item vectors, and negatives outside the catalogue.

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

    The v_j are the targets of the batch's other predictions, from all domains in the batch (Hou et
    al. 2023, arXiv:2210.12316, equation 7). A prediction with the same target is not a negative and
    does not enter the sum, while another target that occurs several times enters it several times.
    (The code published with the paper sets the logit of such a duplicate to 0 before the
    exponential, so that each duplicate adds exp(0) = 1 to the sum.)

    Args:
      states: `[M, D]` s. Logits are plain products, so scale the vectors first: cosines divided by
        a temperature τ need unit vectors, with one side divided by τ.
      positives: `[M, D]` vectors v⁺ of the targets.
      items: `[M]` int, item number of each target.
      counts: `[M]` bool, False for padding, which is never a negative.
      fake: `[M, D]` one additional negative ṽ for each prediction; None for no such negatives.

    Returns:
      `[M]` float32; meaningless where `counts` is False.

    Cost: 2 M² D operations and O(M²) memory.

    Example:
      >>> import jax.numpy as jnp
      >>> vectors = jnp.eye(2)
      >>> losses = info_nce(vectors, vectors, jnp.array([4, 7]), jnp.array([True, True]))
      >>> [round(x, 4) for x in losses.tolist()]  # ln(1 + 1/e) each
      [0.3133, 0.3133]
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
    """IDs near the given ones: each code is replaced by a random one with probability ρ.

    A redrawn code may equal the old one. (Hou et al. 2023, section 2.3.2, use ρ = .75.)

    Args:
      codes: `[..., L]` int32.
      sizes: `[L]` int32, number of codes of each level.
      share: ρ.
      key: random key.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> codes, sizes = jnp.array([[3, 1]]), jnp.array([4, 2])
      >>> semi_synthetic(codes, sizes, 0.0, jax.random.key(0)).tolist()
      [[3, 1]]
    """
    choice, draw = jax.random.split(key)
    limit = jnp.broadcast_to(sizes.astype(codes.dtype), codes.shape)
    drawn = jax.random.randint(draw, codes.shape, 0, limit, codes.dtype)
    return jnp.where(jax.random.bernoulli(choice, share, codes.shape), drawn, codes)


def supervised_contrast(
    vectors: jax.Array, labels: jax.Array, counts: jax.Array, temperature: float = 0.1
) -> jax.Array:
    """-1/|P(k)| Σ_{l∈P(k)} ln [exp(cos(v_k, v_l)/τ) / Σ_{o∈A(k)} exp(cos(v_k, v_o)/τ)]: SupCon.

    A(k) are all other vectors, without k itself; P(k) are those of them with the label of k (Khosla
    et al. 2020, arXiv:2004.11362, equation 2). A vector whose P(k) is empty contributes 0.

    Args:
      vectors: `[M, D]`, of any length; the cosine scales them.
      labels: `[M]` int.
      counts: `[M]` bool, False for padding, which is in no A(k).
      temperature: τ. The paper uses 0.07.

    Returns:
      `[M]` float32; 0 where `counts` is False.

    Cost: 2 M² D operations and O(M²) memory.

    Example:
      >>> import jax.numpy as jnp
      >>> vectors = jnp.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
      >>> every = jnp.array([True, True, True])
      >>> losses = supervised_contrast(vectors, jnp.array([0, 0, 1]), every, temperature=1.0)
      >>> [round(x, 4) for x in losses.tolist()]  # ln(1 + 1/e), and one that is alone
      [0.3133, 0.3133, 0.0]
    """
    vectors = vectors.astype(jnp.float32)
    # The root of a sum that is exactly 0 has no gradient.
    squares = jnp.maximum((vectors**2).sum(axis=1, keepdims=True), 1e-12)
    units = vectors / jnp.sqrt(squares)
    logits = jnp.einsum("md,nd->mn", units, units) / jnp.float32(temperature)
    others = counts[:, None] & counts[None, :] & ~jnp.eye(len(labels), dtype=bool)
    positives = others & (labels[:, None] == labels[None, :])
    masked = jnp.where(others, logits, jnp.finfo(jnp.float32).min)
    losses = jax.nn.logsumexp(masked, axis=1)[:, None] - logits
    number = positives.sum(axis=1, dtype=jnp.float32)
    mean = jnp.where(positives, losses, 0.0).sum(axis=1) / jnp.maximum(number, 1.0)
    return jnp.where(number > 0, mean, 0.0)
