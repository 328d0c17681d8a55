"""Vectors of tokens from the tokens beside which they stand, without training.

Tokens that stand in the same texts get similar vectors. The vectors are a truncated singular value
decomposition U Σ^½ of the matrix of positive pointwise mutual information (Levy and Goldberg,
"Neural Word Embedding as Implicit Matrix Factorization", NIPS 2014, section 3.4), which is close to
what skip-gram learns.

Shapes: `V` tokens of a vocabulary, `D` width of a vector, `W` windows of text.
"""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from jaxrec.core import ConfigError, DataError


def cooccurrence_vectors(
    documents: Sequence[np.ndarray], vocab_size: int, width: int, *, window: int, seed: int = 0
) -> np.ndarray:
    """Return a vector of length 1 for every token of some texts, and zeros for all others.

    Args:
      documents: int32 tokens of each document.
      vocab_size: V.
      width: D.
      window: tokens that count as standing together: a document is cut into windows of so many. A
        pair counts once in a window, however often its tokens stand there.
      seed: of the decomposition, which is randomized.

    Returns:
      `[V, D]` float32.

    Raises:
      ConfigError: a window of a single token, which is beside no other.
      DataError: a token beyond the vocabulary, or too few different tokens for the width.

    Example:
      >>> baking, nursing = np.array([0, 1, 2]), np.array([3, 4, 5])
      >>> found = cooccurrence_vectors([baking, nursing], 7, 2, window=3)
      >>> found.shape, bool(found[0] @ found[1] > 0.9), bool(abs(found[0] @ found[4]) < 0.1)
      ((7, 2), True, True)
    """
    from sklearn.decomposition import TruncatedSVD

    if window < 2:
        raise ConfigError(f"a window of {window} tokens holds no pair; give at least 2")
    information = _positive_information(_pairs(documents, vocab_size, window))
    known = information.getnnz(axis=1) > 0
    if known.sum() <= width:
        raise DataError(
            f"vectors of width {width} from co-occurrence need more than {width} different tokens "
            f"that stand beside others, and the texts have {known.sum()}; give more text, or a "
            "smaller width"
        )
    svd = TruncatedSVD(width, random_state=seed).fit(information)
    vectors = svd.components_.T * np.sqrt(svd.singular_values_)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    # A token without information has vectors of rounding errors, which must not be scaled up.
    usable = known[:, None] & (lengths > 0)
    scaled = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=usable)
    return scaled.astype(np.float32)


def _pairs(documents: Sequence[np.ndarray], vocab_size: int, window: int) -> sparse.csr_matrix:
    """In how many windows two different tokens stand together: `[V, V]`."""
    pieces = [
        np.unique(text[begin : begin + window])
        for text in documents
        for begin in range(0, len(text), window)
    ]
    tokens = np.concatenate([np.zeros(0, np.int64), *pieces])
    if len(tokens) and (tokens.min() < 0 or tokens.max() >= vocab_size):
        raise DataError(
            f"the texts have tokens from {tokens.min()} to {tokens.max()}, and the vocabulary has "
            f"{vocab_size:,}; encode them with its tokenizer"
        )
    starts = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces], dtype=np.int64)])
    shape = (len(pieces), vocab_size)
    there = sparse.csr_matrix((np.ones(len(tokens), np.float32), tokens, starts), shape=shape)
    counts = (there.T @ there).tocsr()
    counts.setdiag(0)
    counts.eliminate_zeros()
    return counts


def _positive_information(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """max(0, log P(a, b) / P(a) P(b)) of pairs that occur, and 0 for all others: `[V, V]`."""
    found = counts.tocoo()
    each = np.asarray(counts.sum(axis=1), np.float64).ravel()
    information = np.log(found.data * each.sum() / (each[found.row] * each[found.col]))
    kept = information > 0
    return sparse.csr_matrix(
        (information[kept], (found.row[kept], found.col[kept])), shape=counts.shape
    )
