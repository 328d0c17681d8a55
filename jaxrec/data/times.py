"""Times of interactions: whole or fractional numbers since 1970 in any usual unit, and dates.

Numbers are seconds, milliseconds, microseconds or nanoseconds; their size tells which. A column of
whole numbers that are all valid dates, such as 20240131, holds dates. Everything becomes whole
seconds, but interactions are ordered by the times as they were written, so events within one second
keep their order.
"""

import dataclasses
import datetime
import re
from typing import Any

import numpy as np

from jaxrec.core import DataError
from jaxrec.data.hints import time_hint

# (unit, first number that is too large for the unit before, units in a second). 10**11 seconds are
# the year 5138, and 10**11 milliseconds are March 1973.
UNITS = (
    ("seconds", 0, 1),
    ("milliseconds", 10**11, 10**3),
    ("microseconds", 10**14, 10**6),
    ("nanoseconds", 10**17, 10**9),
)
ISO = "ISO dates"
_EARLIEST = 10**8  # seconds, March 1973: smaller numbers among milliseconds may be anything
# Dates that are written as one number: their name, the first and the last one, and the units that
# follow the day. As times since 1970 they would be August 1970, 1976 (ms) and the year 2600 (ms).
_COMPACT = (
    ("YYYYMMDD", 1900_01_01, 2100_12_31, ()),
    ("YYYYMMDDhhmm", 1900_01_01_00_00, 2100_12_31_23_59, (24, 60)),
    ("YYYYMMDDhhmmss", 1900_01_01_00_00_00, 2100_12_31_23_59_59, (24, 60, 60)),
)
COMPACT_NOTE = "dates written as "
_NAMES = frozenset(
    {
        "time", "times", "timestamp", "timestamps", "timestampms", "ts", "date", "datetime",
        "unixtime", "unixreviewtime", "unixtimestamp", "reviewtime", "reviewdate", "createdat",
        "createdtime", "eventtime", "eventtimestamp", "eventdate", "ratingtime", "ratedat",
        "interactiontime", "clicktime", "purchasetime", "purchasedate", "orderdate", "epoch",
    }
)  # fmt: skip
_ISO = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?( ?(Z|UTC|[+-]\d\d:?\d\d))?)?"
)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@dataclasses.dataclass(frozen=True, eq=False)
class Times:
    """Times of n rows.

    Attributes:
        key: [n] numbers in the order of the rows' times, as precise as they were written.
        seconds: [n] int64, whole seconds since 1970, rounded down.
        unit: what was written: a unit of `UNITS`, ISO dates, or "dates written as YYYYMMDD".
    """

    key: np.ndarray
    seconds: np.ndarray
    unit: str = "seconds"

    def ranks(self) -> np.ndarray:
        """Return the place of each row in the order that breaks ties within a second, [n] int64.

        This is the row itself, unless two times within one second differ.
        """
        rows = np.arange(len(self.key), dtype=np.int64)
        if self.key is self.seconds:
            return rows
        order = np.argsort(self.key, kind="stable")
        same_second = np.diff(self.seconds[order]) == 0
        if not (same_second & (np.diff(self.key[order]) != 0)).any():
            return rows
        ranks = np.empty_like(rows)
        ranks[order] = rows
        return ranks


def is_time_name(name: str) -> bool:
    """Return whether a column of this name holds times, such as "timestamp" or "Created At".

    Example:
        >>> is_time_name("unixReviewTime"), is_time_name("created_at"), is_time_name("runtime")
        (True, True, False)
    """
    return re.sub(r"[^a-z]", "", name.lower()) in _NAMES


def to_times(values: Any, what: str, name: object, *, any_unit: bool = True) -> Times:
    """Convert a column of times; the size of the numbers tells their unit.

    Args:
        values: [n] numbers, datetime64, or strings that are all numbers or all ISO dates. Whole
            numbers may be dates, such as 20240131 or 20240131081500.
        what: the column, for messages.
        name: the data set or file, for messages.
        any_unit: whether large numbers are milliseconds and so on; False reads all as seconds.

    Raises:
        DataError: a value is no time, or units are mixed.

    Example:
        >>> times = to_times([1700000000999, 1700000000001], "time", "clicks")
        >>> times.unit, times.seconds.tolist(), np.argsort(times.key).tolist()
        ('milliseconds', [1700000000, 1700000000], [1, 0])
    """
    array = np.asarray(values)
    if array.ndim != 1:
        raise DataError(f"{name}: column {what!r} has shape {array.shape}, expected one axis")
    if array.dtype.kind in "OUS":
        array = _parsed(array.tolist(), what, name)
    if array.dtype.kind == "M":
        if np.isnat(array).any():
            row = int(np.flatnonzero(np.isnat(array))[0])
            raise DataError(f"{name}: {what} is missing in row {row}; give every row a time")
        key = array.astype("datetime64[ns]").astype(np.int64)
        return Times(key, array.astype("datetime64[s]").astype(np.int64), ISO)
    if array.dtype.kind not in "iufb":
        raise DataError(f"{name}: column {what!r} is {array.dtype}; expected numbers or ISO dates")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array))[0])
        raise DataError(f"{name}: {what} {array[row]} in row {row} is not a number of seconds")
    if len(array) and (float(array.max()) >= 2.0**63 or float(array.min()) < -(2.0**63)):
        row = int(np.argmax(np.abs(array.astype(np.float64))))
        raise DataError(f"{name}: {what} {array[row]} in row {row} is beyond 64 bits; correct it")
    if array.dtype.kind != "f":
        array = array.astype(np.int64)
    if not any_unit:
        return Times(array, np.floor(array).astype(np.int64))
    return _by_size(array, what, name)


def parse_iso(text: str) -> np.datetime64:
    """Return an ISO date, with or without time and zone, in nanoseconds of UTC.

    Raises:
        ValueError: the text is no ISO date, or beyond the years that nanoseconds can tell.

    Example:
        >>> parse_iso("2020-01-01 00:00:01.5+01:00")
        np.datetime64('2019-12-31T23:00:01.500000000')
    """
    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no ISO date")
    plain, _, fraction = text.replace(",", ".").partition(".")
    digits, zone = re.fullmatch(r"(\d*)(.*)", fraction).groups() if fraction else ("", "")  # type: ignore[union-attr]
    whole = f"{plain}{zone}".replace("UTC", "Z").replace(" Z", "Z").replace(" +", "+")
    moment = datetime.datetime.fromisoformat(whole)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    since = moment - _EPOCH
    nanoseconds = (since.days * 86400 + since.seconds) * 10**9 + int(digits.ljust(9, "0") or 0)
    if not -(2**63) < nanoseconds < 2**63:
        raise ValueError(f"{text!r} is not between the years 1678 and 2262")
    return np.datetime64(nanoseconds, "ns")


def parse_time(text: str) -> int | float | np.datetime64:
    """Return a time that was written as a number, exactly if it is whole, or as an ISO date.

    Raises:
        ValueError, OverflowError: the text is neither.

    Example:
        >>> parse_time("881250949"), parse_time("8e0")
        (881250949, 8)
    """
    if "_" in text or not text.isascii():
        raise ValueError(f"{text!r} is not a number")
    try:
        number: int | float = int(text)
    except ValueError:
        try:
            number = float(text)
        except ValueError:
            return parse_iso(text.strip())
        if not np.isfinite(number):
            raise ValueError(f"{text!r} is not finite") from None
        if number.is_integer():
            number = int(number)
    if not -(2**63) <= number < 2**63:
        raise OverflowError(f"{text!r} is beyond 64 bits")
    return number


def _parsed(values: list[Any], what: str, name: object) -> np.ndarray:
    """Convert strings and mixed objects to int64, float64 or datetime64."""
    parsed: list[Any] = []
    for row, value in enumerate(values):
        try:
            if isinstance(value, datetime.datetime | datetime.date | np.datetime64):
                parsed.append(parse_iso(str(value)))
            else:
                parsed.append(parse_time(str(value)))
        except (ValueError, OverflowError) as error:
            fault = (
                f"{repr(value)[:60]} in row {row} is neither a number of 64 bits nor an ISO date"
            )
            raise DataError(
                f"{name}: column {what!r} is not numeric: {fault} such as 2024-01-31T08:15:00Z"
                f"{time_hint(str(value)) if isinstance(value, str) else ''}; correct it"
            ) from error
    return stack(parsed, what, name)


def stack(parsed: list[Any], what: str, name: object) -> np.ndarray:
    """Join values of `parse_time` to one array [n] of int64, float64 or datetime64.

    Raises:
        DataError: some are numbers and others are dates.
    """
    dates = sum(isinstance(value, np.datetime64) for value in parsed)
    if dates and dates < len(parsed):
        raise DataError(
            f"{name}: column {what!r} mixes {dates:,} ISO dates with {len(parsed) - dates:,} "
            "numbers; write all times in one way"
        )
    if dates:
        return np.array(parsed, dtype="datetime64[ns]")
    whole = all(isinstance(value, int) for value in parsed)
    return np.array(parsed, dtype=np.int64 if whole else np.float64)


def _by_size(array: np.ndarray, what: str, name: object) -> Times:
    """Find the unit of numbers and convert them to seconds."""
    if len(array) == 0:
        return Times(array, array.astype(np.int64))
    if compact := _compact_dates(array):
        return compact
    size = np.maximum(array, -np.maximum(array, -(2**63) + 1))  # |array|, also of -2**63
    largest = size.max()
    unit, first, scale = next(row for row in reversed(UNITS) if largest >= row[1])
    smaller = (size >= _EARLIEST) & (size < first)
    if scale > 1 and smaller.any():
        row = int(np.flatnonzero(smaller)[0])
        raise DataError(
            f"{name}: column {what!r} mixes units: {array[row]} in row {row}, but {largest} are "
            f"{unit}; write all times in one unit"
        )
    seconds = np.floor_divide(array, scale).astype(np.int64)
    return Times(seconds if array.dtype == np.int64 and scale == 1 else array, seconds, unit)


def _compact_dates(array: np.ndarray) -> Times | None:
    """Return the times of numbers that are all valid dates, such as 20240131, or None.

    Example:
        >>> times = _compact_dates(np.array([20240131081500, 20231231235959]))
        >>> times.unit, times.seconds.tolist()
        ('dates written as YYYYMMDDhhmmss', [1706688900, 1704067199])
    """
    if array.dtype.kind == "f":
        if not (np.abs(array) < 2**53).all() or (array != np.floor(array)).any():
            return None
        array = array.astype(np.int64)
    for name, low, high, units in _COMPACT:
        if array.min() < low or array.max() > high:
            continue
        rest, clock, valid = array, np.zeros(len(array), np.int64), True
        scale = 60 ** (3 - len(units))  # seconds in the last unit
        for unit in reversed(units):
            rest, value = np.divmod(rest, 100)
            valid &= bool((value < unit).all())
            clock += value * scale
            scale *= 60
        month = (rest // 10_000 - 1970) * 12 + rest // 100 % 100 - 1
        months = month.astype("datetime64[M]")
        days = months.astype("datetime64[D]") + (rest % 100 - 1)
        real = (rest // 100 % 100 >= 1) & (rest // 100 % 100 <= 12)
        real &= (rest % 100 >= 1) & (days.astype("datetime64[M]") == months)
        if valid and real.all():
            seconds = days.astype("datetime64[s]").astype(np.int64) + clock
            return Times(seconds, seconds, COMPACT_NOTE + name)
    return None
