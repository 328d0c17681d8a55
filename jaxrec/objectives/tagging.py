"""Learning to tag from incomplete labels: the expected entity ratio, and the labels of a teacher.

Labels by a lexicon miss entities. If unmatched tokens count as outside, a tagger learns to miss
them too; if they are unknown, it may call every token an entity. The expected entity ratio (Effland
and Collins, TACL 2021) prevents both extremes, because it holds the share of tokens inside entities
near a prior. A teacher (Liang et al., "BOND", KDD 2020, arXiv:2006.15509) corrects labels: its
student learns the teacher's distribution where the teacher is sure.

Shapes: `B` texts, `T` tokens, `C` tags. Probabilities are the marginals of a CRF, or a softmax.
"""

from typing import Literal

import jax
import jax.numpy as jnp

Replacement = Literal["teacher", "unknown"]


def entity_ratio(marginals: jax.Array, mask: jax.Array, outside: int = 0) -> jax.Array:
    """ρ̂: the expected share of tokens inside entities.

    Args:
      marginals: `[B, T, C]` probabilities of the tags.
      mask: `[B, T]` bool, the tokens that count.
      outside: the tag of tokens outside of all entities.

    Returns:
      float32 scalar; 0 without tokens.

    Example:
      >>> import jax.numpy as jnp
      >>> marginals = jnp.array([[[0.9, 0.1], [0.5, 0.5], [0.0, 1.0]]])
      >>> round(float(entity_ratio(marginals, jnp.array([[True, True, False]]))), 4)
      0.3
    """
    inside = jnp.where(mask, 1.0 - marginals[:, :, outside], 0.0).sum()
    return inside / jnp.maximum(mask.sum(), 1).astype(jnp.float32)


def entity_ratio_loss(
    marginals: jax.Array,
    mask: jax.Array,
    *,
    ratio: float = 0.15,
    margin: float = 0.05,
    outside: int = 0,
) -> jax.Array:
    """max(0, |ρ̂ - ρ| - γ): how far the expected entity ratio of a batch lies outside ρ ± γ.

    Args:
      marginals: `[B, T, C]` probabilities of the tags.
      mask: `[B, T]` bool, the tokens that count.
      ratio: ρ; Effland and Collins' benchmarks use 0.15.
      margin: γ; their benchmarks use 0.05.
      outside: the tag of tokens outside of all entities.

    Returns:
      float32 scalar.

    Example:
      >>> import jax.numpy as jnp
      >>> marginals = jnp.array([[[0.9, 0.1], [0.5, 0.5]]])
      >>> loss = entity_ratio_loss(marginals, jnp.array([[True, True]]))
      >>> round(float(loss), 4)  # 0.3 - 0.2
      0.1
    """
    return jnp.maximum(jnp.abs(entity_ratio(marginals, mask, outside) - ratio) - margin, 0.0)


def sharpen_labels(probabilities: jax.Array, mask: jax.Array) -> jax.Array:
    """Soft labels S = (f² / p) / Σ_c (f_c² / p_c), where p_c sums f_c over all tokens.

    BOND's students learn these. Squaring prefers what is likely, and dividing by the frequencies
    keeps rare tags from vanishing.

    Args:
      probabilities: `[B, T, C]` f, of a teacher.
      mask: `[B, T]` bool, the tokens that count.

    Returns:
      `[B, T, C]` float32; 0 at other tokens.

    Example:
      >>> import jax.numpy as jnp
      >>> labels = sharpen_labels(jnp.array([[[0.8, 0.2], [0.2, 0.8]]]), jnp.array([[True, True]]))
      >>> [[round(x, 3) for x in row] for row in labels[0].tolist()]
      [[0.941, 0.059], [0.059, 0.941]]
    """
    f = jnp.where(mask[:, :, None], probabilities, 0.0)
    p = f.sum(axis=(0, 1))[None, None]
    shares = f**2 / jnp.where(p > 0, p, 1.0)
    total = shares.sum(axis=2, keepdims=True)
    return shares / jnp.where(total > 0, total, 1.0)


def is_confident(probabilities: jax.Array, mask: jax.Array, threshold: float) -> jax.Array:
    """Whether the likeliest tag of a token has a probability of at least `threshold`.

    Args:
      probabilities: `[B, T, C]`.
      mask: `[B, T]` bool; False elsewhere.
      threshold: in [0, 1].

    Returns:
      `[B, T]` bool.

    Example:
      >>> import jax.numpy as jnp
      >>> marginals = jnp.array([[[0.9, 0.1], [0.5, 0.5]]])
      >>> is_confident(marginals, jnp.array([[True, True]]), 0.8).tolist()
      [[True, False]]
    """
    return mask & (probabilities.max(axis=2) >= threshold)


def soft_label_loss(log_probs: jax.Array, labels: jax.Array, keep: jax.Array) -> jax.Array:
    """-Σ_c S_c ln p_c of the tokens to learn: cross-entropy with soft labels.

    Args:
      log_probs: `[B, T, C]` ln p of a student, such as `crf_log_marginals`.
      labels: `[B, T, C]` S, probabilities of a teacher; they get no gradient.
      keep: `[B, T]` bool, the tokens to learn, such as `is_confident` says.

    Returns:
      `[B, T]` float32; 0 at other tokens.

    Example:
      >>> import jax.numpy as jnp
      >>> even = jnp.log(jnp.array([[[0.5, 0.5]]]))
      >>> loss = soft_label_loss(even, jnp.array([[[0.9, 0.1]]]), jnp.array([[True]]))
      >>> round(float(loss[0, 0]), 4)
      0.6931
    """
    # [B, T, C] -> [B, T]
    losses = -(jax.lax.stop_gradient(labels) * log_probs).sum(axis=2)
    return jnp.where(keep, losses, 0.0)


def replace_confident(
    allowed: jax.Array,
    probabilities: jax.Array,
    mask: jax.Array,
    threshold: float,
    by: Replacement = "teacher",
) -> jax.Array:
    """Replace labels that a confident teacher contradicts.

    A teacher contradicts a label if it is confident of a tag that the label does not allow. By
    "unknown" such a token allows every tag afterwards. By "teacher" it allows the teacher's tag
    alone, and so does a token of several allowed tags whose teacher is confident.

    A tag that is replaced alone may leave a text without a legal sequence; see `has_legal_path`.

    Args:
      allowed: `[B, T, C]` bool, labels.
      probabilities: `[B, T, C]` of the teacher.
      mask: `[B, T]` bool; other tokens keep their labels.
      threshold: probability of the likeliest tag from which on a teacher is confident.
      by: what replaces a label.

    Returns:
      `[B, T, C]` bool.

    Example:
      >>> import jax.numpy as jnp
      >>> outside = jnp.array([[[True, False], [True, False]]])
      >>> teacher = jnp.array([[[0.1, 0.9], [0.4, 0.6]]])
      >>> replace_confident(outside, teacher, jnp.array([[True, True]]), 0.8).tolist()
      [[[False, True], [True, False]]]
    """
    tags = probabilities.shape[2]
    likeliest = jax.nn.one_hot(probabilities.argmax(axis=2), tags, dtype=jnp.float32) > 0
    sure = is_confident(probabilities, mask, threshold)[:, :, None]
    agrees = (likeliest & allowed).any(axis=2, keepdims=True)
    if by == "unknown":
        return jnp.where(sure & ~agrees, True, allowed)
    return jnp.where(sure, likeliest, allowed)
