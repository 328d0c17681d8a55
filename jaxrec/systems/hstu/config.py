"""A run of HSTU as one frozen value."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from jaxrec.baselines import HstuConfig
from jaxrec.core import ConfigError, check_ranges
from jaxrec.data import DataConfig
from jaxrec.runs import BaselinesConfig, RankConfig, check_counting, check_unread
from jaxrec.train import TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class HstuRunConfig:
    """A run of HSTU.

    Attributes:
      data: interactions.
      model: the network and its objective. Its own `train` is not read, so it is refused.
      train: optimizer and schedule.
      decode: which items a ranking leaves out.
      eval: measurements; the baselines must be counting ones.

    Raises:
      ConfigError: settings that this system does not run.

    Example:
      >>> HstuRunConfig(model=HstuConfig(width=32)).decode.filter_seen
      True
    """

    system: ClassVar[str] = "jaxrec.systems.hstu"
    unread: ClassVar[Mapping[str, str]] = {"model.train": "set train instead"}

    data: DataConfig = DataConfig()
    model: HstuConfig = HstuConfig()
    train: TrainConfig = TrainConfig(lr=1e-3, weight_decay=1e-2)
    decode: RankConfig = RankConfig()
    eval: BaselinesConfig = BaselinesConfig()

    def __post_init__(self) -> None:
        check_ranges(self, "--")
        check_unread(self)
        check_counting(self.eval.baselines, "HSTU")
        if self.model.synthetic:
            raise ConfigError(
                f"model.synthetic {self.model.synthetic} draws codes of items, and items have no "
                "codes here; set it to 0"
            )
