r"""Files that say whom to recommend to, read in pieces: Parquet, CSV or JSON lines.

    user       history                      {"user": "63"}
    63                                      {"history": ["50", "Heat (1995)"]}
               50|Heat (1995)

A row names a user of the run, or has a history of items, oldest first: a list in Parquet and JSON,
and items between "|" in CSV. A row may have both; then the history is read, and the name is kept.
"""

import dataclasses
import difflib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxrec.core import (
    ConfigError,
    DataError,
    RepeatedKey,
    check_file,
    is_list,
    name_text,
    shown_value,
    unique_keys,
)
from jaxrec.data import contents, parquet

USER, HISTORY = "user", "history"
_SEPARATOR = "|"
# How alike another column must be, from 0 to 1, to be one of ours with a slip of the pen.
_ALIKE = 0.85
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
        row has neither a user nor a history, or one that is no text or whole number.

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
        try:
            row = Row(number, _text(user), _items(history))
        except ConfigError as error:
            raise DataError(f"{path}, row {number}, {error}") from error
        if not row.user and row.history is None:
            raise DataError(f"{path}, row {number}: neither a {USER} nor a {HISTORY}; give one")
        yield row
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
    for name in known:
        if names.count(name) > 1:
            raise DataError(f"{path} has the column {name!r} twice; remove one")
    for other in names:
        near = difflib.get_close_matches(other.strip().lower(), (USER, HISTORY), cutoff=_ALIKE)
        if other not in known and near:
            raise DataError(
                f"{path} has a column {other!r}, did you mean {near[0]!r}? Rename it, so that "
                "it is read, or call it something else"
            )
    return known


def _parquet(path: Path) -> Iterator[tuple[Any, Any]]:
    columns = _check_names(path, parquet.column_names(path))
    for row in parquet.read_rows(path, columns):
        yield row.get(USER), row.get(HISTORY)


def _csv(path: Path) -> Iterator[tuple[Any, Any]]:
    from pyarrow import ArrowInvalid, csv, string

    # Otherwise a title with a line break fails where it lies across two blocks.
    parse = csv.ParseOptions(
        delimiter="\t" if ".tsv" in path.suffixes else ",", newlines_in_values=True
    )
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
                    yield row.get(USER), row.get(HISTORY)
    except (ArrowInvalid, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as CSV ({error}); write it again") from error


def _json(path: Path) -> Iterator[tuple[Any, Any]]:
    names: list[str] = []
    with contents.open_stream(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line, object_pairs_hook=unique_keys)
            except RepeatedKey as error:
                raise DataError(f"{path}, line {number}: {error}; remove one") from error
            except (ValueError, RecursionError) as error:
                raise DataError(
                    f"{path}, line {number}: not JSON ({error}); give an object on every line"
                ) from error
            if not isinstance(row, dict):
                raise DataError(
                    f"{path}, line {number}: {shown_value(row)} is no object; give one on every "
                    f'line, such as {{"{USER}": "63"}}'
                )
            if list(row) != names:
                names = list(row)
                _check_names(path, names)
            yield row.get(USER), row.get(HISTORY)


def _text(value: Any) -> str:
    return "" if value is None else name_text(value, USER)


def _items(value: Any) -> Sequence[str] | None:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return [part.strip() for part in value.split(_SEPARATOR)]
    return [name_text(item, HISTORY) for item in (value if is_list(value) else [value])]
