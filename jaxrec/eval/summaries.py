"""ROUGE of summaries, as Google's rouge-score computes it (Lin, ROUGE, 2004).

Words are runs of letters and digits in lower case, stemmed by Porter's stemmer. `rougeL` compares
the longest common subsequence of the whole texts, and `rougeLsum` that of each sentence with all
sentences of the other text, where a line is a sentence. `rouge` in this package compares words as
they stand, for texts that are tokenized beforehand.
"""

import functools
from collections.abc import Sequence
from typing import Any

from jaxrec.core import ConfigError, DataError

SUMMARY_METRICS = ("rouge1", "rouge2", "rougeL", "rougeLsum")


def summary_scores(text: str, references: Sequence[str], *, stem: bool = True) -> dict[str, float]:
    r"""Return the F1 of {"rouge1", "rouge2", "rougeL", "rougeLsum"} of one summary, in [0, 1].

    Args:
      text: the summary, with a line for each sentence.
      references: at least one reference; each metric takes the best one.
      stem: compare the stems of words.

    Raises:
      ConfigError: rouge-score is not installed.
      DataError: no references, or a text in place of a list of them.

    Example:
      >>> scores = summary_scores("the cats sat", ["a cat sat\non a mat"])
      >>> round(scores["rouge1"], 3), round(scores["rouge2"], 3)
      (0.444, 0.286)
    """
    if isinstance(references, str) or not len(references):
        raise DataError(f"references must be a list of at least one text, got {references!r:.60}")
    scorer = _scorer(stem)
    rows = [scorer.score(reference, text) for reference in references]
    return {name: max(float(row[name].fmeasure) for row in rows) for name in SUMMARY_METRICS}


@functools.lru_cache(maxsize=2)
def _scorer(stem: bool) -> Any:
    """Building the stemmer takes longer than scoring a text."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise ConfigError(
            "ROUGE needs rouge-score, which is not installed: pip install 'jaxrec[text-metrics]'"
        ) from error
    return RougeScorer(list(SUMMARY_METRICS), use_stemmer=stem)
