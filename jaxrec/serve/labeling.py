"""What a labeling page asks, and what it has already been told.

The file of feedback is the only state. A service that is killed and started again reads it, and
shows each labeler the prompts that are still open for them.
"""

import dataclasses
import hashlib
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from jaxrec.align import Feedback, append_feedback, mend_feedback, read_feedback
from jaxrec.core import ConfigError, DataError, check_file, nearest
from jaxrec.data import files
from jaxrec.serve.labeling_tasks import LabelTask, Question

Compare = Literal["ranking", "best", "nothing"]
_LONGEST_NAME = 100


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Labeling:
    """A study: its prompts, what is asked, and the file that receives the feedback.

    Attributes:
      tasks: the prompts by ID.
      path: file of feedback.
      compare: whether labelers rank the answers, choose the best one, or do neither.
      questions: asked about each answer.
      labelers: who may answer; () for everybody.
      answered: pairs of labeler and prompt ID that are complete.
      names: labelers who have answered, by their names without regard to capital letters.
      clock: returns the seconds since 1970.
    """

    tasks: Mapping[str, LabelTask]
    path: Path
    compare: Compare = "ranking"
    questions: tuple[Question, ...] = ()
    labelers: tuple[str, ...] = ()
    answered: set[tuple[str, str]] = dataclasses.field(default_factory=set)
    names: dict[str, str] = dataclasses.field(default_factory=dict)
    clock: Callable[[], float] = time.time

    @classmethod
    def open(
        cls,
        tasks: Sequence[LabelTask],
        path: Path,
        *,
        compare: Compare = "ranking",
        questions: Sequence[Question] = (),
        labelers: Sequence[str] = (),
    ) -> "Labeling":
        """Begin a study, or go on with the one whose feedback is in the file.

        A prompt is asked again if the file does not have all that is asked about it.

        Raises:
          ConfigError: nothing is asked, a question or labeler stands twice, or the file is packed.
          DataError: the file is damaged, or holds feedback on other prompts or answers, on another
            scale, or of a labeler who is not expected.
        """
        if compare not in get_args(Compare):
            raise ConfigError(f"no comparison {compare!r}; choose ranking, best or nothing")
        if compare == "nothing" and not questions:
            raise ConfigError("nothing is asked; compare the answers, or give --questions")
        _check_once([question.name for question in questions], "question")
        _check_once([_plain(labeler) for labeler in labelers], "labeler")
        check_file(path, missing=True)
        lost = mend_feedback(path)
        if lost:
            print(f"{path}: an unfinished line at the end was removed: {files.shown(lost)}")
        study = cls(
            tasks={task.prompt_id: task for task in tasks},
            path=path,
            compare=compare,
            questions=tuple(questions),
            labelers=tuple(labelers),
        )
        for labeler in labelers:
            study._check_labeler(labeler)
        has_feedback = path.is_file() and path.stat().st_size
        study._continue(read_feedback(path, labelers or None) if has_feedback else [])
        return study

    def _continue(self, records: Sequence[Feedback]) -> None:
        """Note what earlier records say; reject those that do not belong to this study."""
        found: dict[tuple[str, str], set[str]] = {}
        for record in records:
            task = self.tasks.get(record.prompt_id)
            if task is None or (task.prompt, task.answers) != (record.prompt, record.answers):
                raise DataError(
                    f"{self.path} holds feedback on the prompt {files.shown(record.prompt_id)}, "
                    "which is missing in the data or has other answers there; give another --out"
                )
            self.names.setdefault(_plain(record.labeler), record.labeler)
            if record.kind == "questions" and not self._has_all(record.payload["scores"]):
                continue
            found.setdefault((record.labeler, record.prompt_id), set()).add(record.kind)
        self.answered.update(key for key, kinds in found.items() if self._kinds <= kinds)

    def _has_all(self, scores: Mapping[str, Sequence[Any]]) -> bool:
        """Whether earlier scores answer all questions."""
        for question in self.questions:
            for value in scores.get(question.name, ()):
                if fault := question.fault(value):
                    raise DataError(
                        f"{self.path} holds the answer {files.shown(value)} to the question "
                        f"{files.shown(question.name)}, which now expects something else ({fault});"
                        " ask as before, or give another --out"
                    )
        return all(question.name in scores for question in self.questions)

    @property
    def _kinds(self) -> set[str]:
        compared = () if self.compare == "nothing" else (self.compare,)
        return {*compared, *(["questions"] if self.questions else [])}

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
            "compare": self.compare,
            "questions": [dataclasses.asdict(question) for question in self.questions],
        }
        if left:
            answers = [left[0].answers[k] for k in self._order(labeler, left[0])]
            page |= {"prompt_id": left[0].prompt_id, "prompt": left[0].prompt, "answers": answers}
        return page

    def save(self, said: Any) -> None:
        """Check and append what a labeler said about one prompt; it is on the disk afterwards.

        Args:
          said: {"labeler", "prompt_id", "ranks", "best", "scores"} without what is not asked; ranks
            and scores are in the order in which `next_task` gave the answers, and best is a place
            in it.

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
        if self.compare == "ranking":
            ranks = _listed(said.get("ranks"), len(back), "ranks")
            ranking = {"ranks": [ranks[k] for k in back]}
            records.append(Feedback.of(common | {"kind": "ranking", "payload": ranking}))
        if self.compare == "best":
            place = said.get("best")
            if type(place) is not int or not 0 <= place < len(order):
                raise DataError(
                    f"'best' must be a place from 0 to {len(order) - 1}, got {files.shown(place)}"
                )
            best = {"best": order[place]}
            records.append(Feedback.of(common | {"kind": "best", "payload": best}))
        if self.questions:
            answered = {"scores": self._scores(said.get("scores"), back)}
            records.append(Feedback.of(common | {"kind": "questions", "payload": answered}))
        append_feedback(self.path, *records)
        self.answered.add(key)
        self.names.setdefault(_plain(key[0]), key[0])

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
        named = isinstance(labeler, str) and 0 < len(labeler) <= _LONGEST_NAME
        if not named or labeler != labeler.strip():
            raise DataError(
                f"the labeler must be a name of at most {_LONGEST_NAME} letters without spaces at "
                f"its ends, got {files.shown(labeler)}"
            )
        if self.labelers and labeler not in self.labelers:
            raise DataError(
                f"unknown labeler {files.shown(labeler)}{nearest(labeler, self.labelers)}; ask who "
                "runs the study"
            )
        # One person who is two labelers would answer everything twice.
        known = self.names.get(_plain(labeler), labeler)
        if known != labeler and not self.labelers:
            raise DataError(
                f"the name {files.shown(labeler)} is written {files.shown(known)} in this study; "
                "write it so, or choose another name"
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


def _plain(name: str) -> str:
    """A name without what people write now in one way, now in another."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _check_once(names: Sequence[str], what: str) -> None:
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"the {what} {twice[0]!r} stands twice; remove one")
