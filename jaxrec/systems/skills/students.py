"""Students: labels that a teacher corrects, and the rounds of training on them.

A teacher is sure of a word if its likeliest tag has a high probability. Where a sure teacher
contradicts a label, its tag replaces the label, or the label is given up. The student learns these
labels, and the teacher's distribution on the words of which it is sure (Liang et al., "BOND", KDD
2020, arXiv:2006.15509, stage II).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.objectives import (
    Crf,
    constrain_crf,
    has_legal_path,
    is_confident,
    replace_confident,
    sharpen_labels,
)
from jaxrec.systems.skills.config import StudentConfig
from jaxrec.systems.skills.data import TAGS
from jaxrec.systems.skills.network import Tagger, log_marginals
from jaxrec.systems.skills.rows import Rows


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Corrected:
    """Labels of all rows after a teacher's corrections.

    Attributes:
      allowed: `[N, W, K, C]` bool.
      soft: `[N, W, K, C]` float32, soft labels.
      sure: `[N, W, K]` bool, where the teacher is confident.
      share: of the labels of words, those of which the teacher is confident.
      replaced: number of labels that changed.
      kept: number of sequences whose labels stay, because the teacher's leave no legal sequence.
    """

    allowed: np.ndarray
    soft: np.ndarray
    sure: np.ndarray
    share: float
    replaced: int
    kept: int

    @property
    def labels(self) -> dict[str, np.ndarray]:
        """What a batch of training needs."""
        return {"allowed": self.allowed, "soft": self.soft, "sure": self.sure}

    def __str__(self) -> str:
        """Say what the teacher changed, in a line."""
        more = f"; {self.kept} sequences keep their labels, to stay legal" if self.kept else ""
        return (
            f"the teacher is sure of {self.share:.1%} of the words and changes "
            f"{self.replaced:,} labels{more}"
        )


def teacher_chances(tagger: Tagger, variables: Any, rows: Rows, batch_size: int) -> np.ndarray:
    """The teacher's probabilities of the tags of all words, `[N, W, K, C]`; 0 where none is."""
    compute = jax.jit(lambda v, batch: jnp.exp(log_marginals(tagger, v, batch)))
    shape = (*rows.words.present.shape, tagger.kinds, len(TAGS))
    chances = np.zeros(shape, np.float32)
    for numbers, batch in rows.in_order(batch_size):
        found = np.asarray(compute(variables, batch))[: len(numbers)]
        width = min(found.shape[1], shape[1])
        chances[numbers, :width] = found[:, :width]
    return np.where(rows.words.present[:, :, None, None], chances, 0.0)


def correct(
    config: StudentConfig, allowed: np.ndarray, chances: np.ndarray, present: np.ndarray
) -> Corrected:
    """Correct labels by a teacher, kind by kind.

    Args:
      config: threshold, and what replaces a label.
      allowed: `[N, W, K, C]` bool, the labels.
      chances: `[N, W, K, C]` probabilities of the teacher.
      present: `[N, W]` bool.
    """
    free = Crf(*(jnp.zeros(part.shape) for part in TAGS.legal))
    rules = constrain_crf(free, *(jnp.asarray(part) for part in TAGS.legal))
    mask = jnp.asarray(present)
    parts = []
    kept = 0
    for kind in range(allowed.shape[2]):
        old, f = (jnp.asarray(x[:, :, kind]) for x in (allowed, chances))
        new = replace_confident(old, f, mask, config.threshold, config.replace)
        legal = has_legal_path(rules, new, mask)
        kept += int((~legal).sum())
        new = jnp.where(legal[:, None, None], new, old)
        parts.append((new, sharpen_labels(f, mask), is_confident(f, mask, config.threshold)))
    changed, soft, sure = (
        np.stack([np.asarray(part[place]) for part in parts], axis=2) for place in range(3)
    )
    differs = (changed != allowed).any(axis=3) & present[:, :, None]
    return Corrected(
        allowed=changed,
        soft=soft,
        sure=sure,
        share=float(sure[present].mean()),
        replaced=int(differs.sum()),
        kept=kept,
    )
