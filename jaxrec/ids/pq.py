"""Product quantization: a vector is cut into L segments, each coded by its nearest centroid.

Source: Jegou, Douze and Schmid, "Product Quantization for Nearest Neighbor Search", 2011.
Rotations: Ge, He, Ke and Sun, "Optimized Product Quantization", 2013. There, eigenvalue allocation
balances the variance between segments, and an alternation fits the rotation R to the codes. As item
IDs: Hou et al., "VQ-Rec", 2023.

Shapes: `I` items, `D` vector width, `L` levels, `C` codes per level, `d_l` width of segment l.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from jaxrec.core import LOCAL, ConfigError, Engine
from jaxrec.ids.assignment import assign
from jaxrec.ids.codes import ItemCodes, level_sizes, quantized_levels
from jaxrec.ids.kmeans import (
    check_vectors,
    fit_many,
    nearest,
    refine_many,
    squared_distances,
)
from jaxrec.ids.statistics import code_statistics, warn_collapsed

Rotation = Literal["none", "balanced", "opq"]
# Rows on which a rotation is fitted, and Lloyd steps between two changes of it.
_ROTATION_ROWS, _STEPS_A_ROTATION = 1 << 16, 2


def fit(
    vectors: np.ndarray,
    levels: int,
    size: int | Sequence[int],
    *,
    seed: int = 0,
    rotate: Rotation = "none",
    restarts: int = 3,
    opq_iterations: int = 20,
    engine: Engine = LOCAL,
) -> ItemCodes:
    """Return the PQ codes of vectors [I, D]; IDs may collide, which `ids.repair` repairs.

    Args:
      vectors: item vectors [I, D].
      levels: L, also the number of segments.
      size: codes per level, one number or one number per level.
      seed: seed of k-means.
      rotate: "none" cuts the vectors as they are. For SVD vectors this makes the first code the
        coarsest, and it gave the fewest collisions on film texts. "balanced" distributes the
        principal axes so that the variances of each segment have about the same product. "opq"
        starts there and alternates between codes and the rotation that fits them best; it has the
        least distortion.
      restarts: k-means runs per segment, of which the best is kept.
      opq_iterations: rounds of the alternation.
      engine: what assigns codes to rows; the codebooks are fitted here, on a sample.

    Raises:
      ConfigError: there are more levels than vector columns, a size is invalid, or the rotation is
        unknown.
      DataError: the vectors are not a finite matrix.

    Example:
      >>> vectors = np.array([[0.0, 0.0], [0.0, 5.0], [9.0, 0.0], [9.0, 5.0]])
      >>> fit(vectors, levels=2, size=2).codes.tolist()
      [[0, 0], [0, 1], [1, 0], [1, 1]]
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
        [assign(part, book, engine) for part, book in zip(parts, books, strict=True)], axis=1
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

    L is the number of quantized levels: a suffix that `ids.repair` added has no codebook.

    Raises:
      ConfigError: the vectors have another width.
      DataError: the vectors are not a finite matrix.
    """
    parts = _rotated(item_codes, vectors)
    books = (
        item_codes.codebooks[f"centroids_{level}"] for level in range(quantized_levels(item_codes))
    )
    return np.stack([nearest(part, book) for part, book in zip(parts, books, strict=True)], axis=1)


def recoded(item_codes: ItemCodes, vectors: np.ndarray) -> ItemCodes:
    """Return ItemCodes of new vectors [I', D] under fitted codebooks.

    With it, codebooks that were fitted on part of a catalogue, or on another one, code all items.

    Raises:
      ConfigError: the vectors have another width.
      DataError: the vectors are not a finite matrix.
    """
    codes = encode(item_codes, vectors)
    metadata = {**item_codes.metadata, **code_statistics(codes, item_codes.sizes)}
    return dataclasses.replace(item_codes, codes=codes, metadata=metadata)


def decode(item_codes: ItemCodes, codes: np.ndarray) -> np.ndarray:
    """Return the vectors, float64 [I', D], that the codes [I', L] represent."""
    books = item_codes.codebooks
    parts = [
        books[f"centroids_{level}"][codes[:, level]]
        for level in range(quantized_levels(item_codes))
    ]
    return np.concatenate(parts, axis=1) @ books["rotation"].T + books["mean"]


def level_costs(item_codes: ItemCodes, vectors: np.ndarray) -> list[np.ndarray]:
    """Return L arrays [I', c_l]: squared distance of each vector's segment l to each centroid.

    Their sum over the levels is the squared distance between a vector and the vector of an ID.
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
            f"the codebooks code vectors of width {len(books['mean'])}, got width "
            f"{vectors.shape[1]}; make the vectors like those of the fit"
        )
    return _segments((vectors - books["mean"]) @ books["rotation"], quantized_levels(item_codes))


def _segments(vectors: np.ndarray, levels: int) -> list[np.ndarray]:
    """Cut [I, D] into L blocks of columns, [I, d_l], whose widths differ by at most one."""
    return np.array_split(vectors, levels, axis=1)


def _balanced_rotation(centred: np.ndarray, levels: int) -> np.ndarray:
    """Eigenvalue allocation: orthogonal [D, D] that balances the product of segment variances."""
    width = centred.shape[1]
    values, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    values, axes = values[::-1], axes[:, ::-1]
    # LAPACK leaves the sign open; make the largest entry of each axis positive.
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(width)])
    room = [len(part) for part in np.array_split(np.arange(width), levels)]
    dealt: list[list[int]] = [[] for _ in range(levels)]
    product = np.zeros(levels)  # in logarithms
    # The floor, relative to the largest value, keeps axes without variance from dominating.
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
    """Alternate: quantize X R to get Y, then minimize ||X R - Y|| by R = U V^T from svd(X^T Y)."""
    if len(centred) > _ROTATION_ROWS:
        chosen = np.random.default_rng(seed).choice(len(centred), _ROTATION_ROWS, replace=False)
        centred = centred[np.sort(chosen)]
    centred = centred.astype(np.float32)
    books: list[np.ndarray] = []
    for _ in range(iterations):
        parts = _segments(centred @ rotation.astype(np.float32), len(sizes))
        if books:
            # The rotation has moved a little, and so have the centroids.
            books = refine_many(parts, books, _STEPS_A_ROTATION)
        else:
            seeds = [seed + level for level in range(len(sizes))]
            books = fit_many(parts, sizes, seeds, restarts=1, iterations=10)
        quantized = [
            book[nearest(part, book, np.float32)] for part, book in zip(parts, books, strict=True)
        ]
        product = centred.T @ np.concatenate(quantized, axis=1).astype(np.float32)
        u, _, vt = np.linalg.svd(product.astype(np.float64))
        rotation = u @ vt
    return rotation
