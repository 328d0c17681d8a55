"""The texts of planted jobs and resumes: which sentences are taken, and in which order.

All choices are drawn at once, a row of numbers for each text. A text is a function of its row.
"""

from collections.abc import Sequence

import numpy as np

from jaxrec.data.recruitment import sentences as say
from jaxrec.data.recruitment.records import SECTIONS, SENIORITIES, Job, Resume
from jaxrec.data.recruitment.structure import Draws, Structure

_NUMBERS = 32  # random numbers of a text; more than any text takes
_SHOWN_PREFIX = 0.6  # share of titles that begin with the seniority
_COMPANY_FACT = 0.6
_NOT_DEMANDED, _NOT_KNOWN = 0.35, 0.3
_AS_DIGITS = 0.3


class Choices:
    """Random numbers in [0, 1) that a text takes one after the other.

    Example:
      >>> choices = Choices([0.6, 0.2])
      >>> choices.of(("a", "b")), choices.happens(0.1)
      ('b', False)
    """

    def __init__(self, numbers: Sequence[float]) -> None:
        self._numbers = iter(numbers)

    def of(self, options: Sequence[str]) -> str:
        """One of several texts, all with the same probability."""
        return options[int(next(self._numbers) * len(options))]

    def happens(self, probability: float) -> bool:
        """Whether something of this probability happens."""
        return next(self._numbers) < probability

    def between(self, first: int, last: int) -> int:
        """A whole number, the ends included."""
        return first + int(next(self._numbers) * (last - first + 1))


def job_texts(
    structure: Structure, draws: Draws, rng: np.random.Generator
) -> tuple[list[Job], np.ndarray]:
    """Write jobs.

    Args:
      structure: names.
      draws: what the jobs are.
      rng: random numbers.

    Returns:
      The jobs, and `[n]` int32, the occupation whose title is written, -1 for generic ones.
    """
    rows = rng.random((len(draws), _NUMBERS)).tolist()
    others = rng.integers(len(structure.premium), size=len(draws)).tolist()
    names = structure.catalogue.skills
    jobs = []
    for number, (row, skills, other) in enumerate(
        zip(rows, draws.skills.tolist(), others, strict=True)
    ):
        choices = Choices(row)
        seniority, salary = int(draws.seniority[number]), float(draws.salary[number])
        named = [names[skill] for skill in skills]
        title = _title(structure, int(draws.title[number]), seniority, choices)
        half = len(named) // 2
        duties = [choices.of(say.DUTIES).format(s=listing(named[:half], choices))] if half else []
        if choices.happens(_COMPANY_FACT):
            duties.insert(choices.between(0, 1), choices.of(say.COMPANY_FACTS))
        demands = [choices.of(say.DEMANDS).format(s=listing(named[half:], choices))]
        years = years_text(choices.between(*say.YEARS[seniority]), choices)
        demands.insert(
            choices.between(0, 1), sentence(choices.of(say.DEMANDED_YEARS).format(years=years))
        )
        if choices.happens(_NOT_DEMANDED) and _is_apart(names[other], named):
            place = choices.between(0, 2)
            demands.insert(place, choices.of(say.NOT_DEMANDED).format(x=names[other]))
        jobs.append(
            Job(
                id=f"j{number:06d}",
                title=title,
                **tree_names(structure, int(draws.occupation[number])),
                seniority=SENIORITIES[seniority],
                salary=salary,
                skills=tuple(named),
                responsibilities=" ".join(duties),
                qualifications=" ".join(demands),
            )
        )
    return jobs, draws.title


def resume_texts(
    structure: Structure, draws: Draws, rng: np.random.Generator
) -> tuple[list[Resume], np.ndarray, np.ndarray]:
    """Write resumes.

    Args:
      structure: names.
      draws: what the people are.
      rng: random numbers.

    Returns:
      The resumes; `[n]` int32, the occupation whose title is written, -1 for none; and `[n]` bool,
      whether the expected salary is written.
    """
    rows = rng.random((len(draws), 2 * _NUMBERS)).tolist()
    others = rng.integers(len(structure.premium), size=len(draws)).tolist()
    vague = rng.random((len(draws), 6)) < structure.options.vague_sections
    names = structure.catalogue.skills
    resumes = []
    for number, (row, skills, other) in enumerate(
        zip(rows, draws.skills.tolist(), others, strict=True)
    ):
        choices = Choices(row)
        seniority = int(draws.seniority[number])
        years = choices.between(*say.YEARS[seniority])
        degree, school = choices.of(say.DEGREES), choices.of(say.SCHOOLS)
        named = [names[skill] for skill in skills]
        third, two_thirds = len(named) // 3, 2 * len(named) // 3
        thirds = (named[:third], named[third:two_thirds], named[two_thirds:])
        parts = [listing(part, choices) for part in thirds]
        title = _title(structure, int(draws.title[number]), seniority, choices)
        helper = choices.of(say.GENERIC_TITLES)  # a title in a project tells nothing
        company = choices.of(say.COMPANIES)
        texts = [
            choices.of(say.PROFILES).format(s=parts[0]),
            choices.of(say.EXPERIENCES).format(s=parts[1], title=title, company=company),
            choices.of(say.PROJECTS).format(s=parts[2], title=helper, company=company),
            choices.of(say.EDUCATIONS).format(degree=degree, school=school),
            choices.of(say.CERTIFICATES).format(school=school),
            choices.of(say.OBJECTIVES).format(wish=f"{draws.salary[number]:,.0f}"),
        ]
        for place in np.flatnonzero(vague[number]).tolist():
            skill_list = parts[place] if place < 3 else ""
            pattern = choices.of(say.VAGUE_SKILLS if skill_list else say.VAGUE)
            texts[place] = pattern.format(s=skill_list)
        if choices.happens(_NOT_KNOWN) and not vague[number, 0] and _is_apart(names[other], named):
            texts[0] += " " + choices.of(say.NOT_KNOWN).format(x=names[other])
        basic = choices.of(say.BASICS).format(
            age=20 + years + choices.between(0, 9), degree=degree, years=years_text(years, choices)
        )
        resumes.append(
            Resume(
                id=f"p{number:06d}",
                basic=sentence(basic),
                sections=dict(zip(SECTIONS, map(sentence, texts), strict=True)),
                **tree_names(structure, int(draws.occupation[number])),
                seniority=SENIORITIES[seniority],
                salary=float(draws.salary[number]),
                skills=tuple(named),
            )
        )
    return resumes, np.where(vague[:, 1], -1, draws.title), ~vague[:, 5]


def tree_names(structure: Structure, occupation: int) -> dict[str, str]:
    """The names of an occupation's three levels, by field of a record."""
    catalogue = structure.catalogue
    category = catalogue.occupation_category[occupation]
    return {
        "industry": catalogue.industries[catalogue.category_industry[category]],
        "category": catalogue.categories[category],
        "occupation": catalogue.occupations[occupation],
    }


def listing(names: Sequence[str], choices: Choices) -> str:
    """Names in a row, the last two joined by a word.

    Example:
      >>> listing(["a", "b", "c"], Choices([0.0]))
      'a, b and c'
    """
    *first, last = names
    pattern = choices.of(say.LISTS)
    return pattern.format(", ".join(first), last) if first else last


def _title(structure: Structure, occupation: int, seniority: int, choices: Choices) -> str:
    generic = choices.of(say.GENERIC_TITLES)
    name = structure.catalogue.occupations[occupation] if occupation >= 0 else generic
    prefix = say.PREFIXES[seniority] if choices.happens(_SHOWN_PREFIX) else ""
    return f"{prefix} {name}".strip()


def years_text(count: int, choices: Choices) -> str:
    """A number of years in words or digits.

    Example:
      >>> years_text(3, Choices([0.9])), years_text(1, Choices([0.1]))
      ('three years', '1 year')
    """
    digits = choices.happens(_AS_DIGITS)
    if not count:
        return "less than 1 year" if digits else "less than a year"
    number = str(count) if digits else say.NUMBERS[count]
    return f"{number} year" + "s" * (count > 1)


def sentence(text: str) -> str:
    """The text with a large letter at its beginning, unless it begins with a skill's own form."""
    return text[:1].upper() + text[1:]


def _is_apart(name: str, named: Sequence[str]) -> bool:
    """Whether a skill shares no words with the named ones, so that it is not read as one."""
    words = set(name.casefold().split())
    return not any(words & set(other.casefold().split()) for other in named)
