"""Readers of a user's own jobs, resumes, interviews and matches."""

import collections
import dataclasses
import os
from collections.abc import Mapping
from typing import Any, Generic, Literal, TypeVar

from jaxrec.core import DataError
from jaxrec.data.recruitment.records import SECTIONS, Interview, Job, Match, Recruitment, Resume
from jaxrec.data.recruitment.row_file import Row, RowFile
from jaxrec.data.recruitment.salaries import SALARY_HINT, Salaries, read_salary

Path = str | os.PathLike[str]
Empty = Literal["error", "skip"]
Record = TypeVar("Record")
_TREE = ("industry", "category", "occupation", "seniority")
_LEVELS = ("", "junior", "senior")


@dataclasses.dataclass(frozen=True)
class Loaded(Generic[Record]):
    """Records of a file.

    Attributes:
      records: in the order of the file.
      counts: what was skipped or taken as not known, by reason.

    Example:
      >>> len(Loaded((1, 2), {}).records)
      2
    """

    records: tuple[Record, ...]
    counts: Mapping[str, int]


def read_jobs(
    path: Path, *, columns: Mapping[str, str] | None = None, salaries: Salaries = "error"
) -> Loaded[Job]:
    r"""Read job descriptions from JSON lines, a JSON list, or a table with a header.

    A job needs "id" and "title". It may have "industry", "category", "occupation", "seniority",
    "salary", "skills" (a list, or texts between semicolons), "responsibilities" and
    "qualifications".

    Args:
      path: the file, plain or gzipped.
      columns: name of the column by role, where they differ: `{"title": "job_title"}`.
      salaries: what a salary with text in it is: an "error", or "parse" it where it is plain and
        reject the rest, or parse it and take the rest as "missing", which is counted.

    Raises:
      ConfigError: an unknown role.
      DataError: the file is unreadable, a column is missing, a job has no title or an ID that
        another job has, or a salary is none; the message names the line.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "jobs.jsonl"
      >>> _ = path.write_text('{"id": 7, "title": "Baker", "skills": ["dough"]}\n')
      >>> read_jobs(path).records[0].skills
      ('dough',)
    """
    long = ("responsibilities", "qualifications")
    roles = ("id", "title", *_TREE, "salary", "skills", *long)
    rows = RowFile(path, "jobs", roles, ("id", "title"), columns)
    counts: collections.Counter[str] = collections.Counter()
    jobs = [
        Job(
            id=row.text("id", needed=True),
            title=row.text("title", needed=True),
            salary=_salary(row, salaries, counts),
            skills=row.texts("skills"),
            **{role: row.text(role) for role in (*_TREE, *long)},
        )
        for row in rows
    ]
    _check_different(rows, jobs)
    return Loaded(tuple(jobs), dict(counts))


def read_people(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    salaries: Salaries = "error",
    empty: Empty = "error",
) -> Loaded[Resume]:
    r"""Read resumes from JSON lines, a JSON list, or a table with a header.

    A resume needs "id". Its text is in "basic", in "sections" (an object with a text by kind), or
    in columns that are called like the kinds of sections. It may have "industry", "category",
    "occupation", "seniority", "skills" and "salary", the expected one.

    Args:
      path: the file, plain or gzipped.
      columns: name of the column by role, where they differ.
      salaries: what a salary with text in it is; see `read_jobs`.
      empty: what a resume without any text is: an "error", or "skip" and count it.

    Raises:
      ConfigError: an unknown role.
      DataError: as `read_jobs`, or an empty resume, or sections that are no texts.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "people.csv"
      >>> _ = path.write_text("id,basic,profile\n3,Aged 30,I bake.\n4,,\n")
      >>> loaded = read_people(path, empty="skip")
      >>> dict(loaded.records[0].sections), loaded.counts
      ({'profile': 'I bake.'}, {'empty resume': 1})
    """
    roles = ("id", "basic", "sections", *SECTIONS, *_TREE, "salary", "skills")
    rows = RowFile(path, "resumes", roles, ("id",), columns)
    counts: collections.Counter[str] = collections.Counter()
    resumes = []
    for row in rows:
        resume = Resume(
            id=row.text("id", needed=True),
            basic=row.text("basic"),
            sections=_sections(row),
            salary=_salary(row, salaries, counts),
            skills=row.texts("skills"),
            **{role: row.text(role) for role in _TREE},
        )
        if not resume.text():
            if empty == "error":
                raise row.fault("id", 'is a resume without text; remove it, or choose empty="skip"')
            counts["empty resume"] += 1
            continue
        resumes.append(resume)
    _check_different(rows, resumes)
    if not resumes:
        raise DataError(f"{rows.path}: all {len(rows):,} resumes are empty; name their columns")
    return Loaded(tuple(resumes), dict(counts))


def read_interviews(path: Path, *, columns: Mapping[str, str] | None = None) -> Loaded[Interview]:
    r"""Read assessments of interviews from JSON lines, a JSON list, or a table with a header.

    An interview needs "job", "person", "assessment" and "passed" (true, false, yes, no, 1 or 0). It
    may have "level" ("junior" or "senior") and "time".

    Args:
      path: the file, plain or gzipped.
      columns: name of the column by role, where they differ.

    Raises:
      ConfigError: an unknown role.
      DataError: the file is unreadable, or a value is missing or wrong; the message names the line.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "interviews.csv"
      >>> _ = path.write_text("job,person,assessment,passed\n7,3,Knows bread.,yes\n")
      >>> read_interviews(path).records[0].passed
      True
    """
    roles = ("job", "person", "assessment", "level", "passed", "time")
    rows = RowFile(path, "interviews", roles, ("job", "person", "assessment", "passed"), columns)
    interviews = []
    for row, time in zip(rows, rows.times(), strict=True):
        level = row.text("level").casefold()
        if level not in _LEVELS:
            raise row.fault("level", "must be junior, senior or empty")
        interviews.append(
            Interview(
                job=row.text("job", needed=True),
                person=row.text("person", needed=True),
                assessment=row.text("assessment", needed=True),
                level=level,
                passed=row.truth("passed"),
                time=time,
            )
        )
    return Loaded(tuple(interviews), {})


def read_matches(path: Path, *, columns: Mapping[str, str] | None = None) -> Loaded[Match]:
    r"""Read which people and jobs came together, from JSON lines, a JSON list or a table.

    A match needs "person", "job" and "matched" (true, false, yes, no, 1 or 0). It may have "time",
    a number since 1970 or an ISO date.

    Args:
      path: the file, plain or gzipped.
      columns: name of the column by role, where they differ.

    Raises:
      ConfigError: an unknown role.
      DataError: the file is unreadable, or a value is missing or wrong; the message names the line.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "matches.csv"
      >>> _ = path.write_text("person,job,matched,time\n3,7,1,1970-01-02\n")
      >>> read_matches(path).records[0].time
      86400
    """
    roles = ("person", "job", "matched", "time")
    rows = RowFile(path, "matches", roles, ("person", "job", "matched"), columns)
    matches = [
        Match(
            person=row.text("person", needed=True),
            job=row.text("job", needed=True),
            matched=row.truth("matched"),
            time=time,
        )
        for row, time in zip(rows, rows.times(), strict=True)
    ]
    return Loaded(tuple(matches), {})


def read_recruitment(
    jobs: Path,
    people: Path,
    *,
    interviews: Path | None = None,
    matches: Path | None = None,
    salaries: Salaries = "error",
    empty: Empty = "error",
) -> Loaded[Recruitment]:
    r"""Read files whose columns have the names of their roles.

    Nothing is cleaned, and matches may name records that do not exist; see `clean_recruitment`.

    Args:
      jobs: see `read_jobs`.
      people: see `read_people`.
      interviews: see `read_interviews`; None for none.
      matches: see `read_matches`; None for none.
      salaries: what a salary with text in it is.
      empty: what a resume without any text is.

    Returns:
      One `Recruitment`, and the counts of all readers.

    Raises:
      DataError: as the readers.

    Example:
      >>> import pathlib, tempfile
      >>> folder = pathlib.Path(tempfile.mkdtemp())
      >>> _ = (folder / "jobs.csv").write_text("id,title\n7,Baker\n")
      >>> _ = (folder / "people.csv").write_text("id,basic\n3,Aged 30\n")
      >>> read_recruitment(folder / "jobs.csv", folder / "people.csv").records[0].job("7").title
      'Baker'
    """
    counts: collections.Counter[str] = collections.Counter()
    loaded_jobs = read_jobs(jobs, salaries=salaries)
    loaded_people = read_people(people, salaries=salaries, empty=empty)
    for part in (loaded_jobs.counts, loaded_people.counts):
        counts.update(part)
    data = Recruitment(
        jobs=loaded_jobs.records,
        resumes=loaded_people.records,
        interviews=read_interviews(interviews).records if interviews is not None else (),
        matches=read_matches(matches).records if matches is not None else (),
    )
    return Loaded((data,), dict(counts))


def _salary(row: Row, salaries: Salaries, counts: collections.Counter[str]) -> float:
    salary = read_salary(row.value("salary"), parse=salaries != "error")
    if salary is not None:
        return salary
    if salaries != "missing":
        raise row.fault("salary", SALARY_HINT)
    counts["salary that cannot be read"] += 1
    return float("nan")


def _sections(row: Row) -> dict[str, str]:
    """The texts by kind: of an object, and of columns that are called like the kinds."""
    given: Any = row.value("sections")
    if given is None or given == "":
        given = {}
    if not isinstance(given, dict):
        raise row.fault("sections", 'must be an object such as {"profile": "..."}')
    found = {}
    for kind, text in given.items():
        if not isinstance(text, str):
            raise row.fault("sections", f"has no text for {kind!r:.60}; write texts in quotes")
        found[kind] = text.strip()
    for kind in SECTIONS:
        if text := row.text(kind):
            if kind in found:
                raise row.fault(kind, "is in the sections too; give it once")
            found[kind] = text
    return {kind: text for kind, text in found.items() if text}


def _check_different(rows: RowFile, records: list[Any]) -> None:
    counts = collections.Counter(record.id for record in records)
    twice = next((name for name, count in counts.items() if count > 1), None)
    if twice is not None:
        raise DataError(
            f"{rows.path}: {counts[twice]} {rows.what} have the ID {twice!r:.60}; give each an ID "
            "of its own"
        )
