"""What a labeling page asks, and what it has already been told.

The file of feedback is the only state. A service that is killed and started again reads it, and
shows each labeler the prompts that are still open for them.
"""

import dataclasses
import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.align import Feedback, append_feedback, mend_feedback, read_feedback
from jaxrec.core import ConfigError, DataError, check_file, nearest
from jaxrec.data import files

# Answers to a prompt: two to compare, and as many as there are number keys.
_LEAST, _MOST = 2, 9
_LONGEST_NAME = 100


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
          ConfigError: no name, or a scale of fewer than 2 points.
        """
        name = word.removesuffix("?").strip()
        if not name:
            raise ConfigError(f"the question {word!r} has no name; give one such as helpful")
        if points < 2:
            raise ConfigError(f"a Likert scale has 2 points or more, got --points {points}")
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
    name, answers = record.get("prompt_id", str(line)), record.get("answers")
    for key, value in (("prompt_id", name), ("prompt", record.get("prompt"))):
        if not isinstance(value, str) or not value.strip():
            near = "" if key in record else nearest(key, files.usual(record))
            return f"{key!r} must be a text, got {files.shown(value)}{near}"
    if name in known:
        return f"prompt_id {files.shown(name)} stands twice; give each prompt its own"
    texts = isinstance(answers, list) and all(isinstance(a, str) and a.strip() for a in answers)
    if not isinstance(answers, list) or not texts or not _LEAST <= len(answers) <= _MOST:
        return f"'answers' must be {_LEAST} to {_MOST} texts, got {files.shown(answers)}"
    if len(set(answers)) < len(answers):
        return f"two answers are equal: {files.shown(answers)}; remove one"
    return ""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Labeling:
    """A study: its prompts, what is asked, and the file that receives the feedback.

    Attributes:
      tasks: the prompts by ID.
      path: file of feedback.
      rank: whether answers are ranked.
      questions: asked about each answer.
      labelers: who may answer; () for everybody.
      answered: pairs of labeler and prompt ID that are complete.
      clock: returns the seconds since 1970.
    """

    tasks: Mapping[str, LabelTask]
    path: Path
    rank: bool = True
    questions: tuple[Question, ...] = ()
    labelers: tuple[str, ...] = ()
    answered: set[tuple[str, str]] = dataclasses.field(default_factory=set)
    clock: Callable[[], float] = time.time

    @classmethod
    def open(
        cls,
        tasks: Sequence[LabelTask],
        path: Path,
        *,
        rank: bool = True,
        questions: Sequence[Question] = (),
        labelers: Sequence[str] = (),
    ) -> "Labeling":
        """Begin a study, or go on with the one whose feedback is in the file.

        Raises:
          ConfigError: nothing is asked, a question stands twice, or the file is packed.
          DataError: the file is damaged, or holds feedback on other prompts or answers, or of a
            labeler who is not expected.
        """
        if not rank and not questions:
            raise ConfigError("nothing is asked; rank the answers, or give --questions")
        names = [question.name for question in questions]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ConfigError(f"the question {twice[0]!r} stands twice; remove one")
        check_file(path, missing=True)
        lost = mend_feedback(path)
        if lost:
            print(f"{path}: an unfinished line at the end was removed: {files.shown(lost)}")
        study = cls(
            tasks={task.prompt_id: task for task in tasks},
            path=path,
            rank=rank,
            questions=tuple(questions),
            labelers=tuple(labelers),
        )
        found: dict[tuple[str, str], set[str]] = {}
        has_feedback = path.is_file() and path.stat().st_size
        for record in read_feedback(path, labelers or None) if has_feedback else ():
            task = study.tasks.get(record.prompt_id)
            if task is None or (task.prompt, task.answers) != (record.prompt, record.answers):
                raise DataError(
                    f"{path} holds feedback on the prompt {files.shown(record.prompt_id)}, which "
                    "is missing in the data or has other answers there; give another --out"
                )
            found.setdefault((record.labeler, record.prompt_id), set()).add(record.kind)
        study.answered.update(key for key, kinds in found.items() if study._kinds <= kinds)
        return study

    @property
    def _kinds(self) -> set[str]:
        return {
            kind for kind, asked in (("ranking", self.rank), ("questions", self.questions)) if asked
        }

    def next_task(self, labeler: str) -> dict[str, Any]:
        """Return what the page shows a labeler next: JSON-able; "prompt" is missing at the end.

        The order of the prompts is that of the data, and each labeler sees the answers to a prompt
        in an order of their own, so that no answer gains by its place.

        Raises:
          DataError: an unknown labeler.
        """
        self._check_labeler(labeler)
        left = [t for t in self.tasks.values() if (labeler, t.prompt_id) not in self.answered]
        page: dict[str, Any] = {
            "done": len(self.tasks) - len(left),
            "total": len(self.tasks),
            "rank": self.rank,
            "questions": [dataclasses.asdict(question) for question in self.questions],
        }
        if left:
            answers = [left[0].answers[k] for k in self._order(labeler, left[0])]
            page |= {"prompt_id": left[0].prompt_id, "prompt": left[0].prompt, "answers": answers}
        return page

    def save(self, said: Any) -> None:
        """Check and append what a labeler said about one prompt; it is on the disk afterwards.

        Args:
          said: {"labeler", "prompt_id", "ranks", "scores"}, with ranks and scores in the order in
            which `next_task` gave the answers.

        Raises:
          DataError: something is missing, unknown or does not fit, or was answered before.
          ResourceError: the file cannot be written.
        """
        if not isinstance(said, dict):
            raise DataError(f"expected a JSON object, got {files.shown(said)}")
        labeler, prompt_id = said.get("labeler"), said.get("prompt_id")
        self._check_labeler(labeler)
        task = self.tasks.get(prompt_id) if isinstance(prompt_id, str) else None
        if task is None:
            raise DataError(
                f"no prompt {files.shown(prompt_id)} in this study; load the page again"
            )
        key = (str(labeler), task.prompt_id)
        if key in self.answered:
            raise DataError(
                f"{files.shown(labeler)} has answered the prompt {files.shown(prompt_id)} before; "
                "load the page again"
            )
        # The page shows answer order[k] in place k.
        order = self._order(key[0], task)
        back = [order.index(k) for k in range(len(order))]
        common = {
            "prompt_id": task.prompt_id,
            "prompt": task.prompt,
            "answers": list(task.answers),
            "labeler": key[0],
            "time": self.clock(),
        }
        records = []
        if self.rank:
            ranks = _listed(said.get("ranks"), len(back), "ranks")
            ranking = {"ranks": [ranks[k] for k in back]}
            records.append(Feedback.of(common | {"kind": "ranking", "payload": ranking}))
        if self.questions:
            answered = {"scores": self._scores(said.get("scores"), back)}
            records.append(Feedback.of(common | {"kind": "questions", "payload": answered}))
        append_feedback(self.path, *records)
        self.answered.add(key)

    def _scores(self, scores: Any, back: list[int]) -> dict[str, list[Any]]:
        names = [question.name for question in self.questions]
        if not isinstance(scores, dict) or set(scores) != set(names):
            raise DataError(
                f"'scores' must have the questions {', '.join(names)}, got {files.shown(scores)}"
            )
        found = {}
        for question in self.questions:
            values = _listed(scores[question.name], len(back), question.name)
            for value in values:
                if fault := question.fault(value):
                    raise DataError(f"{question.name}: {fault}, got {files.shown(value)}")
            found[question.name] = [values[k] for k in back]
        return found

    def _check_labeler(self, labeler: Any) -> None:
        if not isinstance(labeler, str) or not labeler.strip() or len(labeler) > _LONGEST_NAME:
            raise DataError(f"the labeler must be a name, got {files.shown(labeler)}")
        if self.labelers and labeler not in self.labelers:
            raise DataError(
                f"unknown labeler {files.shown(labeler)}{nearest(labeler, self.labelers)}; ask who "
                "runs the study"
            )

    def _order(self, labeler: str, task: LabelTask) -> list[int]:
        """The answers as a labeler sees them: always in the same order, also after a restart."""
        name = f"{len(labeler)}:{labeler}{task.prompt_id}".encode("utf-8", "backslashreplace")
        seed = int.from_bytes(hashlib.sha256(name).digest()[:8], "big")
        return [int(k) for k in np.random.default_rng(seed).permutation(len(task.answers))]


def _listed(values: Any, count: int, what: str) -> list[Any]:
    if not isinstance(values, list) or len(values) != count:
        raise DataError(
            f"{what!r} must have one value for each of {count} answers, got {files.shown(values)}"
        )
    return values
