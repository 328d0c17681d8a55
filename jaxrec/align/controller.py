"""The weight β of the KL penalty: fixed, or adapted to reach a target."""

import dataclasses

from jaxrec.core import NotNegative, Positive, check_ranges

_MOST_ERROR = 0.2


@dataclasses.dataclass(frozen=True)
class KlController:
    """β and how it changes after a batch of answers; `update` returns the next controller.

    β ← β (1 + clip(KL / target - 1, -0.2, 0.2) n / horizon)

    (Ziegler et al. 2019, arXiv:1909.08593, section 2.2.)

    Attributes:
      beta: β.
      target: KL of a whole answer to keep to, in nats; None keeps β fixed.
      horizon: answers over which β changes by about the error.

    Example:
      >>> KlController(0.15, target=6.0).update(kl=12.0, n=1000).beta  # 0.15 (1 + 0.2 x 0.1)
      0.153
      >>> KlController(0.05).update(kl=12.0, n=1000).beta
      0.05
    """

    beta: NotNegative
    target: Positive | None = None
    horizon: Positive = 10_000.0

    def __post_init__(self) -> None:
        check_ranges(self, "")

    def update(self, kl: float, n: int) -> "KlController":
        """The controller after a batch.

        Args:
          kl: mean over the answers of the batch of Σ_t k1_t.
          n: answers of the batch.
        """
        if self.target is None:
            return self
        error = min(max(kl / self.target - 1, -_MOST_ERROR), _MOST_ERROR)
        return dataclasses.replace(self, beta=self.beta * (1 + error * n / self.horizon))
