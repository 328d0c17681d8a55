"""Planted interviews: what the interviewer noticed, wrote, and decided.

An assessment names the years of work, a topic, and five aspects, each with a good or a bad
impression. The logit of passing is a weighted sum of the impressions, and the logit of the level
"senior" grows with the seniority and with the first aspect. All of them stand in the text, so
both probabilities are what the best reader would say.
"""

import numpy as np
from scipy import special

from jaxrec.data.recruitment import sentences as say
from jaxrec.data.recruitment.records import Interview
from jaxrec.data.recruitment.texts import Choices, sentence, years_text

_WEIGHTS = np.array([1.5, 1.1, 0.8, 0.6, 0.9])  # of the aspects, in the order of `ASPECTS`
_PASS = 0.2
_GOOD = 0.3  # logit of a good impression in a match of mean logit
_SENIOR, _DEPTH, _BORDER = 1.1, 0.7, 1.6
_NUMBERS = 32
_WEEK = 7 * 24 * 3600


def draw_interviews(
    seniority: np.ndarray, logits: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw impressions, and the probabilities that follow from them.

    Args:
      seniority: `[n]` int32, of the people.
      logits: `[n]` float64, of their matches; better matches make better impressions.
      rng: random numbers.

    Returns:
      `[n, aspects]` bool, the impressions, and `[n]` float64 each, the probabilities of passing and
      of the level "senior".

    Example:
      >>> good, passing, senior = draw_interviews(
      ...     np.array([0, 4]), np.zeros(2), np.random.default_rng(0))
      >>> good.shape, bool(senior[1] > senior[0])
      ((2, 5), True)
    """
    center = logits - (logits.mean() if len(logits) else 0.0)
    chance = special.expit(_GOOD + 0.3 * center)
    good = rng.random((len(logits), len(_WEIGHTS))) < chance[:, None]
    signs = np.where(good, 1, -1)
    passing = special.expit(_PASS + signs @ _WEIGHTS)
    senior = special.expit(_SENIOR * (seniority - _BORDER) + _DEPTH * signs[:, 0])
    return good, passing, senior


def write_interviews(
    pairs: list[tuple[str, str, int]],
    topics: list[str],
    seniority: np.ndarray,
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray],
    rng: np.random.Generator,
) -> list[Interview]:
    """Write assessments, and draw what was decided.

    Args:
      pairs: IDs of person and job and the time of each match.
      topics: a skill for each.
      seniority: `[n]` int32, of the people.
      drawn: from `draw_interviews`.
      rng: random numbers.
    """
    good, passing, senior = drawn
    rows = rng.random((len(pairs), _NUMBERS)).tolist()
    passed = rng.random(len(pairs)) < passing
    level = np.where(rng.random(len(pairs)) < senior, "senior", "junior")
    interviews = []
    for number, (row, (person, job, time)) in enumerate(zip(rows, pairs, strict=True)):
        choices = Choices(row)
        years = years_text(choices.between(*say.YEARS[seniority[number]]), choices)
        parts = [
            choices.of(aspect[0 if is_good else 1])
            for aspect, is_good in zip(say.ASPECTS, good[number].tolist(), strict=True)
        ]
        parts.insert(
            choices.between(0, 5), choices.of(say.INTERVIEW_TOPICS).format(s=topics[number])
        )
        parts.insert(
            choices.between(0, 6), sentence(choices.of(say.INTERVIEW_YEARS).format(years=years))
        )
        interviews.append(
            Interview(
                job=job,
                person=person,
                assessment=" ".join(parts),
                level=str(level[number]),
                passed=bool(passed[number]),
                time=time + _WEEK,
                probability=float(passing[number]),
                level_probability=float(senior[number]),
            )
        )
    return interviews
