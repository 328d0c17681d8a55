"""RecBole atomic files: tab-separated tables whose header says "name:type".

A data set is `x.inter`, optionally with `x.item` and `x.user` in the same directory. Types are
token, token_seq (joined by spaces), float and float_seq.
"""

from pathlib import Path
from typing import Literal

from jaxrec.core import DataError
from jaxrec.data import files
from jaxrec.data.interactions import SEPARATOR, Interactions
from jaxrec.data.movies import split_title

_ALIASES = {"movie_title": "title", "item_name": "title", "release_year": "year", "class": "genres"}
_LISTS = ("genre", "genres", "class", "category", "categories")
_TYPES = ("token", "token_seq", "float", "float_seq")


def read_recbole(path: Path, name: str | None = None) -> Interactions:
    r"""Read a `.inter` file, or the directory that holds one.

    Item fields are the columns of `.item` except the ID. movie_title becomes title, release_year
    becomes year, and class becomes genres (values joined by " | "). User fields are those of
    `.user`. Without a timestamp column, the order of the file counts.

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
        present = sorted(path.glob("*.inter"))
        if len(present) != 1:
            names = ", ".join(p.name for p in present) or "none"
            raise DataError(
                f"{path}: expected one .inter file, found: {names}; give the path of the file"
            )
        path = present[0]
    header = _header(path)
    wanted: dict[str, files.Kind] = {"user_id": "id", "item_id": "id"}
    wanted |= {"rating": "float"} if "rating" in header else {}
    wanted |= {"timestamp": "time"} if "timestamp" in header else {}
    table = files.read_delimited(path, delimiter="\t", columns=_typed(wanted, header, path))
    columns = {field: table[header.get(field, field)] for field in wanted}
    return Interactions.from_columns(
        columns["user_id"],
        columns["item_id"],
        time=columns.get("timestamp"),
        rating=columns.get("rating"),
        items=_texts(path.with_suffix(".item"), "item_id"),
        users=_texts(path.with_suffix(".user"), "user_id"),
        name=name or path.stem,
        source=str(path),
        time_unit="s" if "timestamp" in columns else "order",
    )


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
        header[name] = column.strip()
    return header


def _typed(
    wanted: dict[str, files.Kind], header: dict[str, str], path: Path
) -> dict[str, files.Kind]:
    missing = [name for name in wanted if name not in header]
    if missing:
        raise DataError(
            f"{path}: line 1: no column {missing[0]!r}; columns: {', '.join(header)}; "
            "correct the header"
        )
    return {header[name]: kind for name, kind in wanted.items()}


def _texts(path: Path, key: Literal["item_id", "user_id"]) -> dict[str, dict[str, str]] | None:
    if not path.is_file():
        return None
    header = _header(path)
    wanted: dict[str, files.Kind] = {key: "id"}
    wanted |= {name: "text" for name in header if name != key}
    table = files.read_delimited(path, delimiter="\t", columns=_typed(wanted, header, path))
    rows: dict[str, dict[str, str]] = {}
    fields = [name for name in header if name != key]
    columns = [table[header[name]].tolist() for name in fields]
    for number, identity in enumerate(table[header[key]].tolist()):
        row = {}
        for name, column in zip(fields, columns, strict=True):
            text = column[number]
            if name in _LISTS and header[name].endswith("_seq"):
                text = SEPARATOR.join(text.split())
            row[_ALIASES.get(name, name)] = text
        if "year" in row and "title" in row and not row["year"].isdigit():
            # RecBole takes the text in the last brackets for the year, whatever it is.
            row["title"], row["year"] = split_title(row["title"])
        rows[str(identity)] = row
    return rows
