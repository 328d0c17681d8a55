"""Product quantization: a vector is cut into L segments, each coded by its nearest centroid.

Source: Jegou, Douze and Schmid, "Product Quantization for Nearest Neighbor Search", 2011.
Rotations: Ge, He, Ke and Sun, "Optimized Product Quantization", 2013: eigenvalue allocation
balances the variance between segments, the alternation then fits the rotation R to the codes. As
item IDs: Hou et al., "VQ-Rec", 2023.

Shapes: `I` items, `D` vector width, `L` levels, `C` codes a level, `d_l` width of segment l.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.ids.codes import ItemCodes, level_sizes, quantized_levels
from jaxrec.ids.kmeans import check_vectors, fit_many, nearest, squared_distances
from jaxrec.ids.statistics import code_statistics, warn_collapsed

Rotation = Literal["none", "balanced", "opq"]


def fit(
    vectors: np.ndarray,
    levels: int,
    size: int | Sequence[int],
    *,
    seed: int = 0,
    rotate: Rotation = "none",
    restarts: int = 3,
    opq_iterations: int = 10,
) -> ItemCodes:
    """Return the PQ codes of vectors [I, D]; IDs may collide, see `collisions.repair`.

    Args:
      vectors: item vectors [I, D].
      levels: L, also the number of segments.
      size: codes a level, one number or one a level.
      seed: of k-means.
      rotate: "none": segments of the vectors as they are, which for SVD vectors makes the first
        code the coarsest and gave the fewest collisions on film texts; "balanced": principal
        axes dealt to the segments so that their variances multiply to about the same; "opq": from
        there, alternate between codes and the rotation that fits them best: least distortion.
      restarts: k-means runs a segment; the best is kept.
      opq_iterations: rounds of the alternation.

    Raises:
      ConfigError: more levels than vector columns, bad sizes, or an unknown rotation.
      DataError: vectors that are not a finite matrix.
    """
    vectors, sizes = check_vectors(vectors), level_sizes(levels, size)
    if levels > vectors.shape[1]:
        raise ConfigError(
            f"{levels} levels need vectors of width {levels} or more, got {vectors.shape[1]}"
        )
    if rotate not in get_args(Rotation):
        raise ConfigError(
            f"unknown rotation {rotate!r}; rotations: {', '.join(get_args(Rotation))}"
        )
    mean = vectors.mean(axis=0)
    if rotate == "none":
        rotation = np.eye(vectors.shape[1])
    else:
        rotation = _balanced_rotation(vectors - mean, levels)
    if rotate == "opq":
        rotation = _opq_rotation(vectors - mean, rotation, sizes, seed, opq_iterations)
    centered = vectors - mean
    parts = _segments(centered if rotate == "none" else centered @ rotation, levels)
    codebooks = {"mean": mean, "rotation": rotation}
    books = fit_many(parts, sizes, [seed + level for level in range(levels)], restarts)
    codebooks |= {f"centroids_{level}": book for level, book in enumerate(books)}
    codes = np.stack(
        [nearest(part, codebooks[f"centroids_{level}"]) for level, part in enumerate(parts)], axis=1
    )
    statistics = code_statistics(codes, sizes)
    warn_collapsed(statistics)
    metadata = {"seed": seed, "rotate": rotate, "restarts": restarts, "width": vectors.shape[1]}
    fitted = ItemCodes(
        codes=codes,
        sizes=sizes,
        scheme="pq",
        metadata={**metadata, **statistics},
        codebooks=codebooks,
    )
    # A rotation keeps distances.
    error = sum(
        ((part - codebooks[f"centroids_{level}"][codes[:, level]]) ** 2).sum()
        for level, part in enumerate(parts)
    )
    fitted.metadata["distortion"] = float(error / max((centered**2).sum(), 1e-30))
    return fitted


def encode(item_codes: ItemCodes, vectors: np.ndarray) -> np.ndarray:
    """Return codes, int32 [I', L], of new vectors [I', D] under fitted codebooks.

    L counts the quantized levels: a suffix that `collisions.repair` added has no codebook.

    Raises:
      ConfigError: vectors of another width.
      DataError: vectors that are not a finite matrix.
    """
    parts = _rotated(item_codes, vectors)
    books = (
        item_codes.codebooks[f"centroids_{level}"] for level in range(quantized_levels(item_codes))
    )
    return np.stack([nearest(part, book) for part, book in zip(parts, books, strict=True)], axis=1)


def recoded(item_codes: ItemCodes, vectors: np.ndarray) -> ItemCodes:
    """Return the codes of new vectors [I', D] under fitted codebooks, as the IDs of those items.

    So codebooks can be fitted on some of a catalogue's items, or on another's, and code all of it.

    Raises:
      ConfigError, DataError: as `encode`.
    """
    codes = encode(item_codes, vectors)
    metadata = {**item_codes.metadata, **code_statistics(codes, item_codes.sizes)}
    return dataclasses.replace(item_codes, codes=codes, metadata=metadata)


def decode(item_codes: ItemCodes, codes: np.ndarray) -> np.ndarray:
    """Return the vectors, float64 [I', D], that codes [I', L] stand for."""
    books = item_codes.codebooks
    parts = [
        books[f"centroids_{level}"][codes[:, level]]
        for level in range(quantized_levels(item_codes))
    ]
    return np.concatenate(parts, axis=1) @ books["rotation"].T + books["mean"]


def level_costs(item_codes: ItemCodes, vectors: np.ndarray) -> list[np.ndarray]:
    """Return L arrays [I', c_l]: squared distance of each vector's segment l to each centroid.

    The squared distance between a vector and what an ID stands for is the sum over the levels.
    """
    parts = _rotated(item_codes, vectors)
    return [
        squared_distances(part, item_codes.codebooks[f"centroids_{level}"])
        for level, part in enumerate(parts)
    ]


def _rotated(item_codes: ItemCodes, vectors: np.ndarray) -> list[np.ndarray]:
    books, vectors = item_codes.codebooks, check_vectors(vectors)
    if vectors.shape[1] != len(books["mean"]):
        raise ConfigError(
            f"the codebooks code vectors of width {len(books['mean'])}, got {vectors.shape[1]}"
        )
    return _segments((vectors - books["mean"]) @ books["rotation"], quantized_levels(item_codes))


def _segments(vectors: np.ndarray, levels: int) -> list[np.ndarray]:
    """Cut [I, D] into L blocks of columns, [I, d_l], whose widths differ by one at most."""
    return np.array_split(vectors, levels, axis=1)


def _balanced_rotation(centred: np.ndarray, levels: int) -> np.ndarray:
    """Eigenvalue allocation: orthogonal [D, D] that evens the product of variances of segments."""
    width = centred.shape[1]
    values, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    values, axes = values[::-1], axes[:, ::-1]
    # A sign convention, which LAPACK leaves open.
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(width)])
    room = [len(part) for part in np.array_split(np.arange(width), levels)]
    dealt: list[list[int]] = [[] for _ in range(levels)]
    product = np.zeros(levels)  # in logarithms
    # The floor keeps axes without variance from outweighing the rest: relative to the largest.
    logs = np.log(np.maximum(values, 1e-12 * max(values[0], 1e-30)) / max(values[0], 1e-30)) + 28
    for axis in range(width):
        free = [level for level in range(levels) if len(dealt[level]) < room[level]]
        level = min(free, key=lambda k: (product[k], k))
        dealt[level].append(axis)
        product[level] += logs[axis]
    return axes[:, np.concatenate([np.array(columns, int) for columns in dealt])]


def _opq_rotation(
    centred: np.ndarray, rotation: np.ndarray, sizes: Sequence[int], seed: int, iterations: int
) -> np.ndarray:
    """Alternate: codes of X R give Y; R = U V^T of the SVD of X^T Y minimizes ||X R - Y||."""
    for _ in range(iterations):
        parts = _segments(centred @ rotation, len(sizes))
        seeds = [seed + level for level in range(len(sizes))]
        # Few iterations suffice between two changes of the rotation.
        books = fit_many(parts, sizes, seeds, restarts=1, iterations=10)
        quantized = [book[nearest(part, book)] for part, book in zip(parts, books, strict=True)]
        u, _, vt = np.linalg.svd(centred.T @ np.concatenate(quantized, axis=1))
        rotation = u @ vt
    return rotation
