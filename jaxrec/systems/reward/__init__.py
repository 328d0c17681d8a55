"""Reward models: a text model with a scalar head, trained on what labelers prefer."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.systems.reward.config import (
        FeedbackConfig as FeedbackConfig,
        PlantedConfig as PlantedConfig,
        RewardEvalConfig as RewardEvalConfig,
        RewardModelConfig as RewardModelConfig,
    )
    from jaxrec.systems.reward.planted import Planted as Planted
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
