"""Feedback put together by prompt: which answers beat which, which is best, and their scores.

All pairs of a prompt stay together, in one element of a batch and in one part of a split. Pairs
that are shuffled apart let a reward model overfit within an epoch (Ouyang et al. 2022,
arXiv:2203.02155, section 3.5).

Shapes: `K` answers to a prompt.
"""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from jaxrec.align.feedback import Feedback
from jaxrec.core import ConfigError, DataError, nearest
from jaxrec.data import files

Part = Literal["train", "valid", "test", "gold"]


def ordered_pairs(ranks: Sequence[int]) -> list[tuple[int, int]]:
    """List all pairs (better, worse) of ranked answers: C(K, 2) of them without the ties.

    Args:
      ranks: K ranks, 1 for the best; equal ranks are ties.

    Raises:
      DataError: a rank is NaN.

    Example:
      >>> ordered_pairs([2, 1, 2])
      [(1, 0), (1, 2)]
    """
    if np.isnan(np.asarray(ranks, np.float64)).any():
        raise DataError(f"ranks {list(ranks)} hold NaN; leave the answer out")
    count = len(ranks)
    return [(i, j) for i in range(count) for j in range(count) if ranks[i] < ranks[j]]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Prompted:
    """One prompt with its different answers and everything that was said about them.

    Attributes:
      prompt_id: names the prompt.
      prompt: its text.
      answers: K different texts.
      wins: `[K, K]` float32 weights; [i, j] is that of answer i being preferred to answer j. The
        pairs of a record weigh 1 / C(K, 2) each, and the records of a prompt share its weight.
      best: `[K]` float32, share of the records in which an answer is the only best one.
      scores: `[K]` float32 scores from questions and rules; NaN for answers without any.
    """

    prompt_id: str
    prompt: str
    answers: tuple[str, ...]
    wins: np.ndarray
    best: np.ndarray
    scores: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Comparisons:
    """Prompts with what was said about their answers.

    Attributes:
      rows: the prompts, in the order in which they first appear.
      rejected: numbers of pairs and records left out, by reason.
    """

    rows: tuple[Prompted, ...]
    rejected: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def pairs(self) -> int:
        """Number of ordered pairs of different answers."""
        return sum(int((row.wins > 0).sum()) for row in self.rows)

    @property
    def width(self) -> int:
        """Largest number of answers to a prompt."""
        return max((len(row.answers) for row in self.rows), default=0)

    def fingerprint(self) -> str:
        """SHA-256 of all texts and weights."""
        digest = hashlib.sha256()
        for row in self.rows:
            for text in (row.prompt_id, row.prompt, *row.answers):
                digest.update(f"{len(text)}:".encode() + text.encode("utf-8", "backslashreplace"))
            for values in (row.wins, row.best, row.scores):
                digest.update(values.tobytes())
        return digest.hexdigest()

    def take(self, chosen: Sequence[int]) -> "Comparisons":
        """Some of the prompts, by their numbers; nothing counts as left out."""
        return Comparisons(rows=tuple(self.rows[number] for number in chosen), rejected={})


def gather(
    records: Sequence[Feedback],
    criteria: Mapping[str, float] | None = None,
    rules: Mapping[str, float] | None = None,
) -> Comparisons:
    """Put the feedback on each prompt together.

    If a labeler gave the same kind of feedback on the same answers twice, the later one counts.
    Answers of the same text are one answer, and a pair of them is left out.

    Args:
      records: feedback of any kinds and labelers.
      criteria: weight of each criterion of the questions in the score of an answer, which is the
        weighted mean; None weighs all of them equally. True counts as 1 and false as 0.
      rules: weight of each rule; a rule's mean probability of being broken is subtracted from the
        score with this weight. None for no rules.

    Raises:
      DataError: no records, a prompt ID with two prompts, or a criterion or rule of the arguments
        that no record has.
      ConfigError: weights that are negative, not finite or all 0.

    Example:
      >>> said = {"prompt_id": "7", "prompt": "Hi", "kind": "ranking", "time": 0.0}
      >>> answers, payload = ("a", "b", "a"), {"ranks": [1, 2, 3]}
      >>> found = gather([Feedback(answers=answers, labeler="ann", payload=payload, **said)])
      >>> found.rows[0].answers, found.pairs, dict(found.rejected)
      (('a', 'b'), 2, {'pairs of equal answers': 1})
    """
    if not records:
        raise DataError("there is no feedback; give records")
    _check_weights(criteria, "criteria")
    _check_weights(rules, "rules", zero=True)
    _check_names(records, criteria, "questions", "scores", "criterion")
    _check_names(records, rules, "rules", "violations", "rule")
    rejected: Counter[str] = Counter()
    by_prompt: dict[str, list[Feedback]] = {}
    for record in _latest(records, rejected):
        by_prompt.setdefault(record.prompt_id, []).append(record)
    rows = tuple(_prompted(mine, criteria, rules or {}, rejected) for mine in by_prompt.values())
    return Comparisons(rows=rows, rejected=dict(sorted(rejected.items())))


def _check_weights(weights: Mapping[str, float] | None, what: str, zero: bool = False) -> None:
    for name, weight in (weights or {}).items():
        if not np.isfinite(weight) or weight < 0:
            raise ConfigError(
                f"the weight {weight} of {name!r} in {what} must be a finite number of at least 0"
            )
    if weights is not None and not zero and not sum(weights.values()):
        raise ConfigError(f"the weights of {what} are all 0 or missing; give one above 0")


def _check_names(
    records: Sequence[Feedback],
    weights: Mapping[str, float] | None,
    kind: str,
    key: str,
    what: str,
) -> None:
    known = {name for r in records if r.kind == kind for name in r.payload[key]}
    for name in weights or {}:
        if name not in known:
            raise DataError(
                f"no record has the {what} {files.shown(name)}{nearest(name, known)}; there are: "
                f"{files.listed(sorted(known))}"
            )


def _latest(records: Sequence[Feedback], rejected: Counter[str]) -> list[Feedback]:
    """Keep the last record of a labeler and kind on the same answers to a prompt."""
    kept: dict[tuple[Any, ...], Feedback] = {}
    for record in records:
        key = (record.prompt_id, record.labeler, record.kind, frozenset(record.answers))
        before = kept.get(key)
        if before is not None:
            rejected["records replaced by a later one"] += 1
        if before is None or record.time >= before.time:
            kept[key] = record
    return list(kept.values())


def _prompted(
    records: Sequence[Feedback],
    criteria: Mapping[str, float] | None,
    rules: Mapping[str, float],
    rejected: Counter[str],
) -> Prompted:
    """Put the records of one prompt together."""
    first = records[0]
    place: dict[str, int] = {}
    for record in records:
        if record.prompt != first.prompt:
            raise DataError(
                f"prompt_id {files.shown(first.prompt_id)} has two prompts, "
                f"{files.shown(first.prompt)} and {files.shown(record.prompt)}; give each its own"
            )
        for answer in record.answers:
            place.setdefault(answer, len(place))
    count = len(place)
    wins, best = np.zeros((count, count)), np.zeros(count)
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, np.ndarray] = {}
    ranked = [record for record in records if record.kind in ("ranking", "best")]
    for record in ranked:
        at = [place[answer] for answer in record.answers]
        weight = 1 / (len(at) * (len(at) - 1) / 2) / len(ranked)
        for i, j in ordered_pairs(record.ranks):
            if at[i] == at[j]:
                rejected["pairs of equal answers"] += 1
            else:
                wins[at[i], at[j]] += weight
        winners = {k for k, rank in zip(at, record.ranks, strict=True) if rank == 1}
        if len(winners) == 1:
            best[winners.pop()] += 1 / len(ranked)
    for record in records:
        if record.kind in ("questions", "rules"):
            key = "scores" if record.kind == "questions" else "violations"
            for name, values in record.payload[key].items():
                total = sums.setdefault(f"{key}:{name}", np.zeros(count))
                times = counts.setdefault(f"{key}:{name}", np.zeros(count))
                for answer, value in zip(record.answers, values, strict=True):
                    total[place[answer]] += float(value)
                    times[place[answer]] += 1
    means = {
        n: np.divide(sums[n], c, out=np.full(count, np.nan), where=c > 0) for n, c in counts.items()
    }
    return Prompted(
        prompt_id=first.prompt_id,
        prompt=first.prompt,
        answers=tuple(place),
        wins=wins.astype(np.float32),
        best=best.astype(np.float32),
        scores=_scores(means, count, criteria, rules).astype(np.float32),
    )


def _scores(
    means: Mapping[str, np.ndarray],
    count: int,
    criteria: Mapping[str, float] | None,
    rules: Mapping[str, float],
) -> np.ndarray:
    """Weighted mean over criteria, minus the weighted violations; NaN where any is missing."""
    named = [name.removeprefix("scores:") for name in means if name.startswith("scores:")]
    weights = dict.fromkeys(named, 1.0) if criteria is None else criteria
    missing = np.full(count, np.nan)
    if not weights and not rules:
        return missing
    scores = np.zeros(count) if weights or rules else missing
    total = sum(weights.values())
    for name, weight in weights.items():
        scores = scores + weight / total * means.get(f"scores:{name}", missing)
    for name, weight in rules.items():
        scores = scores - weight * means.get(f"violations:{name}", missing)
    return scores


def split_prompts(
    comparisons: Comparisons, shares: Mapping[Part, float], seed: int = 0
) -> dict[Part, Comparisons]:
    """Split by prompt: all answers and pairs of a text of a prompt are in one part.

    The part depends on the text of the prompt and the seed alone, so a prompt stays where it is
    when more feedback arrives. The parts have about their shares.

    Args:
      comparisons: what to split.
      shares: share of each part; they must add up to 1.
      seed: another seed splits in another way.

    Raises:
      ConfigError: a share is negative, or they do not add up to 1.

    Example:
      >>> rows = [Prompted(prompt_id=str(n), prompt=f"say {n}", answers=("a",),
      ...     wins=np.zeros((1, 1)), best=np.zeros(1), scores=np.zeros(1)) for n in range(500)]
      >>> found = split_prompts(Comparisons(rows=tuple(rows), rejected={}),
      ...     {"train": 0.8, "test": 0.2})
      >>> len(found["train"]), len(found["test"])
      (388, 112)
    """
    if min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise ConfigError(f"shares must be at least 0 and add up to 1, got {dict(shares)}")
    ends = np.cumsum(list(shares.values()))
    chosen: dict[Part, list[int]] = {name: [] for name in shares}
    names = list(shares)
    for number, row in enumerate(comparisons.rows):
        text = f"{seed}:{row.prompt}".encode("utf-8", "backslashreplace")
        draw = int.from_bytes(hashlib.sha256(text).digest()[:6], "big") / 2**48
        part = int(np.searchsorted(ends[:-1], draw, side="right"))
        chosen[names[part]].append(number)
    return {name: comparisons.take(numbers) for name, numbers in chosen.items()}
