"""Dates in any wording: read by a format of Python's `strptime`, and a guess of the format."""

import datetime
import re
from collections.abc import Sequence

import numpy as np

from jaxrec.core import ConfigError, DataError, quoted

_NUMBERS = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d\d)\b(.*)", re.DOTALL)
_DAYS = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%B %d, %Y", "%b %d, %Y", "%B %d %Y", "%b %d %Y",
    "%d %B %Y", "%d %b %Y", "%d. %B %Y", "%d-%b-%Y", "%d-%b-%y", "%m %d, %Y", "%a, %d %b %Y",
    "%A, %B %d, %Y", "%a %b %d %Y",
)  # fmt: skip
_CLOCKS = (
    "", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", "T%H:%M", "T%H:%M:%S", ", %H:%M", ", %H:%M:%S",
    " %I:%M %p", " %I:%M:%S %p", ", %I:%M %p", ", %I:%M:%S %p", " %H:%M:%S %z",
)  # fmt: skip
_WHOLE = ("%a %b %d %H:%M:%S %Y",)  # as C's ctime writes it


def check_format(pattern: str) -> None:
    """Reject a format that does not say the day of a date.

    Raises:
      ConfigError: the format lacks the year, the month or the day, or `strptime` does not know it.

    Example:
      >>> check_format("%d.%m.%Y %H:%M")
      >>> check_format("%d.%m.")
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: data.time_format '%d.%m.' does not say year, month and day; \
give a format of Python's strptime such as '%d.%m.%Y' or '%B %d, %Y %H:%M'
    """
    try:
        days = [datetime.datetime(2003, 11, 27), datetime.datetime(2014, 2, 8)]
        told = [datetime.datetime.strptime(day.strftime(pattern), pattern) for day in days]
        known = [day.date() for day in told] == [day.date() for day in days]
    except ValueError:
        known = False
    if not known:
        raise ConfigError(
            f"data.time_format {pattern!r} does not say year, month and day; give a format of "
            "Python's strptime such as '%d.%m.%Y' or '%B %d, %Y %H:%M'"
        )


def parse_dates(values: Sequence[str], pattern: str, what: str, name: object) -> np.ndarray:
    """Read a column of dates by one format.

    Args:
      values: n texts.
      pattern: format of `strptime`; dates without a zone are UTC.
      what: the column, for messages.
      name: the data set or file, for messages.

    Returns:
      [n] datetime64 in microseconds of UTC.

    Raises:
      DataError: a text has another form; the message names its row, counted from 1.

    Example:
      >>> parse_dates(["31.12.2023", "1.1.2024"], "%d.%m.%Y", "when", "orders")
      array(['2023-12-31T00:00:00.000000', '2024-01-01T00:00:00.000000'],
            dtype='datetime64[us]')
    """
    known: dict[str, np.datetime64] = {}  # dates repeat, and `strptime` is slow
    for row, value in enumerate(values):
        if value in known:
            continue
        try:
            moment = datetime.datetime.strptime(value.strip(), pattern)
            if moment.tzinfo is not None:
                moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
        except (ValueError, OverflowError) as error:
            raise DataError(
                f"{name}: column {what!r} has {value[:60]!r} in row {row + 1}, which is not in the "
                f"form of --data.time-format {quoted(pattern)}{format_hint(value)}; correct it, or "
                "give the format of all rows"
            ) from error
        known[value] = np.datetime64(moment, "us")
    return np.array([known[value] for value in values], dtype="datetime64[us]")


def guess_formats(value: str) -> list[str]:
    """Return the formats that a date may have: none, one, or day first and month first.

    Example:
      >>> guess_formats("August 09, 2024 01:33"), guess_formats("31/12/23")
      (['%B %d, %Y %H:%M'], ['%d/%m/%y'])
      >>> guess_formats("1.2.2024"), guess_formats("soon")
      (['%d.%m.%Y', '%m.%d.%Y'], [])
    """
    value = value.strip()
    numbers = _NUMBERS.fullmatch(value)
    if numbers:
        first, mark, second, year, _ = numbers.groups()
        last = "%Y" if len(year) == 4 else "%y"
        orders = [("%d", "%m"), ("%m", "%d")]
        if int(first) > 12:
            orders = orders[:1]
        elif int(second) > 12:
            orders = orders[1:]
        days = [mark.join((*order, last)) for order in orders]
    else:
        days = list(_DAYS)
    patterns = [day + clock for clock in _CLOCKS for day in days]
    if not numbers:
        patterns += _WHOLE
    found = [pattern for pattern in patterns if _fits(value, pattern)]
    return found if numbers else found[:1]


def format_hint(value: str) -> str:
    """Return the option that reads a date, as a part of a message; "" for other texts.

    Example:
      >>> format_hint("31/01/2024")
      ' (read such dates with --data.time-format %d/%m/%Y)'
    """
    found = [quoted(pattern) for pattern in guess_formats(value)]
    return f" (read such dates with --data.time-format {' or '.join(found)})" if found else ""


def _fits(value: str, pattern: str) -> bool:
    try:
        datetime.datetime.strptime(value, pattern)
    except (ValueError, OverflowError):
        return False
    return True
