r"""Files that say whom to recommend to, read in pieces: Parquet, CSV or JSON lines.

    user       history                      {"user": "63"}
    63                                      {"history": ["50", "Heat (1995)"]}
               50|Heat (1995)

A row names a user of the run, or has a history of items, oldest first: a list in Parquet and JSON,
and items between "|" in CSV. A row may have both; then the history is read, and the name is kept.
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxrec.core import DataError, check_file
from jaxrec.data import contents, parquet

USER, HISTORY = "user", "history"
_SEPARATOR = "|"
_BLOCK = 1 << 20  # bytes of a CSV file that are read at a time
_KINDS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "json",
    ".json": "json",
    ".ndjson": "json",
}


@dataclasses.dataclass(frozen=True)
class Row:
    """Whom to recommend to.

    Attributes:
      number: of the row in the file, from 1.
      user: name of a user; "" for nobody.
      history: items, oldest first; None to read those that the run keeps of the user.
    """

    number: int
    user: str
    history: Sequence[str] | None


def read_users(path: Path) -> Iterator[Row]:
    r"""Yield the rows of a file, holding only a piece of it.

    Args:
      path: a file that ends in .parquet, .csv, .tsv, .jsonl, .ndjson or .json (of lines), of which
        the texts may be gzipped (.csv.gz).

    Raises:
      DataError: the file is missing or damaged, has another ending or no column of this name, or a
        row has neither a user nor a history.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "users.csv"
      >>> _ = path.write_text("user,history\nann,\n,50|Heat\n")
      >>> [(row.user, row.history) for row in read_users(path)]
      [('ann', None), ('', ['50', 'Heat'])]
    """
    check_file(path)
    suffix = [part.lower() for part in path.suffixes if part.lower() != ".gz"][-1:]
    kind = _KINDS.get("".join(suffix))
    if kind is None:
        raise DataError(
            f"{path}: users are read from {', '.join(_KINDS)}; write them in one of these forms"
        )
    read = {"parquet": _parquet, "csv": _csv, "json": _json}[kind]
    number = 0
    for number, (user, history) in enumerate(read(path), 1):
        if not user and history is None:
            raise DataError(f"{path}, row {number}: neither a {USER} nor a {HISTORY}; give one")
        yield Row(number, user, history)
    if not number:
        raise DataError(f"{path}: no rows; give at least one")


def _check_names(path: Path, names: Sequence[str]) -> list[str]:
    """The columns of a file that are read."""
    known = [name for name in (USER, HISTORY) if name in names]
    if not known:
        raise DataError(
            f"{path} has neither a column {USER!r} nor {HISTORY!r}; its columns: "
            f"{', '.join(map(repr, names))}; rename the one that names users, or lists their items"
        )
    return known


def _parquet(path: Path) -> Iterator[tuple[str, Sequence[str] | None]]:
    columns = _check_names(path, parquet.column_names(path))
    for row in parquet.read_rows(path, columns):
        yield _text(row.get(USER)), _items(row.get(HISTORY))


def _csv(path: Path) -> Iterator[tuple[str, Sequence[str] | None]]:
    from pyarrow import ArrowInvalid, csv, string

    parse = csv.ParseOptions(delimiter="\t" if ".tsv" in path.suffixes else ",")
    read = csv.ReadOptions(block_size=_BLOCK, use_threads=False)
    try:
        with contents.open_stream(path) as file:
            names = csv.open_csv(file, read_options=read, parse_options=parse).schema.names
        columns = _check_names(path, names)
        convert = csv.ConvertOptions(
            column_types=dict.fromkeys(columns, string()), include_columns=columns
        )
        with contents.open_stream(path) as file:
            reader = csv.open_csv(
                file, read_options=read, parse_options=parse, convert_options=convert
            )
            for batch in reader:
                for row in batch.to_pylist():
                    yield _text(row.get(USER)), _items(row.get(HISTORY))
    except (ArrowInvalid, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as CSV ({error}); write it again") from error


def _json(path: Path) -> Iterator[tuple[str, Sequence[str] | None]]:
    with contents.open_stream(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(
                    f"{path}, line {number}: not JSON ({error}); give an object on every line"
                ) from error
            if not isinstance(row, dict):
                raise DataError(f"{path}, line {number}: {line[:40]!r} is no object with {USER!r}")
            _check_names(path, list(row))
            yield _text(row.get(USER)), _items(row.get(HISTORY))


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _items(value: Any) -> Sequence[str] | None:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return [part.strip() for part in value.split(_SEPARATOR)]
    return [str(item) for item in value] if isinstance(value, Sequence) else [str(value)]
