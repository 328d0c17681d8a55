"""BERT's masked tokens (Devlin et al. 2019, arXiv:1810.04805, section 3.1 and appendix A.1).

A share of 15 % of the tokens is predicted. Of these, 80 % become the mask, 10 % a random token,
and 10 % stay, because texts to which the model is applied later have no masks.
"""

from typing import NamedTuple

import numpy as np

from jaxrec.objectives.token_noise import noise_count

# Shares of the predicted tokens that become the mask and a random token.
_MASKED, _RANDOM = 0.8, 0.1


class Masked(NamedTuple):
    """A masked text: `[n]` tokens to read, and `[P]` places and tokens to predict."""

    tokens: np.ndarray
    places: np.ndarray
    labels: np.ndarray


def mask_for_prediction(
    tokens: np.ndarray,
    candidates: np.ndarray,
    mask: int,
    ordinary: np.ndarray,
    rng: np.random.Generator,
    rate: float = 0.15,
    starts: np.ndarray | None = None,
) -> Masked:
    """Draw the tokens to predict, and hide most of them.

    Args:
      tokens: `[n]` int32.
      candidates: `[n]` bool, tokens that may be predicted; reserved ones may not.
      mask: number of the mask token.
      ordinary: int32, tokens that a random one is drawn from.
      rng: random generator.
      rate: share of the candidates to predict.
      starts: `[n]` bool, whether a token begins a word. Whole words are then predicted, so that no
        part of a word gives the rest away; None predicts single tokens.

    Returns:
      The masked text. With whole words the places may be fewer, if no word fits the number.

    Example:
      >>> text, some = np.arange(10, 30), np.ones(20, bool)
      >>> masked = mask_for_prediction(text, some, 0, text, np.random.default_rng(0))
      >>> masked.labels.tolist() == text[masked.places].tolist(), len(masked.places)
      (True, 3)
    """
    allowed = np.flatnonzero(candidates)
    count = noise_count(len(allowed), rate) if len(allowed) else 0
    if starts is None:
        places = np.sort(rng.choice(allowed, count, replace=False))
    else:
        places = _whole_words(allowed, starts, count, rng)
    labels = np.asarray(tokens, np.int32)[places]
    fate = rng.random(len(places))
    others = rng.choice(ordinary, len(places))
    kept_or_random = np.where(fate < _MASKED + _RANDOM, others, labels)
    hidden = np.array(tokens, np.int32)
    hidden[places] = np.where(fate < _MASKED, mask, kept_or_random)
    return Masked(hidden, places.astype(np.int32), labels)


def restore_masked(masked: Masked) -> np.ndarray:
    """Return the text that `mask_for_prediction` masked: `[n]` int32."""
    tokens = np.array(masked.tokens, np.int32)
    tokens[masked.places] = masked.labels
    return tokens


def _whole_words(
    allowed: np.ndarray, starts: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw words until their tokens are `count`; a word that is too long is passed over."""
    # A word also begins after a token that may not be predicted.
    gap = np.diff(allowed, prepend=-2) > 1
    word = np.cumsum(starts[allowed] | gap) - 1
    sizes = np.bincount(word) if len(word) else np.zeros(0, np.int64)
    chosen = np.zeros(len(sizes), bool)
    left = count
    for number in rng.permutation(len(sizes)):
        if sizes[number] <= left:
            chosen[number] = True
            left -= sizes[number]
        if not left:
            break
    return allowed[chosen[word]] if len(word) else allowed
