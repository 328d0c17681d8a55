"""Raw columns become numbers: IDs, ratings and orders, and the match of IDs with a table of texts.

What would silently mean something else is rejected: a NaN as an ID, two spellings of one number, a
rating beyond float32, a table of texts that belongs to other items.
"""

import collections
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxrec.core import DataError
from jaxrec.data.times import Times

LEAST_MATCH = 0.1  # share of IDs that must have a row in their table
_FEW = 3  # IDs shown in a message
_NUMBER = re.compile(r"(\d+)(\.0+)?")
_ROUNDED = re.compile(r"[+-]?\d(\.\d+)?[eE]\+\d+")  # 1.23E+12, as spreadsheets show long numbers
_QUOTED = re.compile(r"""="(.+)"|'(.+)'|'(\d+)""", re.DOTALL)  # ="0001", '0001' and '0001
# Blanks of other widths become a space; characters without a width are removed.
_UNSEEN: dict[int, str | None] = dict.fromkeys(map(ord, "\u00a0\u1680\u202f\u205f\u3000"), " ")
_UNSEEN |= dict.fromkeys(range(0x2000, 0x200B), " ")
_UNSEEN |= dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"))


def natural_order(ids: Iterable[str]) -> list[str]:
    """Sort IDs as numbers if all of them are numbers ("2" before "10"), else as text."""
    ids = list(ids)
    if all(key.isascii() and key.isdigit() for key in ids):
        return sorted(ids, key=lambda key: (len(key.lstrip("0")), key.lstrip("0"), key))
    return sorted(ids)


def number_ids(raw: Any, what: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct IDs in natural order, and the number of each row's ID, int32.

    Raises:
        DataError: the column has two axes, or an ID is empty, NaN, or has a NUL in it.
    """
    values = raw if isinstance(raw, list | tuple) else np.asarray(raw)
    if isinstance(values, list | tuple):
        # NumPy's strings would drop a NUL at the end, and turn NaN among strings into "nan".
        values = np.asarray(values, dtype=object if _has_text(values) else None)
    if values.ndim != 1:
        raise DataError(f"{name}: column {what!r} has shape {values.shape}, expected one axis")
    if values.dtype.kind in "iu" and (len(values) == 0 or values.min() >= 0):
        unique, index = np.unique(values, return_inverse=True)
        return unique.astype(str), index.astype(np.int32)
    raw_keys = values.tolist()
    keys = [str(key) for key in raw_keys]
    distinct = natural_order(dict.fromkeys(keys))
    if "" in distinct:
        raise DataError(f"{name}: empty {what} ID in row {keys.index('')}; give every row an ID")
    for row, key in enumerate(raw_keys):
        # pandas has a missing value of its own, which is written <NA>.
        missing = key is None or (not isinstance(key, str) and keys[row] in ("<NA>", "NaT"))
        if missing or (isinstance(key, float) and not math.isfinite(key)):
            raise DataError(f"{name}: {what} ID in row {row} is {key}; give every row an ID")
    for key in distinct:
        if "\0" in key:
            raise DataError(f"{name}: {what} ID {key!r} has a NUL in it; remove it")
    number = {key: i for i, key in enumerate(distinct)}
    index = np.fromiter((number[key] for key in keys), np.int32, len(keys))
    return np.array(distinct, dtype=str), index


def _has_text(values: Sequence[Any]) -> bool:
    return any(isinstance(value, str) or value is None for value in values)


def as_order(raw: Any, name: str) -> Times:
    """Return positions in an order as `Times` whose unit is "order"."""
    values = np.asarray(raw)
    if values.dtype.kind not in "iu" or values.ndim != 1:
        raise DataError(
            f"{name}: positions in the order are {values.dtype}; expected whole numbers"
        )
    values = values.astype(np.int64)
    return Times(values, values)


def cast_ratings(raw: Any, name: str) -> np.ndarray:
    """Return ratings as float32 [n]; nan stands for none.

    Raises:
        DataError: a rating is not a number, or beyond float32.
    """
    try:
        wide = np.asarray(raw).astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{name}: column 'rating' is not numeric ({error})") from error
    with np.errstate(over="ignore"):
        ratings = wide.astype(np.float32)
    wrong = np.isinf(ratings) & np.isfinite(wide)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{name}: rating {wide.flat[row]} in row {row} is beyond float32 (3.4e38); correct it"
        )
    return ratings


def check_no_header(table: Mapping[str, np.ndarray], name: object) -> None:
    """Reject rows that repeat the header, as where files were joined.

    Raises:
        DataError: the message counts them and names the first, counted from 1 below the header.

    Example:
        >>> check_no_header({"user": np.array(["user"]), "item": np.array(["item"])}, "log.csv")
        Traceback (most recent call last):
        jaxrec.core.errors.DataError: log.csv: row 1 repeats the header, as where files were \
joined; remove such rows
    """
    same = np.ones(len(next(iter(table.values()))), bool)
    for column, values in table.items():
        same &= values == column if values.dtype.kind in "UO" else False
    if len(table) > 1 and same.any():
        count, first = int(same.sum()), int(np.argmax(same)) + 1
        rows = (
            f"row {first} repeats" if count == 1 else f"{count:,} rows, first row {first}, repeat"
        )
        raise DataError(f"{name}: {rows} the header, as where files were joined; remove such rows")


def clean_id(key: str, *, unquote: bool = True) -> str:
    """Return an ID without what cannot be seen in it, and without the quotes of a spreadsheet.

    Blanks around it go, a no-break space becomes a space, characters without width are removed, and
    letters with accents are composed (NFC).

    Args:
        key: the ID.
        unquote: whether the quotes go in which spreadsheets keep leading zeros.

    Example:
        >>> clean_id("B01\N{NO-BREAK SPACE}"), clean_id("B\N{ZERO WIDTH SPACE}01"), clean_id("'007")
        ('B01', 'B01', '007')
    """
    if not key.isascii():
        key = unicodedata.normalize("NFC", key).translate(_UNSEEN)
    key = key.strip("\0 \t\n\r\v\f")
    match = _QUOTED.fullmatch(key) if unquote and key[:1] in ("=", "'") else None
    return (match[1] or match[2] or match[3]) if match else key


def canonical(key: str) -> str:
    """Return the one spelling of an ID's variants: "1" for "1", "01", "1.0" and " 1".

    Example:
        >>> canonical("01"), canonical("1.0"), canonical("B01 ")
        ('1', '1', 'B01')
    """
    key = clean_id(key)
    match = _NUMBER.fullmatch(key) if key.isascii() else None
    return (match[1].lstrip("0") or "0") if match else key


def check_spellings(ids: Sequence[str], what: str, name: str) -> None:
    """Reject IDs that only differ in how one ID is written, and those that nobody can see.

    Such are numbers ("1" and "1.0", "01" and "1"), blanks, characters without width, forms of
    Unicode, and the quotes of a spreadsheet.

    Raises:
        DataError: the message shows two of them, and counts them all.
    """
    seen: dict[str, str] = {}
    twice: list[tuple[str, str]] = []
    for key in ids:
        spelling = canonical(key)
        if not spelling:
            raise DataError(
                f"{name}: {what} ID {key!a} has only characters that cannot be seen; give "
                f"every {what} an ID"
            )
        if _ROUNDED.fullmatch(spelling):
            raise DataError(
                f"{name}: {what} ID {key!r} is a number that a program has rounded, so it may "
                "stand for several; write the column of IDs as text"
            )
        first = seen.setdefault(spelling, key)
        if first != key:
            twice.append((first, key))
    if twice:
        first, key = twice[0]
        show = repr if first.isascii() and key.isascii() else ascii
        more = f" ({len(twice):,} such pairs)" if len(twice) > 1 else ""
        raise DataError(
            f"{name}: {what} IDs {show(first)} and {show(key)} may be the same {what}{more}; write "
            "every ID in one way"
        )


def check_matches(ids: Sequence[str], keys: Sequence[str], what: str, name: str) -> int:
    """Reject a table of texts that belongs to other IDs, or has an ID twice.

    Args:
        ids: distinct IDs of the data.
        keys: IDs of the table's rows.
        what: "item" or "user".
        name: the data set, for messages.

    Returns:
        The number of IDs without a row.

    Raises:
        DataError: an ID has two rows, or fewer than a tenth of the IDs have a row.

    Example:
        >>> check_matches(["1.0", "2.0"], ["1", "2"], "item", "clicks")
        Traceback (most recent call last):
        jaxrec.core.errors.DataError: clicks: 0 of 2 items have a row in the item table: the data \
write '1.0' where the table writes '1'; write every ID in one way
    """
    known = set(keys)
    if len(known) < len(keys):
        twice = next(key for key, count in collections.Counter(keys).items() if count > 1)
        raise DataError(
            f"{name}: {what} {twice!r} has two rows in the {what} table; keep one of them"
        )
    found = sum(key in known for key in ids)
    if not ids or (found and found >= LEAST_MATCH * len(ids)):
        return len(ids) - found
    same = {canonical(key): key for key in keys}
    start = f"{name}: {found} of {len(ids)} {what}s have a row in the {what} table"
    for key in ids:
        other = same.get(canonical(key))
        if key not in known and other is not None:
            raise DataError(
                f"{start}: the data write {key!r} where the table writes {other!r}; write every ID "
                "in one way"
            )
    raise DataError(
        f"{start}: the data have {_few(ids)}, the table has {_few(keys)}; give the table of these "
        f"{what}s, and its column of IDs"
    )


def _few(keys: Sequence[str]) -> str:
    more = ", ..." if len(keys) > _FEW else ""
    return (", ".join(repr(key)[:40] for key in keys[:_FEW]) + more) or "no rows"
