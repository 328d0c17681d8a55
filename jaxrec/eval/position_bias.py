"""Position bias: how much a metric depends on where the truth stands among its candidates.

A model that ranks candidates should not care in which order a prompt lists them. The probe asks the
same users several times, each time with the truth in another slot, and fits a line to the metric
over the slots. Without bias its slope is 0. Liu et al., Is ChatGPT a Good Recommender?
(arXiv:2304.10149), find that metrics are many times higher if the truth stands first.

Shapes: `U` users, `S` slots that each user is asked with, `A` candidates, `R` resamples.
"""

import dataclasses

import numpy as np

from jaxrec.core import ConfigError, DataError


@dataclasses.dataclass(frozen=True, kw_only=True)
class PositionBias:
    """What the probe finds.

    Attributes:
      slope: change of the metric over the whole list, from the first slot to the last; negative if
        the model prefers what stands first.
      low: lower end of the slope's interval.
      high: upper end.
      slots: the slots, from 0 on, ascending.
      means: mean of the metric in each of these slots.
    """

    slope: float
    low: float
    high: float
    slots: tuple[int, ...]
    means: tuple[float, ...]

    @property
    def biased(self) -> bool:
        """Whether the interval of the slope leaves out 0."""
        return not self.low <= 0 <= self.high


def probe_slots(candidates: int, count: int) -> tuple[int, ...]:
    """Choose slots from the first to the last one, at equal distances.

    Args:
      candidates: A.
      count: number of slots, from 2 to A.

    Raises:
      ConfigError: a count out of range.

    Example:
      >>> probe_slots(100, 5)
      (0, 25, 50, 74, 99)
    """
    if not 2 <= count <= candidates:
        raise ConfigError(
            f"a probe of {candidates} candidates needs 2 to {candidates} slots, got {count}"
        )
    return tuple(np.rint(np.linspace(0, candidates - 1, count)).astype(int).tolist())


def place_targets(candidates: np.ndarray, targets: np.ndarray, slot: int) -> np.ndarray:
    """Put each truth into one slot; the other candidates keep their order.

    Args:
      candidates: `[U, A]` item numbers.
      targets: `[U]` item numbers, each once among its candidates.
      slot: from 0 to A - 1.

    Raises:
      ConfigError: no such slot.
      DataError: a target is not exactly once among its candidates.

    Example:
      >>> place_targets(np.array([[7, 3, 9]]), np.array([9]), 0).tolist()
      [[9, 7, 3]]
    """
    candidates, targets = np.asarray(candidates), np.asarray(targets)
    size = candidates.shape[1]
    if not 0 <= slot < size:
        raise ConfigError(f"slot {slot} is not among the slots 0 to {size - 1}")
    found = (candidates == targets[:, None]).sum(axis=1)
    if (found != 1).any():
        row = int(np.argmax(found != 1))
        raise DataError(
            f"target {targets[row]} is {found[row]} times among the candidates of row {row}; it "
            "must be there once"
        )
    others = candidates[candidates != targets[:, None]].reshape(len(targets), size - 1)
    return np.insert(others, slot, targets, axis=1)


def slope_over_slots(
    values: np.ndarray,
    slots: np.ndarray,
    *,
    candidates: int,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> PositionBias:
    """Fit the line of least squares through a metric over the slots of the truth.

    With x = slot / (A - 1), the slope is Σ (x - x̄)(y - ȳ) / Σ (x - x̄)² over all users and slots.
    The percentile bootstrap resamples whole users, because one user's values depend on each other.

    Args:
      values: `[U, S]` metric of each user with the truth in each of their slots.
      slots: `[U, S]` slots from 0 to A - 1, or `[S]` if they are the same for all users.
      candidates: A.
      level: confidence level of the interval.
      resamples: R.
      seed: of the resamples.

    Raises:
      ConfigError: `level` or `resamples` is out of range.
      DataError: other shapes, a value that is not finite, a slot that is none, or all values with
        the truth in one slot.

    Example:
      >>> bias = slope_over_slots(np.tile([1.0, 0.5, 0.0], (20, 1)), np.arange(3), candidates=3)
      >>> round(bias.slope, 6), bias.means, bias.biased
      (-1.0, (1.0, 0.5, 0.0), True)
    """
    y = np.asarray(values, np.float64)
    if y.ndim != 2 or not y.size or not np.isfinite(y).all():
        raise DataError(
            f"values must be finite numbers of shape [users, slots], got shape {y.shape}"
        )
    places = np.asarray(slots)
    if places.shape not in (y.shape, y.shape[1:]):
        raise DataError(f"slots of shape {places.shape} do not belong to values of {y.shape}")
    places = np.broadcast_to(places, y.shape)
    if places.min() < 0 or places.max() >= candidates or places.min() == places.max():
        raise DataError(
            f"slots must lie between 0 and {candidates - 1}, at least two of them, got "
            f"{places.min()} to {places.max()}"
        )
    if not 0 < level < 1 or resamples < 1:
        raise ConfigError(
            f"level must lie between 0 and 1 and resamples be at least 1, got {level} and "
            f"{resamples}"
        )
    x = places / (candidates - 1)
    # Sums of each user: [5, U], of which a resample takes weighted sums.
    sums = np.stack([np.full(len(y), y.shape[1]), *(p.sum(axis=1) for p in (x, y, x * x, x * y))])
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(y), np.full(len(y), 1 / len(y)), resamples)  # [R, U]
    slopes = _slope(np.einsum("ru,ku->kr", weights, sums))
    found = slopes[np.isfinite(slopes)]
    if not len(found):
        raise DataError(
            f"the slope of {len(y)} users has no interval: every resample has the truth in one "
            "slot; ask each user with several slots"
        )
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    used = np.unique(places)
    return PositionBias(
        slope=float(_slope(sums.sum(axis=1))),
        low=float(low),
        high=float(high),
        slots=tuple(used.tolist()),
        means=tuple(float(y[places == slot].mean()) for slot in used),
    )


def _slope(sums: np.ndarray) -> np.ndarray:
    """Slopes `[...]` of sums `[5, ...]`: n, Σx, Σy, Σx², Σxy; nan where all x are equal."""
    n, x, y, xx, xy = sums
    spread = n * xx - x * x
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(spread > 1e-12 * n * n, (n * xy - x * y) / spread, np.nan)
    # A metric that does not depend on the slot has the slope 0, not what rounding leaves of it.
    return np.where(np.abs(slope) < 1e-12, 0.0, slope)
