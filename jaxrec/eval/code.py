"""pass@k: how likely at least one of k programs passes the tests.

Chen et al., Evaluating Large Language Models Trained on Code (arXiv:2107.03374), section 2.1.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from jaxrec.core import ConfigError, DataError


def pass_at_k(samples: ArrayLike, passed: ArrayLike, k: int) -> np.ndarray:
    """Unbiased estimate of pass@k of each problem.

    With n samples of which c pass, the share of the subsets of k samples with one that passes is

        1 - C(n - c, k) / C(n, k) = 1 - Π_{i = n-c+1..n} (1 - k / i)

    and 1 if n - c < k. The estimate 1 - (1 - c / n)^k would be biased.

    Args:
      samples: n of each problem, `[N]` or one number for all.
      passed: c of each problem, `[N]`.
      k: number of programs that a user would try.

    Returns:
      float64 `[N]`.

    Raises:
      ConfigError: k is below 1, or there are fewer than k samples of a problem.
      DataError: more programs pass than there are, or a number is negative or not whole.

    Example:
      >>> pass_at_k(5, [0, 1, 4], 2).tolist()
      [0.0, 0.4, 1.0]
    """
    c = _whole(passed, "passed")
    n = np.broadcast_to(_whole(samples, "samples"), c.shape)
    if k < 1 or (n < k).any():
        raise ConfigError(
            f"pass@{k} needs k of at least 1 and k samples of each problem, got "
            f"{int(n.min()) if n.size else 0}; lower k or draw more samples"
        )
    if (c > n).any():
        place = int(np.argmax(c > n))
        raise DataError(
            f"problem {place}: {c[place]} of {n[place]} programs pass; more cannot pass than exist"
        )
    return np.array([_pass_at_k(int(a), int(b), k) for a, b in zip(n, c, strict=True)])


def _pass_at_k(n: int, c: int, k: int) -> float:
    if n - c < k:
        return 1.0
    return 1.0 - float(np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


def _whole(values: ArrayLike | Sequence[int], name: str) -> np.ndarray:
    found = np.atleast_1d(np.asarray(values))
    if found.ndim != 1 or found.dtype.kind not in "iu" or (found < 0).any():
        raise DataError(f"{name} must be whole numbers from 0 on, of shape [N], got {values!r:.80}")
    return found
