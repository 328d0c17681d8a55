"""Batches of training: one task after the other, and as many rows of each class as can be.

A contrast between labels needs several rows of a label in a batch. With hundreds of classes a
random batch has hardly two of one, so a batch draws classes first, and then rows of each.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxrec.data import endless, host_rows
from jaxrec.systems.recruitpro.tables import Rows


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Balanced:
    """An endless stream of the rows of a task, balanced over classes.

    A batch has `per_class` rows of each of `rows / per_class` different classes, or more of each if
    there are fewer classes. The classes of some batches are a permutation of all classes, of which
    those are left out that do not fill another batch. The rows of a class come from permutations
    too; a class with too few rows for a batch has some twice.

    Attributes:
      labels: `[n]` class of each row.
      rows: rows of a batch.
      per_class: rows of each class in a batch.
      seed: of the permutations.

    Example:
      >>> stream = Balanced(labels=np.array([0, 0, 0, 1, 1, 2, 2]), rows=4, per_class=2, seed=0)
      >>> [len(set(stream.labels[stream.batch(n)].tolist())) for n in range(3)]
      [2, 2, 2]
    """

    labels: np.ndarray
    rows: int
    per_class: int
    seed: int

    @functools.cached_property
    def members(self) -> list[np.ndarray]:
        """Rows of each class that has any."""
        return [np.flatnonzero(self.labels == label) for label in np.unique(self.labels)]

    @functools.cached_property
    def drawn(self) -> int:
        """Number of classes in a batch."""
        return min(len(self.members), max(1, self.rows // self.per_class))

    def batch(self, number: int) -> np.ndarray:
        """Rows of a batch by its number: `[rows]`."""
        turn, place = divmod(number, len(self.members) // self.drawn)
        order = _permutation(self.seed, 0, turn, len(self.members))
        chosen = order[place * self.drawn : (place + 1) * self.drawn]
        # Rows that do not divide over the classes go to the first ones.
        counts = np.full(self.drawn, self.rows // self.drawn)
        counts[: self.rows % self.drawn] += 1
        most = int(counts.max())
        found: list[int] = []
        for label, count in zip(chosen.tolist(), counts.tolist(), strict=True):
            rows = self.members[label]
            for k in range(count):
                again, at = divmod(turn * most + k, len(rows))
                found.append(int(rows[_permutation(self.seed, 1 + label, again, len(rows))[at]]))
        return np.array(found)


@functools.lru_cache(maxsize=4096)
def _permutation(seed: int, stream: int, turn: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, stream, turn]).permutation(count)


def task_at(step: int, tasks: int, seed: int) -> int:
    """The task of a step: every task once in a round, in a new order each time.

    Args:
      step: number of the step.
      tasks: number of tasks.
      seed: of the orders.

    Example:
      >>> sorted(task_at(step, 3, seed=0) for step in range(3, 6))
      [0, 1, 2]
    """
    turn, place = divmod(step, tasks)
    return int(_permutation(seed, -1 + 2**32, turn, tasks)[place])


def batch_rows(rows: Rows, batch_size: int, pairs: int) -> int:
    """Rows of a batch of a task.

    Args:
      rows: of the task.
      batch_size: rows of a batch of single texts.
      pairs: rows of a batch of pairs.
    """
    return pairs if rows.kind == "pair" else batch_size


def joint_batches(
    tables: Sequence[Rows],
    *,
    batch_size: int,
    pairs: int,
    per_class: int,
    seed: int,
    shard: tuple[int, int] = (0, 1),
) -> Any:
    """Endless, seeded, resumable batches, each of one task.

    Args:
      tables: training rows of each task, by its number.
      batch_size: rows of a batch of single texts or of words.
      pairs: rows of a batch of pairs.
      per_class: rows of each class in a batch.
      seed: of all orders.
      shard: number of this process, and how many there are.

    Returns:
      A Grain dataset; its iterator is checkpointable.
    """
    sizes = [batch_rows(rows, batch_size, pairs) for rows in tables]
    own = [host_rows(size, shard) for size in sizes]
    streams = [
        Balanced(labels=rows.labels, rows=size, per_class=per_class, seed=seed + 7919 * number)
        for number, (rows, size) in enumerate(zip(tables, sizes, strict=True))
    ]

    def batch(step: int) -> dict[str, np.ndarray]:
        task = task_at(step, len(tables), seed)
        # Each round has one batch of every task, so the round counts a task's batches.
        numbers = streams[task].batch(step // len(tables))
        return tables[task].take(numbers[own[task]], task)

    return endless(batch, max(sizes), 0)


def examples(tables: Sequence[Rows], batch_size: int, pairs: int) -> list[Mapping[str, Any]]:
    """A batch of each shape that `joint_batches` gives, for plans."""
    found: dict[str, Mapping[str, Any]] = {}
    for number, rows in enumerate(tables):
        size = batch_rows(rows, batch_size, pairs)
        if rows.kind not in found:
            found[rows.kind] = rows.take(np.zeros(size, np.int64), number)
    return list(found.values())
