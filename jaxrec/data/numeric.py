"""Columns of numbers from any table of text, Parquet or JSON."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxrec.core import DataError
from jaxrec.data import files
from jaxrec.data.layout import Layout
from jaxrec.data.records import read_record_columns, record_names
from jaxrec.data.tables import table_layout


def read_numbers(
    path: Path,
    choose: Callable[[Sequence[str]], Mapping[str, str]],
    *,
    ids: Collection[str] = (),
) -> dict[str, np.ndarray]:
    r"""Read columns of finite numbers from a table with a header, Parquet, or JSON lines.

    Args:
      path: the file, plain or gzipped.
      choose: maps the names of all columns to those to read, by the name of the result.
      ids: names of results whose columns hold names of things instead of numbers; each name is
        replaced by a number of its own, from 0.

    Returns:
      float64 [n] by the names that `choose` returns.

    Raises:
      DataError: the file is malformed, lacks a column, or holds something that is no finite number;
        the message names the lines.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "runs.csv"
      >>> _ = path.write_text("size,loss\n1000,2.5\n2000,2.25\n")
      >>> read_numbers(path, lambda names: {"loss": names[-1]})["loss"].tolist()
      [2.5, 2.25]
    """
    layout = table_layout(path, "", ())
    names = tuple(record_names(path)) if layout.format == "json" else layout.names
    if not names:
        raise DataError(f"{path}: no columns; expected a header line with their names, and rows")
    wanted = choose(names)
    kinds: dict[str, files.Kind] = {
        name: "id" if role in ids else "float" for role, name in wanted.items()
    }
    columns = _read(path, layout, kinds)
    result = {role: columns[name] for role, name in wanted.items()}
    for role in set(ids) & set(result):
        result[role] = np.unique(result[role], return_inverse=True)[1]
    return {role: np.asarray(values, np.float64) for role, values in result.items()}


def _read(path: Path, layout: Layout, kinds: Mapping[str, files.Kind]) -> dict[str, np.ndarray]:
    if layout.format == "parquet":
        from jaxrec.data.parquet import read_columns

        return read_columns(path, kinds)
    if layout.format == "json":
        return read_record_columns(path, kinds)
    quoted = len(layout.delimiter) == 1
    return files.read_delimited(path, delimiter=layout.delimiter, columns=kinds, quoted=quoted)
