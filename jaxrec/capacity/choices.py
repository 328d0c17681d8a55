"""Values of a choice between options by their likelihood.

Options that are equally likely share the point, so that a model that cannot tell them apart scores
at chance wherever the right option stands.
"""

from collections.abc import Sequence

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.prompting import Score


def accuracy(scores: Sequence[Score], answer: int, lengths: Sequence[int] | None = None) -> float:
    """Whether the right option has the highest log-probability: 1, 0, or its share of a tie.

    Args:
      scores: of the options.
      answer: place of the right option.
      lengths: what to divide the log-probabilities by, such as the options' characters.

    Raises:
      ConfigError: there is no option at that place, or another number of lengths.

    Example:
      >>> scores = [Score(logprob=-4.0), Score(logprob=-6.0)]
      >>> accuracy(scores, 0), accuracy(scores, 0, lengths=(4, 12)), accuracy([scores[0]] * 2, 0)
      (1.0, 0.0, 0.5)
    """
    if not 0 <= answer < len(scores):
        raise ConfigError(f"the right option is {answer}, but there are {len(scores)} options")
    if lengths is not None and (len(lengths) != len(scores) or min(lengths) < 1):
        raise ConfigError(
            f"lengths must be {len(scores)} positive numbers, one for each option, got {lengths}"
        )
    values = np.array([score.logprob for score in scores])
    values = values / np.array(lengths if lengths is not None else 1)
    best = values == values.max()
    return float(best[answer] / best.sum())
