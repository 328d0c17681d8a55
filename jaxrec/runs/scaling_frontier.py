"""The compute-optimal size without a law of the loss: isoFLOP parabolas and envelopes of curves.

These are approaches 2 and 1 of Hoffmann et al., arXiv:2203.15556, sections 3.2 and 3.1. Both end
with a line in logarithms, N* = k C^a. Because C = 6 N D, D* grows as C^b with b = 1 - a.

Shapes: `n` points, `K` budgets, `M` runs, `G` points of the grid of budgets, `R` resamples.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from jaxrec.core import DataError
from jaxrec.runs.scaling_estimate import Fit, percentiles
from jaxrec.runs.scaling_points import Points

# Points whose budgets differ by less belong to one parabola.
TOLERANCE = 0.05
_GRID = 1500  # budgets at which the envelope is read, as in the paper
_FEWEST = 3  # distinct sizes of a parabola
_APART = 0.01  # sizes closer than this are one size


class Parabola(NamedTuple):
    """L = p_0 + p_1 ln N + p_2 (ln N)² at one budget, and its minimum.

    The logarithms are centred: `p` belongs to ln N - `centre`.
    """

    flops: float
    rows: np.ndarray
    p: np.ndarray
    centre: float

    @property
    def params(self) -> float:
        """N* at the vertex."""
        return float(np.exp(self.centre - self.p[1] / (2 * self.p[2])))

    @property
    def loss(self) -> float:
        """The loss at the vertex."""
        return float(self.p[0] - self.p[1] ** 2 / (4 * self.p[2]))


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Frontier:
    """The optima of several budgets, and the line N* = k C^a through them.

    Attributes:
      fit: "k", "a" and "b" with intervals; the objective is the sum of squares of ln N*.
      flops: budgets, [K].
      params: N* of each, [K].
      loss: the loss at each, [K].
      parabolas: of the isoFLOP estimator.
    """

    fit: Fit
    flops: np.ndarray
    params: np.ndarray
    loss: np.ndarray
    parabolas: tuple[Parabola, ...] = ()


def isoflop(
    points: Points, *, tolerance: float = TOLERANCE, resamples: int = 1000, seed: int = 0
) -> Frontier:
    """Fit a parabola in ln N to the losses of each budget, and a line through their minima.

    Args:
      points: sizes, losses, and compute or tokens.
      tolerance: largest relative difference of the budgets of one parabola.
      resamples: bootstrap resamples of the points of each budget, for the intervals.
      seed: of the resamples.

    Raises:
      DataError: fewer than two budgets have a minimum inside their sizes.

    Example:
      >>> from jaxrec.runs.scaling_laws import CHINCHILLA
      >>> law = CHINCHILLA["epoch"]
      >>> c = np.repeat([1e19, 1e20, 1e21], 7)
      >>> n = np.concatenate([law.optimum(x).params * 2.0 ** np.arange(-3, 4) for x in c[::7]])
      >>> found = isoflop(Points(loss=law.loss(n, c / (6 * n)), params=n, flops=c), resamples=0)
      >>> round(found.fit.values["a"], 2)
      0.51
    """
    n, c = points.need("params", "flops")
    groups = budgets(c, tolerance)
    found, skipped = [], 0
    for rows in groups:
        budget = float(np.exp(np.log(c[rows]).mean()))
        parabola = _parabola(np.log(n[rows]), points.loss[rows], budget)
        if parabola is None:
            skipped += 1
        else:
            found.append(parabola._replace(rows=rows))
    if len(found) < 2:
        raise DataError(
            f"{points.source}: {len(found)} of {len(groups)} budgets have a minimum inside "
            f"{_FEWEST} sizes or more, and a line needs two; add sizes at each budget, or raise "
            f"--flops-tolerance above {tolerance:g}"
        )
    flops = np.array([one.flops for one in found])
    params = np.array([one.params for one in found])
    draws = _resampled_parabolas(found, np.log(n), points.loss, resamples, seed)
    notes = (f"{len(found)} of {len(groups)} budgets have a minimum inside their sizes.",)
    return Frontier(
        fit=_line("isoflop", flops, params, draws, len(points), notes if skipped else ()),
        flops=flops,
        params=params,
        loss=np.array([one.loss for one in found]),
        parabolas=tuple(found),
    )


def budgets(flops: np.ndarray, tolerance: float) -> list[np.ndarray]:
    """Rows of the points of each budget, from the smallest one.

    Args:
      flops: C, [n].
      tolerance: how much larger than the first budget of a group the last one may be.

    Example:
      >>> [rows.tolist() for rows in budgets(np.array([1.02, 3.0, 1.0]), 0.05)]
      [[2, 0], [1]]
    """
    order = np.argsort(flops, kind="stable")
    groups: list[list[int]] = []
    for row in order:
        if not groups or flops[row] > flops[groups[-1][0]] * (1 + tolerance):
            groups.append([])
        groups[-1].append(int(row))
    return [np.array(rows) for rows in groups]


def _parabola(x: np.ndarray, loss: np.ndarray, flops: float) -> Parabola | None:
    """The parabola of one budget, or None if its minimum is not among the sizes."""
    if (np.diff(np.sort(x)) > _APART).sum() + 1 < _FEWEST:
        return None
    centre = float(x.mean())
    p = np.linalg.lstsq(np.vander(x - centre, 3, increasing=True), loss, rcond=None)[0]
    if p[2] <= 0 or not x.min() < centre - p[1] / (2 * p[2]) < x.max():
        return None
    return Parabola(flops, np.arange(len(x)), p, centre)


def _resampled_parabolas(
    found: list[Parabola], x: np.ndarray, loss: np.ndarray, resamples: int, seed: int
) -> np.ndarray:
    """Optimal ln N* of each budget in each resample, [R, K]; NaN where a draw has no minimum."""
    draw = np.random.default_rng(seed)
    columns = []
    for one in found:
        count = len(one.rows)
        w = draw.multinomial(count, np.full(count, 1 / count), size=resamples)
        columns.append(_weighted_minimum(x[one.rows] - one.centre, loss[one.rows], w) + one.centre)
    return np.stack(columns, -1)


def _weighted_minimum(x: np.ndarray, loss: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Vertex of the parabola of each row of weights [R, n]; NaN where it is none."""
    powers = np.vander(x, 3, increasing=True)
    left = np.einsum("rn,ni,nj->rij", weights, powers, powers)
    right = np.einsum("rn,ni,n->ri", weights, powers, loss)
    enough = np.array([len(np.unique(x[w > 0])) >= _FEWEST for w in weights], bool)
    result = np.full(len(weights), np.nan)
    solved = np.linalg.solve(left[enough], right[enough][..., None])[..., 0]
    with np.errstate(all="ignore"):
        vertex = -solved[:, 1] / (2 * solved[:, 2])
    inside = (solved[:, 2] > 0) & (vertex > x.min()) & (vertex < x.max())
    result[enough] = np.where(inside, vertex, np.nan)
    return result


def envelope(points: Points, *, resamples: int = 200, seed: int = 0) -> Frontier:
    """Find the run with the lowest loss at each budget, and fit a line through their sizes.

    The loss of each run is interpolated in ln C on a grid of 1,500 budgets. Budgets where the
    best run is the smallest or the largest one there are left out, because the optimum may be
    beyond it.

    Args:
      points: points on training curves: sizes, losses, compute or tokens, and the run of each
        point. Without runs, all points of one size are a run.
      resamples: bootstrap resamples of the runs, for the intervals.
      seed: of the resamples.

    Raises:
      DataError: fewer than three runs have a curve, or they have no optimum between them.

    Example:
      >>> from jaxrec.runs.scaling_laws import CHINCHILLA
      >>> law = CHINCHILLA["epoch"]
      >>> grid = np.meshgrid(np.geomspace(1e7, 1e10, 40), np.geomspace(1e8, 1e12, 30))
      >>> n, d = (v.ravel() for v in grid)
      >>> found = envelope(Points(loss=law.loss(n, d), params=n, tokens=d), resamples=0)
      >>> round(found.fit.values["a"], 2)
      0.51
    """
    n, c = points.need("params", "flops")
    runs = np.unique(n if points.run is None else points.run, return_inverse=True)[1]
    span = np.geomspace(c.min(), c.max(), _GRID)
    sizes, curves = [], []
    for run in range(runs.max() + 1):
        rows = np.flatnonzero(runs == run)
        rows = rows[np.argsort(c[rows], kind="stable")]
        if len(rows) < 2:
            continue
        if np.ptp(np.log(n[rows])) > _APART:
            raise DataError(
                f"{points.source}: a run of {len(rows)} points has models of {n[rows].min():.3g} "
                f"and of {n[rows].max():.3g} parameters; give each training a run of its own"
            )
        x = np.log(c[rows])
        curves.append(np.interp(np.log(span), x, points.loss[rows], left=np.inf, right=np.inf))
        sizes.append(n[rows[0]])
    if len(sizes) < _FEWEST:
        raise DataError(
            f"{points.source}: {len(sizes)} runs have two points or more, and an envelope needs "
            f"{_FEWEST}; give points along each training, and name their run with --columns.run"
        )
    order = np.argsort(sizes, kind="stable")
    log_sizes, losses = np.log(np.array(sizes)[order]), np.stack(curves)[order]  # [M], [M, G]
    best, inside = _lowest(log_sizes, losses)
    if inside.sum() < 2 or len(np.unique(best[inside])) < 2:
        raise DataError(
            f"{points.source}: no two budgets have their best run between smaller and larger ones; "
            "add sizes, or train each for longer"
        )
    draw, slopes = np.random.default_rng(seed), []
    for _ in range(resamples):
        chosen = np.unique(draw.integers(len(log_sizes), size=len(log_sizes)))
        kept, keep = _lowest(log_sizes[chosen], losses[chosen])
        if len(np.unique(kept[keep])) > 1:
            slopes.append(np.where(keep, log_sizes[chosen][kept], np.nan))
    draws = np.array(slopes).reshape(len(slopes), _GRID)[:, inside]
    params = np.exp(log_sizes[best[inside]])
    return Frontier(
        fit=_line("envelope", span[inside], params, draws, len(points), ()),
        flops=span[inside],
        params=params,
        loss=losses[best[inside], np.flatnonzero(inside)],
    )


def _lowest(log_sizes: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best run of each budget [G], and whether smaller and larger ones reach that budget."""
    best = losses.argmin(0)
    known = np.isfinite(losses)
    first, last = known.argmax(0), len(known) - 1 - known[::-1].argmax(0)
    size = log_sizes[best]
    return best, (size > log_sizes[first]) & (size < log_sizes[last])


def _line(
    law: str,
    flops: np.ndarray,
    params: np.ndarray,
    draws: np.ndarray,
    points: int,
    notes: tuple[str, ...],
) -> Fit:
    """The line ln N* = ln k + a ln C through the optima, and through those of each draw [R, K]."""
    x, y = np.log(flops), np.log(params)
    slope, intercept = np.polyfit(x, y, 1)
    residual = y - slope * x - intercept
    drawn = []
    for row in draws:
        known = np.isfinite(row)
        if known.sum() > 1 and np.ptp(x[known]) > _APART:
            drawn.append(np.polyfit(x[known], row[known], 1))
    intervals = {}
    if drawn:
        a, k = np.array(drawn).T
        intervals = percentiles({"k": np.exp(k), "a": a, "b": 1 - a})
    return Fit(
        law=law,
        values={"k": float(np.exp(intercept)), "a": float(slope), "b": float(1 - slope)},
        intervals=intervals,
        objective=float(residual @ residual),
        points=points,
        r_squared=float(1 - residual @ residual / max(((y - y.mean()) ** 2).sum(), 1e-300)),
        notes=notes,
    )
