"""Rank classification: the answer is the option that the model finds likeliest.

    sum    Σ_t log P(option_t | prompt)
    mean   the sum divided by the option's number of tokens (Brown et al. 2020, arXiv:2005.14165)
    pmi    the sum minus that after a neutral prompt (Holtzman et al. 2021, arXiv:2104.08315)

"sum" favors short options, "mean" does not, and "pmi" favors options that the prompt makes likelier
than they are anyway. Contextual calibration removes what a prompt says before any query (Zhao et
al. 2021, arXiv:2102.09690). Shapes: B prompts, O options.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.prompting.demonstrations import Demonstration, Verbalizer
from jaxrec.prompting.language_model import LanguageModel, check_logprobs

OptionScore = Literal["sum", "mean", "pmi"]
# The inputs without content of Zhao et al. 2021, section 5.
CONTENT_FREE = ("N/A", "[MASK]", "")


def score_options(
    model: LanguageModel,
    prompts: Sequence[str],
    options: Sequence[str],
    by: OptionScore = "sum",
    *,
    neutral: str | None = None,
) -> np.ndarray:
    """Score the same options after each prompt.

    Args:
      model: scores the options.
      prompts: B prompts, which end where an answer begins.
      options: O continuations, as `Verbalizer.continuation` writes them.
      by: see the module.
      neutral: the prompt of "pmi", such as "Answer:"; None for the others.

    Returns:
      `[B, O]` float64; the largest is the answer.

    Raises:
      ConfigError: one text in the place of prompts, fewer than two options, equal ones, an unknown
        score, or a neutral prompt that is missing or not used.
      DataError: a log-probability that is not a number, or an option without a chance after the
        neutral prompt.

    Cost: one pass over each prompt and over each option after it.

    Example:
      >>> from jaxrec.prompting import ScriptedModel, score_options
      >>> model = ScriptedModel(logprob=lambda prompt, option: -float(len(option.split())))
      >>> score_options(model, ["Q:"], [" yes", " not at all"]).tolist()
      [[-1.0, -3.0]]
      >>> score_options(model, ["Q:"], [" yes", " not at all"], "mean").tolist()
      [[-1.0, -1.0]]
    """
    if by not in get_args(OptionScore):
        raise ConfigError(f"by must be one of {get_args(OptionScore)}, got {by!r}")
    if isinstance(options, str) or len(set(options)) < max(2, len(options)):
        raise ConfigError(f"options must be at least two different texts, got {options!r}")
    if isinstance(prompts, str):
        raise ConfigError(f"prompts must be a list of texts, got one: [{prompts[:40]!r}]")
    if (by == "pmi") != (neutral is not None):
        raise ConfigError(
            f"by={by!r} and neutral={neutral!r} do not fit: pmi needs a neutral prompt, such as "
            '"Answer:", and the other scores do not use one'
        )
    rows = model.score(prompts, [options] * len(prompts))
    check_logprobs(rows, prompts)
    sums = np.array([[score.logprob for score in row] for row in rows], np.float64)
    sums = sums.reshape(len(prompts), len(options))
    if by == "mean":
        tokens = np.array([[score.tokens for score in row] for row in rows])
        return sums / tokens.reshape(sums.shape)
    if neutral is not None:
        (before,) = model.score([neutral], [options])
        check_logprobs([before], [neutral])
        return calibrate(sums, np.array([score.logprob for score in before]))
    return sums


def option_probabilities(scores: np.ndarray) -> np.ndarray:
    """Normalize scores over the options: softmax.

    Args:
      scores: `[..., O]` log-probabilities, up to a constant of each row.

    Returns:
      `[..., O]` float64; each row adds up to 1.

    Example:
      >>> option_probabilities(np.log([[0.1, 0.3]])).round(2).tolist()
      [[0.25, 0.75]]
    """
    from scipy.special import softmax

    return np.asarray(softmax(np.asarray(scores, np.float64), axis=-1))


def content_free_scores(
    model: LanguageModel,
    verbalizer: Verbalizer,
    demonstrations: Sequence[Demonstration],
    options: Sequence[str],
    *,
    by: OptionScore = "sum",
    contents: Sequence[str] = CONTENT_FREE,
) -> np.ndarray:
    """Score options after demonstrations and a query that says nothing.

    Args:
      model: scores the options.
      verbalizer: writes the task.
      demonstrations: those of the prompts to calibrate, in the same order.
      options: O continuations.
      by: "sum" or "mean", as the scores to calibrate.
      contents: inputs without content.

    Returns:
      `[O]` float64, log of the mean over `contents` of the normalized probabilities.

    Raises:
      ConfigError: no contents, or options that `score_options` rejects.

    Example:
      >>> from jaxrec.prompting import ScriptedModel, Verbalizer, content_free_scores
      >>> biased = ScriptedModel(logprob=lambda prompt, option: -1.0 if "yes" in option else -3.0)
      >>> content_free_scores(biased, Verbalizer(), [], [" yes", " no"]).round(2).tolist()
      [-0.13, -2.13]
    """
    if isinstance(contents, str) or not len(contents):
        raise ConfigError(f"contents must be a list of at least one text, got {contents!r}")
    prompts = [verbalizer.prompt(demonstrations, text) for text in contents]
    scores = score_options(model, prompts, options, by)
    return np.asarray(np.log(option_probabilities(scores).mean(axis=0)))


def calibrate(scores: np.ndarray, content_free: np.ndarray) -> np.ndarray:
    """Divide the probabilities of options by those after a query without content.

    q = softmax(W p) with W = diag(p_cf)⁻¹ and b = 0 (Zhao et al. 2021, section 5) orders options as
    log p - log p_cf does, which is returned.

    Args:
      scores: `[B, O]` from `score_options`.
      content_free: `[O]`, or `[B, O]` if each prompt has demonstrations of its own, from
        `content_free_scores`.

    Returns:
      `[B, O]` float64; the largest is the answer.

    Raises:
      DataError: other shapes, scores that are not numbers, or an option that has no chance after a
        query without content.

    Example:
      >>> scores = np.log([[0.6, 0.4]])
      >>> calibrate(scores, np.log([0.8, 0.2])).argmax(axis=1).tolist()
      [1]
    """
    scores, content_free = np.asarray(scores, np.float64), np.asarray(content_free, np.float64)
    if scores.ndim != 2 or content_free.shape not in (scores.shape, scores.shape[1:]):
        raise DataError(
            f"scores [B, O] and content_free [O] or [B, O] are needed, got the shapes "
            f"{scores.shape} and {content_free.shape}"
        )
    if not np.isfinite(content_free).all():
        raise DataError("an option has no chance after a query without content; remove it")
    if np.isnan(scores).any():
        raise DataError(f"{np.isnan(scores).sum()} scores of options are not numbers")
    return scores - content_free.reshape(-1, scores.shape[1])
