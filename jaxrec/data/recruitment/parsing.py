"""Reading a written or generated job description back into a record."""

import functools
import math
import re

import numpy as np

from jaxrec.data import Lexicon, Matcher, normalize_word, word_places
from jaxrec.data.recruitment import sentences as say
from jaxrec.data.recruitment.records import SENIORITIES, Job
from jaxrec.data.recruitment.structure import Structure
from jaxrec.data.recruitment.texts import tree_names

_LABEL = re.compile(r"\b(title|salary|responsibilities|qualifications)\s*:", re.IGNORECASE)
_MONEY = re.compile(r"\d{1,3}(?:[, ]\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")
_YEARS = re.compile(rf"\b(less than (?:a|1)|\d+|{'|'.join(say.NUMBERS)}) years?\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


class JobReader:
    r"""Reads descriptions of a world.

    Args:
      structure: of the world.

    Example:
      >>> from jaxrec.data.recruitment.catalogue import make_catalogue
      >>> from jaxrec.data.recruitment.options import WorldOptions
      >>> from jaxrec.data.recruitment.structure import make_structure
      >>> reader = JobReader(make_structure(WorldOptions(), make_catalogue()))
      >>> job = reader.read("Title: Lead Chef\nSalary: 40,000\nQualifications: Needs welding.")
      >>> job.title, job.salary, job.skills, job.seniority, job.occupation
      ('Lead Chef', 40000.0, ('welding',), 'lead', 'Chef')
    """

    def __init__(self, structure: Structure) -> None:
        self._structure = structure
        names = structure.catalogue.skills
        self._number = {_phrase(name): n for n, name in enumerate(names)}
        self._matcher = Matcher.of([Lexicon.of("skill", names)], partial=0)
        titles = structure.catalogue.occupations
        self._titles = {title.casefold(): n for n, title in enumerate(titles)}
        self._denials = [_pattern(text) for text in say.NOT_DEMANDED]

    def skills(self, text: str) -> tuple[int, ...]:
        """The different skills that a text asks for, in its order; not those it does without."""
        found: dict[int, None] = {}
        for part in _SENTENCE_END.split(text):
            if any(denial.fullmatch(part.strip()) for denial in self._denials):
                continue
            words = [part[a:b] for a, b in word_places(part)]
            for span in self._matcher.label(words).spans:
                phrase = tuple(normalize_word(word) for word in words[span.start : span.end])
                found[self._number[phrase]] = None
        return tuple(found)

    def read(self, text: str) -> Job:
        """Read a description.

        Args:
          text: with the labels "Title:", "Salary:", "Responsibilities:" and "Qualifications:" as
            `Job.text` writes them, in any order; any of them may be missing.

        Returns:
          A job with the ID "". Its occupation is the one of its title; if the title tells none, it
          is the most probable one given the skills; "" without skills. Seniority follows from the
          asked years, or else from the title. What the text lacks is empty, and NaN for the salary.
        """
        parts = _parts(text)
        title = " ".join(parts.get("title", "").split())
        duties, demands = parts.get("responsibilities", ""), parts.get("qualifications", "")
        skills = self.skills(f"{duties}\n{demands}")
        seniority = _seniority(title, demands)
        occupation = self._occupation(title, skills)
        names = self._structure.catalogue.skills
        empty = {"industry": "", "category": "", "occupation": ""}
        return Job(
            id="",
            title=title,
            **(tree_names(self._structure, occupation) if occupation >= 0 else empty),
            seniority=SENIORITIES[seniority] if seniority >= 0 else "",
            salary=_salary(parts.get("salary", "")),
            skills=tuple(names[skill] for skill in skills),
            responsibilities=duties,
            qualifications=demands,
        )

    def _occupation(self, title: str, skills: tuple[int, ...]) -> int:
        words = title.casefold().split()
        bare = " ".join(words[1:] if words and words[0] in _prefixes() else words)
        for name in (title.casefold(), bare):
            if name in self._titles:
                return self._titles[name]
        if not skills:
            return -1
        none = np.array([-1])
        row = np.array([skills], np.int32)
        return int(self._structure.posterior(row, none, none, np.array([np.nan])).argmax(axis=1)[0])


def _parts(text: str) -> dict[str, str]:
    """The text behind each label; the first of two labels of one name counts."""
    marks = list(_LABEL.finditer(text))
    parts: dict[str, str] = {}
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    for mark, end in zip(marks, ends[: len(marks)], strict=True):
        parts.setdefault(mark[1].lower(), text[mark.end() : end].strip())
    return parts


def _salary(text: str) -> float:
    found = _MONEY.search(text)
    value = float(re.sub("[, ]", "", found[0])) if found else math.nan
    return value if value > 0 else math.nan


def _seniority(title: str, demands: str) -> int:
    if found := _YEARS.search(demands):
        word = found[1].lower()
        years = 0 if word.startswith("less") else _number_of(word)
        return next(
            (n for n, (_, last) in enumerate(say.YEARS) if years <= last), len(say.YEARS) - 1
        )
    words = title.casefold().split()
    return _prefixes().get(words[0], -1) if words else -1


def _number_of(word: str) -> int:
    # Longer numbers than any year of work are cut before they are read.
    return int(word[:9]) if word.isdigit() else say.NUMBERS.index(word)


@functools.cache
def _prefixes() -> dict[str, int]:
    return {prefix.casefold(): n for n, prefix in enumerate(say.PREFIXES) if prefix}


def _phrase(name: str) -> tuple[str, ...]:
    return tuple(normalize_word(name[a:b]) for a, b in word_places(name))


def _pattern(template: str) -> re.Pattern[str]:
    head, _, tail = template.partition("{x}")
    return re.compile(f"{re.escape(head)}.+{re.escape(tail)}", re.IGNORECASE)
