"""SVD tokens: each dimension of an item's SVD embedding becomes one code, its quantile bin.

R is the binary user-item matrix of the training part, and R ~ W S V^T its truncated SVD of rank t.
Item i is the row e_i of V, and each dimension gives one code:

    x = (e - min) / (max - min + 1e-10) + N(0, 1e-5)     min and max over the items
    code = number of inner bin edges <= x

Quantile bins hold equal numbers of items. Equal-width bins are the control: V is far from uniform,
so most items fall into few of them. Source: Petrov and Macdonald, "Generative Sequential
Recommendation with GPTRec", 2023 (Gen-IR); quantile bins as in the authors' code.

A new item has no row in V, but it has a column r of R. Since R^T W S^-1 = V, its row is r W S^-1.
IDs may collide: items with the same users differ only in the noise.

Shapes: `I` items, `U` users, `L` levels (the rank t), `C` codes per level (the bins v).
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.ids._threads import one_thread
from jaxrec.ids.codes import ItemCodes, level_sizes, quantized_levels
from jaxrec.ids.cooccurrence import flat
from jaxrec.ids.kmeans import check_vectors, squared_distances
from jaxrec.ids.statistics import code_statistics, warn_collapsed

Bins = Literal["quantile", "width"]


def fit(
    train_sequences: Sequence[np.ndarray],
    num_items: int,
    levels: int,
    size: int | Sequence[int],
    *,
    bins: Bins = "quantile",
    noise: float = 1e-5,
    seed: int = 0,
) -> ItemCodes:
    """Return the SVD codes of the items; IDs may collide, which `ids.repair` repairs.

    `repair` and `encode` take `coordinates(item_codes, columns(train_sequences, num_items))` as the
    vectors of the items.

    Args:
      train_sequences: dense item numbers of each user's training part.
      num_items: I.
      levels: L, also the rank of the SVD.
      size: bins per level, one number or one number per level.
      bins: "quantile", or "width" as the control.
      noise: standard deviation of the noise that is added to the scaled coordinates.
      seed: seed of the noise and of the SVD's start.

    Raises:
      ConfigError: there are more levels than rows or columns, a size is invalid, or `bins` is
        unknown.
      DataError: there are no interactions, or an item number is outside 0..I-1.

    Example:
      >>> histories = [np.array([0, 1]), np.array([0, 1]), np.array([2])]
      >>> codes = fit(histories, 3, levels=1, size=2).codes[:, 0]
      >>> bool(codes[0] == codes[1]), bool(codes[0] == codes[2])  # items 0 and 1 have equal users
      (True, False)
    """
    sizes = level_sizes(levels, size)
    if bins not in get_args(Bins):
        raise ConfigError(f"unknown bins {bins!r}; bins: {', '.join(get_args(Bins))}")
    met = columns(train_sequences, num_items)
    if levels > min(met.shape):
        raise ConfigError(
            f"{levels} levels need at least {levels} items and users, got {met.shape[0]} items and "
            f"{met.shape[1]} users"
        )
    embedding, user_factors = _factors(met, levels, seed)
    low, high = embedding.min(axis=0), embedding.max(axis=0)
    codebooks = {"user_factors": user_factors, "low": low, "range": high - low + 1e-10}
    x = (embedding - low) / codebooks["range"]
    x = x + np.random.default_rng(seed).normal(0.0, noise, x.shape)
    codes = np.empty(x.shape, np.int32)
    for level, c in enumerate(sizes):
        column = x[:, level]
        edges = _inner_edges(column, c, bins)
        codes[:, level] = np.searchsorted(edges, column, side="right")
        codebooks[f"edges_{level}"] = edges
        codebooks[f"centroids_{level}"] = _centres(column, codes[:, level], edges, c)
    statistics = code_statistics(codes, sizes)
    warn_collapsed(statistics)
    metadata = {"seed": seed, "bins": bins, "noise": noise, "users": met.shape[1]}
    return ItemCodes(
        codes=codes,
        sizes=sizes,
        scheme="svd",
        metadata={**metadata, **statistics},
        codebooks=codebooks,
    )


def columns(train_sequences: Sequence[np.ndarray], num_items: int) -> Any:
    """Return the users of each item, sparse float64 [I, U] of zeros and ones.

    Raises:
      DataError: there are no interactions, or an item number is outside 0..I-1.
    """
    import scipy.sparse as sp

    users, items = flat(train_sequences, num_items)
    shape = (num_items, len(train_sequences))
    met = sp.csr_array((np.ones(len(items)), (items, users)), shape=shape)
    met.data[:] = 1.0  # a repeated item counts once
    return met


def coordinates(item_codes: ItemCodes, met: Any) -> np.ndarray:
    """Return the scaled coordinates, float64 [I', L], of items with the users met [I', U].

    Users are those of the fit, in the same order. Leave out newer users, about whom nothing is
    known. Items without users lie at zero of the embedding.

    Args:
      item_codes: result of `fit`.
      met: zeros and ones [I', U], sparse or an array.

    Raises:
      ConfigError: the number of users is not that of the fit.
    """
    books = item_codes.codebooks
    if met.shape[1] != len(books["user_factors"]):
        raise ConfigError(
            f"the codebooks are for {len(books['user_factors'])} users, got {met.shape[1]}; "
            "give the users of the fit, in the same order"
        )
    return (met @ books["user_factors"] - books["low"]) / books["range"]


def encode(item_codes: ItemCodes, vectors: np.ndarray) -> np.ndarray:
    """Return codes, int32 [I', L], of scaled coordinates [I', L], which `coordinates` makes.

    L is the number of quantized levels: a suffix that `ids.repair` added has no codebook.

    Raises:
      ConfigError: the coordinates have another width.
      DataError: the coordinates are not a finite matrix.
    """
    vectors = _checked(item_codes, vectors)
    codes = [
        np.searchsorted(item_codes.codebooks[f"edges_{level}"], column, side="right")
        for level, column in enumerate(vectors.T)
    ]
    return np.stack(codes, axis=1).astype(np.int32)


def decode(item_codes: ItemCodes, codes: np.ndarray) -> np.ndarray:
    """Return the scaled coordinates, float64 [I', L], at the centres of the bins of codes."""
    parts = [
        item_codes.codebooks[f"centroids_{level}"][codes[:, level]]
        for level in range(quantized_levels(item_codes))
    ]
    return np.concatenate(parts, axis=1)


def level_costs(item_codes: ItemCodes, vectors: np.ndarray) -> list[np.ndarray]:
    """Return L arrays [I', C_l]: squared distance of each coordinate to each bin's centre."""
    vectors = _checked(item_codes, vectors)
    return [
        squared_distances(vectors[:, [level]], item_codes.codebooks[f"centroids_{level}"])
        for level in range(vectors.shape[1])
    ]


def _checked(item_codes: ItemCodes, vectors: np.ndarray) -> np.ndarray:
    vectors, levels = check_vectors(vectors), quantized_levels(item_codes)
    if vectors.shape[1] != levels:
        raise ConfigError(
            f"the codebooks code {levels} coordinates per item, got {vectors.shape[1]}; "
            "make the coordinates with svd.coordinates"
        )
    return vectors


def _factors(met: Any, rank: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return V [I, t] and W S^-1 [U, t] of the truncated SVD of met^T; zeros beyond its rank."""
    from scipy.sparse.linalg import svds

    if min(met.shape) <= 4 * rank:
        # The sparse solver needs more dimensions than the values that it computes.
        v, s, wt = np.linalg.svd(met.toarray(), full_matrices=False)
        v, s, wt = v[:, :rank], s[:rank], wt[:rank]
    else:
        start = np.random.default_rng(seed).normal(size=min(met.shape))
        with one_thread("scipy.sparse.linalg"):
            v, s, wt = svds(met, k=rank, v0=start)
        v, s, wt = v[:, ::-1], s[::-1], wt[::-1]
    # LAPACK and ARPACK leave the sign open; make the largest entry of each column positive.
    sign = np.sign(v[np.abs(v).argmax(axis=0), np.arange(rank)])
    real = s > 1e-10 * s.max()
    v = np.where(real, v * sign, 0.0)
    return v, np.where(real, wt.T * sign / np.where(real, s, 1.0), 0.0)


def _inner_edges(column: np.ndarray, size: int, bins: Bins) -> np.ndarray:
    """Return the lower edges of bins 1..C-1, float64 [C - 1]."""
    steps = np.linspace(0.0, 1.0, size + 1)[1:-1]
    if bins == "quantile":
        return np.quantile(column, steps)
    return column.min() + steps * (column.max() - column.min())


def _centres(column: np.ndarray, codes: np.ndarray, edges: np.ndarray, size: int) -> np.ndarray:
    """Return the mean of each bin's members, or the middle of an empty bin, float64 [C, 1]."""
    bounds = np.concatenate([[column.min()], edges, [column.max()]])
    middle = (bounds[:-1] + bounds[1:]) / 2
    counts = np.bincount(codes, minlength=size)
    mean = np.bincount(codes, column, minlength=size) / np.maximum(counts, 1)
    return np.where(counts > 0, mean, middle)[:, None]
