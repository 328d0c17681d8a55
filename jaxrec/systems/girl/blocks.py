"""Vectors of several blocks: words, and the years and the salary that a text names.

words | years | salary

A number is a row of bumps exp(-(x - g)² / 2 w²) around the points g of a grid, so that the product
of two of them is large for numbers that are near. A text that does not name a number has zeros. The
blocks are centered and scaled one by one, and predictors weigh their products one by one.

Shapes: `N` texts, `D` width of a vector, `G` points of a grid.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from jaxrec.systems.girl.facts import named_salary, named_years

# Of √years: up to 20 years. Of the logarithm of a salary: about 15,000 to 240,000 a year.
_YEARS, _YEARS_WIDTH = np.arange(0.0, 4.6, 0.25), 0.6
_SALARIES, _SALARY_WIDTH = np.arange(9.6, 12.4, 0.08), 0.2
NUMBER_BLOCKS = (len(_YEARS), len(_SALARIES))


def number_vectors(texts: Sequence[str]) -> np.ndarray:
    """The years and the salary of texts as bumps, `[N, sum(NUMBER_BLOCKS)]` float32.

    Example:
      >>> near = number_vectors(["3 years", "4 years", "15 years", "no number"])
      >>> bool(near[0] @ near[1] > 5 * near[0] @ near[2]), float(near[3].sum())
      (True, 0.0)
    """
    years = np.sqrt([named_years(text) for text in texts])
    salaries = np.array([named_salary(text) for text in texts])
    parts = [_bumps(years, _YEARS, _YEARS_WIDTH), _bumps(salaries, _SALARIES, _SALARY_WIDTH)]
    return np.concatenate(parts, axis=1)


def _bumps(numbers: np.ndarray, grid: np.ndarray, width: float) -> np.ndarray:
    inside = np.clip(numbers, grid[0], grid[-1])[:, None]
    cells = np.exp(-((inside - grid) ** 2) / (2 * width**2))
    return np.where(np.isfinite(inside), cells, 0.0).astype(np.float32)


def slices_of(blocks: Sequence[int]) -> list[slice]:
    """The places of blocks in a vector.

    Example:
      >>> slices_of((2, 3))
      [slice(0, 2, None), slice(2, 5, None)]
    """
    edges = np.cumsum((0, *blocks)).tolist()
    return [slice(first, last) for first, last in pairwise(edges)]


def center_of(vectors: np.ndarray, blocks: Sequence[int]) -> np.ndarray:
    """The mean of the vectors `[N, D]` in each block, over those that are not zero there: `[D]`."""
    parts = []
    for place in slices_of(blocks):
        own = vectors[:, place]
        there = own.any(axis=1)
        parts.append(own[there].mean(axis=0) if there.any() else np.zeros(own.shape[1]))
    return np.concatenate(parts)


def scaled(vectors: np.ndarray, center: np.ndarray, blocks: Sequence[int]) -> np.ndarray:
    """Subtract a center `[D]`, and scale every block of b numbers to the length √b.

    A block of zeros says nothing and stays as it is.

    Args:
      vectors: `[..., D]`.
      center: of all vectors.
      blocks: widths, which add up to D.

    Example:
      >>> scaled(np.array([[3.0, 0, 0, 0, 0]]), np.array([0, 0, 0, 0, 9.0]), (4, 1)).tolist()
      [[2.0, 0.0, 0.0, 0.0, 0.0]]
    """
    found = np.zeros(vectors.shape, np.float32)
    for place in slices_of(blocks):
        own = np.asarray(vectors[..., place], np.float64)
        moved = np.where(own.any(axis=-1, keepdims=True), own - center[place], 0.0)
        lengths = np.linalg.norm(moved, axis=-1, keepdims=True)
        found[..., place] = np.sqrt(own.shape[-1]) * moved / np.maximum(lengths, 1e-12)
    return found
