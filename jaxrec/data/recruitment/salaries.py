"""Salaries as people write them: numbers, and plain texts such as "45,000 EUR"."""

import math
import re
from typing import Any, Literal

Salaries = Literal["error", "parse", "missing"]
SALARY_HINT = (
    'is no salary; write a number such as 45000, or choose salaries="parse" for texts such as '
    '"45,000 EUR", or "missing" to count what cannot be read as not known'
)

_MONEY = r"(?:[$€£¥]|EUR|USD|GBP|CHF|CNY|JPY|INR|SEK|DKK|NOK|PLN)"
_PLAIN = re.compile(
    rf"{_MONEY}?\s?(\d+|\d{{1,3}}(?:[, '’]\d{{3}})+)(\.\d{{1,2}})?\s?(k)?\s?{_MONEY}?"
    r"(?:\s?(?:/|per|a|an|p\.?)\s?(?:year|yr|annum|a)\.?|\s?annually|\s?yearly)?",
    re.IGNORECASE,
)
_AMBIGUOUS = re.compile(r"\d{1,3}\.\d{3}")  # 45 in English, 45,000 in German


def read_salary(value: Any, *, parse: bool) -> float | None:
    """Read the salary of a year.

    Args:
      value: a number, a text, or None.
      parse: whether texts may have a currency, thousands separators, "k" and "per year". A number
        like "45.000", a range and a salary of a month or an hour say too little, and are not read.

    Returns:
      The salary, NaN if the value is empty, and None if it cannot be read.

    Example:
      >>> [read_salary(v, parse=True) for v in (45000, "45,000 EUR", "$45k a year", "45.000")]
      [45000.0, 45000.0, 45000.0, None]
      >>> read_salary("45,000 EUR", parse=False), read_salary("", parse=False)
      (None, nan)
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and _AMBIGUOUS.fullmatch(value.strip()):
        return None
    try:
        number = float(value) if not (isinstance(value, str) and "_" in value) else math.nan
    except (ValueError, OverflowError):
        found = _PLAIN.fullmatch(str(value).strip()) if parse else None
        if not found:
            return None
        # At most a few hundred digits: more are infinite, and rejected below.
        whole = re.sub(r"\D", "", found[1])[:400]
        number = float(whole + (found[2] or "")) * (1000 if found[3] else 1)
    return number if 0 < number < math.inf else None
