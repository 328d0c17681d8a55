"""DROS: a sequential baseline made robust to distribution shift (Yang et al., SIGIR 2023).

The published code adds the term of `objectives.dro` to the loss of a backbone. The default weight
of that term in the published code is 0, which disables the method.
"""

import dataclasses
from typing import TypeVar

from jaxrec.baselines.sequential_config import SequentialConfig
from jaxrec.core import ConfigError

Config = TypeVar("Config", bound=SequentialConfig)


def dros(backbone: Config, alpha: float = 0.1, beta: float = 1.0) -> Config:
    """Settings of a backbone that is trained with the robust term.

    Args:
      backbone: settings of GRU4Rec, Caser, SASRec or another sequential baseline.
      alpha: α > 0, weight of the term.
      beta: β > 0, see `objectives.dro`.

    Raises:
      ConfigError: `alpha` is not positive; with 0 only the backbone would remain.

    Example:
      >>> from jaxrec.baselines import Gru4RecConfig
      >>> config = dros(Gru4RecConfig(width=32), alpha=0.2)
      >>> config.title, config.width, config.robust
      ('gru4rec', 32, 0.2)
    """
    if alpha <= 0:
        raise ConfigError(
            f"DROS needs alpha above 0, got {alpha}; with 0 it would be the backbone alone"
        )
    return dataclasses.replace(backbone, robust=alpha, robust_beta=beta)
