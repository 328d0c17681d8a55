"""Titles as people and models write them: one form for all spellings of the same title.

Catalogues write "Shawshank Redemption, The (1994)", and a model answers "The Shawshank Redemption".
Both have one `plain_title`. Everything that compares titles goes through it.
"""

import re
import unicodedata
from typing import NamedTuple

from jaxrec.eval.answers import normalize_answer

_YEAR = re.compile(r"\s*\(\s*(\d{4})\s*\)\s*$")
# Articles that catalogues put behind a title, before a bracket or the end: "Haine, La (1995)".
_BEHIND = re.compile(
    r"^(?P<title>.+),\s*(?P<article>the|an?|les?|la|l'|un|une|el|los|las|il|der|die|das)"
    r"(?P<rest>\s*(?:\(.*)?)$",
    re.IGNORECASE,
)
_BRACKETS = re.compile(r"\s*\([^()]*\)\s*$")


class DatedTitle(NamedTuple):
    """A title without its year, and the year; None where it has none."""

    title: str
    year: int | None


def split_year(title: str) -> DatedTitle:
    """Split a year in brackets off the end of a title.

    Example:
      >>> split_year("Alien (1979)")
      DatedTitle(title='Alien', year=1979)
      >>> split_year("2001: A Space Odyssey").year is None
      True
    """
    match = _YEAR.search(title)
    if match is None:
        return DatedTitle(title.strip(), None)
    return DatedTitle(title[: match.start()].strip(), int(match[1]))


def natural_title(title: str) -> str:
    """Move an article from behind a title to its front, as people write it.

    Example:
      >>> natural_title("Shawshank Redemption, The (1994)")
      'The Shawshank Redemption (1994)'
      >>> natural_title("Haine, La")
      'La Haine'
    """
    match = _BEHIND.match(title.strip())
    if match is None:
        return title.strip()
    article = match["article"]
    space = "" if article.endswith("'") else " "
    return f"{article}{space}{match['title']}{match['rest']}"


def plain_title(title: str) -> str:
    """Reduce a title to what all spellings of it share.

    Case, accents, punctuation, extra spaces, English articles, where an article stands, and a year
    in brackets at the end do not count; "&" is "and". See `normalize_answer`. A title of which that
    leaves nothing, such as "The The", keeps its words.

    Example:
      >>> plain_title("Shawshank Redemption, The (1994)") == plain_title("The Shawshank Redemption")
      True
      >>> plain_title("Les Misérables") == plain_title("Misérables, Les (1995)")
      True
    """
    text = natural_title(split_year(title).title).replace("&", " and ")
    # Accents are marks of their own in this form, and are dropped.
    signs = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(
        sign
        for sign in signs
        if not unicodedata.combining(sign) and not unicodedata.category(sign).startswith("P")
    )
    return normalize_answer(bare) or " ".join(bare.split()) or " ".join(title.split())


def without_brackets(title: str) -> str:
    """Drop a year and a remark in brackets from the end of a title.

    Example:
      >>> without_brackets("City of Lost Children, The (Cité des enfants perdus, La) (1995)")
      'City of Lost Children, The'
    """
    shorter = _BRACKETS.sub("", split_year(title).title).strip()
    return shorter or title.strip()
