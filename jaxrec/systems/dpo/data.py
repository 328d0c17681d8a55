"""The preferences of a run: read, put together by prompt, split, and as tokens.

Shapes: `E` examples, `K` answers of an example of which the first is preferred, `T` tokens.
"""

import dataclasses
import functools
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxrec.align import (
    Comparisons,
    Feedback,
    Part,
    Prompted,
    check_pairs,
    gather,
    pad_rows,
    read_feedback,
    read_preferences,
    split_prompts,
)
from jaxrec.core import DataError, nearest
from jaxrec.data import Instruction, MarkedText, encode_marked
from jaxrec.data.corpora import left_out
from jaxrec.systems.dpo.config import DpoConfig, PreferenceConfig
from jaxrec.texts import mark, occupation_preferences

# The length of rows is rounded up to a multiple of this.
_MULTIPLE = 8
_UNUSED = "prompts without a preferred answer"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Preferences:
    """The preferences of a run in parts.

    Attributes:
      name: of the preferences.
      source: their files, or the rule that made them.
      parts: prompts by the name of the part.
      rejected: numbers of records, pairs and prompts left out, by reason.
    """

    name: str
    source: str
    parts: Mapping[str, Comparisons]
    rejected: Mapping[str, int]

    def describe(self) -> Mapping[str, object]:
        """Say what the run is trained and measured on: JSON-able."""
        digest = hashlib.sha256()
        for name, part in self.parts.items():
            digest.update(f"{name}:{part.fingerprint()}".encode())
        counts: dict[str, object] = {name: len(part) for name, part in self.parts.items()}
        facts = {"dataset": self.name, "source": self.source, "rejected": dict(self.rejected)}
        return facts | counts | {"fingerprint": digest.hexdigest()}

    def __str__(self) -> str:
        """Describe the preferences in a line or two, to print before training."""
        shown = ", ".join(f"{len(part):,} prompts in {name}" for name, part in self.parts.items())
        return "\n".join(
            filter(None, (f"{self.name}: {shown} ({self.source})", left_out(self.rejected)))
        )


def load_preferences(config: PreferenceConfig) -> Preferences:
    """Read and split the preferences of a config.

    Raises:
      DataError: a file is missing or damaged, an unknown labeler, or a part without any preference.
    """
    rejected: Counter[str] = Counter()
    if config.has_files:
        source = ", ".join((*config.records, *config.feedback))
        records = [record for path in config.records for record in read_preferences(path)]
        records += _feedback(config)
        shares: dict[Part, float] = {
            "train": 1 - config.valid - config.test,
            "valid": config.valid,
            "test": config.test,
        }
        whole = _useful(gather(records), rejected)
        parts = {str(k): v for k, v in split_prompts(whole, shares, config.seed).items()}
    else:
        source = "a rule on O*NET's descriptions"
        made = occupation_preferences((config.valid, config.test), config.rejected, config.seed)
        parts = {name: gather(records) for name, records in made.items()}
    for name, part in parts.items():
        if not len(part):
            total = sum(map(len, parts.values()))
            lost = ", ".join(f"{count:,} {what}" for what, count in sorted(rejected.items()))
            raise DataError(
                f"data.name {config.name}: {total} prompts with a preferred answer leave none for "
                f"the part {name}{f' (left out: {lost})' if lost else ''}; give more preferences, "
                "or change --data.seed, --data.valid or --data.test"
            )
    return Preferences(
        name=config.name, source=source, parts=parts, rejected=dict(sorted(rejected.items()))
    )


def _feedback(config: PreferenceConfig) -> list[Feedback]:
    records = [record for path in config.feedback for record in read_feedback(path)]
    known = sorted({record.labeler for record in records})
    for name in config.labelers:
        if name not in known:
            raise DataError(
                f"--data.labelers: unknown labeler {name!r}{nearest(name, known)}; labelers: "
                f"{', '.join(known[:20])}"
            )
    return [r for r in records if not config.labelers or r.labeler in config.labelers]


def _useful(whole: Comparisons, rejected: Counter[str]) -> Comparisons:
    """Leave out prompts in which nothing is preferred, and answers without a text."""
    rejected.update(whole.rejected)
    rows = []
    for row in whole.rows:
        kept = [k for k, answer in enumerate(row.answers) if answer.strip()]
        if len(kept) < len(row.answers):
            rejected["empty answers"] += len(row.answers) - len(kept)
            row = keep_answers(row, kept)
        if examples_of(row, several=False):
            rows.append(row)
        else:
            rejected[_UNUSED] += 1
    return Comparisons(rows=tuple(rows), rejected={})


def keep_answers(row: Prompted, kept: Sequence[int]) -> Prompted:
    """A prompt with some of its answers."""
    return dataclasses.replace(
        row,
        answers=tuple(row.answers[k] for k in kept),
        wins=row.wins[np.ix_(kept, kept)],
        best=row.best[list(kept)],
        scores=row.scores[list(kept)],
    )


def examples_of(row: Prompted, several: bool) -> list[tuple[int, tuple[int, ...]]]:
    """Numbers of the preferred answer and of those that it is preferred to.

    Labelers may contradict one another; an answer is preferred to another one if their weight says
    so, and to none if it is equal.

    Args:
      row: a prompt.
      several: all rejected answers of a preferred one make one example, and not one each.
    """
    ahead = row.wins > row.wins.T
    worse = [(i, tuple(np.flatnonzero(ahead[i]).tolist())) for i in range(len(row.answers))]
    if several:
        return [(i, losers) for i, losers in worse if losers]
    return [(i, (j,)) for i, losers in worse for j in losers]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Examples:
    """A part as arrays.

    Attributes:
      tokens: `[E, K, T]` int32, a prompt with the preferred answer and with each rejected one.
      valid: `[E, K, T]` bool; a row that is padding has one valid token.
      answer: `[E, K, T]` bool, tokens of the answer with its end; none of a row that is padding.
      prompt: `[E]` int, number of the prompt in `rows`.
      rows: the prompts with the answers that fit.
      reference: `[E, K]` float32 log-probabilities under the reference; None before they are known.
    """

    tokens: np.ndarray
    valid: np.ndarray
    answer: np.ndarray
    prompt: np.ndarray
    rows: tuple[Prompted, ...]
    reference: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def present(self) -> np.ndarray:
        """`[E, K]` bool, False for a row that is padding."""
        return np.asarray(self.answer.any(axis=-1))

    @functools.cached_property
    def weight(self) -> np.ndarray:
        """`[E]` float32: every prompt counts once, however many examples it has."""
        return (1 / np.bincount(self.prompt)[self.prompt]).astype(np.float32)

    def take(self, chosen: np.ndarray) -> dict[str, np.ndarray]:
        """Some of the examples as a batch."""
        reference = np.zeros(self.tokens.shape[:2]) if self.reference is None else self.reference
        return {
            "tokens": self.tokens[chosen],
            "valid": self.valid[chosen],
            "answer": self.answer[chosen],
            "weight": self.weight[chosen],
            "reference": reference[chosen].astype(np.float32),
        }


def encode_parts(
    config: DpoConfig, tokenizer: Any, preferences: Preferences
) -> tuple[dict[str, Examples], dict[str, int]]:
    """Write the prompts with their answers, and encode them.

    Returns:
      Examples by part, all of one shape but for their number, and numbers of what does not fit, by
      reason.

    Raises:
      ConfigError: a tokenizer that cannot write the frame, or has no end of a text.
      DataError: a part without any example that fits, or answers that are the same tokens.
    """
    rejected: Counter[str] = Counter()
    found: dict[str, list[tuple[Prompted, list[Any]]]] = {}
    for name, part in preferences.parts.items():
        fitting = [_fitting(config, tokenizer, row, rejected) for row in part.rows]
        found[name] = [pair for pair in fitting if pair]
        if not found[name]:
            raise DataError(
                f"--max-length {config.max_length} leaves no preference in the part {name} "
                f"({left_out(rejected)}); raise it, or shorten the texts"
            )
    several = config.loss == "sdpo"
    texts = [text for pairs in found.values() for _, texts in pairs for text in texts]
    longest = max(len(tokens) for tokens, _ in texts)
    length = min(-(-longest // _MULTIPLE) * _MULTIPLE, config.max_length)
    width = 1 + max(
        len(losers)
        for pairs in found.values()
        for row, _ in pairs
        for _, losers in examples_of(row, several)
    )
    parts = {name: _arranged(pairs, several, width, length) for name, pairs in found.items()}
    for examples in parts.values():
        check_pairs(examples.tokens[:, 0], examples.tokens[:, 1:])
    return parts, dict(sorted(rejected.items()))


def written(prompt: str, answer: str, config: DpoConfig, tokenizer: Any) -> MarkedText:
    """A prompt with an answer, in the frame of a run."""
    if config.frame == "none":
        return MarkedText(prompt + answer, ((len(prompt), len(prompt + answer)),))
    return mark(tokenizer, Instruction(prompt, "", answer), config.frame)


def _fitting(
    config: DpoConfig, tokenizer: Any, row: Prompted, rejected: Counter[str]
) -> tuple[Prompted, list[Any]] | None:
    """A prompt with its answers that fit, and their tokens; None if nothing is left."""
    texts = [written(row.prompt, answer, config, tokenizer) for answer in row.answers]
    encoded = encode_marked(tokenizer, texts, 1 << 30)
    rows = [encoded.text(number) for number in range(len(encoded))]
    begins = min(int(learned.argmax()) for _, learned in rows)
    if begins >= config.max_length - 1:
        rejected["prompts that fill the context"] += 1
        return None
    kept = [k for k, (tokens, _) in enumerate(rows) if len(tokens) <= config.max_length]
    rejected["answers that do not fit the context"] += len(rows) - len(kept)
    left = keep_answers(row, kept)
    if not examples_of(left, several=False):
        rejected["prompts whose answers that fit have no preference"] += 1
        return None
    return left, [rows[k] for k in kept]


def _arranged(
    pairs: Sequence[tuple[Prompted, list[Any]]], several: bool, width: int, length: int
) -> Examples:
    chosen = [
        (number, (best, *losers))
        for number, (row, _) in enumerate(pairs)
        for best, losers in examples_of(row, several)
    ]
    tokens = np.zeros((len(chosen), width, length), np.int32)
    valid, answer = np.zeros(tokens.shape, bool), np.zeros(tokens.shape, bool)
    # A row without any valid token has no last one, and attention over nothing is NaN.
    valid[:, :, 0] = True
    for place, (number, answers) in enumerate(chosen):
        texts = [pairs[number][1][k] for k in answers]
        rows = slice(0, len(answers))
        tokens[place, rows], valid[place, rows] = pad_rows([row for row, _ in texts], length)
        marks, _ = pad_rows([learned.astype(np.int32) for _, learned in texts], length)
        answer[place, rows] = marks > 0
    return Examples(
        tokens=tokens,
        valid=valid,
        answer=answer,
        prompt=np.array([number for number, _ in chosen]),
        rows=tuple(row for row, _ in pairs),
    )
