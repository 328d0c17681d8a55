"""BLEU, chrF and TER of generated texts, as sacreBLEU computes them.

BLEU: Papineni et al. (ACL 2002), with the tokenizer 13a of mteval. chrF: Popović (WMT 2015), of
characters up to 6-grams with beta 2. TER: Snover et al. (AMTA 2006). Post, A Call for Clarity in
Reporting BLEU Scores (WMT 2018), says why a score needs its signature; see
`translation_signatures`.

Each metric is a function of sums over texts: the statistics of one text are a row of numbers, and
a corpus has the sum of the rows. So a corpus can be resampled without reading its texts again.
Scores lie in [0, 100]; a lower TER is better, and it may exceed 100. `bleu` in this package takes
words as they stand, for texts that are tokenized beforehand.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from jaxrec.core import ConfigError, DataError

TranslationMetric = Literal["bleu", "chrf", "ter"]
_BETA = 2


def translation_statistics(
    metric: TranslationMetric, text: str, references: Sequence[str]
) -> np.ndarray:
    """Return the counts `[K]` of one text, which add up over a corpus.

    Args:
      metric: "bleu", "chrf" or "ter".
      text: the generated text.
      references: at least one reference of this text.

    Raises:
      ConfigError: an unknown metric, or sacreBLEU is not installed.
      DataError: no references, or a text in place of a list of them.

    Example:
      >>> translation_statistics("ter", "a good film", ["a very good film"]).tolist()
      [1.0, 4.0]
    """
    if isinstance(references, str) or not len(references):
        raise DataError(f"references must be a list of at least one text, got {references!r:.60}")
    return _known(metric)[0](text, list(references))


def translation_score(metric: TranslationMetric, sums: np.ndarray) -> float:
    """Return the score of a corpus from the sum of its statistics `[K]`.

    Args:
      metric: "bleu", "chrf" or "ter".
      sums: sum over texts of `translation_statistics`.

    Raises:
      ConfigError: an unknown metric, or sacreBLEU is not installed.

    Example:
      >>> translation_score("ter", np.array([1.0, 4.0]))
      25.0
    """
    return _known(metric)[1](np.asarray(sums, np.float64))


def corpus_score(
    metric: TranslationMetric, texts: Sequence[str], references: Sequence[Sequence[str]]
) -> float:
    """Return the score of a corpus.

    Args:
      metric: "bleu", "chrf" or "ter".
      texts: generated texts.
      references: for each text its references. sacreBLEU itself takes them the other way round:
        for each reference its texts.

    Raises:
      ConfigError: an unknown metric, or sacreBLEU is not installed.
      DataError: no texts, or another number of them than of references.

    Example:
      >>> round(corpus_score("bleu", ["a good film of dogs"], [["a good film of dogs"]]), 6)
      100.0
    """
    if len(texts) != len(references) or not len(texts):
        raise DataError(
            f"{len(texts)} texts for {len(references)} rows of references; expected one row of "
            "references for each text, and at least one text"
        )
    rows = [translation_statistics(metric, *pair) for pair in zip(texts, references, strict=True)]
    return translation_score(metric, np.sum(rows, axis=0))


def translation_signatures() -> dict[str, str]:
    """Return sacreBLEU's signature of each metric: its settings and version in one line.

    Raises:
      ConfigError: sacreBLEU is not installed.

    Example:
      >>> translation_signatures()["bleu"].split("|")[3]
      'tok:13a'
    """
    names = ("bleu", "chrf", "ter")
    made = (_sacrebleu().BLEU(), _sacrebleu().CHRF(), _sacrebleu().TER())
    # The number of references is known only after a score.
    for metric in made:
        metric.corpus_score(["a"], [["a"]])
    return {name: str(metric.get_signature()) for name, metric in zip(names, made, strict=True)}


def _sacrebleu() -> Any:
    try:
        import sacrebleu.metrics
    except ImportError as error:
        raise ConfigError(
            "BLEU, chrF and TER need sacreBLEU, which is not installed: pip install "
            "'jaxrec[text-metrics]'"
        ) from error
    return sacrebleu.metrics


def _bleu_counts(text: str, references: list[str]) -> np.ndarray:
    found = _sacrebleu().BLEU(effective_order=True).sentence_score(text, references)
    return np.array([*found.counts, *found.totals, found.sys_len, found.ref_len], np.float64)


def _bleu(sums: np.ndarray) -> float:
    correct, total = sums[:4].astype(int).tolist(), sums[4:8].astype(int).tolist()
    found = _sacrebleu().BLEU.compute_bleu(
        correct, total, int(sums[8]), int(sums[9]), smooth_method="exp"
    )
    return float(found.score)


def _chrf_counts(text: str, references: list[str]) -> np.ndarray:
    """Counts of n-grams: in the text, in the best reference, and in both."""
    rows = [_ngram_counts(text, reference) for reference in references]
    # Of equal references the first counts, as in sacreBLEU.
    return max(rows, key=_chrf)


def _ngram_counts(text: str, reference: str) -> np.ndarray:
    counts = []
    ours, theirs = ("".join(part.split()) for part in (text, reference))
    for order in range(1, 7):
        a, b = (
            Counter(part[i : i + order] for i in range(len(part) - order + 1))
            for part in (ours, theirs)
        )
        # An order that the reference does not have says nothing about the text.
        counts += [a.total() if b else 0, b.total(), (a & b).total()]
    return np.array(counts, np.float64)


def _chrf(sums: np.ndarray) -> float:
    """F-score of the mean precision and recall over the orders that both sides have."""
    ours, theirs, both = sums.reshape(6, 3).T
    known = (ours > 0) & (theirs > 0)
    if not known.any():
        return 0.0
    precision = float(np.mean(both[known] / ours[known]))
    recall = float(np.mean(both[known] / theirs[known]))
    if precision + recall == 0:
        return 0.0
    return 100 * (1 + _BETA**2) * precision * recall / (_BETA**2 * precision + recall)


def _ter_counts(text: str, references: list[str]) -> np.ndarray:
    found = _sacrebleu().TER().sentence_score(text, references)
    return np.array([found.num_edits, found.ref_length], np.float64)


def _ter(sums: np.ndarray) -> float:
    edits, length = sums
    if length:
        return float(100 * edits / length)
    return 100.0 if edits else 0.0


_METRICS: dict[
    str, tuple[Callable[[str, list[str]], np.ndarray], Callable[[np.ndarray], float]]
] = {
    "bleu": (_bleu_counts, _bleu),
    "chrf": (_chrf_counts, _chrf),
    "ter": (_ter_counts, _ter),
}


def _known(
    metric: str,
) -> tuple[Callable[[str, list[str]], np.ndarray], Callable[[np.ndarray], float]]:
    if metric not in _METRICS:
        raise ConfigError(f"no metric {metric!r}; expected one of {', '.join(_METRICS)}")
    return _METRICS[metric]
