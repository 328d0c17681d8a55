"""A task table: the rows that train, validate and test a model of one recruitment task."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np

TaskKind = Literal["classification", "matching", "ranking", "regression", "tagging"]


def _empty(kind: type = np.int32) -> np.ndarray:
    return np.zeros(0, kind)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TaskRows:
    """The rows of one part of a task. Only the fields of the task's kind are filled.

    Attributes:
      texts: of each row: what is classified or valued; the resume in matching and ranking.
      skills: of each text, as far as they are known.
      labels: `[n]` int32, place among the task's classes; in matching 1 for a match.
      values: `[n]` float32, what a regression predicts.
      jobs: the text of each row's job in matching. In ranking, the texts of all jobs that
        `candidates` count.
      job_skills: of each text in `jobs`.
      candidates: `[n, C]` int32, places in `jobs` of the jobs to rank.
      relevant: `[n]` int32, place of the right job among a row's candidates.
      words: of each row in tagging.
      tags: of each row's words, BIOES.
      people: ID of each row's person; () if rows have none.
      job_ids: ID of each row's job; () if rows have none. In ranking, of each text in `jobs`.
      probability: `[n]` float64, the planted probability of label 1; NaN where it is not known.

    Example:
      >>> len(TaskRows(texts=("a", "b"), labels=np.array([0, 1])))
      2
    """

    texts: tuple[str, ...] = ()
    skills: tuple[tuple[str, ...], ...] = ()
    labels: np.ndarray = dataclasses.field(default_factory=_empty)
    values: np.ndarray = dataclasses.field(default_factory=lambda: _empty(np.float32))
    jobs: tuple[str, ...] = ()
    job_skills: tuple[tuple[str, ...], ...] = ()
    candidates: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 0), np.int32))
    relevant: np.ndarray = dataclasses.field(default_factory=_empty)
    words: tuple[tuple[str, ...], ...] = ()
    tags: tuple[tuple[str, ...], ...] = ()
    people: tuple[str, ...] = ()
    job_ids: tuple[str, ...] = ()
    probability: np.ndarray = dataclasses.field(default_factory=lambda: _empty(np.float64))

    def __len__(self) -> int:
        return len(self.words) if self.words else len(self.texts)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A task in three parts that share no person, or, if its rows are jobs, no job.

    Attributes:
      name: such as "jd_3rd_class".
      kind: which fields of the rows are filled.
      train: rows to train on.
      valid: rows that choose checkpoints and settings.
      test: rows that are read once.
      classes: names of the labels.
      center: mean of a regression's values in training, in the unit of the data.
      scale: their standard deviation; `values` are `(unit - center) / scale`.
      dropped: number of rows that were left out, by reason.
      synthetic: whether a program made the data up.

    Example:
      >>> rows = TaskRows(texts=("a",), labels=np.array([0]))
      >>> Task(name="x", kind="classification", train=rows, valid=rows, test=rows).synthetic
      False
    """

    name: str
    kind: TaskKind
    train: TaskRows
    valid: TaskRows
    test: TaskRows
    classes: tuple[str, ...] = ()
    center: float = 0.0
    scale: float = 1.0
    dropped: Mapping[str, int] = dataclasses.field(default_factory=dict)
    synthetic: bool = False
