"""Whitened principal components: columns that are uncorrelated and have the same variance.

Product quantization gives every segment as many codes as any other, so it wastes codes on segments
that hardly vary. After whitening all segments vary alike (as in RPG, Hou et al. 2025).
"""

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.ids.kmeans import check_vectors

# Components whose variance is below this share of the largest are noise of rounding.
_SMALLEST = 1e-7


def whitened_vectors(vectors: np.ndarray, dim: int) -> np.ndarray:
    """Return the first whitened principal components of vectors: `[I, E]` to `[I, d]` float32.

    Args:
      vectors: `[I, E]`.
      dim: most components; there are fewer if the vectors do not vary in so many directions, and
        never as many as items.

    Raises:
      ConfigError: `dim` is below 1.
      DataError: the vectors are not a finite matrix.

    Example:
      >>> vectors = np.random.default_rng(0).normal(size=(50, 3)) * [9.0, 1.0, 0.1]
      >>> white = whitened_vectors(vectors, dim=2)
      >>> np.cov(white.T).round(3).tolist() == np.eye(2).tolist()
      True
    """
    if dim < 1:
        raise ConfigError(f"dim must be at least 1, got {dim}")
    vectors = check_vectors(vectors)
    centred = vectors - vectors.mean(axis=0)
    values, axes = np.linalg.eigh(centred.T @ centred / max(len(centred) - 1, 1))
    values, axes = values[::-1], axes[:, ::-1]
    largest = max(values[0], 1e-30)
    count = min(dim, len(vectors) - 1, int((values > _SMALLEST * largest).sum()))
    # LAPACK leaves the sign open; make the largest entry of each axis positive.
    axes = axes[:, :count]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(count)])
    return (centred @ axes / np.sqrt(values[:count])).astype(np.float32)
