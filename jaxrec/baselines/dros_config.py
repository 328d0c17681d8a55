"""DROS: a sequential baseline made robust to shifts of the distribution (Yang et al., SIGIR 2023).

The published code adds to the loss of a backbone the term of `objectives.dro`, with a weight that
is 0 unless said, which disables the method.
"""

import dataclasses
from typing import TypeVar

from jaxrec.baselines.sequential_config import SequentialConfig
from jaxrec.core import ConfigError

Config = TypeVar("Config", bound=SequentialConfig)


def dros(backbone: Config, alpha: float = 0.1, beta: float = 1.0) -> Config:
    """The settings of a backbone, trained with the robust term.

    Args:
      backbone: settings of GRU4Rec, Caser, SASRec or another sequential baseline.
      alpha: α > 0, weight of the term.
      beta: β > 0, see `objectives.dro`.

    Raises:
      ConfigError: a weight of 0, which would be the backbone alone.
    """
    if alpha <= 0:
        raise ConfigError(f"DROS needs alpha above 0, got {alpha}: with 0 it is the backbone alone")
    return dataclasses.replace(backbone, robust=alpha, robust_beta=beta)
