"""Descriptions that a generator writes, with their reward, their divergence, and their form.

What is watched against reward hacking: the length of descriptions, how varied their words are
(distinct-n), how much of them is copied from the resume, and the divergence from the generator.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.align import PpoTask, Reward, end_scores
from jaxrec.core import DataError


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Written:
    """The descriptions that were written to some people.

    Attributes:
      texts: one for each person.
      values: by name, `[N]`: "score" and "gold" rewards, "kl" in nats of a whole description,
        "tokens" and "ended".
    """

    texts: tuple[str, ...]
    values: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.texts)


def write(
    task: PpoTask,
    variables: Any,
    tokenizer: Any,
    key: jax.Array,
    *,
    gold: Reward | None = None,
    batch_size: int = 64,
) -> Written:
    """Write a description for every prompt of a task, by sampling.

    Args:
      task: prompts, policy, reference and reward.
      variables: `{"policy"}` of the generator, or of the policy.
      tokenizer: of the policy.
      key: typed random key.
      gold: a further reward.
      batch_size: prompts at once; the last batch is filled up.
    """
    count = len(task.prompts)
    texts: list[str] = []
    parts: list[dict[str, np.ndarray]] = []
    for number, first in enumerate(range(0, count, batch_size)):
        rows = np.arange(first, first + batch_size) % count
        kept = min(batch_size, count - first)
        episodes = task.write(variables, rows, jax.random.fold_in(key, number))
        scored = jnp.asarray(task.reward.score(episodes, "the descriptions"))
        values = {
            "score": np.asarray(end_scores(scored, episodes.ended, task.settings)),
            "kl": np.asarray(episodes.kl),
            "tokens": np.asarray(episodes.mask).sum(axis=1),
            "ended": np.asarray(episodes.ended),
        }
        if gold is not None:
            values["gold"] = gold.score(episodes, "the descriptions")
        tokens, mask = np.asarray(episodes.responses), np.asarray(episodes.mask)
        texts += [
            tokenizer.decode(row[there].tolist(), skip_special_tokens=True).strip()
            for row, there in zip(tokens[:kept], mask[:kept], strict=True)
        ]
        parts.append({name: np.asarray(v[:kept], np.float64) for name, v in values.items()})
    return Written(
        texts=tuple(texts),
        values={name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
    )


def distinct(texts: Sequence[str], n: int) -> float:
    """Share of different n-grams of words among all of them (Li et al., arXiv:1510.03055).

    Args:
      texts: at least one with n words.
      n: words of an n-gram.

    Raises:
      DataError: no text has n words.

    Example:
      >>> distinct(["plan a plan", "plan a trip"], 1)
      0.5
    """
    counts: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        counts.update(grams(text, n))
    if not counts:
        raise DataError(f"none of {len(texts)} texts has {n} words, so distinct-{n} is undefined")
    return len(counts) / counts.total()


def copy_rate(text: str, source: str, n: int = 3) -> float:
    """Share of the n-grams of a text that its source has too; 0 for a text without any.

    Example:
      >>> copy_rate("we need a baker now", "she was a baker now and then")
      0.3333333333333333
    """
    own, known = grams(text, n), set(grams(source, n))
    return sum(gram in known for gram in own) / len(own) if own else 0.0


def grams(text: str, n: int) -> list[tuple[str, ...]]:
    """The n-grams of a text's lowercase words, in order.

    Example:
      >>> grams("Plan a trip", 2)
      [('plan', 'a'), ('a', 'trip')]
    """
    words = text.lower().split()
    return [tuple(words[place : place + n]) for place in range(len(words) - n + 1)]


def form_values(written: Written, resumes: Sequence[str]) -> dict[str, np.ndarray]:
    """The length in words and the copy rate of each description, `[N]`."""
    pairs = zip(written.texts, resumes, strict=True)
    return {
        "words": np.array([len(text.split()) for text in written.texts], np.float64),
        "copied": np.array([copy_rate(text, resume) for text, resume in pairs]),
    }
