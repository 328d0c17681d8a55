"""Metrics of a run as JSON lines and for TensorBoard, cut back to the checkpoint on resumption."""

import json
from pathlib import Path
from typing import Any, TypedDict

from jaxrec.core import DataError, ResourceError, check_file, is_writer, mismatch, write_text


class _Row(TypedDict):
    step: int


class MetricWriter:
    """Writes scalars of a run to `metrics.jsonl` and `tb/`; only the first process writes.

    Example:
      >>> import pathlib, tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     with MetricWriter(pathlib.Path(folder)) as writer:
      ...         writer.write(1, {"loss": 2.5})
      ...     read_metrics(pathlib.Path(folder) / "metrics.jsonl")
      [{'step': 1, 'loss': 2.5}]
    """

    def __init__(self, directory: Path, resume_step: int = 0) -> None:
        """Open for appending after `resume_step`; later lines, whose work is lost, are removed."""
        self._path = directory / "metrics.jsonl"
        self._file: Any = None
        self._board: Any = None
        if not is_writer():
            return
        from tensorboardX import SummaryWriter

        directory.mkdir(parents=True, exist_ok=True)
        kept = [row for row in read_metrics(self._path) if row["step"] <= resume_step]
        write_text(self._path, "".join(json.dumps(row) + "\n" for row in kept))
        self._file = self._path.open("a")
        self._board = SummaryWriter(str(directory / "tb"), purge_step=resume_step + 1)

    def __enter__(self) -> "MetricWriter":
        return self

    def __exit__(self, *_: object) -> None:
        for part in (self._file, self._board):
            if part is not None:
                part.close()

    def write(self, step: int, values: dict[str, float]) -> None:
        """Append one line.

        Raises:
          ResourceError: the disk is full.
        """
        if self._file is None:
            return
        try:
            self._file.write(json.dumps({"step": step} | values) + "\n")
            self._file.flush()
        except OSError as error:
            raise ResourceError(
                f"cannot write {self._path} ({error}); free space on the disk"
            ) from error
        for name, value in values.items():
            self._board.add_scalar(name, value, step)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    r"""Read the rows of a `metrics.jsonl`; an incomplete last line, left by a kill, is ignored.

    Raises:
      DataError: another line is damaged.

    Example:
      >>> import pathlib, tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder) / "metrics.jsonl"
      ...     _ = path.write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "lo')
      ...     read_metrics(path)
      [{'step': 1, 'loss': 2.5}]
    """
    if not path.exists():
        return []
    check_file(path, missing=True)
    lines, rows = path.read_bytes().splitlines(), []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines):
                break
            raise DataError(
                f"{path}: line {number} is not valid JSON ({error}); restore or remove it"
            ) from error
        if problem := mismatch(row, _Row, ""):
            raise DataError(f"{path}: line {number}: {problem}; restore or remove it")
        rows.append(row)
    return rows
