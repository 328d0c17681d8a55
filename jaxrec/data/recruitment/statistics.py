"""How many rows and classes the task tables have, as numbers and as a table."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxrec.data.recruitment.task import Task


def task_statistics(task: Task) -> dict[str, Any]:
    """Numbers of rows and classes of a task.

    Args:
      task: any.

    Returns:
      "task", "kind", "synthetic", the rows of "train", "valid" and "test", the number of
      "classes", "dropped" rows by reason, and for labels the share of the "largest" class in
      training.

    Example:
      >>> from jaxrec.data.recruitment import TaskRows
      >>> rows = TaskRows(texts=("a", "b"), labels=np.array([0, 0]))
      >>> task = Task(name="x", kind="matching", train=rows, valid=rows, test=rows, classes=("no",))
      >>> task_statistics(task)["largest"]
      1.0
    """
    numbers: dict[str, Any] = {
        "task": task.name,
        "kind": task.kind,
        "synthetic": task.synthetic,
        "train": len(task.train),
        "valid": len(task.valid),
        "test": len(task.test),
        "classes": len(task.classes),
        "dropped": dict(task.dropped),
    }
    if len(task.train.labels):
        numbers["largest"] = float(np.bincount(task.train.labels).max() / len(task.train.labels))
    return numbers


def statistics_table(tasks: Mapping[str, Task]) -> str:
    """The numbers of all tasks as a table in Markdown.

    Args:
      tasks: by name.

    Example:
      >>> from jaxrec.data.recruitment import TaskRows
      >>> rows = TaskRows(texts=("a", "b"), labels=np.array([0, 0]))
      >>> task = Task(name="x", kind="matching", train=rows, valid=rows, test=rows, synthetic=True)
      >>> print(statistics_table({"x": task}).splitlines()[-1])
      | x | matching | 0 | 2 | 2 | 2 | 0 | synthetic |
    """
    lines = [
        "| task | kind | classes | train | valid | test | dropped | data |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for task in tasks.values():
        one = task_statistics(task)
        cells = [one[key] for key in ("task", "kind", "classes", "train", "valid", "test")]
        cells += [sum(task.dropped.values()), "synthetic" if task.synthetic else "real"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)
