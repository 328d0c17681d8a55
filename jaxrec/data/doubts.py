"""What a reader accepts but a user may not have meant: odd times, and IDs that are hardly IDs.

Each doubt is one sentence with an example and the fix. It becomes a note of the `Interactions`, so
that `jaxrec data check` and training both show it.
"""

import datetime
from collections.abc import Sequence

import numpy as np

from jaxrec.data.columns import clean_id
from jaxrec.data.interactions import UNIT_NOTE, Interactions
from jaxrec.data.times import COMPACT_NOTE, ISO

_EARLIEST = 631_152_000  # 1990-01-01
_FEW = 0.1  # largest share of times that are called far from the others
_MANY_ROWS = 100  # so many times within a minute are hardly times
# What numbers that were read as seconds may be instead, by their smallest and largest value.
_NOT_SECONDS = (
    (1900, 2100, "years"),
    (20_000, 80_000, "the day numbers of a spreadsheet"),
    (1_900_001, 2_100_366, "dates written as YYYYDDD"),
)
# Words that are refused as IDs stand in `files.MISSING`; these may be IDs.
_MISSING = frozenset({
    "na", "none", "null", "nil", "nan", "unknown", "undefined", "missing", "(null)", "(none)",
    "(blank)", "-", "--", "?", ".",
})  # fmt: skip
_TOTALS = frozenset({
    "total", "totals", "grand total", "subtotal", "sum", "average", "count", "summe", "gesamt",
    "gesamtsumme", "zwischensumme", "gesamtergebnis", "somme", "totale", "suma",
})  # fmt: skip


def doubts(interactions: Interactions) -> tuple[str, ...]:
    """Return what a user should check in interactions, one sentence each.

    Example:
        >>> data = Interactions.from_columns(user=["u", "Total"], item=["a", "b"])
        >>> doubts(data)
        ("user ID 'Total' (1 row) may be a line of totals; remove it if it is",)
    """
    data = interactions
    users = np.bincount(data.user, minlength=data.num_users)
    items = np.bincount(data.item, minlength=data.num_items)
    return (
        *_time_doubts(data),
        *_id_doubts(data.user_ids.tolist(), users, "user"),
        *_id_doubts(data.items.ids.tolist(), items, "item"),
    )


def _time_doubts(data: Interactions) -> list[str]:
    time, rows = data.time, len(data)
    if data.time_unit != "s" or not rows:
        return []
    year = datetime.datetime.now(tz=datetime.UTC).year
    strange = (time < _EARLIEST) | (time >= _seconds(f"{year + 2}-01-01"))
    count = int(strange.sum())
    found = []
    if 0 < count <= _FEW * rows:
        values, counts = np.unique(time[strange], return_counts=True)
        value = values[counts.argmax()]
        found.append(
            f"{count:,} of {rows:,} times are far from the others, such as {value} "
            f"({_day(value)}); 0 and -1 often stand for a missing time: correct or remove these "
            "rows"
        )
    elif count:
        first, last = time.min(), time.max()
        found.append(f"times run from {_day(first)} to {_day(last)}; {_reading(data)}")
    good = time[~strange]
    if len(good) >= _MANY_ROWS and (span := int(good.max() - good.min())) < 60:
        found.append(
            f"{len(good):,} times lie within {span} seconds of {_day(good[0])}; check that the "
            "column holds times in full precision"
        )
    return found


def _reading(data: Interactions) -> str:
    """Return what to do about times before 1990 or in the future."""
    units = [note.removeprefix(UNIT_NOTE) for note in data.notes if note.startswith(UNIT_NOTE)]
    unit = units[0] if units else "seconds"
    if unit == ISO or unit.startswith(COMPACT_NOTE):
        return "check that these dates are right"
    low, high = int(data.time.min()), int(data.time.max())
    guess = next((what for first, last, what in _NOT_SECONDS if first <= low and high <= last), "")
    if unit == "seconds" and guess:
        return (
            f"numbers such as {low} are read as seconds since 1970, but they may be {guess}; write "
            "dates such as 2024-01-31"
        )
    return (
        f"the numbers are read as {unit} since 1970; if they are something else, write dates such "
        "as 2024-01-31 (numbers that only tell the order are fine)"
    )


def _seconds(day: str) -> int:
    return int(np.datetime64(day, "s").astype(np.int64))


def _day(seconds: np.integer) -> str:
    return str(np.datetime64(int(seconds), "s").astype("datetime64[D]"))


def _id_doubts(ids: Sequence[str], rows: np.ndarray, what: str) -> list[str]:
    """Return doubts about the distinct IDs of users or items; `rows` counts the rows of each."""
    found = []
    written = [key for key in ids if key[:1] in ("=", "'") and clean_id(key) != key]
    if written:
        found.append(
            f"{_count(written, what)} written with the quotes of a spreadsheet, such as "
            f"{written[0]!r}; write {clean_id(written[0])!r}"
        )
    blanks = [key for key in ids if clean_id(key, unquote=False) != key]
    if blanks:
        found.append(
            f"{_count(blanks, what)} written with blanks, invisible or decomposed characters, such "
            f"as {blanks[0]!a}; write {clean_id(blanks[0])!r} if they must match other files"
        )
    for key, count in zip(ids, rows.tolist(), strict=True):
        word = key.strip().lower()
        if word in _MISSING or word in _TOTALS:
            meant = "a line of totals" if word in _TOTALS else "a missing value"
            verb = "be" if word in _TOTALS else "stand for"
            these = f"({count:,} row{'s' if count > 1 else ''})"
            remedy = "remove it if it is" if word in _TOTALS else "remove these rows if it does"
            found.append(f"{what} ID {key!r} {these} may {verb} {meant}; {remedy}")
    folded: dict[str, str] = {}
    pairs = [(folded.setdefault(key.casefold(), key), key) for key in ids]
    same = [(first, key) for first, key in pairs if first != key]
    if same:
        found.append(
            f"{_count(same, what)} equal to another one but for letter case, such as "
            f"{same[0][0]!r} and {same[0][1]!r}; write both in one way if they are the same {what}"
        )
    return found


def _count(found: Sequence[object], what: str) -> str:
    return f"{len(found):,} {what} ID{'s are' if len(found) > 1 else ' is'}"
