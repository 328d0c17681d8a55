"""What a language model is asked, so that it writes instructions and instances of them.

The forms are those of Self-Instruct (arXiv:2212.10560, appendix A.2) and Alpaca; the worked
examples in them are drawn from the seed tasks that the user gives.
"""

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path

from jaxrec.core import DataError
from jaxrec.data import Instruction, read_instructions, read_json_rows
from jaxrec.texts.instruction_rules import NO_INPUT

_SERIES = "Come up with a series of tasks:\n"
_CLASS = (
    "Can the following task be regarded as a classification task with finite output labels?\n\n"
)
_INPUT_FIRST = (
    "Come up with examples for the following tasks. Try to generate multiple examples when "
    "possible. If the task doesn't require additional input, you can generate the output "
    "directly.\n\n"
)
_OUTPUT_FIRST = (
    "Given the classification task definition and the class labels, generate an input that "
    "corresponds to each of the class labels. If the task doesn't require input, just generate "
    "possible class labels.\n\n"
)
_TASKS = (
    "Write a list of {count} task instructions for a language model, which will be judged by how "
    "well it completes them.\n\n"
    "Requirements:\n"
    "1. Begin each instruction with another verb, and vary the wording: some are questions, some "
    "commands.\n"
    "2. Vary the kind of task: open questions, classification, editing and others.\n"
    "3. A model that reads and writes text must be able to do it: no pictures, no sound, no "
    "actions.\n"
    "4. Write in English, one or two sentences for each instruction.\n"
    "5. Give each instruction a realistic input of at most 100 words, not a placeholder. Where "
    'none is needed, write "' + NO_INPUT + '".\n'
    "6. Give the right output, of less than 100 words.\n\n"
    "List of {count} tasks:\n"
)
# Worked examples of a prompt about classes: as many of each kind as in the published one.
_CLASSES, _OTHERS = 12, 19
_WORKED = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeedTask:
    """A task that people wrote, from which a model makes more.

    Attributes:
      instruction: what is to be done.
      instances: inputs and outputs, at least one.
      classes: whether the output is one of a few classes.
    """

    instruction: str
    instances: tuple[Instruction, ...]
    classes: bool = False


def read_seeds(path: str | os.PathLike[str]) -> list[SeedTask]:
    """Read seed tasks in the published form: "instruction", "instances", "is_classification".

    Raises:
      DataError: the file is missing or damaged; the message names the record.

    Example:
      >>> import json, pathlib, tempfile
      >>> from jaxrec.texts import read_seeds
      >>> row = {"instruction": "Add.", "instances": [{"input": "1 2", "output": "3"}]}
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "seeds.jsonl"
      >>> _ = path.write_text(json.dumps(row | {"is_classification": False}))
      >>> read_seeds(path)[0].instances[0].output
      '3'
    """
    path = Path(path)
    records = iter(read_instructions(path))
    fields = ("instruction", "instances", "is_classification")
    seeds = []
    for number, row in enumerate(read_json_rows(path, "seed tasks", fields)):
        instances, classes = row.get("instances"), row.get("is_classification", False)
        if not isinstance(instances, list) or not instances or not isinstance(classes, bool):
            raise DataError(
                f"{path}: record {number} must have a list of instances, and is_classification "
                f"true or false, got {instances!s:.40} and {classes!r}"
            )
        read = tuple(next(records) for _ in instances)
        seeds.append(SeedTask(instruction=read[0].instruction, instances=read, classes=classes))
    return seeds


def series_prompt(instructions: Sequence[str]) -> str:
    """Number instructions and ask for the next ones.

    Example:
      >>> from jaxrec.texts import series_prompt
      >>> print(series_prompt(["Add two  numbers:", "Name a city."]))
      Come up with a series of tasks:
      1. Add two numbers
      2. Name a city.
      3.
    """
    lines = [f"{number}. {_line(text)}\n" for number, text in enumerate(instructions, start=1)]
    return f"{_SERIES}{''.join(lines)}{len(instructions) + 1}."


def class_prompt(seeds: Sequence[SeedTask], instruction: str) -> str:
    """Ask whether an instruction wants a class, after worked examples from the seeds."""
    chosen = [
        *[seed for seed in seeds if seed.classes][:_CLASSES],
        *[seed for seed in seeds if not seed.classes][:_OTHERS],
    ]
    shown = [
        f"Task: {seed.instruction}\nIs it classification? {'Yes' if seed.classes else 'No'}\n\n"
        for seed in chosen
    ]
    return f"{_CLASS}{''.join(shown)}Task: {instruction}\nIs it classification?"


def instance_prompt(seeds: Sequence[SeedTask], instruction: str, *, classes: bool) -> str:
    """Ask for instances of an instruction, after worked examples from the seeds.

    For classes the label comes first. Otherwise a model writes inputs that all have one label.
    """
    write = _write_labels if classes else _write_examples
    shown = [
        f"Task: {seed.instruction}\n{write(seed.instances)}\n"
        for seed in [seed for seed in seeds if seed.classes == classes][:_WORKED]
    ]
    return f"{_OUTPUT_FIRST if classes else _INPUT_FIRST}{''.join(shown)}Task: {instruction}\n"


def _write_labels(instances: Sequence[Instruction]) -> str:
    return "".join(f"Class label: {i.output}\n{_ended(i.input)}" for i in instances)


def _write_examples(instances: Sequence[Instruction]) -> str:
    if len(instances) == 1 and not instances[0].input:
        return f"Output: {instances[0].output}\n"
    return "".join(
        f"Example {n}\n{_ended(i.input)}Output: {i.output}\n"
        for n, i in enumerate(instances, start=1)
    )


def tasks_prompt(records: Sequence[Instruction], count: int) -> str:
    """Ask for whole tasks, Alpaca's way: instruction, input and output under one number each.

    Args:
      records: worked examples.
      count: number of tasks in the list, those shown included.

    Example:
      >>> from jaxrec.data import Instruction
      >>> from jaxrec.texts import tasks_prompt
      >>> print(tasks_prompt([Instruction("Name a city.", "", "Lima")], 20)[-88:])
      ###
      1. Instruction: Name a city.
      1. Input:
      <noinput>
      1. Output:
      Lima
      ###
      2. Instruction:
    """
    shown = [
        f"###\n{n}. Instruction: {_line(r.instruction)}\n{n}. Input:\n{r.input or NO_INPUT}\n"
        f"{n}. Output:\n{r.output}\n"
        for n, r in enumerate(records, start=1)
    ]
    head = _TASKS.format(count=count)
    return f"{head}\n{''.join(shown)}###\n{len(records) + 1}. Instruction:"


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().rstrip(":")


def _ended(text: str) -> str:
    return f"{text}\n" if text else ""
