"""Item vectors for quantization: from text, from training interactions, or both joined.

Shapes: `I` items, `D` vector width, `E` width of a text encoder. Everything is a matrix and a
truncated SVD; an item of which nothing is known gets a row of zeros. Only what the caller passes is
used: give the training part of the histories, never the held-out items.

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

    Empty texts give zero rows; where the rank is below `dim` the last columns are zero.

    Args:
      texts: I of them.
      dim: D.
      seed: of the randomized SVD.
      new: I' texts to place among the others, which decide everything: words that are new to them
        count for nothing.

    Raises:
      ConfigError: dim below 1.
      DataError: no texts.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    if len(texts) == 0:
        raise DataError("no texts to make item vectors of")
    # One-letter words stay in ("M", "Z"): they are whole titles.
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

    For text vectors of a pretrained encoder, to stand where those of `text_vectors` do. Rows of
    zeros stay so; where the rank is below `dim` the last columns are zero.

    Args:
      vectors: [I, E].
      dim: D.
      seed: of the randomized SVD.
      new: [I', E] to place among the others, which decide the axes; None for none.

    Raises:
      ConfigError: dim below 1.
      DataError: vectors that are not a finite matrix, or no rows.
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
    """Return float32 [I, D]: positive PMI of items met together, truncated SVD, unit rows.

    n(i, j) counts how often i and j stand in one history: once a user for `window=None`, else each
    time they stand d <= window places apart, with weight decay^(d-1). With contexts smoothed,
    n~(j) = n(j)^smoothing,

        PPMI(i, j) = max(0, log( n(i, j) / n(i) * sum_k n~(k) / n~(j) )),

    and the vectors are U S^(1/2) of its SVD. Items not seen, or only seen alone, get zero rows.

    Args:
      train_sequences: dense item numbers of each user's training part, in time order.
      num_items: I.
      dim: D.
      window: farthest distance between two items that counts as together; None: the whole history.
      decay: weight of one more place of distance; needs a window.
      smoothing: exponent of the context distribution.
      seed: of the randomized SVD.

    Raises:
      ConfigError: dim or window below 1, decay outside (0, 1], decay without a window.
      DataError: no interactions, or an item number outside 0..I-1.
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

    Blocks have unit rows and are scaled by the square roots of `text_weight` and 1 - `text_weight`,
    so the inner product of two items is the weighted mean of their two cosines. A weight of 0 or 1
    leaves the other block out: [I, D], and its source may be None.

    Args:
      texts: I strings, or text vectors in their place: unit rows [I, D], as `text_vectors` and
        `reduced_vectors` give them; None for no text block.
      train_sequences: see `collaborative_vectors`.
      num_items: I.
      dim: D.
      text_weight: share of the text block.
      window: see `collaborative_vectors`.
      decay: likewise.
      seed: of the randomized SVDs.

    Raises:
      ConfigError: text_weight outside [0, 1], or a source that has weight is None.
      DataError: not one text an item; and as the two functions above.
    """
    if not 0 <= text_weight <= 1:
        raise ConfigError(f"text_weight must be in [0, 1], got {text_weight}")
    blocks = []
    if text_weight > 0:
        if texts is None:
            raise ConfigError(f"text_weight {text_weight} needs texts; give them or set it to 0")
        if len(texts) != num_items:
            raise DataError(f"{len(texts)} texts for {num_items} items: need one text an item")
        block = texts if isinstance(texts, np.ndarray) else text_vectors(texts, dim, seed)
        blocks.append(text_weight**0.5 * block)
    if text_weight < 1:
        if train_sequences is None:
            raise ConfigError(f"text_weight {text_weight} needs interactions; or set it to 1")
        vectors = collaborative_vectors(
            train_sequences, num_items, dim, window=window, decay=decay, seed=seed
        )
        blocks.append((1 - text_weight) ** 0.5 * vectors)
    return np.concatenate(blocks, axis=1).astype(np.float32)


def _placed(matrix: Any, dim: int, seed: int, new: Any) -> np.ndarray:
    """U S of a truncated SVD of a matrix [I, E], and below it what its V gives for rows `new`."""
    factors = _factors(matrix, dim, seed, power=1.0)
    if new is None:
        return factors
    # V = X' (U S) S^-2, and S^2 are the squared lengths of the columns of U S.
    squares = (factors**2).sum(axis=0)
    axes = (matrix.T @ factors) / np.where(squares > 0, squares, 1.0)
    return np.concatenate([factors, new @ axes])


def _factors(matrix: Any, dim: int, seed: int, power: float) -> np.ndarray:
    """U S^power of a truncated SVD of a matrix, [I, D], with zero columns beyond its rank.

    The matrix is sparse or an array.
    """
    from sklearn.utils.extmath import randomized_svd

    _check_dim(dim)
    rank = min(dim, *matrix.shape)
    if min(matrix.shape) <= 2 * dim:
        # Not larger than the sketch of the randomized method: the exact one costs the same.
        dense = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
        u, s, _ = np.linalg.svd(dense, full_matrices=False)
        u, s = u[:, :rank], s[:rank]
        # A sign convention, which LAPACK leaves open.
        u = u * np.sign(u[np.abs(u).argmax(axis=0), np.arange(u.shape[1])])
    else:
        u, s, _ = randomized_svd(matrix, rank, n_oversamples=20, n_iter=7, random_state=seed)
    real = s > 1e-10 * max(s.max(initial=0.0), 1e-300)
    out = np.zeros((matrix.shape[0], dim))
    out[:, :rank] = np.where(real, u * np.where(real, s, 1.0) ** power, 0.0)
    return out


def _unit_rows(matrix: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(matrix, axis=1, keepdims=True)
    # Rounding leaves about 1e-16 in rows that are zero; they must not grow to unit length.
    return np.where(norm > 1e-8, matrix / np.maximum(norm, 1e-8), 0.0)


def _check_dim(dim: int) -> None:
    if dim < 1:
        raise ConfigError(f"dim must be at least 1, got {dim}")
