"""Item vectors for quantization: from texts, from training interactions, or from both.

Shapes: `I` items, `D` vector width, `E` width of a text encoder. Each kind is the truncated SVD of
a matrix; an item about which nothing is known gets a row of zeros. Pass only the training part of
the histories, never the held-out items.

Sources: TF-IDF with SVD is latent semantic analysis (Deerwester et al., 1990). Positive pointwise
mutual information with SVD: Levy and Goldberg, "Neural Word Embedding as Implicit Matrix
Factorization", 2014; context smoothing of .75 and the square root of the singular values: Levy,
Goldberg and Dagan, 2015, sections 3.1 and 3.3.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.ids.cooccurrence import SMOOTHING, cooccurrence, ppmi


def text_vectors(
    texts: Sequence[str], dim: int, seed: int = 0, new: Sequence[str] = ()
) -> np.ndarray:
    """Return float32 [I + I', D]: TF-IDF of words and word pairs, truncated SVD, unit rows.

    Empty texts give zero rows. If the rank is below `dim`, the last columns are zero.

    Args:
      texts: I texts, which determine vocabulary, weights and axes.
      dim: D.
      seed: seed of the randomized SVD.
      new: I' further texts, placed along the same axes; words outside the vocabulary are ignored.

    Raises:
      ConfigError: `dim` is below 1.
      DataError: there are no texts.

    Example:
      >>> vectors = text_vectors(["red shoes", "red shoes", "garden hose"], dim=2)
      >>> (vectors @ vectors.T).round(3).tolist()
      [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    if len(texts) == 0:
        raise DataError("there are no texts to make item vectors of; give one text per item")
    # One-letter words ("M", "Z") stay in, because they can be whole titles.
    pattern = r"(?u)\b\w+\b"
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=pattern)
    try:
        matrix = vectorizer.fit_transform(texts)
        added = vectorizer.transform(new) if len(new) else None
    except ValueError as error:
        if "empty vocabulary" not in str(error):
            raise
        _check_dim(dim)
        return np.zeros((len(texts) + len(new), dim), np.float32)
    return _unit_rows(_placed(matrix, dim, seed, added)).astype(np.float32)


def reduced_vectors(
    vectors: np.ndarray, dim: int, seed: int = 0, new: np.ndarray | None = None
) -> np.ndarray:
    """Return float32 [I + I', D]: unit rows of a truncated SVD of the unit rows of vectors [I, E].

    This makes vectors of a pretrained text encoder usable in place of `text_vectors`. Zero rows
    stay zero. If the rank is below `dim`, the last columns are zero.

    Args:
      vectors: [I, E], which determine the axes.
      dim: D.
      seed: seed of the randomized SVD.
      new: [I', E], further vectors that are placed along the same axes; None for none.

    Raises:
      ConfigError: `dim` is below 1.
      DataError: the vectors are not a finite matrix, or there are none.

    Example:
      >>> reduced_vectors(np.eye(4), dim=2).shape
      (4, 2)
    """
    vectors = np.asarray(vectors, np.float64)
    if vectors.ndim != 2 or not len(vectors) or not np.isfinite(vectors).all():
        raise DataError(f"vectors must be finite numbers [items, width], got {vectors.shape}")
    added = None if new is None else _unit_rows(np.asarray(new, np.float64))
    return _unit_rows(_placed(_unit_rows(vectors), dim, seed, added)).astype(np.float32)


def collaborative_vectors(
    train_sequences: Sequence[np.ndarray],
    num_items: int,
    dim: int,
    *,
    window: int | None = None,
    decay: float = 1.0,
    smoothing: float = SMOOTHING,
    seed: int = 0,
) -> np.ndarray:
    """Return float32 [I, D]: positive PMI of co-occurring items, truncated SVD, unit rows.

    n(i, j) counts how often i and j occur in one history: once per user for `window=None`,
    otherwise each time they are d <= window positions apart, with weight decay^(d-1). With smoothed
    contexts n~(j) = n(j)^smoothing,

        PPMI(i, j) = max(0, log( n(i, j) / n(i) * sum_k n~(k) / n~(j) )),

    and the vectors are U S^(1/2) of its SVD. Items that co-occur with no other item get zero rows.

    Args:
      train_sequences: dense item numbers of each user's training part, in time order.
      num_items: I.
      dim: D.
      window: largest distance at which two items co-occur; None for the whole history.
      decay: factor by which the weight falls per position of distance; needs a window.
      smoothing: exponent of the context distribution.
      seed: seed of the randomized SVD.

    Raises:
      ConfigError: `dim` or the window is below 1, decay is outside (0, 1], or decay has no window.
      DataError: there are no interactions, or an item number is outside 0..I-1.

    Example:
      >>> histories = [np.array([0, 1]), np.array([0, 1]), np.array([2, 3])]
      >>> vectors = collaborative_vectors(histories, 5, dim=4)
      >>> vectors.shape, bool(vectors[4].any())  # nobody has item 4
      ((5, 4), False)
    """
    together = cooccurrence(train_sequences, num_items, window=window, decay=decay)
    if together.nnz == 0:
        _check_dim(dim)
        return np.zeros((num_items, dim), np.float32)
    return _unit_rows(_factors(ppmi(together, smoothing), dim, seed, power=0.5)).astype(np.float32)


def item_vectors(
    texts: Sequence[str] | np.ndarray | None,
    train_sequences: Sequence[np.ndarray] | None,
    num_items: int,
    dim: int,
    *,
    text_weight: float = 0.5,
    window: int | None = None,
    decay: float = 1.0,
    seed: int = 0,
) -> np.ndarray:
    """Return text and collaborative vectors side by side, float32 [I, 2 D].

    Both blocks have unit rows, scaled by the square roots of `text_weight` and 1 - `text_weight`.
    So the inner product of two items is the weighted mean of their two cosines. With a weight of 0
    or 1 the result has only one block, [I, D], and the source of the other may be None.

    Args:
      texts: I strings; or text vectors instead, unit rows [I, D] from `text_vectors` or
        `reduced_vectors`; or None for no text block.
      train_sequences: dense item numbers of each user's training part, in time order; None for no
        collaborative block.
      num_items: I.
      dim: D.
      text_weight: share of the text block.
      window: largest distance at which two items co-occur; None for the whole history.
      decay: factor by which the weight falls per position of distance; needs a window.
      seed: seed of the randomized SVDs.

    Raises:
      ConfigError: `text_weight` is outside [0, 1], a block with weight has no source, or `dim`,
        window or decay is invalid.
      DataError: the number of texts is not I, there are no interactions, or an item number is
        outside 0..I-1.

    Example:
      >>> titles = ["Alien", "Aliens", "Notting Hill"]
      >>> item_vectors(titles, [np.array([0, 1]), np.array([1, 2])], 3, dim=2).shape
      (3, 4)
    """
    if not 0 <= text_weight <= 1:
        raise ConfigError(f"text_weight must be in [0, 1], got {text_weight}")
    blocks = []
    if text_weight > 0:
        if texts is None:
            raise ConfigError(f"text_weight {text_weight} needs texts; give texts or set it to 0")
        if len(texts) != num_items:
            raise DataError(f"{len(texts)} texts for {num_items} items; give one text per item")
        block = texts if isinstance(texts, np.ndarray) else text_vectors(texts, dim, seed)
        blocks.append(text_weight**0.5 * block)
    if text_weight < 1:
        if train_sequences is None:
            raise ConfigError(
                f"text_weight {text_weight} needs interactions; give train_sequences or set it to 1"
            )
        vectors = collaborative_vectors(
            train_sequences, num_items, dim, window=window, decay=decay, seed=seed
        )
        blocks.append((1 - text_weight) ** 0.5 * vectors)
    return np.concatenate(blocks, axis=1).astype(np.float32)


def _placed(matrix: Any, dim: int, seed: int, new: Any) -> np.ndarray:
    """Return U S of the truncated SVD of a matrix [I, E], and below it `new` projected by its V."""
    factors = _factors(matrix, dim, seed, power=1.0)
    if new is None:
        return factors
    # V = X' (U S) S^-2, and S^2 are the squared lengths of the columns of U S.
    squares = (factors**2).sum(axis=0)
    axes = (matrix.T @ factors) / np.where(squares > 0, squares, 1.0)
    return np.concatenate([factors, new @ axes])


def _factors(matrix: Any, dim: int, seed: int, power: float) -> np.ndarray:
    """Return U S^power of a truncated SVD, [I, D], with zero columns beyond the rank.

    The matrix may be sparse or an array.
    """
    from sklearn.utils.extmath import randomized_svd

    _check_dim(dim)
    rank = min(dim, *matrix.shape)
    if min(matrix.shape) <= 2 * dim:
        # The sketch of the randomized SVD would be as large, so the exact SVD costs the same.
        dense = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
        u, s, _ = np.linalg.svd(dense, full_matrices=False)
        u, s = u[:, :rank], s[:rank]
        # LAPACK leaves the sign open; make the largest entry of each column positive.
        u = u * np.sign(u[np.abs(u).argmax(axis=0), np.arange(u.shape[1])])
    else:
        u, s, _ = randomized_svd(matrix, rank, n_oversamples=20, n_iter=7, random_state=seed)
    real = s > 1e-10 * max(s.max(initial=0.0), 1e-300)
    out = np.zeros((matrix.shape[0], dim))
    out[:, :rank] = np.where(real, u * np.where(real, s, 1.0) ** power, 0.0)
    return out


def _unit_rows(matrix: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(matrix, axis=1, keepdims=True)
    # Rounding leaves about 1e-16 in zero rows; these must not be scaled to unit length.
    return np.where(norm > 1e-8, matrix / np.maximum(norm, 1e-8), 0.0)


def _check_dim(dim: int) -> None:
    if dim < 1:
        raise ConfigError(f"dim must be at least 1, got {dim}")
