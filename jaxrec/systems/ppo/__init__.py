"""PPO on text: a language model learns from a reward, and stays near the model it started from."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.systems.ppo.config import (
        PpoConfig as PpoConfig,
        PpoDataConfig as PpoDataConfig,
        PpoEvalConfig as PpoEvalConfig,
        RewardRunConfig as RewardRunConfig,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
