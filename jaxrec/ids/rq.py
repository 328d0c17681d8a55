"""Residual k-means quantization: each level codes the residual of the levels before it.

Level l codes r_l by its nearest centroid c_l and passes on r_{l+1} = r_l - c_l. So the first code
is a coarse cluster and the later codes refine it. Source: Chen, Guan and Wang, "Approximate Nearest
Neighbor Search by Residual Vector Quantization", 2010; as item IDs (with a learned encoder):
Rajput et al., "Recommender Systems with Generative Retrieval" (TIGER), 2023.

Shapes: `I` items, `D` vector width, `L` levels, `C` codes per level.
"""

from collections.abc import Sequence

import numpy as np

from jaxrec.core import LOCAL, ConfigError, Engine
from jaxrec.ids.assignment import assign
from jaxrec.ids.codes import ItemCodes, level_sizes, quantized_levels
from jaxrec.ids.kmeans import check_vectors, fit_centroids, nearest, squared_distances
from jaxrec.ids.statistics import code_statistics, warn_collapsed


def fit(
    vectors: np.ndarray,
    levels: int,
    size: int | Sequence[int],
    *,
    seed: int = 0,
    restarts: int = 3,
    engine: Engine = LOCAL,
) -> ItemCodes:
    """Return the residual codes of vectors [I, D]; IDs may collide, which `ids.repair` repairs.

    Args:
      vectors: item vectors [I, D].
      levels: L.
      size: codes per level, one number or one number per level.
      seed: seed of k-means.
      restarts: k-means runs per level, of which the best is kept.
      engine: what assigns codes to rows; the codebooks are fitted here, on a sample.

    Raises:
      ConfigError: a size is invalid.
      DataError: the vectors are not a finite matrix.

    Example:
      >>> vectors = np.array([[0.0], [1.0], [10.0], [11.0]])
      >>> codes = fit(vectors, levels=2, size=2).codes
      >>> sorted(codes[:, 0].tolist()), bool(codes[0, 0] == codes[1, 0])
      ([0, 0, 1, 1], True)
    """
    vectors, sizes = check_vectors(vectors), level_sizes(levels, size)
    mean = vectors.mean(axis=0)
    codebooks, codes, residual = {"mean": mean}, [], vectors - mean
    for level, c in enumerate(sizes):
        book = fit_centroids(residual, c, seed + level, restarts)
        codes.append(assign(residual, book, engine))
        residual = residual - book[codes[-1]]
        codebooks[f"centroids_{level}"] = book
    stacked = np.stack(codes, axis=1)
    statistics = code_statistics(stacked, sizes)
    warn_collapsed(statistics)
    metadata = {
        "seed": seed,
        "restarts": restarts,
        "width": vectors.shape[1],
        "distortion": float((residual**2).sum() / max(((vectors - mean) ** 2).sum(), 1e-30)),
    }
    return ItemCodes(
        codes=stacked,
        sizes=sizes,
        scheme="rq",
        metadata={**metadata, **statistics},
        codebooks=codebooks,
    )


def encode(item_codes: ItemCodes, vectors: np.ndarray) -> np.ndarray:
    """Return codes, int32 [I', L], of new vectors [I', D] under fitted codebooks.

    L is the number of quantized levels: a suffix that `ids.repair` added has no codebook.

    Raises:
      ConfigError: the vectors have another width.
      DataError: the vectors are not a finite matrix.
    """
    residual, codes = _centred(item_codes, vectors), []
    for level in range(quantized_levels(item_codes)):
        book = item_codes.codebooks[f"centroids_{level}"]
        codes.append(nearest(residual, book))
        residual = residual - book[codes[-1]]
    return np.stack(codes, axis=1)


def decode(item_codes: ItemCodes, codes: np.ndarray) -> np.ndarray:
    """Return the vectors, float64 [I', D], that the codes [I', L] represent."""
    books = item_codes.codebooks
    levels = range(quantized_levels(item_codes))
    return sum((books[f"centroids_{k}"][codes[:, k]] for k in levels), start=books["mean"][None])


def level_costs(item_codes: ItemCodes, vectors: np.ndarray) -> list[np.ndarray]:
    """Return L arrays [I', c_l]: squared distance of each vector's residual to each centroid.

    Residuals are those of the nearest codes. So the sum over levels ranks IDs exactly if only their
    last codes differ, and approximately otherwise.
    """
    residual, costs = _centred(item_codes, vectors), []
    for level in range(quantized_levels(item_codes)):
        book = item_codes.codebooks[f"centroids_{level}"]
        costs.append(squared_distances(residual, book))
        residual = residual - book[costs[-1].argmin(axis=1)]
    return costs


def _centred(item_codes: ItemCodes, vectors: np.ndarray) -> np.ndarray:
    mean, vectors = item_codes.codebooks["mean"], check_vectors(vectors)
    if vectors.shape[1] != len(mean):
        raise ConfigError(
            f"the codebooks code vectors of width {len(mean)}, got width {vectors.shape[1]}; "
            "make the vectors like those of the fit"
        )
    return vectors - mean
