"""What a resume or a job description says: its skills, years of work and salary, by plain rules.

Skills are found by a list of names, word by word. A sentence that denies something, such as "not
familiar with welding", names no skill. Years are a number before the word "years", except of an
age, and a salary is the first number with a separator of thousands.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Sequence

from jaxrec.core import DataError
from jaxrec.data import Lexicon, Matcher, normalize_word, word_places

_NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen", "twenty",
)  # fmt: skip
_YEARS = re.compile(
    rf"\b(less than (?:a|1)|\d{{1,3}}|{'|'.join(_NUMBERS)}) years?\b(?! old)", re.IGNORECASE
)
_SALARY = re.compile(r"\d{1,3}(?:[, ]\d{3})+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_DENIALS = frozenset(("not", "no", "nobody", "never", "without", "another", "new"))


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a text says.

    Attributes:
      skills: places in the list of skills, in the order of the text.
      years: of work; NaN if the text names none.
      salary: logarithm of the salary of a year; NaN if the text names none.
    """

    skills: tuple[int, ...]
    years: float
    salary: float


class FactReader:
    """Reads texts by a list of skills.

    Args:
      skills: names; of two that are equal but for their form, the first one counts.

    Raises:
      DataError: no skills.

    Example:
      >>> reader = FactReader(["welding", "fine welding", "C++"])
      >>> facts = reader.read("Aged 30; seven years of work. Fine welding! Not familiar with C++.")
      >>> facts.skills, facts.years, facts.salary
      ((1,), 7.0, nan)
      >>> round(math.exp(reader.read("Salary: 40,000").salary))
      40000
    """

    def __init__(self, skills: Sequence[str]) -> None:
        if not skills:
            raise DataError("a reader of facts needs skills, and the jobs name none")
        self.skills = tuple(skills)
        self._place: dict[tuple[str, ...], int] = {}
        for place, name in enumerate(skills):
            self._place.setdefault(_words(name), place)

    @functools.cached_property
    def _matcher(self) -> Matcher:
        return Matcher.of([Lexicon.of("skill", self.skills)], partial=0)

    def read(self, text: str) -> Facts:
        """Read one text."""
        found: dict[int, None] = {}
        for sentence in _SENTENCE_END.split(text):
            words = [sentence[a:b] for a, b in word_places(sentence)]
            if not _DENIALS.isdisjoint(word.casefold() for word in words):
                continue
            for span in self._matcher.label(words).spans:
                found[self._place[tuple(map(normalize_word, words[span.start : span.end]))]] = None
        return Facts(tuple(found), named_years(text), named_salary(text))


def fact_text(facts: Facts, skills: Sequence[str]) -> str:
    """Write facts as a short resume that a `FactReader` reads as the same facts.

    Args:
      facts: of a resume.
      skills: names of all skills.

    Example:
      >>> print(fact_text(Facts((1, 0), 7.0, math.log(30_000)), ["sewing", "welding"]))
      Work: 7 years
      Wish: 30,000
      Skills: welding, sewing
    """
    lines = [f"Work: {facts.years:.0f} years"] if math.isfinite(facts.years) else []
    if math.isfinite(facts.salary):
        lines.append(f"Wish: {math.exp(facts.salary):,.0f}")
    lines.append(f"Skills: {', '.join(skills[place] for place in facts.skills)}")
    return "\n".join(lines)


def _words(name: str) -> tuple[str, ...]:
    return tuple(normalize_word(name[a:b]) for a, b in word_places(name))


def named_years(text: str) -> float:
    """The first number of years in a text that is no age; NaN if there is none.

    Example:
      >>> named_years("20 years old, less than a year of work"), named_years("Two years.")
      (0.0, 2.0)
    """
    found = _YEARS.search(text)
    if not found:
        return math.nan
    word = found[1].lower()
    if word.startswith("less"):
        return 0.0
    return float(word) if word.isdecimal() else float(_NUMBERS.index(word))


def named_salary(text: str) -> float:
    """The logarithm of the first number with a separator of thousands; NaN if there is none.

    Example:
      >>> round(math.exp(named_salary("Since 1962: 40,000 a year")))
      40000
    """
    found = _SALARY.search(text)
    amount = float(re.sub("[, ]", "", found[0])) if found else 0.0
    return math.log(amount) if amount > 0 else math.nan
