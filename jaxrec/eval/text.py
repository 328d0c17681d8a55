"""Metrics of generated texts against references: BLEU, ROUGE, and the presence of a word.

Words are separated by white space; lowercase and tokenize the texts beforehand, in the same way for
all systems.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from jaxrec.core import DataError


def bleu(texts: Sequence[str], references: Sequence[str], order: int = 4) -> float:
    """Corpus BLEU with one reference per text, in [0, 1], without smoothing.

    min(1, e^(1 - r/c)) (Π_n p_n)^(1/N), with c words in all texts, r words in all references, and
    p_n the clipped precision of n-grams over the corpus (Papineni et al., ACL 2002, section 2.3).

    Args:
      texts: generated texts.
      references: one reference per text.
      order: N, length of the longest n-grams.

    Raises:
      DataError: there are no texts, or their number differs from that of references.

    Example:
      >>> bleu(["a good film"], ["a good film"], order=2), bleu(["bad"], ["good"])
      (1.0, 0.0)
    """
    pairs = _pairs(texts, references)
    matches, totals = np.zeros(order), np.zeros(order)
    for text, reference in pairs:
        for n in range(1, order + 1):
            ours, theirs = _grams(text, n), _grams(reference, n)
            matches[n - 1] += (ours & theirs).total()
            totals[n - 1] += ours.total()
    length, reference_length = (sum(len(pair[side]) for pair in pairs) for side in (0, 1))
    if not matches.all():
        return 0.0
    brevity = min(1.0, math.exp(1 - reference_length / length))
    return brevity * math.exp(np.mean(np.log(matches / totals)))


def rouge(texts: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Mean F1 of {"rouge1", "rouge2", "rougeL"}, in [0, 1].

    They compare words, pairs of neighbouring words, and the longest common subsequence (Lin, ROUGE:
    A Package for Automatic Evaluation of Summaries, 2004).

    Raises:
      DataError: there are no texts, or their number differs from that of references.

    Example:
      >>> scores = rouge(["a b"], ["b a"])
      >>> scores["rouge1"], scores["rouge2"], scores["rougeL"]
      (1.0, 0.0, 0.5)
    """
    rows = []
    for text, reference in _pairs(texts, references):
        both = [(_grams(text, n), _grams(reference, n)) for n in (1, 2)]
        scores = [_f1((a & b).total(), a.total(), b.total()) for a, b in both]
        rows.append([*scores, _f1(_common(text, reference), len(text), len(reference))])
    return dict(zip(("rouge1", "rouge2", "rougeL"), np.mean(rows, axis=0).tolist(), strict=True))


def says(texts: Sequence[str], words: Sequence[str]) -> np.ndarray:
    """Whether each text contains its word: [n] bool. Case is ignored.

    Example:
      >>> says(["A Good film", "a goodish film"], ["good", "good"]).tolist()
      [True, False]
    """
    return np.array(
        [word.lower() in text.lower().split() for text, word in zip(texts, words, strict=True)]
    )


def _pairs(texts: Sequence[str], references: Sequence[str]) -> list[tuple[list[str], list[str]]]:
    if len(texts) != len(references) or not len(texts):
        raise DataError(
            f"{len(texts)} texts for {len(references)} references; expected one reference per "
            "text, and at least one"
        )
    return [(a.split(), b.split()) for a, b in zip(texts, references, strict=True)]


def _grams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _f1(common: int, ours: int, theirs: int) -> float:
    return 2 * common / (ours + theirs) if common else 0.0


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence, in O(len(a) len(b))."""
    row = [0] * (len(b) + 1)
    for word in a:
        before = 0
        for j, other in enumerate(b, start=1):
            kept = row[j]
            row[j] = before + 1 if word == other else max(row[j], row[j - 1])
            before = kept
    return row[-1]
