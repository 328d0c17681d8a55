"""The data of a run: three kinds of sources become instances, split before anything is written.

task data sets   rows  -> split by datum       -> templates and styles ┐
instructions     texts -> split by instruction                         ├-> instances -> marked texts
chats            turns -> filtered, split by user                      ┘
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxrec.core import ConfigError, DataError, nearest
from jaxrec.data import read_instructions
from jaxrec.systems.instruct.config import (
    FILMS,
    OCCUPATIONS,
    TOY,
    InstructConfig,
    InstructDataConfig,
)
from jaxrec.texts import (
    Instance,
    TaskSet,
    answer_of,
    film_tasks,
    filter_chats,
    held_out_instances,
    occupation_tasks,
    plain_text,
    read_chats,
    read_task_set,
    split_chats,
    split_rows,
    toy_tasks,
    training_instances,
)

# What a measurement is about: trained tasks in seen and in unseen wordings, tasks that were never
# trained, and held-out data of files without templates.
SEEN, TEMPLATES, TASKS, RECORDS = "seen", "templates", "tasks", "records"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Prepared:
    """The instances of a run.

    Attributes:
      train: instances to learn, by set.
      valid: instances that rank checkpoints.
      test: instances that are measured, by part.
      plain: the training data as plain text, without instructions.
      counts: what was left out of the sources, and why.
      name: of the data.
      words: texts that a tokenizer from scratch keeps as one token each.
    """

    train: Mapping[str, list[Instance]]
    valid: list[Instance]
    test: Mapping[str, list[Instance]]
    plain: list[str]
    counts: Mapping[str, int]
    name: str
    words: tuple[str, ...] = ()

    @property
    def everything(self) -> list[Instance]:
        """All training instances, set after set."""
        return [instance for instances in self.train.values() for instance in instances]

    def describe(self) -> Mapping[str, object]:
        """Say what the run is measured on: JSON-able."""
        texts = [
            [plain_text(instance.record) for instance in part]
            for part in (self.everything, self.valid, *self.test.values())
        ]
        digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
        counts = {part: len(instances) for part, instances in self.test.items()}
        return {
            "dataset": self.name,
            "train": len(self.everything),
            "valid": len(self.valid),
            "test": counts,
            "left_out": dict(self.counts),
            "fingerprint": digest,
        }


def prepare(config: InstructConfig) -> Prepared:
    """Read the sources, split them, and write the instances.

    Raises:
      ConfigError: an unknown task, or none that is trained.
      DataError: a source is missing or damaged, or leaves nothing to train on or to measure.

    Example:
      >>> from jaxrec.systems.instruct import InstructConfig, InstructDataConfig, prepare
      >>> held = InstructDataConfig(tasks=("toy",), held_out_tasks=("sum",), toy_rows=20)
      >>> prepared = prepare(InstructConfig(data=held))
      >>> "sum" in prepared.train, {instance.task for instance in prepared.test["tasks"]}
      (False, {'sum'})
    """
    data, writing = config.data, config.writing
    train: dict[str, list[Instance]] = {}
    valid: list[Instance] = []
    test: dict[str, list[Instance]] = {SEEN: [], TEMPLATES: [], TASKS: [], RECORDS: []}
    plain: list[str] = []
    counts: dict[str, int] = {}
    shares, most = (data.valid_share, data.test_share), config.eval.test_instances
    words: dict[str, None] = {}
    for task in _tasks(data):
        words |= dict.fromkeys(task.words)
        parts = split_rows(task.rows, shares, data.seed)
        if _held_out(task, data.held_out_tasks):
            rows = np.arange(len(task.rows))
            test[TASKS] += held_out_instances(task, rows, task.templates, most=most, seed=data.seed)
            continue
        train[task.name] = training_instances(
            task,
            parts["train"],
            writing.chosen_styles,
            per_datum=writing.per_datum,
            shots=writing.shots,
            most_words=writing.shot_words,
            seed=config.train.seed,
        )
        plain += [_plain_row(task, row) for row in parts["train"].tolist()]
        valid += held_out_instances(task, parts["valid"], task.seen, seed=data.seed)
        for part, templates in ((SEEN, task.seen), (TEMPLATES, task.unseen)):
            if templates:
                test[part] += held_out_instances(
                    task, parts["test"], templates, most=most, seed=data.seed
                )
    for path, sides in (*_records(data, counts), *_chats(data, counts)):
        train[path] = sides["train"]
        plain += [plain_text(instance.record) for instance in sides["train"]]
        valid += sides["valid"]
        test[RECORDS] += sides["test"][: most or None]
    train = {name: instances for name, instances in train.items() if instances}
    if not train or not valid or not any(test.values()):
        left_out = ", ".join(f"{number:,} {reason}" for reason, number in counts.items())
        raise DataError(
            f"{data.name}: {sum(map(len, train.values()))} training, {len(valid)} validation and "
            f"{sum(map(len, test.values()))} test instances"
            + (f" (left out: {left_out})" if left_out else "")
            + "; give more data, or other data.valid_share and data.test_share"
        )
    if config.eval.valid_instances:
        order = np.random.default_rng(data.seed).permutation(len(valid))
        valid = [valid[n] for n in np.sort(order[: config.eval.valid_instances]).tolist()]
    return Prepared(
        train=train,
        valid=valid,
        test={part: instances for part, instances in test.items() if instances},
        plain=plain,
        counts=counts,
        name=data.name,
        words=tuple(words),
    )


def _tasks(data: InstructDataConfig) -> list[TaskSet]:
    """Return the task data sets, and reject names of held-out tasks that do not exist."""
    tasks: list[TaskSet] = []
    for name in data.tasks:
        if name == TOY:
            tasks += toy_tasks(data.toy_rows, data.seed)
        elif name == OCCUPATIONS:
            tasks += occupation_tasks()
        elif name == FILMS:
            tasks += film_tasks(data.film_rows, data.film_lists, data.seed)
        else:
            tasks.append(read_task_set(name))
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"data.tasks has two tasks {twice!r}; rename one in its description")
    known = [*names, *(task.cluster for task in tasks if task.cluster)]
    for name in data.held_out_tasks:
        if name not in known:
            raise ConfigError(
                f"data.held_out_tasks: no task or cluster {name!r}{nearest(name, known)}; known: "
                f"{', '.join(dict.fromkeys(known)) or 'none'}"
            )
    return tasks


def _held_out(task: TaskSet, names: Sequence[str]) -> bool:
    return task.name in names or task.cluster in names


def _plain_row(task: TaskSet, row: int) -> str:
    """A datum without an instruction: the fields of its templates, in the order of the data."""
    used = frozenset().union(*(template.holes for template in task.templates))
    values = task.rows[row].items()
    return "\n".join(v for name, v in values if name in used and isinstance(v, str))


def _records(
    data: InstructDataConfig, counts: dict[str, int]
) -> list[tuple[str, dict[str, list[Instance]]]]:
    """Instances of each file of instructions, split by instruction."""
    found = []
    for path in data.records:
        records = read_instructions(path)
        whole = [record for record in records if record.output.strip()]
        _count(counts, "empty output", len(records) - len(whole))
        rows = [{"instruction": record.instruction} for record in whole]
        parts = split_rows(rows, (data.valid_share, data.test_share), data.seed)
        sides: dict[str, list[Instance]] = {
            side: [Instance(record=whole[n], task=path, datum=n) for n in part.tolist()]
            for side, part in parts.items()
        }
        found.append((path, sides))
    return found


def _chats(
    data: InstructDataConfig, counts: dict[str, int]
) -> list[tuple[str, dict[str, list[Instance]]]]:
    """Instances of each file of chats, filtered and split by user."""
    found = []
    for path in data.chats:
        chats, reasons = filter_chats(
            read_chats(path), prefix=data.chat_prefix, per_user=data.chats_per_user
        )
        for reason, number in reasons.items():
            _count(counts, f"chats: {reason}", number)
        parts = split_chats(chats, (data.valid_share, data.test_share), data.seed)
        sides = {
            side: [Instance(record=chat, task=path) for chat in part]
            for side, part in parts.items()
        }
        found.append((path, sides))
    return found


def _count(counts: dict[str, int], reason: str, number: int) -> None:
    if number:
        counts[reason] = counts.get(reason, 0) + number


def constant_answers(instances: Sequence[Instance]) -> list[str]:
    """The most frequent right answer of each instance's task: the best answer that reads nothing.

    Example:
      >>> from jaxrec.data import Instruction
      >>> from jaxrec.systems.instruct.data import constant_answers
      >>> from jaxrec.texts import Instance
      >>> records = [Instruction("a", "", answer) for answer in ("no", "yes", "no")]
      >>> constant_answers([Instance(record=record, task="t") for record in records])
      ['no', 'no', 'no']
    """
    answers: dict[str, list[str]] = {}
    for instance in instances:
        answers.setdefault(instance.task, []).append(answer_of(instance.record))
    best: dict[str, Any] = {}
    for task, given in answers.items():
        values, counts = np.unique(given, return_counts=True)
        best[task] = str(values[counts.argmax()])
    return [best[instance.task] for instance in instances]
