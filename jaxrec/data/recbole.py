"""RecBole atomic files: tab-separated tables whose header says "name:type".

A data set is `x.inter`, optionally with `x.item` and `x.user` in the same directory. Types are
token, token_seq (joined by spaces), float and float_seq.
"""

from pathlib import Path
from typing import Literal

from jaxrec.core import DataError, quoted
from jaxrec.data import files
from jaxrec.data.interactions import SEPARATOR, Interactions
from jaxrec.data.movies import split_title
from jaxrec.data.tables import FILE_ORDER, Columns, unique_rows
from jaxrec.data.times import is_time_name, to_times

_ALIASES = {"movie_title": "title", "item_name": "title", "release_year": "year", "class": "genres"}
_LISTS = ("genre", "genres", "class", "category", "categories")
_TYPES = ("token", "token_seq", "float", "float_seq")


def read_recbole(
    path: Path, name: str | None = None, columns: Columns | None = None
) -> Interactions:
    r"""Read a `.inter` file, or the directory that holds one.

    Item fields are the columns of `.item` except the ID. movie_title becomes title, release_year
    becomes year, and class becomes genres (values joined by " | "). User fields are those of
    `.user`. Times are in `timestamp`, or in the only column whose name says time; without one,
    the order of the file counts.

    Args:
        path: the file or directory.
        name: name of the data set; None takes it from the file name.
        columns: names of other columns of users, items, times and ratings.

    Raises:
        DataError: a file is missing or malformed; the message names file and line.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "tiny.inter"
        >>> _ = path.write_text("user_id:token\titem_id:token\nu1\tb\nu1\ta\n")
        >>> data = read_recbole(path)
        >>> data.items.ids[data.history(0)].tolist()
        ['b', 'a']
    """
    if path.is_dir():
        present = sorted((*path.glob("*.inter"), *path.glob("*.inter.gz")))
        if len(present) != 1:
            names = files.listed(p.name for p in present)
            raise DataError(
                f"{path}: expected one .inter file, found: {names}; give the path of the file"
            )
        path = present[0]
    header = _header(path)
    given = (columns or Columns()).given()
    user, item = given.get("user", "user_id"), given.get("item", "item_id")
    time = _time(path, header, given.get("time"))
    rating = given.get("rating") or ("rating" if "rating" in header else None)
    wanted: dict[str, files.Kind] = {user: "id", item: "id"}
    wanted |= {rating: "float"} if rating else {}
    wanted |= {time: "moment"} if time else {}
    table = files.read_delimited(path, delimiter="\t", columns=_typed(wanted, header, path))
    read = {field: table[header.get(field, field)] for field in wanted}
    stem = path.name.removesuffix(".gz").removesuffix(".inter")
    return Interactions.from_columns(
        read[user],
        read[item],
        time=to_times(read[time], time, path) if time else None,
        rating=read[rating] if rating else None,
        items=_texts(files.find(path.parent, f"{stem}.item"), "item_id"),
        users=_texts(files.find(path.parent, f"{stem}.user"), "user_id"),
        name=name or stem,
        source=str(path),
        time_unit="s" if time else "order",
    )


def _time(path: Path, header: dict[str, str], given: str | None) -> str | None:
    """Return the column of times; None for the order of the file."""
    if given is not None:
        return None if given == FILE_ORDER else given
    if "timestamp" in header:
        return "timestamp"
    times = [name for name in header if is_time_name(name)]
    if len(times) > 1:
        raise DataError(
            f"{path}: columns {files.listed(times)} may all be times; choose one with "
            f"--data.time-column {quoted(times[0])}"
        )
    return times[0] if times else None


def _header(path: Path) -> dict[str, str]:
    """Return the map from column name to its "name:type" in the header."""
    first = files.decode(files.read_bytes(path), path).split("\n", 1)[0].rstrip("\r")
    header = {}
    for column in first.split("\t"):
        name, _, kind = column.strip().partition(":")
        if kind not in _TYPES:
            raise DataError(
                f"{path}: line 1: column {files.shown(column)} is not 'name:type' with a type of "
                f"{', '.join(_TYPES)}; add the type to the header"
            )
        if name in header:
            raise DataError(
                f"{path}: line 1: two columns are called {files.shown(name)}; rename one of them"
            )
        header[name] = column.strip()
    return header


def _typed(
    wanted: dict[str, files.Kind], header: dict[str, str], path: Path
) -> dict[str, files.Kind]:
    missing = [name for name in wanted if name not in header]
    if missing:
        raise DataError(
            f"{path}: line 1: no column {missing[0]!r}; columns: {files.listed(header)}; "
            "correct the header"
        )
    return {header[name]: kind for name, kind in wanted.items()}


def _texts(
    path: Path | None, key: Literal["item_id", "user_id"]
) -> dict[str, dict[str, str]] | None:
    if path is None:
        return None
    header = _header(path)
    wanted: dict[str, files.Kind] = {key: "id"}
    wanted |= {name: "text" for name in header if name != key}
    table = files.read_delimited(path, delimiter="\t", columns=_typed(wanted, header, path))
    rows: dict[str, dict[str, str]] = {}
    fields = [name for name in header if name != key]
    columns = [table[header[name]].tolist() for name in fields]
    ids = table[header[key]].astype(str)
    _, kept = unique_rows(ids, table, path, key.removesuffix("_id"))
    for number in kept.tolist():
        row = {}
        for name, column in zip(fields, columns, strict=True):
            text = column[number]
            if name in _LISTS and header[name].endswith("_seq"):
                text = SEPARATOR.join(text.split())
            row[_ALIASES.get(name, name)] = text
        if "year" in row and "title" in row and not row["year"].isdigit():
            # RecBole takes the text in the last brackets for the year, whatever it is.
            row["title"], row["year"] = split_title(row["title"])
        rows[str(ids[number])] = row
    return rows
