"""Toolformer's filter: which calls make the text that follows them more likely.

(Schick et al. 2023, arXiv:2302.04761, section 2.) A call c with the result r, before token i of a
text x of n tokens, is judged by the weighted loss of the tokens from i on,

    L_i(z) = - sum_{j >= i} w_{j-i} log P(x_j | z, x_{1:j-1})

after each of three prefixes z: nothing, the call without a result, and the call with its result.
The weights w_t are proportional to max(0, 1 - t / 5), and all of them add up to 1: 5/15, 4/15,
3/15, 2/15 and 1/15. The call is kept if its result lowers the loss by at least tau_f compared with
the better of the other two.
"""

import numpy as np

from jaxrec.core import ConfigError

_REACH = 5


def call_weights(count: int) -> np.ndarray:
    """Return the weights w_0, w_1, ... of the tokens after a call, `[count]`.

    A text that ends sooner than the weights leaves the rest of them out.

    Example:
      >>> (call_weights(7) * 15).round(6).tolist()
      [5.0, 4.0, 3.0, 2.0, 1.0, 0.0, 0.0]
    """
    raw = np.maximum(0.0, 1 - np.arange(count) / _REACH)
    return raw / np.maximum(0.0, 1 - np.arange(_REACH) / _REACH).sum()


def call_loss(logprobs: np.ndarray, position: int) -> float:
    """Return the weighted loss L_i of a text, given the log-probability of each of its tokens.

    Args:
      logprobs: `[n]`, log P(x_j | z, x_{1:j-1}) after some prefix z, in nats.
      position: i, number of the token that the call would precede, from 0 on.

    Raises:
      ConfigError: a position outside of the text.

    Example:
      >>> round(call_loss(np.log([0.5, 0.5, 0.25]), 2), 4)  # log(4) / 3
      0.4621
    """
    if not 0 <= position < len(logprobs):
        raise ConfigError(
            f"position must be that of one of the text's {len(logprobs)} tokens, got {position}"
        )
    rest = np.asarray(logprobs, np.float64)[position:]
    return float(-(call_weights(len(rest)) * rest).sum())


def call_gain(
    nothing: np.ndarray, without_result: np.ndarray, with_result: np.ndarray, position: int
) -> float:
    """Return how much the result of a call lowers the loss: min(L_i(e), L_i(c)) - L_i(c, r).

    Args:
      nothing: `[n]` log-probabilities of the text's tokens on their own.
      without_result: `[n]`, the same after the call alone.
      with_result: `[n]`, the same after the call and its result.
      position: see `call_loss`.

    Raises:
      ConfigError: see `call_loss`.

    Example:
      >>> plain, helped = np.log([0.5, 0.1]), np.log([0.5, 0.9])
      >>> round(call_gain(plain, plain, helped, 1), 3)
      0.732
    """
    better = min(call_loss(nothing, position), call_loss(without_result, position))
    return better - call_loss(with_result, position)
