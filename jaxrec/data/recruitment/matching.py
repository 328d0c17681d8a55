"""The planted match: the logit of a match between people and jobs, and who applies for what.

    logit = b + 6 cos(skills) + closeness - 0.7 |steps of seniority| - 4 (d - 0.1)²

`cos` is the number of common skills over the root of the product of both numbers, so naming more
skills than the person has does not help. `closeness` is 2, 1.2, 0.4 or -1 for the same occupation,
category, industry, or none of them. `d` is the logarithm of the offered over the expected salary,
cut to [-1, 1]: people want a little more than they expect, and nobody offers them twice as much.
What is not known counts as a difference: two steps of seniority, and half of the cut of `d`.
"""

import dataclasses

import numpy as np
from scipy import optimize, special

from jaxrec.data.recruitment.catalogue import Catalogue
from jaxrec.data.recruitment.structure import Draws

UNKNOWN, PADDING = -1, -2  # in place of a skill
_COSINE, _STEP, _SALARY, _WISHED = 6.0, 0.7, 4.0, 0.1
_CLOSENESS = (2.0, 1.2, 0.4, -1.0)
_MISSING_STEPS, _MISSING_SALARY = 2, 0.6
# Where people apply: same occupation, category, industry, or anywhere.
_REACH = (0.35, 0.3, 0.15, 0.2)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Traits:
    """What the match depends on, of people or of jobs, a row each.

    Attributes:
      occupation: `[n]` int32; -1 if it is not known.
      seniority: `[n]` int32; -1 if it is not known.
      skills: `[n, K]` int32, different in each row; `UNKNOWN` for a skill that the world does not
        have, `PADDING` for none.
      salary: `[n]` float64; NaN if it is not known.
    """

    occupation: np.ndarray
    seniority: np.ndarray
    skills: np.ndarray
    salary: np.ndarray

    @classmethod
    def of(cls, draws: Draws) -> "Traits":
        """The traits of what was drawn."""
        return cls(
            occupation=draws.occupation,
            seniority=draws.seniority,
            skills=draws.skills,
            salary=draws.salary,
        )

    def rows(self, places: np.ndarray) -> "Traits":
        """Some of the rows, in any order."""
        return Traits(
            occupation=self.occupation[places],
            seniority=self.seniority[places],
            skills=self.skills[places],
            salary=self.salary[places],
        )


def match_logits(people: Traits, jobs: Traits, catalogue: Catalogue) -> np.ndarray:
    """The logits of matches without their constant `b`.

    Args:
      people: n of them.
      jobs: n of them, one for each person.
      catalogue: the tree.

    Returns:
      `[n]` float64.

    Example:
      >>> from jaxrec.data.recruitment.catalogue import make_catalogue
      >>> one = Traits(
      ...     occupation=np.array([3]), seniority=np.array([1]), skills=np.array([[5, 6]]),
      ...     salary=np.array([100.0]))
      >>> match_logits(one, one, make_catalogue()).round(2).tolist()  # 6 + 2 - 4 · 0.01
      [7.96]
    """
    named = people.skills >= UNKNOWN
    asked = jobs.skills >= UNKNOWN
    equal = people.skills[:, :, None] == jobs.skills[:, None, :]
    common = (equal & (people.skills >= 0)[:, :, None]).sum(axis=(1, 2))
    size = np.sqrt(named.sum(axis=1) * asked.sum(axis=1))
    cosine = common / np.maximum(size, 1)
    known = (people.occupation >= 0) & (jobs.occupation >= 0)
    one, other = people.occupation, jobs.occupation
    category, industry = catalogue.occupation_category, catalogue.occupation_industry
    closeness = np.select(
        [known & (one == other), known & (category[one] == category[other]),
         known & (industry[one] == industry[other])],
        _CLOSENESS[:3],
        _CLOSENESS[3],
    )  # fmt: skip
    graded = (people.seniority >= 0) & (jobs.seniority >= 0)
    steps = np.where(graded, np.abs(people.seniority - jobs.seniority), _MISSING_STEPS)
    with np.errstate(divide="ignore", invalid="ignore"):
        d = np.clip(np.log(jobs.salary / people.salary), -1, 1)
    d = np.where(np.isfinite(d), d, _MISSING_SALARY)
    return _COSINE * cosine + closeness - _STEP * steps - _SALARY * (d - _WISHED) ** 2


def draw_applications(
    people: np.ndarray, jobs: np.ndarray, each: int, catalogue: Catalogue, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw which people apply for which jobs; nobody applies twice for one job.

    Args:
      people: `[people]` int32, occupations.
      jobs: `[jobs]` int32, occupations.
      each: draws for each person.
      catalogue: the tree.
      rng: random numbers.

    Returns:
      Places of people and of jobs, `[n]` int64 each, sorted by person.
    """
    order = np.argsort(jobs, kind="stable")
    ordered = jobs[order]
    person = np.repeat(np.arange(len(people)), each)
    own = people[person]
    reach = rng.choice(len(_REACH), len(person), p=_REACH)
    # Occupations of a category, and of an industry, are neighbors, so each reach is a range.
    first, last = own.copy(), own.copy()
    category, industry = catalogue.occupation_category, catalogue.occupation_industry
    for level, groups in ((1, category), (2, industry)):
        first = np.where(reach == level, np.searchsorted(groups, groups[own]), first)
        end = np.searchsorted(groups, groups[own], side="right") - 1
        last = np.where(reach == level, end, last)
    begin = np.searchsorted(ordered, first)
    end = np.searchsorted(ordered, last, side="right")
    anywhere = (reach == 3) | (begin == end)
    begin, end = np.where(anywhere, 0, begin), np.where(anywhere, len(jobs), end)
    job = order[begin + np.floor(rng.random(len(person)) * (end - begin)).astype(np.int64)]
    different = np.unique(person * len(jobs) + job)
    return different // len(jobs), different % len(jobs)


def constant_for(logits: np.ndarray, share: float) -> float:
    """The `b` with which the mean probability of a match is `share`.

    Example:
      >>> round(constant_for(np.array([1.0, 1.0]), 0.5), 6)
      -1.0
    """
    bound = float(np.abs(logits).max()) + 40.0

    def excess(constant: float) -> float:
        return float(special.expit(logits + constant).mean() - share)

    return float(optimize.brentq(excess, -bound, bound, xtol=1e-12))
