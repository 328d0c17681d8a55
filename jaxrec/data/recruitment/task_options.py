"""The settings of the task tables, and the names of the tasks."""

import dataclasses
from typing import Literal

from jaxrec.core import ConfigError, Count, Rate, Seed, check_ranges, nearest

TASKS = (
    "jd_3rd_class",
    "jd_2nd_class",
    "jd_1st_class",
    "resume_3rd_class",
    "resume_2nd_class",
    "resume_1st_class",
    "resume_understanding",
    "job_evaluation",
    "interview_result",
    "person_job_fit",
    "job_recommendation",
    "salary",
    "skill_extraction",
)
Rare = Literal["error", "drop", "merge"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """How records become task tables.

    Attributes:
      names: tasks to make; () for all thirteen.
      valid: share of the jobs and of the people that validate.
      test: share of the jobs and of the people that test.
      min_examples: fewest rows of a class.
      rare: what a class with fewer rows is: an "error", or "drop" its rows, or "merge" all such
        classes into the class "other".
      candidates: jobs to rank, the right one included.
      seed: of the splits and of the candidates.

    Raises:
      ConfigError: an unknown task, or shares that leave too little to train on.

    Example:
      >>> TaskOptions(names=("salery",))
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: --tasks.names: no task 'salery', did you mean 'salary'?
    """

    names: tuple[str, ...] = ()
    valid: Rate = 0.15
    test: Rate = 0.15
    min_examples: Count = 2
    rare: Rare = "error"
    candidates: Count = 20
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Reject tasks that do not exist and splits without a part."""
        check_ranges(self, "--tasks.")
        for name in self.names:
            if name not in TASKS:
                raise ConfigError(f"--tasks.names: no task {name!r}{nearest(name, TASKS)}")
        if not (self.valid and self.test and self.valid + self.test <= 0.5):
            raise ConfigError(
                f"--tasks.valid {self.valid:g} and --tasks.test {self.test:g} must be above 0, and "
                "at most 0.5 together"
            )
        if self.candidates < 2:
            raise ConfigError("--tasks.candidates must be at least 2, got 1: nothing to rank")
