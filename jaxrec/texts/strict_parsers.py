"""Strict parsers of short answers: a rating, a letter, an ordering of letters.

An answer is legal or it is not: nothing is guessed, and nothing is repaired. White space around an
answer and a full stop after it do not matter. A lead, such as "The answer is", may be repeated.
"""

import re
import string
from collections.abc import Sequence

from jaxrec.eval import parse_ratings

LETTERS = string.ascii_uppercase
# Between the letters of an ordering: nothing, white space, a comma, ">" or a hyphen.
_BETWEEN = re.compile(r"\s*[,>-]?\s*")
_LETTER = re.compile(r"\(([A-Z])\)|([A-Z])")


def without_lead(text: str, lead: str) -> str:
    """Remove white space, one full stop at the end, and a lead at the beginning.

    Args:
      text: an answer.
      lead: what the answer may begin with, in any case, with or without a colon; "" for nothing.

    Example:
      >>> without_lead(" The answer is: B. ", "the answer is")
      'B'
    """
    text = text.strip()
    if lead and text.lower().startswith(lead.lower()):
        text = text[len(lead) :].lstrip()
        text = text.removeprefix(":")
    return text.strip().removesuffix(".").rstrip()


def read_rating(text: str, low: float = 1.0, high: float = 5.0, *, lead: str = "") -> float | None:
    """Read a rating: a number alone, or followed by "stars".

    Args:
      text: an answer.
      low: lowest rating of the scale.
      high: highest rating of the scale.
      lead: see `without_lead`.

    Returns:
      The rating as it is written; None for anything else and for a number outside the scale.

    Example:
      >>> read_rating(" 3.5"), read_rating("35"), read_rating("4 stars."), read_rating("4 or 5")
      (3.5, None, 4.0, None)
    """
    values, parsed = parse_ratings([without_lead(text, lead)], float("nan"), low, high)
    return float(values[0]) if parsed[0] else None


def read_choice(text: str, count: int, *, lead: str = "") -> int | None:
    """Read one of so many letters, with or without brackets: "B" or "(B)".

    Args:
      text: an answer.
      count: number of letters to choose from.
      lead: see `without_lead`.

    Returns:
      The number of the letter, from 0; None for anything else.

    Example:
      >>> read_choice(" (B)", 2), read_choice("B.", 2), read_choice("C", 2), read_choice("A B", 2)
      (1, 1, None, None)
    """
    match = _LETTER.fullmatch(without_lead(text, lead))
    if match is None:
        return None
    number = LETTERS.index(match[1] or match[2])
    return number if number < count else None


def read_order(text: str, count: int, *, lead: str = "") -> tuple[int, ...] | None:
    """Read an ordering of the first letters, best first; each must stand in it once.

    Args:
      text: an answer.
      count: number of letters to order.
      lead: see `without_lead`.

    Returns:
      Numbers of the letters, from 0, in the order of the answer; None for anything else.

    Example:
      >>> read_order("B, A, C", 3), read_order("(C)(A)(B)", 3)
      ((1, 0, 2), (2, 0, 1))
      >>> read_order("A A E E C", 5), read_order("A B", 3), read_order("A B C D", 3)
      (None, None, None)
    """
    text = without_lead(text, lead)
    places: list[int] = []
    at = 0
    while at < len(text):
        match = _LETTER.match(text, at)
        if match is None:
            return None
        places.append(LETTERS.index(match[1] or match[2]))
        at = match.end()
        if at < len(text):
            between = _BETWEEN.match(text, at)
            assert between is not None
            at = between.end()
            if at == len(text):
                # A separator after the last letter: the ordering was cut short.
                return None
    return tuple(places) if sorted(places) == list(range(count)) else None


def order_scores(order: Sequence[int] | None, count: int) -> list[float]:
    """Turn an ordering into scores: the first gets the highest; None gives equal scores to all.

    Example:
      >>> order_scores((2, 0, 1), 3), order_scores(None, 3)
      ([2.0, 1.0, 3.0], [0.0, 0.0, 0.0])
    """
    scores = [0.0] * count
    for place, item in enumerate(order or ()):
        scores[item] = float(count - place)
    return scores
