"""Answers of language models on disk: one JSON line each, only ever appended.

A process that is killed leaves at most one incomplete line at the end. The next one removes it and
asks its question again. A damaged line anywhere else is an error. Processes that share a file take
turns under a lock of the kernel, and the first answer to a question counts, so that all of them go
on with the same one.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from jaxrec.core import DataError, ResourceError
from jaxrec.prompting.language_model import GenerateOptions, Reply, Score, TextScore, Usage

_FORMAT = {"format": "jaxrec answers", "version": 1}
Answer = Reply | Score | TextScore | int


@dataclasses.dataclass(frozen=True)
class Question:
    """Something that a model was asked.

    Attributes:
      model: name of the model.
      kind: "generate", "score", "score_text" or "count".
      asked: what the answer depends on besides the model, as a JSON value.

    Example:
      >>> a, b = (Question.generate("m", "Hello", GenerateOptions(seed=seed)) for seed in (0, 1))
      >>> a.key == b.key, a.key == Question.generate("m", "Hello", GenerateOptions()).key
      (False, True)
    """

    model: str
    kind: str
    asked: Mapping[str, Any]

    @classmethod
    def generate(cls, model: str, prompt: str, options: GenerateOptions) -> "Question":
        """Ask for continuations. Options with their defaults are left out of the question."""
        given = {
            field.name: getattr(options, field.name)
            for field in dataclasses.fields(options)
            if getattr(options, field.name) != field.default
        }
        return cls(model, "generate", {"prompt": prompt, "options": given})

    @classmethod
    def score(cls, model: str, prompt: str, continuation: str) -> "Question":
        """Ask for the score of one continuation."""
        return cls(model, "score", {"prompt": prompt, "continuation": continuation})

    @classmethod
    def score_text(cls, model: str, text: str) -> "Question":
        """Ask for the scores of a text's tokens."""
        return cls(model, "score_text", {"text": text})

    @classmethod
    def count(cls, model: str, text: str) -> "Question":
        """Ask for the number of a text's tokens; only a digest of the text is stored."""
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
        return cls(model, "count", {"sha256": digest})

    @property
    def key(self) -> str:
        """Digest of everything that the answer depends on."""
        asked = [self.model, self.kind, self.asked]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


class AnswerFile:
    """The answers in a file, which other processes may extend at the same time.

    Args:
      path: the file; it need not exist.

    Raises:
      DataError: the file is something else, or a line before the last one is damaged.
      ResourceError: the file cannot be read.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "answers.jsonl"
      >>> question = Question.count("m", "two words")
      >>> AnswerFile(path).append([(question, 2)])
      [2]
      >>> AnswerFile(path).get(question)
      2
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.contexts: dict[str, int | None] = {}
        self._answers: dict[str, Answer] = {}
        # Bytes and lines that are read.
        self._end = self._lines = 0
        self.refresh()

    def __len__(self) -> int:
        """Return the number of questions with an answer."""
        return len(self._answers)

    def get(self, question: Question) -> Answer | None:
        """Return the answer to a question; None if there is none yet."""
        return self._answers.get(question.key)

    def refresh(self) -> None:
        """Read what has been appended since the last call.

        Raises:
          DataError: the file is something else, damaged, or shorter than before.
          ResourceError: the file cannot be read.
        """
        try:
            with open(self.path, "rb") as file:
                self._read(file)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ResourceError(f"cannot read {self.path}: {error.strerror}") from error

    def append(self, answers: Sequence[tuple[Question, Answer]]) -> list[Answer]:
        """Store answers, and return those that count: another process may have been first.

        Raises:
          ResourceError: the file cannot be written.
        """
        with self._locked() as file:
            fresh = []
            for question, answer in answers:
                stored = self._answers.get(question.key)
                if stored is None or (_failed(stored) and not _failed(answer)):
                    self._answers[question.key] = answer
                    fresh.append(_line(question, answer))
            self._write(file, fresh)
        return [self._answers[question.key] for question, _ in answers]

    def note_model(self, name: str, context: int | None) -> None:
        """Store the context of a model, for replays.

        Raises:
          ResourceError: the file cannot be written.
        """
        if name in self.contexts and self.contexts[name] == context:
            return
        with self._locked() as file:
            self.contexts[name] = context
            self._write(file, [{"kind": "model", "model": name, "context": context}])

    @contextlib.contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        """Open the file for appending, alone, after reading what others have appended."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._read(file)
                yield file
        except OSError as error:
            raise ResourceError(
                f"cannot write {self.path}: {error.strerror}; give another path, or free the disk"
            ) from error

    def _write(self, file: BinaryIO, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            return
        text = "".join(json.dumps(row) + "\n" for row in rows)
        if not self._end:
            text = json.dumps(_FORMAT) + "\n" + text
        # What a killed process left of a line goes; nobody else writes under the lock.
        file.truncate(self._end)
        file.write(text.encode())
        file.flush()
        self._end += len(text.encode())
        self._lines += text.count("\n")

    def _read(self, file: BinaryIO) -> None:
        size = os.fstat(file.fileno()).st_size
        if size < self._end:
            raise DataError(f"{self.path} is shorter than before; other programs must not edit it")
        file.seek(self._end)
        lines = file.read(size - self._end).split(b"\n")
        if len(lines) == 1 and json.dumps(_FORMAT).encode().startswith(lines[0]):
            # Nothing new, or the beginning of the first line alone.
            return
        if not self._end and (len(lines) == 1 or _parsed(lines[0]) != _FORMAT):
            raise DataError(
                f"{self.path} is no file of answers: its first line must be {json.dumps(_FORMAT)}; "
                "give the path of another file or of a new one"
            )
        # The last piece is empty, or a line that is not complete yet.
        for line in lines[:-1]:
            number = self._lines + 1
            try:
                if number > 1:
                    self._take(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(
                    f"{self.path}: line {number} is damaged and holds no answer: "
                    f"{line[:60].decode(errors='replace')!r}; remove this line, and its question "
                    "is asked again"
                ) from error
            self._end += len(line) + 1
            self._lines = number

    def _take(self, row: Any) -> None:
        """Keep the answer of a line."""
        if row["kind"] == "model":
            self.contexts[row["model"]] = row["context"]
            return
        key = Question(row["model"], row["kind"], row["asked"]).key
        answer = _answer(row["kind"], row["answer"])
        if key not in self._answers or _failed(self._answers[key]):
            self._answers[key] = answer


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _line(question: Question, answer: Answer) -> dict[str, Any]:
    plain = answer if isinstance(answer, int) else dataclasses.asdict(answer)
    return {
        "model": question.model,
        "kind": question.kind,
        "asked": question.asked,
        "answer": plain,
    }


def _answer(kind: str, plain: Any) -> Answer:
    """Make an answer of its JSON value; raises ValueError, KeyError or TypeError if it is none."""
    if kind == "count":
        if type(plain) is not int:
            raise ValueError("no number of tokens")
        return plain
    usage = Usage(**plain["usage"])
    if not all(_is_number(value) for value in vars(usage).values()):
        raise ValueError("costs must be numbers")
    values = {**plain, "usage": usage}
    if kind == "score":
        score = Score(**values)
        if not _is_number(score.logprob) or not _is_number(score.tokens):
            raise ValueError("a score must be a number")
        return score
    if kind == "score_text":
        text = TextScore(**{**values, "logprobs": tuple(values["logprobs"])})
        if not all(map(_is_number, text.logprobs)):
            raise ValueError("scores must be numbers")
        return text
    if kind != "generate":
        raise ValueError("an unknown kind of question")
    reply = Reply(**{**values, **{name: tuple(values[name]) for name in ("texts", "truncated")}})
    if not reply.texts or len(reply.texts) != len(reply.truncated):
        raise ValueError("each text needs one mark")
    if not all(isinstance(text, str) for text in reply.texts):
        raise ValueError("continuations must be texts")
    return reply


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _failed(answer: Answer) -> bool:
    return isinstance(answer, Reply) and answer.failure is not None
