"""The thirteen task tables of recruitment.

Classes of job descriptions and of resumes on three levels of a tree, kinds of a resume's sections,
levels and results of interviews, matches of people and jobs, the right job among others, salaries,
and skills in text. The tasks are those of RecruitPro (Fang et al., KDD 2023).
"""

import collections
import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from jaxrec.data import TagSet
from jaxrec.data.recruitment.ranking_rows import CandidateJobs
from jaxrec.data.recruitment.records import Interview, Job, Match, Recruitment
from jaxrec.data.recruitment.row_building import Example, classification, finish
from jaxrec.data.recruitment.splitting import PARTS, PeopleSplit, split_jobs, split_people
from jaxrec.data.recruitment.tagging_rows import KIND, named_skills, tagged_words
from jaxrec.data.recruitment.task import Task, TaskKind, TaskRows
from jaxrec.data.recruitment.task_options import TASKS, TaskOptions

_LEVELS = {"1st": "industry", "2nd": "category", "3rd": "occupation"}


def recruitment_tasks(
    recruitment: Recruitment, options: TaskOptions | None = None
) -> dict[str, Task]:
    """Make task tables, which share one split of the jobs and one of the people.

    Args:
      recruitment: the records.
      options: which tasks, and how; None for the defaults.

    Returns:
      The tasks by name, in the order of `TASKS`.

    Raises:
      DataError: a task has no rows in some part, a class has too few rows, or a match or an
        interview names a record that does not exist.

    Example:
      >>> from jaxrec.data.recruitment import WorldOptions, recruitment_world
      >>> world = recruitment_world(WorldOptions(jobs=300, people=100))
      >>> tasks = recruitment_tasks(world.recruitment, TaskOptions(rare="drop"))
      >>> len(tasks), tasks["jd_1st_class"].classes[:2], tasks["salary"].kind
      (13, ('construction', 'education'), 'regression')
    """
    options = options or TaskOptions()
    tables = _Tables(recruitment, options)
    names = options.names or TASKS
    return {name: tables.make(name) for name in TASKS if name in names}


class _Tables:
    """Makes tasks of one set of records; texts and splits are made once."""

    def __init__(self, recruitment: Recruitment, options: TaskOptions) -> None:
        self.data, self.options = recruitment, options

    def make(self, name: str) -> Task:
        makers: dict[str, Callable[[], Task]] = {
            "resume_understanding": self._sections,
            "job_evaluation": self._job_evaluation,
            "interview_result": self._interview_result,
            "person_job_fit": self._fit,
            "job_recommendation": self._recommendation,
            "salary": self._salary,
            "skill_extraction": self._skills,
        }
        if name in makers:
            return makers[name]()
        what, level, _ = name.split("_")
        return self._tree_classes(name, what, _LEVELS[level])

    @functools.cached_property
    def _job_part(self) -> dict[str, int]:
        return split_jobs(self.data, self.options.valid, self.options.test, self.options.seed)

    @functools.cached_property
    def _people(self) -> PeopleSplit:
        return split_people(self.data, self.options.valid, self.options.test, self.options.seed)

    @functools.cached_property
    def _job_texts(self) -> dict[str, str]:
        return {job.id: job.text() for job in self.data.jobs}

    @functools.cached_property
    def _resume_texts(self) -> dict[str, str]:
        return {resume.id: resume.text() for resume in self.data.resumes}

    def _classification(
        self, name: str, examples: Sequence[Example], classes: tuple[str, ...] = ()
    ) -> Task:
        return classification(
            name, examples, self.options, classes=classes, synthetic=self.data.synthetic
        )

    def _finish(
        self,
        name: str,
        kind: TaskKind,
        parts: Sequence[TaskRows],
        dropped: collections.Counter[str],
        classes: tuple[str, ...] = (),
    ) -> Task:
        return finish(name, kind, parts, dropped, classes=classes, synthetic=self.data.synthetic)

    def _tree_classes(self, name: str, what: str, level: str) -> Task:
        if what == "jd":
            rows = [
                Example(
                    part=self._job_part[job.id],
                    text=self._job_texts[job.id],
                    label=getattr(job, level),
                    skills=job.skills,
                    job=job.id,
                )
                for job in self.data.jobs
            ]
        else:
            rows = [
                Example(
                    part=self._people.part[resume.id],
                    text=self._resume_texts[resume.id],
                    label=getattr(resume, level),
                    skills=resume.skills,
                    person=resume.id,
                )
                for resume in self.data.resumes
            ]
        return self._classification(name, rows)

    def _sections(self) -> Task:
        rows = [
            Example(
                part=self._people.part[resume.id],
                text=text,
                label=kind,
                skills=named_skills(text, resume.skills),
                person=resume.id,
            )
            for resume in self.data.resumes
            for kind, text in resume.sections.items()
            if text
        ]
        return self._classification("resume_understanding", rows)

    def _interviews(
        self,
        name: str,
        classes: tuple[str, ...],
        label: Callable[[Interview], tuple[str, float]],
    ) -> Task:
        rows = []
        for interview in self.data.interviews:
            person, job = self.data.resume(interview.person), self.data.job(interview.job)
            text = interview.assessment
            name_of_class, probability = label(interview)
            rows.append(
                Example(
                    part=self._people.part[person.id],
                    text=text,
                    label=name_of_class,
                    skills=named_skills(text, (*job.skills, *person.skills)),
                    person=person.id,
                    job=job.id,
                    probability=probability,
                )
            )
        return self._classification(name, rows, classes)

    def _job_evaluation(self) -> Task:
        return self._interviews(
            "job_evaluation", ("junior", "senior"), lambda one: (one.level, one.level_probability)
        )

    def _interview_result(self) -> Task:
        return self._interviews(
            "interview_result",
            ("failed", "passed"),
            lambda one: ("passed" if one.passed else "failed", one.probability),
        )

    def _matches_in_time(
        self, dropped: collections.Counter[str], matched: bool
    ) -> list[list[Match]]:
        """The matches of each part; those behind the time of their part are dropped."""
        parts: list[list[Match]] = [[] for _ in PARTS]
        for match in self.data.matches:
            person, _ = self.data.resume(match.person), self.data.job(match.job)
            if matched and not match.matched:
                continue
            if self._people.in_time(person.id, match.time):
                parts[self._people.part[person.id]].append(match)
            else:
                dropped["after the next part begins"] += 1
        return parts

    def _fit(self) -> Task:
        dropped: collections.Counter[str] = collections.Counter()
        parts = [
            TaskRows(
                texts=tuple(self._resume_texts[m.person] for m in matches),
                skills=tuple(self.data.resume(m.person).skills for m in matches),
                jobs=tuple(self._job_texts[m.job] for m in matches),
                job_skills=tuple(self.data.job(m.job).skills for m in matches),
                labels=np.array([m.matched for m in matches], np.int32),
                people=tuple(m.person for m in matches),
                job_ids=tuple(m.job for m in matches),
                probability=np.array([m.probability for m in matches], np.float64),
            )
            for matches in self._matches_in_time(dropped, matched=False)
        ]
        return self._finish("person_job_fit", "matching", parts, dropped, ("unmatched", "matched"))

    def _recommendation(self) -> Task:
        rng = np.random.default_rng((self.options.seed, 3))
        dropped: collections.Counter[str] = collections.Counter()
        place = {job.id: n for n, job in enumerate(self.data.jobs)}
        suits: dict[str, set[int]] = {}
        for match in self.data.matches:
            if match.matched:
                self.data.job(match.job)
                suits.setdefault(match.person, set()).add(place[match.job])
        draw = CandidateJobs(self.data.jobs)
        parts = []
        for matches in self._matches_in_time(dropped, matched=True):
            count = self.options.candidates
            rows = np.zeros((len(matches), count), np.int32)
            relevant = rng.integers(count, size=len(matches)).astype(np.int32)
            for row, match in enumerate(matches):
                right = place[match.job]
                others = draw.beside(right, suits[match.person], count - 1, rng)
                rows[row] = np.insert(others, relevant[row], right)
            used, number = np.unique(rows, return_inverse=True)
            jobs = [self.data.jobs[n] for n in used.tolist()]
            parts.append(
                TaskRows(
                    texts=tuple(self._resume_texts[m.person] for m in matches),
                    skills=tuple(self.data.resume(m.person).skills for m in matches),
                    jobs=tuple(self._job_texts[job.id] for job in jobs),
                    job_skills=tuple(job.skills for job in jobs),
                    candidates=number.reshape(rows.shape).astype(np.int32),
                    relevant=relevant,
                    people=tuple(m.person for m in matches),
                    job_ids=tuple(job.id for job in jobs),
                )
            )
        return self._finish("job_recommendation", "ranking", parts, dropped)

    def _salary(self) -> Task:
        dropped: collections.Counter[str] = collections.Counter()
        paid = [job for job in self.data.jobs if job.salary > 0]
        dropped["without a salary"] = len(self.data.jobs) - len(paid)
        train = [np.log(job.salary) for job in paid if self._job_part[job.id] == 0]
        center, scale = float(np.mean(train or [0.0])), float(np.std(train or [1.0])) or 1.0
        parts = [
            TaskRows(
                texts=tuple(job.text(salary=False) for job in jobs),
                skills=tuple(job.skills for job in jobs),
                values=np.array(
                    [(np.log(job.salary) - center) / scale for job in jobs], np.float32
                ),
                job_ids=tuple(job.id for job in jobs),
            )
            for jobs in self._of_parts(paid)
        ]
        task = self._finish("salary", "regression", parts, dropped)
        return dataclasses.replace(task, center=center, scale=scale)

    def _skills(self) -> Task:
        dropped: collections.Counter[str] = collections.Counter()
        skilled = [job for job in self.data.jobs if job.skills]
        dropped["without skills"] = len(self.data.jobs) - len(skilled)
        parts = []
        for jobs in self._of_parts(skilled):
            pairs = [tagged_words(job.text(salary=False), job.skills) for job in jobs]
            parts.append(
                TaskRows(
                    words=tuple(words for words, _ in pairs),
                    tags=tuple(tags for _, tags in pairs),
                    skills=tuple(job.skills for job in jobs),
                    job_ids=tuple(job.id for job in jobs),
                )
            )
        return self._finish("skill_extraction", "tagging", parts, dropped, TagSet((KIND,)).names)

    def _of_parts(self, jobs: Sequence[Job]) -> list[list[Job]]:
        return [[j for j in jobs if self._job_part[j.id] == part] for part in range(len(PARTS))]
