"""Human feedback: what labelers said about the answers to a prompt, one JSON line a record.

    {"prompt_id": "7", "prompt": "Name a film.", "answers": ["Heat", "a film"], "labeler": "ann",
     "kind": "ranking", "payload": {"ranks": [1, 2]}, "time": 1767225600.0}

The kinds and their payloads, with one number for each answer in the order of the answers:

| kind | payload | meaning |
|---|---|---|
| `ranking` | `{"ranks": [1, 2, 2]}` | 1 is best; equal ranks are ties |
| `best` | `{"best": 0}` | place of the best answer, counted from 0 |
| `questions` | `{"scores": {"helpful": [5, 2, 1], "harmless": [true, true, false]}}` | criteria |
| `rules` | `{"violations": {"no threats": [0, 1, 0.5]}}` | probability that a rule is broken |

(Ranking: Ouyang et al. 2022, arXiv:2203.02155; best of n: Ziegler et al. 2019, arXiv:1909.08593;
rules: Glaese et al. 2022, arXiv:2209.14375.)
"""

import dataclasses
import json
import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from jaxrec.core import ConfigError, DataError, ResourceError, nearest
from jaxrec.data import files

Kind = Literal["ranking", "best", "questions", "rules"]
# The key of each kind's payload.
_KEYS = {"ranking": "ranks", "best": "best", "questions": "scores", "rules": "violations"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Feedback:
    """What one labeler said about the answers to one prompt.

    Attributes:
      prompt_id: names the prompt.
      prompt: its text.
      answers: K texts.
      labeler: who gave the feedback.
      kind: "ranking", "best", "questions" or "rules".
      payload: what was said; see the table of this module.
      time: seconds since 1970.

    Raises:
      DataError: a field of another type, or a payload that does not fit the answers.

    Example:
      >>> said = {"labeler": "ann", "kind": "ranking", "payload": {"ranks": [2, 1, 2]}}
      >>> Feedback(prompt_id="7", prompt="Hi", answers=("a", "b", "c"), time=0.0, **said).ranks
      (2, 1, 2)
    """

    prompt_id: str
    prompt: str
    answers: tuple[str, ...]
    labeler: str
    kind: Kind
    payload: Mapping[str, Any]
    time: float

    def __post_init__(self) -> None:
        """Reject what cannot be the feedback of a labeler."""
        for name in ("prompt_id", "prompt", "labeler", "kind"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise DataError(f"{name!r} must be a text, got {files.shown(value)}")
        if self.kind not in get_args(Kind):
            kinds = ", ".join(get_args(Kind))
            near = nearest(self.kind, get_args(Kind))
            raise DataError(f"no kind {files.shown(self.kind)}{near}; kinds: {kinds}")
        least = 2 if self.kind in ("ranking", "best") else 1
        if len(self.answers) < least or not all(isinstance(a, str) for a in self.answers):
            raise DataError(
                f"'answers' must be a list of at least {least} texts for a {self.kind}, got "
                f"{files.shown(list(self.answers))}"
            )
        if not _is_number(self.time):
            raise DataError(f"'time' must be seconds since 1970, got {files.shown(self.time)}")
        key = _KEYS[self.kind]
        if not isinstance(self.payload, Mapping) or set(self.payload) != {key}:
            raise DataError(
                f"the payload of a {self.kind} must have the key {key!r} alone, got "
                f"{files.shown(self.payload)}"
            )
        _CHECKS[self.kind](self.payload[key], len(self.answers))

    @property
    def ranks(self) -> tuple[int, ...]:
        """Rank of each answer, 1 for the best; the others of a best answer are tied.

        Raises:
          DataError: feedback of another kind.
        """
        if self.kind == "ranking":
            return tuple(self.payload["ranks"])
        if self.kind == "best":
            return tuple(1 if k == self.payload["best"] else 2 for k in range(len(self.answers)))
        raise DataError(f"feedback of the kind {self.kind} has no ranks")

    @classmethod
    def of(cls, record: Any) -> "Feedback":
        """Make feedback of the object of a JSON line.

        Raises:
          DataError: a missing or unknown key, or a bad value.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(record, dict):
            raise DataError(f"feedback must be a JSON object, got {files.shown(record)}")
        for name in names:
            if name not in record:
                raise DataError(
                    f"no key {name!r}{nearest(name, files.usual(record))}; feedback has the keys "
                    f"{', '.join(names)}"
                )
        if unknown := [name for name in record if name not in names]:
            raise DataError(
                f"unknown key {files.shown(unknown[0])}{nearest(unknown[0], names)}; feedback has "
                f"the keys {', '.join(names)}"
            )
        answers = record["answers"]
        if not isinstance(answers, list):
            raise DataError(f"'answers' must be a list of texts, got {files.shown(answers)}")
        return cls(**record | {"answers": tuple(answers)})

    def line(self) -> str:
        """Return the record as one line of JSON, without its end."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=True)


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_ranks(ranks: Any, count: int) -> None:
    if not isinstance(ranks, Sequence) or isinstance(ranks, str) or len(ranks) != count:
        raise DataError(
            f"'ranks' must be a list of {count} ranks, one for each answer, got "
            f"{files.shown(ranks)}"
        )
    if all(map(_is_whole, ranks)):
        different = sorted(set(ranks))
        dense = [different.index(rank) + 1 for rank in ranks]
        skipping = [sum(other < rank for other in ranks) + 1 for rank in ranks]
        if list(ranks) in (dense, skipping):
            return
    raise DataError(
        f"'ranks' {files.shown(list(ranks))} are not the ranks of {count} answers; give whole "
        "numbers from 1, such as [1, 2, 2, 3] or [1, 2, 2, 4] with a tie"
    )


def _check_best(best: Any, count: int) -> None:
    if not _is_whole(best) or not 0 <= best < count:
        raise DataError(
            f"'best' must be the place of one of {count} answers, from 0 to {count - 1}, got "
            f"{files.shown(best)}"
        )


def _check_scores(scores: Any, count: int) -> None:
    _check_lists(scores, count, "scores", "criterion")
    for name, values in scores.items():
        for value in values:
            if not isinstance(value, bool) and not _is_number(value):
                raise DataError(
                    f"the score {files.shown(value)} for {files.shown(name)} is neither true, "
                    "false nor a finite number"
                )


def _check_violations(violations: Any, count: int) -> None:
    _check_lists(violations, count, "violations", "rule")
    for name, values in violations.items():
        for value in values:
            if not isinstance(value, bool) and not (_is_number(value) and 0 <= value <= 1):
                raise DataError(
                    f"the violation {files.shown(value)} of {files.shown(name)} is no probability; "
                    "give true, false or a number from 0 to 1"
                )


def _check_lists(value: Any, count: int, key: str, what: str) -> None:
    if not isinstance(value, Mapping) or not value:
        raise DataError(f"{key!r} must map each {what} to a list, got {files.shown(value)}")
    for name, values in value.items():
        if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != count:
            raise DataError(
                f"{key!r} of the {what} {files.shown(name)} must have one value for each of "
                f"{count} answers, got {files.shown(values)}"
            )


_CHECKS = {
    "ranking": _check_ranks,
    "best": _check_best,
    "questions": _check_scores,
    "rules": _check_violations,
}


def read_feedback(
    path: str | os.PathLike[str], labelers: Collection[str] | None = None
) -> list[Feedback]:
    r"""Read a file of feedback.

    Args:
      path: JSON lines, gzipped if the name ends in `.gz`.
      labelers: the only ones to expect; None for any.

    Raises:
      DataError: the file is missing, empty or damaged, a record is not feedback, or its labeler is
        unknown. The message names the lines; nothing is loaded.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "feedback.jsonl"
      >>> said = {"labeler": "ann", "kind": "best", "payload": {"best": 1}, "time": 0}
      >>> append_feedback(path, Feedback(prompt_id="7", prompt="Hi", answers=("a", "b"), **said))
      >>> read_feedback(path)[0].ranks
      (2, 1)
    """
    path = Path(path)
    records = []
    for line, record, bad in files.read_json_lines(path):
        try:
            feedback = Feedback.of(record)
            if labelers is not None and feedback.labeler not in labelers:
                name = feedback.labeler
                raise DataError(
                    f"unknown labeler {files.shown(name)}{nearest(name, labelers)}; labelers: "
                    f"{files.listed(sorted(labelers))}"
                )
            records.append(feedback)
        except DataError as error:
            bad.add(line, str(error))  # the reader raises one error at the end
    return records


def append_feedback(path: Path, *records: Feedback) -> None:
    """Append records to a file, and return when they are on the disk.

    Args:
      path: JSON lines; the file is created if it does not exist.
      *records: what one labeler said about one prompt; they are written together.

    Raises:
      ResourceError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One write of whole lines: writers that append at the same time do not mix their lines.
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            lines = "".join(f"{record.line()}\n" for record in records).encode()
            before = os.fstat(handle).st_size
            if os.write(handle, lines) != len(lines):
                os.ftruncate(handle, before)
                raise OSError("only a part was written")
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise ResourceError(
            f"cannot write {path}: {error.strerror or error}; free space or choose another file"
        ) from error


def mend_feedback(path: Path) -> str:
    """Remove the beginning of a line with which a killed writer ended a file.

    A labeler was never told that such a record is saved.

    Args:
      path: of feedback; it need not exist.

    Returns:
      The text that was removed; "" if the file is whole.

    Raises:
      ConfigError: a packed file, which cannot be appended to.
    """
    if path.suffix == ".gz":
        raise ConfigError(f"{path} is packed, so nothing can be appended; give another file")
    if not path.is_file():
        return ""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole == len(content):
        return ""
    with path.open("r+b") as file:
        try:
            Feedback.of(json.loads(content[whole:]))
        except (ValueError, RecursionError, DataError):
            file.truncate(whole)
            return content[whole:].decode(errors="replace")
        # Only the end of the line is missing, as in a file that an editor wrote.
        file.seek(0, os.SEEK_END)
        file.write(b"\n")
    return ""
