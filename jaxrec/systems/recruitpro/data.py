"""The records of a run and their task tables."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Literal

from jaxrec.core import ConfigError
from jaxrec.data.corpora import find_text
from jaxrec.data.recruitment import (
    CleanOptions,
    Empty,
    Recruitment,
    Salaries,
    Task,
    TaskOptions,
    TaskRows,
    WorldOptions,
    clean_recruitment,
    read_recruitment,
    recruitment_tasks,
    recruitment_world,
)

WORLD = "recruitment-world"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecruitmentConfig:
    """Where the records come from: a planted world, or four files of one's own.

    A relative path is looked up below JAXREC_DATA too. Records of files are cleaned: outliers of
    length and duplicates are left out, personal data are replaced, and very long resumes are cut.

    Attributes:
      name: "recruitment-world" makes records up; any other name is what the data of files are
        called.
      jobs: file of job descriptions.
      people: file of resumes.
      interviews: file of assessments; "" for none, without which two tasks have no rows.
      matches: file of which people and jobs came together; "" for none.
      salaries: what a salary with text in it is: an "error", "parse" it where it is plain, or take
        the rest as "missing" and count it.
      empty: what a resume without text is: an "error", or "skip" and count it.
      missing: what a match or an interview is that names an unknown job or person: an "error", or
        "drop" and count it.

    Raises:
      ConfigError: a world with files, or files without jobs or people.
    """

    name: str = WORLD
    jobs: str = ""
    people: str = ""
    interviews: str = ""
    matches: str = ""
    salaries: Salaries = "error"
    empty: Empty = "error"
    missing: Literal["error", "drop"] = "error"

    def __post_init__(self) -> None:
        """Reject a world with files, and files without the records that all tasks need."""
        changed = any(getattr(self, f.name) != f.default for f in dataclasses.fields(self))
        if self.name == WORLD and changed:
            raise ConfigError(
                f"--data.name {WORLD} makes records up and reads no files, so no other setting of "
                "--data is read; give your data a name of their own"
            )
        if self.name != WORLD and not (self.jobs and self.people):
            raise ConfigError(
                f"--data.name {self.name} needs files of records; give --data.jobs and "
                f"--data.people, or the name {WORLD}"
            )


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TaskData:
    """The tables of a run.

    Attributes:
      name: of the data.
      tasks: in the order of their numbers.
      counts: number of records that were left out or changed, by reason.
    """

    name: str
    tasks: tuple[Task, ...]
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def describe(self) -> Mapping[str, object]:
        """Say what the run is trained and measured on: JSON-able."""
        digest = hashlib.sha256()
        for task in self.tasks:
            digest.update(f"{task.name} {task.kind} {task.classes}\0".encode())
            for rows in (task.train, task.valid, task.test):
                _add_rows(digest, rows)
        counts = {
            part: sum(len(getattr(task, part)) for task in self.tasks)
            for part in ("train", "valid", "test")
        }
        return {
            "dataset": self.name,
            "synthetic": any(task.synthetic for task in self.tasks),
            "tasks": {task.name: len(task.test) for task in self.tasks},
            "dropped": {task.name: dict(task.dropped) for task in self.tasks if task.dropped},
            "records": dict(self.counts),
            "fingerprint": digest.hexdigest(),
        } | counts

    def __str__(self) -> str:
        """Describe the tasks, a line each, to print before training."""
        lines = []
        for task in self.tasks:
            classes = f", {len(task.classes)} classes" if task.classes else ""
            dropped = "; ".join(f"{count:,} {reason}" for reason, count in task.dropped.items())
            lines.append(
                f"{task.name} ({task.kind}{classes}): {len(task.train):,} training, "
                f"{len(task.valid):,} validation and {len(task.test):,} test rows"
                + (f"; left out: {dropped}" if dropped else "")
            )
        made = " (synthetic)" if any(task.synthetic for task in self.tasks) else ""
        cleaned = [f"{count:,} {reason}" for reason, count in self.counts.items()]
        head = f"{self.name}{made}" + (f"; records: {'; '.join(cleaned)}" if cleaned else "")
        return "\n".join([head, *lines])


def _add_rows(digest: "hashlib._Hash", rows: TaskRows) -> None:
    for field in dataclasses.fields(rows):
        value = getattr(rows, field.name)
        digest.update(value.tobytes() if hasattr(value, "tobytes") else repr(value).encode())


def load_tasks(config: RecruitmentConfig, world: WorldOptions, options: TaskOptions) -> TaskData:
    """Read or make up the records, and make their task tables.

    Args:
      config: where the records come from.
      world: the planted world, if they are made up.
      options: which tasks there are, and how they are split.

    Raises:
      ConfigError: no such data.
      DataError: a task has too few rows, or a file cannot be read.
    """
    records, counts = _records(config, world)
    tasks = recruitment_tasks(records, options)
    return TaskData(name=config.name, tasks=tuple(tasks.values()), counts=counts)


def _records(
    config: RecruitmentConfig, world: WorldOptions
) -> tuple[Recruitment, Mapping[str, int]]:
    """The records, and what was left out or changed by reason."""
    if config.name == WORLD:
        return recruitment_world(world).recruitment, {}
    loaded = read_recruitment(
        find_text(config.jobs),
        find_text(config.people),
        interviews=find_text(config.interviews) if config.interviews else None,
        matches=find_text(config.matches) if config.matches else None,
        salaries=config.salaries,
        empty=config.empty,
    )
    cleaned = clean_recruitment(loaded.records[0], CleanOptions(missing=config.missing))
    counts = dict(loaded.counts)
    for kind, rules in cleaned.counts.items():
        counts |= {f"{kind}: {rule}": count for rule, count in rules.items()}
    return cleaned.recruitment, counts
