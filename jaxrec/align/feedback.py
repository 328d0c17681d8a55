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
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from jaxrec.core import DataError, nearest
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
