"""What labelers are asked: prompts with answers, read from JSON lines, and questions."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxrec.core import ConfigError, nearest
from jaxrec.data import files

# Answers to a prompt: two to compare, and as many as there are number keys.
_LEAST, _MOST = 2, 9
_MOST_POINTS = 100
_KEYS = ("prompt_id", "prompt", "answers")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelTask:
    """A prompt with the answers that labelers compare.

    Attributes:
      prompt_id: names the prompt.
      prompt: its text.
      answers: two to nine different texts.
    """

    prompt_id: str
    prompt: str
    answers: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Question:
    """A question about each answer.

    Attributes:
      name: the criterion.
      points: number of points of a Likert scale; 0 for yes or no.

    Example:
      >>> Question.of("harmless?", points=5), Question.of("helpful", points=5)
      (Question(name='harmless', points=0), Question(name='helpful', points=5))
    """

    name: str
    points: int

    @classmethod
    def of(cls, word: str, points: int) -> "Question":
        """Read a criterion; a question mark at its end asks for yes or no.

        Raises:
          ConfigError: no name, or a scale of fewer than 2 or more than 100 points.
        """
        name = word.removesuffix("?").strip()
        if not name:
            raise ConfigError(f"the question {word!r} has no name; give one such as helpful")
        if not 2 <= points <= _MOST_POINTS:
            raise ConfigError(
                f"a Likert scale has 2 to {_MOST_POINTS} points, got --points {points}"
            )
        return cls(name, 0 if word.endswith("?") else points)

    def fault(self, value: Any) -> str:
        """Say what is wrong with an answer to the question; "" if nothing is."""
        if not self.points:
            return "" if isinstance(value, bool) else "answer yes or no"
        whole = isinstance(value, int) and not isinstance(value, bool)
        return "" if whole and 1 <= value <= self.points else f"give 1 to {self.points}"


def read_tasks(path: str | os.PathLike[str]) -> list[LabelTask]:
    r"""Read prompts and answers from JSON lines: {"prompt", "answers"} and maybe "prompt_id".

    A prompt without an ID is called by the number of its line.

    Raises:
      DataError: the file is missing or damaged, an ID stands twice, or a line does not have a
        prompt with two to nine different answers. The message names the lines.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "prompts.jsonl"
      >>> _ = path.write_text('{"prompt": "Hi", "answers": ["Hello", "What?"]}\n')
      >>> read_tasks(path)
      [LabelTask(prompt_id='1', prompt='Hi', answers=('Hello', 'What?'))]
    """
    path = Path(path)
    tasks: dict[str, LabelTask] = {}
    for line, record, bad in files.read_json_lines(path):
        if fault := _fault(record, tasks, line):
            bad.add(line, fault)
            continue
        name = record.get("prompt_id", str(line))
        answers = tuple(record["answers"])
        tasks[name] = LabelTask(prompt_id=name, prompt=record["prompt"], answers=answers)
    return list(tasks.values())


def _fault(record: Mapping[str, Any], known: Mapping[str, LabelTask], line: int) -> str:
    # A misspelled prompt_id would otherwise be replaced by the number of the line.
    if unknown := [key for key in record if key not in _KEYS]:
        near = nearest(unknown[0], _KEYS) if files.usual(unknown[:1]) else ""
        return f"unknown key {files.shown(unknown[0])}{near}; a prompt has the keys {_listed()}"
    if missing := [key for key in ("prompt", "answers") if key not in record]:
        return f"no key {missing[0]!r}; a prompt has the keys {_listed()}"
    name, answers = record.get("prompt_id", str(line)), record["answers"]
    for key, value in (("prompt_id", name), ("prompt", record["prompt"])):
        if not isinstance(value, str) or not value.strip():
            return f"{key!r} must be a text, got {files.shown(value)}"
    if name in known:
        return f"prompt_id {files.shown(name)} stands twice; give each prompt its own"
    if not isinstance(answers, list):
        return f"'answers' must be a list of texts, got {files.shown(answers)}"
    if not _LEAST <= len(answers) <= _MOST:
        return f"'answers' must be {_LEAST} to {_MOST} texts, got {len(answers)}"
    for place, answer in enumerate(answers, start=1):
        if not isinstance(answer, str) or not answer.strip():
            return f"answer {place} must be a text, got {files.shown(answer)}"
        # Spaces at the ends cannot be seen on the page.
        if same := [
            k for k, a in enumerate(answers[: place - 1], 1) if a.strip() == answer.strip()
        ]:
            return f"answers {same[0]} and {place} are equal: {files.shown(answer)}; remove one"
    return ""


def _listed() -> str:
    return "prompt, answers and, if you like, prompt_id"
