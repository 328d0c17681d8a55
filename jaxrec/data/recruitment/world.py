"""A planted world of recruitment, whose texts, matches, salaries and outcomes have a known truth.

Everything follows from a seed. Occupations form a tree of three levels and have hidden sets of
skills (see `Structure`). Jobs and people name skills, mostly of their occupation; the skills carry
the label, because titles are mostly generic. Matches, salaries and interviews are drawn from
probabilities that the world knows, so that every figure has a best attainable value. Figures on
such data say whether a model learns what can be learned; they say nothing about real recruitment.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

import numpy as np
from scipy import special

from jaxrec.core import ConfigError, DataError
from jaxrec.data import Occupation
from jaxrec.data.recruitment.catalogue import make_catalogue
from jaxrec.data.recruitment.interviewing import draw_interviews, write_interviews
from jaxrec.data.recruitment.matching import (
    PADDING,
    UNKNOWN,
    Traits,
    constant_for,
    draw_applications,
    match_logits,
)
from jaxrec.data.recruitment.options import WorldOptions
from jaxrec.data.recruitment.parsing import JobReader
from jaxrec.data.recruitment.records import SENIORITIES, Job, Match, Recruitment
from jaxrec.data.recruitment.structure import Draws, Structure, make_structure
from jaxrec.data.recruitment.texts import job_texts, resume_texts

Level = Literal["industry", "category", "occupation"]
_LEVELS: tuple[Level, ...] = ("industry", "category", "occupation")
_START, _DAY = 1_704_067_200, 24 * 3600  # 2024-01-01
_YEAR, _SEARCH = 365 * _DAY, 14 * _DAY  # people apply within two weeks of a year


class JobLike(Protocol):
    """What the planted match reads of a job."""

    @property
    def occupation(self) -> str: ...  # noqa: D102
    @property
    def skills(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def seniority(self) -> str: ...  # noqa: D102
    @property
    def salary(self) -> float: ...  # noqa: D102


class World:
    """Records, and the truth behind them; made by `recruitment_world`.

    Attributes:
      options: the settings.
      structure: hidden skills of the occupations.
      recruitment: the records; `synthetic` is true.
      constant: `b` of the planted match, see `match_logits`.
    """

    def __init__(self, options: WorldOptions, structure: Structure) -> None:
        self.options, self.structure = options, structure
        rng = np.random.default_rng((options.seed, 2))
        self._jobs = structure.draw(options.jobs, options.job_skills, rng)
        self._people = structure.draw(options.people, options.resume_skills, rng)
        jobs, self._job_titles = job_texts(structure, self._jobs, rng)
        resumes, self._resume_titles, self._wish_written = resume_texts(
            structure, self._people, rng
        )
        person, job = draw_applications(
            self._people.occupation,
            self._jobs.occupation,
            options.applications,
            structure.catalogue,
            rng,
        )
        logits = match_logits(
            Traits.of(self._people).rows(person),
            Traits.of(self._jobs).rows(job),
            structure.catalogue,
        )
        self.constant = constant_for(logits, options.matched)
        logits += self.constant
        probability = special.expit(logits)
        matched = rng.random(len(logits)) < probability
        begin = rng.integers(_YEAR - _SEARCH, size=options.people)
        time = _START + begin[person] + rng.integers(_SEARCH, size=len(person))
        matches = [
            Match(person=resumes[p].id, job=jobs[j].id, matched=m, time=t, probability=q)
            for p, j, m, t, q in zip(
                person.tolist(),
                job.tolist(),
                matched.tolist(),
                time.tolist(),
                probability.tolist(),
                strict=True,
            )
        ]
        met = np.flatnonzero(matched & (rng.random(len(matched)) < options.interviews))
        seniority = self._people.seniority[person[met]]
        drawn = draw_interviews(seniority, logits[met], rng)
        pairs = [(matches[n].person, matches[n].job, matches[n].time) for n in met.tolist()]
        topic = self._jobs.skills[job[met], rng.integers(options.job_skills, size=len(met))]
        topics = [structure.catalogue.skills[skill] for skill in topic.tolist()]
        interviews = write_interviews(pairs, topics, seniority, drawn, rng)
        self.recruitment = Recruitment(
            jobs=tuple(jobs),
            resumes=tuple(resumes),
            interviews=tuple(interviews),
            matches=tuple(matches),
            synthetic=True,
        )
        self._person_number = {resume.id: n for n, resume in enumerate(resumes)}

    @functools.cached_property
    def _reader(self) -> JobReader:
        return JobReader(self.structure)

    @functools.cached_property
    def _skill_number(self) -> dict[str, int]:
        return {name: n for n, name in enumerate(self.structure.catalogue.skills)}

    @functools.cached_property
    def _occupation_number(self) -> dict[str, int]:
        return {name: n for n, name in enumerate(self.structure.catalogue.occupations)}

    def read_job(self, text: str) -> Job:
        """Read a written or generated description; see `JobReader.read`."""
        return self._reader.read(text)

    def utility(self, person: str, job: JobLike) -> float:
        """The planted logit of a match.

        Args:
          person: ID of a resume of this world.
          job: any job, such as `read_job` returns. A name that the world does not have counts as
            unknown.

        Raises:
          DataError: the world has no such person.
        """
        return float(self.utilities([(person, job)])[0])

    def utilities(self, pairs: Sequence[tuple[str, JobLike]]) -> np.ndarray:
        """The planted logits of matches of many pairs, `[n]` float64; see `utility`.

        Raises:
          DataError: the world has no such person.
        """
        for person, _ in pairs:
            if person not in self._person_number:
                raise DataError(
                    f"the world has no person {person!r:.60}; give the ID of one of its "
                    f"{len(self._person_number):,} resumes"
                )
        places = np.array([self._person_number[person] for person, _ in pairs], np.int64)
        people = Traits.of(self._people).rows(places)
        return self.constant + match_logits(
            people, self._traits([job for _, job in pairs]), self.structure.catalogue
        )

    def _traits(self, jobs: Sequence[JobLike]) -> Traits:
        width = max((len(job.skills) for job in jobs), default=0)
        skills = np.full((len(jobs), width), PADDING, np.int32)
        for row, job in enumerate(jobs):
            known = [self._skill_number.get(skill, UNKNOWN) for skill in dict.fromkeys(job.skills)]
            skills[row, : len(known)] = known
        grades = {name: n for n, name in enumerate(SENIORITIES)}
        salary = np.array([job.salary for job in jobs], np.float64)
        return Traits(
            occupation=np.array(
                [self._occupation_number.get(job.occupation, -1) for job in jobs], np.int32
            ),
            seniority=np.array([grades.get(job.seniority, -1) for job in jobs], np.int32),
            skills=skills,
            salary=np.where(salary > 0, salary, np.nan),
        )

    def bayes_accuracy(self, pairs: Sequence[tuple[str, JobLike]]) -> float:
        """The expected accuracy of the best possible prediction of matches.

        Args:
          pairs: IDs of people, and jobs.

        Raises:
          ConfigError: no pairs.
          DataError: the world has no such person.
        """
        if not pairs:
            raise ConfigError("the accuracy of no pairs is not defined; give at least one")
        probability = special.expit(self.utilities(pairs))
        return float(np.maximum(probability, 1 - probability).mean())

    def class_probabilities(
        self, level: Level, of: Literal["jobs", "resumes"] = "jobs", *, salary: bool = True
    ) -> np.ndarray:
        """The probability of every class given the texts, which no reader can improve upon.

        Args:
          level: of the tree. Classes are in the order of the structure's catalogue.
          of: whose texts, all of them in the order of the records.
          salary: whether a job's text names its salary; resumes do unless the section is vague.

        Returns:
          `[n, classes]` float64.

        Raises:
          ConfigError: an unknown level.
        """
        if level not in _LEVELS:
            raise ConfigError(f"the level of classes must be one of {_LEVELS}, got {level!r}")
        draws: Draws = self._jobs if of == "jobs" else self._people
        title = self._job_titles if of == "jobs" else self._resume_titles
        written = np.full(len(draws), salary) if of == "jobs" else self._wish_written
        posterior = self.structure.posterior(
            draws.skills, title, draws.seniority, np.where(written, draws.salary, np.nan)
        )
        return self.structure.levels(posterior)[_LEVELS.index(level)]


def recruitment_world(
    options: WorldOptions | None = None,
    *,
    skills: Iterable[str] | None = None,
    occupations: Iterable[Occupation] | None = None,
) -> World:
    """Make a planted world; the same options and names give the same one.

    Args:
      options: size and difficulty; None for the defaults.
      skills: names, such as those of `read_skill_labels`; None for a small built-in list.
      occupations: such as those of `read_occupations`; None for a small built-in tree.

    Raises:
      ConfigError: the names are too few for the options.
      DataError: an occupation has no code, or two have one title.

    Example:
      >>> world = recruitment_world(WorldOptions(jobs=50, people=20))
      >>> data = world.recruitment
      >>> len(data.jobs), len(data.resumes), data.synthetic
      (50, 20, True)
      >>> match = data.matches[0]
      >>> bool(np.isclose(
      ...     special.expit(world.utility(match.person, data.job(match.job))), match.probability))
      True
      >>> world.read_job(data.jobs[0].text()).skills == data.jobs[0].skills
      True
    """
    catalogue = make_catalogue(
        None if skills is None else list(skills),
        None if occupations is None else list(occupations),
    )
    options = options or WorldOptions()
    return World(options, make_structure(options, catalogue))
