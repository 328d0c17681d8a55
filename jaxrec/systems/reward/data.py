"""The feedback of a run: read, put together by prompt, split, and as tokens.

Shapes: `P` prompts, `K` answers to a prompt (fewer are padded), `T` tokens.
"""

import dataclasses
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
    encode_answers,
    gather,
    pad_rows,
    read_feedback,
    split_prompts,
)
from jaxrec.core import DataError
from jaxrec.data.corpora import left_out
from jaxrec.systems.reward.config import Learned, RewardModelConfig
from jaxrec.systems.reward.planted import Planted

# The length of rows is rounded up to a multiple of this.
_MULTIPLE = 8


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Preferences:
    """The feedback of a run in parts.

    Attributes:
      name: of the feedback.
      source: its files, or the simulation.
      parts: prompts by the name of the part.
      rejected: numbers of records, pairs and prompts left out, by reason.
      planted: the simulation that made the feedback; None for files.
    """

    name: str
    source: str
    parts: Mapping[str, Comparisons]
    rejected: Mapping[str, int]
    planted: Planted | None

    def describe(self) -> Mapping[str, object]:
        """Say what the run is trained and measured on: JSON-able."""
        digest = hashlib.sha256()
        for name, part in self.parts.items():
            digest.update(f"{name}:{part.fingerprint()}".encode())
        counts: dict[str, object] = {name: len(part) for name, part in self.parts.items()}
        facts = {"dataset": self.name, "source": self.source, "rejected": dict(self.rejected)}
        pairs = {"test_pairs": self.parts["test"].pairs}
        return facts | counts | pairs | {"fingerprint": digest.hexdigest()}

    def __str__(self) -> str:
        """Describe the feedback in a line or two, to print before training."""
        shown = ", ".join(
            f"{len(part):,} prompts with {part.pairs:,} pairs in {name}"
            for name, part in self.parts.items()
            if len(part)
        )
        text = f"{self.name}: {shown} ({self.source})"
        return f"{text}\n{left_out(self.rejected)}" if self.rejected else text


def load_preferences(config: RewardModelConfig) -> Preferences:
    """Read and split the feedback of a config.

    Raises:
      DataError: a file is missing or damaged, an unknown labeler, or a part without what the run
        learns from.
    """
    data, planted = config.data, None
    if data.paths:
        records = [record for path in data.paths for record in read_feedback(path)]
        records = _of_labelers(records, data.labelers)
        source = ", ".join(data.paths)
    else:
        planted = Planted.of(config.planted)
        records, source = planted.records, "simulation"
    criteria = dict(zip(data.criteria, data.weights, strict=True)) or None
    rules = dict(zip(data.rules, data.rule_weights, strict=True)) or None
    whole = gather(records, criteria, rules)
    rejected = Counter(whole.rejected)
    useful = [number for number, row in enumerate(whole.rows) if is_useful(row, config.learn)]
    if len(useful) < len(whole):
        rejected[f"prompts without {_WANTED[config.learn]}"] += len(whole) - len(useful)
    shares: dict[Part, float] = {
        "train": data.train,
        "valid": data.valid,
        "test": data.test,
        "gold": data.gold,
    }
    parts = split_prompts(whole.take(useful), shares, data.seed)
    for name, part in parts.items():
        if not len(part) and shares[name]:
            lost = ", ".join(f"{count:,} {what}" for what, count in sorted(rejected.items()))
            raise DataError(
                f"data.name {data.name}: {len(useful)} prompts with {_WANTED[config.learn]} leave "
                f"none for the part {name}{f' (left out: {lost})' if lost else ''}; give more "
                "feedback, or change --data.valid, --data.test, --data.gold or --data.seed"
            )
    return Preferences(
        name=data.name,
        source=source,
        parts={str(name): part for name, part in parts.items() if shares[name]},
        rejected=dict(sorted(rejected.items())),
        planted=planted,
    )


_WANTED = {
    "pairs": "a pair of answers of different ranks",
    "best": "a best answer",
    "scores": "a score of an answer",
}


def is_useful(row: Prompted, learn: Learned) -> bool:
    """Whether a prompt has anything to learn."""
    values = {"pairs": row.wins > 0, "best": row.best > 0, "scores": ~np.isnan(row.scores)}[learn]
    return bool(values.any()) and (learn != "best" or len(row.answers) > 1)


def _of_labelers(records: Sequence[Feedback], labelers: Sequence[str]) -> list[Feedback]:
    if not labelers:
        return list(records)
    known = sorted({record.labeler for record in records})
    for name in labelers:
        if name not in known:
            raise DataError(
                f"--data.labelers: unknown labeler {name!r}; labelers: {', '.join(known[:20])}"
            )
    return [record for record in records if record.labeler in labelers]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Encoded:
    """A part as arrays.

    Attributes:
      tokens: `[P, K, T]` int32.
      valid: `[P, K, T]` bool; an answer that is padding has one valid token.
      wins: `[P, K, K]` float32, see `Prompted`.
      best: `[P, K]` float32.
      scores: `[P, K]` float32, 0 where there is none.
      scored: `[P, K]` bool, whether there is a score.
      present: `[P, K]` bool, False for an answer that is padding.
      rows: the prompts, with the answers that are left.
    """

    tokens: np.ndarray
    valid: np.ndarray
    wins: np.ndarray
    best: np.ndarray
    scores: np.ndarray
    scored: np.ndarray
    present: np.ndarray
    rows: tuple[Prompted, ...]

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, chosen: np.ndarray) -> dict[str, np.ndarray]:
        """Return prompts as a batch of training."""
        fields = [field.name for field in dataclasses.fields(self) if field.name != "rows"]
        return {name: getattr(self, name)[chosen] for name in fields}

    def flat(self) -> tuple[np.ndarray, np.ndarray]:
        """The tokens and validity of all answers that are no padding: `[N, T]`."""
        return self.tokens[self.present], self.valid[self.present]


def encode_parts(
    config: RewardModelConfig, tokenizer: Any, preferences: Preferences
) -> tuple[dict[str, Encoded], Mapping[str, int]]:
    """Encode all parts to one shape, and count what does not fit the context.

    Raises:
      DataError: nothing that fits is left in a part.
    """
    rejected: Counter[str] = Counter()
    kept = {
        name: [_fitting(config, tokenizer, row, rejected) for row in part.rows]
        for name, part in preferences.parts.items()
    }
    found: dict[str, list[tuple[Prompted, list[np.ndarray]]]] = {}
    for name, pairs in kept.items():
        fitting = [pair for pair in pairs if pair]
        found[name] = [pair for pair in fitting if is_useful(pair[0], config.learn)]
        if len(found[name]) < len(fitting):
            lost = len(fitting) - len(found[name])
            rejected[f"prompts whose answers that fit lack {_WANTED[config.learn]}"] += lost
        if not found[name]:
            reasons = ", ".join(f"{count} {why}" for why, count in rejected.items())
            raise DataError(
                f"--max-length {config.max_length} leaves no prompt in the part {name} "
                f"({reasons}); raise it, or shorten the texts"
            )
    longest = max(len(row) for pairs in found.values() for _, rows in pairs for row in rows)
    length = min(-(-longest // _MULTIPLE) * _MULTIPLE, config.max_length)
    width = max(len(rows) for pairs in found.values() for _, rows in pairs)
    encoded = {name: _arranged(pairs, width, length) for name, pairs in found.items()}
    return encoded, dict(sorted(rejected.items()))


def _fitting(
    config: RewardModelConfig, tokenizer: Any, row: Prompted, rejected: Counter[str]
) -> tuple[Prompted, list[np.ndarray]] | None:
    """A prompt with its answers that fit; None if the prompt alone does not."""
    found = encode_answers(
        tokenizer, [row.prompt] * len(row.answers), row.answers, config.max_length
    )
    reasons = [reason for reason in found if isinstance(reason, str)]
    if any(reason.startswith("prompts") for reason in reasons):
        rejected[reasons[0]] += 1
        return None
    rejected.update(reasons)
    at = [k for k, tokens in enumerate(found) if not isinstance(tokens, str)]
    if not at:
        return None
    left = dataclasses.replace(
        row,
        answers=tuple(row.answers[k] for k in at),
        wins=row.wins[np.ix_(at, at)],
        best=row.best[at],
        scores=row.scores[at],
    )
    return left, [tokens for tokens in found if not isinstance(tokens, str)]


def _arranged(
    pairs: Sequence[tuple[Prompted, list[np.ndarray]]], width: int, length: int
) -> Encoded:
    count = len(pairs)
    tokens = np.zeros((count, width, length), np.int32)
    valid = np.zeros(tokens.shape, bool)
    # A row without any valid token has no last one, and attention over nothing is NaN.
    valid[:, :, 0] = True
    wins = np.zeros((count, width, width), np.float32)
    best, scores = np.zeros((count, width), np.float32), np.zeros((count, width), np.float32)
    scored, present = np.zeros((count, width), bool), np.zeros((count, width), bool)
    for number, (row, rows) in enumerate(pairs):
        k = len(rows)
        tokens[number, :k], valid[number, :k] = pad_rows(rows, length)
        wins[number, :k, :k], best[number, :k] = row.wins, row.best
        scored[number, :k] = ~np.isnan(row.scores)
        scores[number, :k] = np.nan_to_num(row.scores, nan=0.0)
        present[number, :k] = True
    return Encoded(
        tokens=tokens,
        valid=valid,
        wins=wins,
        best=best,
        scores=scores,
        scored=scored,
        present=present,
        rows=tuple(row for row, _ in pairs),
    )
