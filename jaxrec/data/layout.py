"""What a file is: its format, delimiter and columns, found by its contents or its ending."""

import csv
import dataclasses
import io
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from jaxrec.core import DataError, check_file, nearest, quoted
from jaxrec.data import files
from jaxrec.data.contents import check_text, read_head, with_line_feeds

Format = Literal[
    "directory", "zip", "parquet", "json", "amazon", "recbole", "minionerec", "table", "sequences",
    "movielens-100k", "movielens-csv", "double-colon",
]  # fmt: skip
TABLES: tuple[Format, ...] = ("table", "parquet", "json")

# What `--data.delimiter` accepts, and the separators that are looked for.
DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
_CANDIDATES = (",", "\t", ";", "|", "::")
_RECBOLE_TYPES = ("token", "token_seq", "float", "float_seq")
_MOVIELENS = ("userId", "movieId", "rating", "timestamp")
_MINIONEREC = ("user_id", "history_item_id", "item_id")
_AMAZON_ITEM = ("parent_asin", "asin")
_AMAZON_USER = ("reviewerID", "user_id")
# Usual names of the columns, for hints.
_LIKELY = {
    "user": {"user", "userid", "uid", "users", "customer", "customerid", "reviewerid", "sessionid",
             "visitorid", "memberid", "accountid", "profileid", "who"},
    "item": {"item", "itemid", "iid", "items", "product", "productid", "asin", "sku", "movieid",
             "bookid", "songid", "trackid", "articleid", "isbn", "what"},
    "history": {"history", "sequence", "itemids", "itemsequence", "itemn"},
}  # fmt: skip
ENDINGS = (
    ".csv", ".tsv", ".tab", ".psv", ".txt", ".dat", ".data", ".json", ".jsonl", ".ndjson",
    ".parquet", ".pq", ".inter", ".zip",
)  # fmt: skip
_LINES = 20  # lines that decide on the delimiter
_KNOWN = ".csv, .tsv, .parquet, .jsonl, .json, .inter, .txt, .zip (also .gz), u.data, ratings.dat"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """What a file is.

    Attributes:
        format: how it is read.
        delimiter: separator of fields; "" if the format has none.
        names: names of its columns, as far as the format has any.
    """

    format: Format
    delimiter: str = ""
    names: tuple[str, ...] = ()

    @property
    def is_table(self) -> bool:
        """Whether the meaning of the columns is the user's to say."""
        return self.format in TABLES


def delimiter_of(word: str) -> str:
    r"""Return the separator that a setting names: a character, "::", or "tab".

    Raises:
        ValueError: the word is no separator.

    Example:
        >>> delimiter_of("tab"), delimiter_of(";"), delimiter_of("")
        ('\t', ';', '')
    """
    found = DELIMITERS.get(word, word)
    if found in ("", "::") or (
        len(found) == 1 and not found.isalnum() and found not in "\"'\r\n\\"
    ):
        return found
    raise ValueError(f"{word!r} is no delimiter; use one character, '::' or 'tab'")


def find_layout(path: Path, *, delimiter: str = "", wanted: Sequence[str] = ()) -> Layout:
    r"""Find the format of a file or directory by its contents and its ending.

    Args:
        path: the file or directory.
        delimiter: separator of a table if it is known; "" finds it.
        wanted: names of columns that the reader needs; the delimiter that separates them is right.

    Raises:
        DataError: the path is missing or no regular file, or nothing says what it is.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "log.txt"
        >>> _ = path.write_text("who;what\nann;1\n")
        >>> find_layout(path)
        Layout(format='table', delimiter=';', names=('who', 'what'))
    """
    if path.is_dir():
        return Layout(format="directory")
    check_file(path)
    head = read_head(path)
    name = path.name.removesuffix(".gz")
    ending = Path(name).suffix.lower()
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06") or ending == ".zip":
        return Layout(format="zip")
    if head[:4] == b"PAR1" or ending in (".parquet", ".pq"):
        from jaxrec.data.parquet import column_names

        return Layout(format="parquet", names=tuple(column_names(path)))
    if name == "u.data":
        return Layout(format="movielens-100k", delimiter="\t")
    if name == "ratings.dat":
        return Layout(format="double-colon", delimiter="::")
    check_text(head, path)
    lines = _first_lines(head)
    if not lines:
        raise DataError(f"{path}: empty file; expected a header line and rows")
    if ending in (".json", ".jsonl", ".ndjson") or lines[0].lstrip()[:1] in ("{", "["):
        return _json_layout(lines[0])
    if ending == ".inter" or _is_recbole(lines[0]):
        return Layout(format="recbole", delimiter="\t", names=_before_colon(lines[0]))
    found, names = _find_delimiter(lines, delimiter, wanted)
    _check_first_line(path, lines, (found or delimiter, delimiter), names, wanted)
    if not delimiter and name == "ratings.csv" and set(_MOVIELENS[:2]) <= set(names):
        return Layout(format="movielens-csv", delimiter=",", names=names)
    if set(_MINIONEREC) <= set(names):
        return Layout(format="minionerec", delimiter=",", names=names)
    if not delimiter and found == "::" and not set(wanted) <= set(names):
        return Layout(format="double-colon", delimiter="::")
    if ending == ".txt" and not delimiter and not (found and set(wanted) <= set(names)):
        return Layout(format="sequences", delimiter=" ")
    if ending not in ENDINGS and not found:
        raise DataError(
            f"{path}: unknown format of {path.name!r}; known endings: {_KNOWN}; a table of text "
            "needs a header and a delimiter, which --data.delimiter can name"
        )
    return Layout(format="table", delimiter=found or delimiter or ",", names=names)


def _check_first_line(
    path: Path,
    lines: Sequence[str],
    delimiters: tuple[str, str],
    names: Sequence[str],
    wanted: Sequence[str],
) -> None:
    """Reject a table whose first line is no header, and a delimiter that separates nothing.

    Args:
        path: the file.
        lines: its first lines.
        delimiters: the delimiter that is taken, and the one that was given ("" for none).
        names: the header, as it is split by the first.
        wanted: columns of users and items.

    Raises:
        DataError: the message says which line is the header, or which delimiter is right.
    """
    if re.fullmatch(r"sep=.", lines[0].strip(), re.IGNORECASE):
        raise DataError(
            f"{path}: line 1: {lines[0].strip()!r} is an instruction for Excel; remove this line"
        )
    if set(wanted) <= set(names):
        return
    taken, given = delimiters
    if given and len(names) < 2:
        other, better = _find_delimiter(lines, "", wanted)
        if len(better) > 1:
            raise DataError(
                f"{path}: the delimiter {given!r} separates nothing in {files.shown(lines[0])}; "
                f"remove --data.delimiter, which finds {other!r}"
            )
    for delimiter in (taken,) if given else _CANDIDATES:
        rows = [[name.strip() for name in row] for row in _split_lines(lines, delimiter)]
        header = next((n for n, row in enumerate(rows) if set(wanted) <= set(row)), 0)
        if wanted and header:
            raise DataError(
                f"{path}: line {header + 1} is the header; remove what stands above it, from "
                f"{files.shown(lines[0])} on"
            )
        widths = {len(row) for row in rows[1:]}
        if not taken and len(rows) > 2 and len(rows[0]) == 1 < min(widths) == max(widths):
            raise DataError(
                f"{path}: line 1: {files.shown(lines[0])} is no header: it has 1 field, and the "
                f"lines after it have {min(widths)}; remove it, or give a header"
            )


def _first_lines(head: bytes) -> list[str]:
    """Return the first lines that are not blank; the last one may be cut off."""
    text = head.decode("utf-8-sig", errors="replace")
    text = with_line_feeds(text)
    return [line.removesuffix("\r") for line in text.split("\n") if line.strip()][:_LINES]


def _json_layout(line: str) -> Layout:
    try:
        record = json.loads(line.strip().lstrip("[").rstrip(",]"))
    except (ValueError, RecursionError):
        record = None
    names = tuple(record) if isinstance(record, dict) else ()
    # Lines that cannot be read are reported by the reader of reviews, or of the table.
    is_review = any(key in names for key in _AMAZON_ITEM) and any(k in names for k in _AMAZON_USER)
    return Layout(format="amazon" if is_review else "json", names=names)


def _is_recbole(line: str) -> bool:
    columns = line.split("\t")
    return all(column.strip().rpartition(":")[2] in _RECBOLE_TYPES for column in columns)


def _before_colon(line: str) -> tuple[str, ...]:
    return tuple(column.strip().partition(":")[0] for column in line.split("\t"))


def _find_delimiter(
    lines: Sequence[str], given: str, wanted: Sequence[str]
) -> tuple[str, tuple[str, ...]]:
    """Return the delimiter and the names of the header; "" if no delimiter separates the lines.

    The best one separates most of the wanted columns, then gives every line as many fields as the
    header, then comes first among the candidates.
    """
    best: tuple[tuple[int, bool], str, tuple[str, ...]] | None = None
    for delimiter in (given,) if given else _CANDIDATES:
        rows = list(_split_lines(lines, delimiter))
        names = tuple(name.strip() for name in rows[0]) if rows else ()
        if len(names) < 2 and not given:
            continue
        even = all(len(row) == len(names) for row in rows)
        score = (len(set(wanted) & set(names)), even)
        if best is None or score > best[0]:
            best = score, delimiter, names
    if not given and wanted and (best is None or not best[0][0]):
        # Spaces separate many things, so they count only where they separate the named columns.
        names = tuple(lines[0].split())
        if set(wanted) <= set(names):
            return " ", names
    return best[1:] if best else ("", tuple(lines[:1]))


def likely_role(name: str) -> str | None:
    """Return what a column of this name usually holds: "user", "item" or "history"; or None.

    Example:
        >>> likely_role("User ID"), likely_role("item1"), likely_role("price")
        ('user', 'item', None)
    """
    letters = re.sub(r"[^a-z]", "", name.lower())
    return next((role for role, names in _LIKELY.items() if letters in names), None)


def _split_lines(lines: Sequence[str], delimiter: str) -> Iterable[list[str]]:
    if len(delimiter) > 1:
        return [line.split(delimiter) for line in lines]
    try:
        return [
            row for row in csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter) if row
        ]
    except csv.Error:
        return [line.split(delimiter) for line in lines]


def unnamed(path: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    """Reject a table whose header is a row of data, or whose columns have other names.

    Args:
        path: the file.
        names: the header.
        wanted: columns of users and items.

    Raises:
        DataError: the message lists the columns and the options that name them.
    """
    missing = [name for name in wanted if name not in names]
    if not missing:
        return
    options = []
    for role, name in zip(("user", "item"), wanted, strict=True):
        if name in missing:
            likely = [other for other in files.usual(names) if likely_role(other) == role]
            options.append(
                f"--data.{role}-column {quoted(likely[0]) if len(likely) == 1 else 'NAME'}"
            )
    if names and all(name.replace(".", "", 1).isdigit() for name in names):
        raise DataError(
            f"{path}: line 1: {files.listed(names)} is a row of data; add a header line with names "
            "of the columns"
        )
    raise DataError(
        f"{path}: no column {missing[0]!r}{nearest(missing[0], files.usual(names))}; columns: "
        f"{files.listed(names)}; name the right {'one' if len(options) == 1 else 'ones'} with "
        f"{' '.join(options)}"
    )
