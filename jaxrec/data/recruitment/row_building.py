"""From labeled texts to the parts of a task: numbered labels, rare classes, and what is dropped."""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxrec.core import DataError
from jaxrec.data.recruitment.splitting import PARTS, TRAIN
from jaxrec.data.recruitment.task import Task, TaskKind, TaskRows
from jaxrec.data.recruitment.task_options import TaskOptions

OTHER = "other"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """One row before it is in a table.

    Attributes:
      part: `TRAIN`, `VALID` or `TEST`.
      text: what is classified.
      label: name of its class; "" if it is not known.
      skills: of the text.
      person: ID; "" for none.
      job: ID; "" for none.
      probability: planted, of label 1.
    """

    part: int
    text: str
    label: str
    skills: tuple[str, ...] = ()
    person: str = ""
    job: str = ""
    probability: float = float("nan")


def classification(
    name: str,
    examples: Sequence[Example],
    options: TaskOptions,
    *,
    classes: tuple[str, ...] = (),
    synthetic: bool,
) -> Task:
    """Make a task of classification.

    Args:
      name: of the task.
      examples: its rows.
      options: what rare classes are.
      classes: names in their order; () for those of the examples, sorted.
      synthetic: whether a program made the data up.

    Raises:
      DataError: a class has too few rows, or a part has none.

    Example:
      >>> rows = [Example(part=n % 3, text="t", label="ab"[n > 5]) for n in range(9)]
      >>> task = classification("x", rows, TaskOptions(), synthetic=True)
      >>> task.classes, task.train.labels.tolist(), task.dropped
      (('a', 'b'), [0, 0, 1], {})
    """
    dropped: collections.Counter[str] = collections.Counter()
    kept = [example for example in examples if example.label]
    dropped["without a label"] = len(examples) - len(kept)
    if not classes:
        kept = _without_rare(name, kept, options, dropped)
        classes = tuple(sorted({example.label for example in kept}))
    trained = {example.label for example in kept if example.part == TRAIN}
    known = [e for e in kept if e.label in trained]
    dropped["of a class without training rows"] = len(kept) - len(known)
    number = {label: n for n, label in enumerate(classes)}
    parts = []
    for part in range(len(PARTS)):
        rows = [example for example in known if example.part == part]
        parts.append(
            TaskRows(
                texts=tuple(row.text for row in rows),
                skills=tuple(row.skills for row in rows),
                labels=np.array([number[row.label] for row in rows], np.int32),
                people=tuple(row.person for row in rows) if any(r.person for r in rows) else (),
                job_ids=tuple(row.job for row in rows) if any(r.job for r in rows) else (),
                probability=np.array([row.probability for row in rows], np.float64),
            )
        )
    return finish(name, "classification", parts, dropped, classes=classes, synthetic=synthetic)


def _without_rare(
    name: str, examples: list[Example], options: TaskOptions, dropped: collections.Counter[str]
) -> list[Example]:
    counts = collections.Counter(example.label for example in examples)
    rare = {label for label, count in counts.items() if count < options.min_examples}
    if not rare:
        return examples
    if options.rare == "error":
        label = min(rare, key=lambda one: (counts[one], one))
        rows = "1 row" if counts[label] == 1 else f"{counts[label]} rows"
        more = f", and {len(rare) - 1} more classes have as few" if len(rare) > 1 else ""
        raise DataError(
            f"task {name}: class {label!r} has {rows}, fewer than --tasks.min-examples "
            f"{options.min_examples}{more}; add examples, or choose --tasks.rare drop or merge"
        )
    if options.rare == "drop":
        kept = [example for example in examples if example.label not in rare]
        dropped["of a rare class"] = len(examples) - len(kept)
        return kept
    return [
        dataclasses.replace(example, label=OTHER) if example.label in rare else example
        for example in examples
    ]


def finish(
    name: str,
    kind: TaskKind,
    parts: Sequence[TaskRows],
    dropped: collections.Counter[str],
    *,
    classes: tuple[str, ...] = (),
    synthetic: bool,
) -> Task:
    """Put the three parts together.

    Raises:
      DataError: a part has no rows; the message says how many the others have.
    """
    if not all(map(len, parts)):
        sizes = ", ".join(f"{len(rows)} {part}" for part, rows in zip(PARTS, parts, strict=True))
        lost = "".join(f"; {n} dropped {why}" for why, n in dropped.items() if n)
        raise DataError(
            f"task {name} needs rows in every part and has {sizes}{lost}; give more records, or "
            "leave the task out of --tasks.names"
        )
    train, valid, test = parts
    return Task(
        name=name,
        kind=kind,
        train=train,
        valid=valid,
        test=test,
        classes=classes,
        dropped={why: count for why, count in dropped.items() if count},
        synthetic=synthetic,
    )
