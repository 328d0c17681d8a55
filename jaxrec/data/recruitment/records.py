"""The records of recruitment: jobs, resumes, interviews, matches, and all of them together."""

import collections
import dataclasses
import functools
import math
from collections.abc import Mapping

from jaxrec.core import DataError

SENIORITIES = ("junior", "intermediate", "senior", "lead", "principal")
SECTIONS = ("profile", "experience", "projects", "education", "certificates", "objective")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A job description.

    Attributes:
      id: of the job; no other job has it.
      title: as it is advertised.
      industry: level 1 of the tree of occupations; "" if it is not known.
      category: level 2 of the tree; "" if it is not known.
      occupation: level 3 of the tree; "" if it is not known.
      seniority: one of `SENIORITIES`; "" if it is not known.
      salary: a year's, in the data's currency; NaN if it is not known.
      skills: that the job asks for.
      responsibilities: what the person will do.
      qualifications: what the person must bring.

    Example:
      >>> job = Job(id="7", title="Baker", salary=30000.0, responsibilities="Bake bread.")
      >>> print(job.text())
      Title: Baker
      Salary: 30,000
      Responsibilities: Bake bread.
    """

    id: str
    title: str
    industry: str = ""
    category: str = ""
    occupation: str = ""
    seniority: str = ""
    salary: float = math.nan
    skills: tuple[str, ...] = ()
    responsibilities: str = ""
    qualifications: str = ""

    def text(self, *, salary: bool = True) -> str:
        """The description as one text: a line each for title, salary, and the two long parts.

        Args:
          salary: whether the line of the salary is written, if the salary is known.
        """
        lines = [f"Title: {self.title}"]
        if salary and math.isfinite(self.salary):
            lines.append(f"Salary: {self.salary:,.0f}")
        if self.responsibilities:
            lines.append(f"Responsibilities: {self.responsibilities}")
        if self.qualifications:
            lines.append(f"Qualifications: {self.qualifications}")
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resume:
    """A resume.

    Attributes:
      id: of the person; no other resume has it.
      basic: basic information, such as age, degree and years of work.
      sections: text by kind of section, of which there are six: see `SECTIONS`.
      industry: level 1 of the tree of occupations; "" if it is not known.
      category: level 2 of the tree; "" if it is not known.
      occupation: level 3 of the tree; "" if it is not known.
      seniority: one of `SENIORITIES`; "" if it is not known.
      salary: that the person expects for a year; NaN if it is not known.
      skills: that the person has.

    Example:
      >>> resume = Resume(id="3", basic="Two years of work.", sections={"profile": "I bake."})
      >>> print(resume.text())
      Two years of work.
      Profile: I bake.
    """

    id: str
    basic: str = ""
    sections: Mapping[str, str] = dataclasses.field(default_factory=dict)
    industry: str = ""
    category: str = ""
    occupation: str = ""
    seniority: str = ""
    salary: float = math.nan
    skills: tuple[str, ...] = ()

    def text(self) -> str:
        """The resume as one text: a line for the basic information, and one for each section."""
        lines = [self.basic] if self.basic else []
        lines += [f"{kind.capitalize()}: {text}" for kind, text in self.sections.items() if text]
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interview:
    """What an interviewer wrote about a person, and what came of it.

    Attributes:
      job: ID of the job.
      person: ID of the resume.
      assessment: the interviewer's text.
      level: "junior" or "senior", the level that the interviewer gave; "" if it is not known.
      passed: whether the person passed.
      time: in seconds since 1970.
      probability: of passing, as planted; NaN for real data.
      level_probability: of the level "senior", as planted; NaN for real data.

    Example:
      >>> Interview(job="7", person="3", assessment="Knows bread.", passed=True).level
      ''
    """

    job: str
    person: str
    assessment: str
    level: str = ""
    passed: bool
    time: int = 0
    probability: float = math.nan
    level_probability: float = math.nan


@dataclasses.dataclass(frozen=True, kw_only=True)
class Match:
    """Whether a person and a job came together.

    Attributes:
      person: ID of the resume.
      job: ID of the job.
      matched: True if both sides agreed to an interview, False if one side refused.
      time: in seconds since 1970.
      probability: of a match, as planted; NaN for real data.

    Example:
      >>> Match(person="3", job="7", matched=True).time
      0
    """

    person: str
    job: str
    matched: bool
    time: int = 0
    probability: float = math.nan


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recruitment:
    """Jobs and resumes, and the interviews and matches between them.

    Attributes:
      jobs: with different IDs.
      resumes: with different IDs.
      interviews: of these people for these jobs.
      matches: of these people with these jobs.
      synthetic: whether a program made all of this up.

    Raises:
      DataError: an ID occurs twice.

    Example:
      >>> data = Recruitment(jobs=(Job(id="7", title="Baker"),))
      >>> data.job("7").title
      'Baker'
    """

    jobs: tuple[Job, ...] = ()
    resumes: tuple[Resume, ...] = ()
    interviews: tuple[Interview, ...] = ()
    matches: tuple[Match, ...] = ()
    synthetic: bool = False

    def __post_init__(self) -> None:
        """Reject records that cannot be told apart."""
        for what, records in (("jobs", self.jobs), ("resumes", self.resumes)):
            if len({record.id for record in records}) < len(records):
                counts = collections.Counter(record.id for record in records)
                twice = counts.most_common(1)[0][0]
                raise DataError(f"two {what} have the ID {twice!r}; give each an ID of its own")

    @functools.cached_property
    def _jobs(self) -> dict[str, Job]:
        return {job.id: job for job in self.jobs}

    @functools.cached_property
    def _resumes(self) -> dict[str, Resume]:
        return {resume.id: resume for resume in self.resumes}

    def job(self, name: str) -> Job:
        """The job with an ID.

        Raises:
          DataError: there is none.
        """
        _check_known(self._jobs, name, "job")
        return self._jobs[name]

    def resume(self, name: str) -> Resume:
        """The resume with an ID.

        Raises:
          DataError: there is none.
        """
        _check_known(self._resumes, name, "resume")
        return self._resumes[name]


def _check_known(records: Mapping[str, object], name: str, what: str) -> None:
    if name not in records:
        raise DataError(f"no {what} has the ID {name!r:.60}; there are {len(records):,} {what}s")
