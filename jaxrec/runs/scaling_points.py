"""Trainings as points of a scaling law: read from a table, and checked before any fit."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxrec.core import ConfigError, DataError, nearest
from jaxrec.data import files, read_numbers

# What a column may mean, and how files call it, in small letters and digits.
ROLES = {
    "params": (
        *("n", "params", "parameters", "modelsize", "nparams", "numparams", "numparameters"),
        *("nonembedding", "nonembeddingparams", "nonembeddingparameters"),
    ),
    "total": ("totalparams", "totalparameters"),
    "tokens": ("d", "tokens", "ntokens", "numtokens", "traintokens", "trainingtokens"),
    "flops": ("c", "flop", "flops", "trainingflop", "trainingflops", "compute", "computeflops"),
    "loss": ("l", "loss", "testloss", "validloss", "validationloss", "evalloss", "lmloss"),
    "steps": ("s", "steps", "smin", "minsteps"),
    "batch": ("batch", "batchtokens", "tokensperbatch"),
    "run": ("run", "runid", "curve"),
}
_SPOKEN = {
    "params": "sizes of models in parameters",
    "tokens": "training tokens",
    "flops": "training compute in FLOP",
    "loss": "losses in nats a token",
    "steps": "training steps",
    "batch": "tokens in a batch",
}
# Smallest plausible values. What is below is in another unit, such as millions of parameters.
_LEAST = {"params": 1e3, "total": 1e3, "tokens": 1e4, "flops": 1e9}
_UNITS = {
    "params": "parameters, not in millions or billions",
    "total": "parameters, not in millions or billions",
    "tokens": "tokens, not in millions or billions",
    "flops": "FLOP, not in PF-days (1 PF-day is 8.64e19 FLOP)",
}
# C = 6 N D leaves out attention and embeddings, which change it by less than this.
_MOST_OFF = 20.0
# Besiroglu et al. leave out the rows whose loss is at least the fifth largest.
EPOCH_DROPS = 5
_EPOCH_COLUMNS = {"Model Size", "Training FLOP", "hex_color", "loss"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Points:
    """Trainings, each with its size, data and loss; a quantity that is not known is None.

    Attributes:
      loss: in nats a token, [n].
      params: N, [n].
      total: parameters with embeddings, [n], where `params` are without.
      tokens: D, [n].
      flops: C, [n].
      steps: S, [n].
      batch: tokens in a batch, [n].
      run: number of the training that a point on a curve belongs to, [n].
      source: what messages call the points.
      drops: how many rows with the highest losses are usually dropped from this file.

    Example:
      >>> points = Points(loss=np.array([3.0, 2.5]), params=np.array([1e6, 1e7]))
      >>> len(points), points.known()
      (2, 'loss, params')
    """

    loss: np.ndarray
    params: np.ndarray | None = None
    total: np.ndarray | None = None
    tokens: np.ndarray | None = None
    flops: np.ndarray | None = None
    steps: np.ndarray | None = None
    batch: np.ndarray | None = None
    run: np.ndarray | None = None
    source: str = "points"
    drops: int = 0

    def __len__(self) -> int:
        return len(self.loss)

    def known(self) -> str:
        """The quantities that the points have, to be read by people."""
        return ", ".join(name for name in _arrays(self))

    def take(self, rows: np.ndarray) -> "Points":
        """Some of the points, by a mask or by numbers."""
        return dataclasses.replace(self, **{n: v[rows] for n, v in _arrays(self).items()})

    def need(self, *names: str) -> tuple[np.ndarray, ...]:
        """The named quantities, [n] each.

        Raises:
          DataError: a quantity is missing and does not follow from C = 6 N D.
        """
        return tuple(self._quantity(name) for name in names)

    def _quantity(self, name: str) -> np.ndarray:
        value = getattr(self, name)
        if value is not None:
            return value
        n, d, c = self.params, self.tokens, self.flops
        if name == "tokens" and n is not None and c is not None:
            return c / (6 * n)
        if name == "params" and d is not None and c is not None:
            return c / (6 * d)
        if name == "flops" and n is not None and d is not None:
            return 6 * n * d
        raise DataError(
            f"{self.source}: the law needs {_SPOKEN[name]}, and the columns give only "
            f"{self.known()}; add a column, or name it with --columns.{name}"
        )


def _arrays(points: Points) -> dict[str, np.ndarray]:
    values = {name: getattr(points, name) for name in ROLES}
    return {name: values[name] for name in ("loss", *ROLES) if values[name] is not None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PointColumns:
    """Names of the columns of a table of trainings; "" finds each by its usual names.

    Attributes:
      params: sizes N in parameters.
      total: sizes with embeddings, where `params` are without.
      tokens: training tokens D.
      flops: training compute C in FLOP.
      loss: losses in nats a token.
      steps: training steps S.
      batch: tokens in a batch.
      run: the name or number of the training that a point on a training curve belongs to.
    """

    params: str = ""
    total: str = ""
    tokens: str = ""
    flops: str = ""
    loss: str = ""
    steps: str = ""
    batch: str = ""
    run: str = ""


def make_points(
    columns: Mapping[str, np.ndarray], source: str = "points", *, drops: int = 0
) -> Points:
    """Check the numbers of all trainings.

    Args:
      columns: values [n] by the names of the fields of `Points`.
      source: what messages call the points.
      drops: how many rows with the highest losses are usually dropped.

    Raises:
      DataError: a value is not positive and finite, or is in another unit; the message names the
        row and the column.

    Example:
      >>> make_points({"loss": np.array([3.0, -2.5]), "params": np.array([1e6, 1e7])})
      Traceback (most recent call last):
      jaxrec.core.errors.DataError: points: row 2: loss is -2.5, which is not above 0; ...
    """
    arrays = {name: np.asarray(values, np.float64) for name, values in columns.items()}
    if "loss" not in arrays:
        raise DataError(f"{source}: no losses; add a column of {_SPOKEN['loss']}")
    for name, values in arrays.items():
        if values.shape != arrays["loss"].shape or values.ndim != 1:
            raise DataError(
                f"{source}: {name} has shape {list(values.shape)} and loss "
                f"{list(arrays['loss'].shape)}; give one value for each training"
            )
        _check_values(values, name, source)
    _check_compute(arrays, source)
    return Points(**arrays, source=source, drops=drops)


def _check_values(values: np.ndarray, name: str, source: str) -> None:
    finite = np.isfinite(values)
    bad = np.flatnonzero(~(finite if name == "run" else finite & (values > 0)))
    if len(bad):
        value = values[bad[0]]
        what = "above 0" if np.isfinite(value) else "a finite number"
        more = f" (and {len(bad) - 1} more rows)" if len(bad) > 1 else ""
        raise DataError(
            f"{source}: row {bad[0] + 1}: {name} is {value:g}, which is not {what}{more}; "
            "correct or remove the row"
        )
    if name in _LEAST and len(values) and values.min() < _LEAST[name]:
        raise DataError(
            f"{source}: row {values.argmin() + 1}: {name} is {values.min():g}, too small for a "
            f"training; give {_UNITS[name]}"
        )


def _check_compute(arrays: Mapping[str, np.ndarray], source: str) -> None:
    """Reject N, D and C whose units do not fit together."""
    if not {"params", "tokens", "flops"} <= set(arrays):
        return
    n, d, c = arrays["params"], arrays["tokens"], arrays["flops"]
    ratio = c / (6 * n * d)
    off = np.flatnonzero((ratio > _MOST_OFF) | (ratio < 1 / _MOST_OFF))
    if len(off):
        row = off[0]
        raise DataError(
            f"{source}: row {row + 1}: {c[row]:g} FLOP are {ratio[row]:.3g} times 6 x {n[row]:g} "
            f"parameters x {d[row]:g} tokens; check the units of the three columns"
        )


def read_points(path: Path, columns: PointColumns | None = None) -> Points:
    r"""Read trainings from a table: text with a header, Parquet, or JSON lines.

    Args:
      path: the file.
      columns: names of its columns; None finds all of them.

    Raises:
      DataError: the file is malformed, a column is missing or may be one of several, or a value is
        not positive or in another unit.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "runs.csv"
      >>> _ = path.write_text("Model Size,Training FLOP,loss\n1e9,1.2e20,2.5\n2e9,2.4e20,2.4\n")
      >>> points = read_points(path)
      >>> points.need("tokens")[0].tolist()
      [20000000000.0, 20000000000.0]
    """
    seen: list[str] = []

    def choose(names: Sequence[str]) -> dict[str, str]:
        seen.extend(names)
        return choose_columns(path, names, columns)

    table = read_numbers(path, choose, ids=("run",))
    drops = EPOCH_DROPS if set(seen) >= _EPOCH_COLUMNS else 0
    return make_points(table, str(path), drops=drops)


def choose_columns(
    path: Path, names: Sequence[str], columns: PointColumns | None = None
) -> dict[str, str]:
    """The column of each role that a table has.

    Args:
      path: the table, for messages.
      names: names of its columns.
      columns: those that the user named.

    Raises:
      DataError: a named column is missing, a role may be one of several, or there are no losses.

    Example:
      >>> choose_columns(Path("runs.csv"), ["Model Size", "Training FLOP", "loss"])
      {'params': 'Model Size', 'flops': 'Training FLOP', 'loss': 'loss'}
    """
    given = dataclasses.asdict(columns or PointColumns())
    wanted = {role: name for role, name in given.items() if name}
    files.check_names(path, names, wanted.values())
    for role, usual in ROLES.items():
        if role in wanted:
            continue
        free = [name for name in names if name not in wanted.values()]
        found = [name for name in free if re.sub(r"[^a-z0-9]", "", name.lower()) in usual]
        if len(found) > 1:
            raise DataError(
                f"{path}: {role} may be any of the columns {files.listed(found)}; name one with "
                f"--columns.{role}"
            )
        if found:
            wanted[role] = found[0]
    if "loss" not in wanted:
        near = nearest("loss", files.usual(names))
        raise DataError(
            f"{path}: no column of losses{near}; columns: {files.listed(names)}; name one with "
            "--columns.loss"
        )
    twice = {name for name in wanted.values() if list(wanted.values()).count(name) > 1}
    if twice:
        raise ConfigError(f"{path}: column {min(twice)!r} has two roles; name each column once")
    return wanted


def drop_highest(points: Points, count: int) -> Points:
    """Leave out the points whose loss is at least the `count`-th largest; 0 keeps all.

    Raises:
      ConfigError: no points would be left.

    Example:
      >>> points = Points(loss=np.array([5.0, 3.0, 4.0, 4.0]))
      >>> drop_highest(points, 2).loss.tolist()
      [3.0]
    """
    if count == 0:
        return points
    if count >= len(points):
        raise ConfigError(
            f"--drop-highest {count} leaves no points of {len(points)} in {points.source}; "
            "choose a smaller number"
        )
    return points.take(points.loss < np.sort(points.loss)[-count])
