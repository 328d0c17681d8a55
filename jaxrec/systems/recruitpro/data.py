"""The records of a run and their task tables."""

import dataclasses
import hashlib
from collections.abc import Mapping

from jaxrec.core import ConfigError
from jaxrec.data.recruitment import (
    Task,
    TaskOptions,
    TaskRows,
    WorldOptions,
    recruitment_tasks,
    recruitment_world,
)

WORLD = "recruitment-world"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecruitmentConfig:
    """Where the records come from.

    Attributes:
      name: "recruitment-world" makes records up; what else the data are called.
    """

    name: str = WORLD


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TaskData:
    """The tables of a run.

    Attributes:
      name: of the data.
      tasks: in the order of their numbers.
    """

    name: str
    tasks: tuple[Task, ...]

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
        return "\n".join([f"{self.name}{made}", *lines])


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
    if config.name != WORLD:
        raise ConfigError("no data")
    records = recruitment_world(world).recruitment
    tasks = recruitment_tasks(records, options)
    return TaskData(name=config.name, tasks=tuple(tasks.values()))
