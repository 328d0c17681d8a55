"""Alignment: rollouts, rewards, divergence from a reference, and the objective of PPO."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.align.actor import POLICY as POLICY, VALUE as VALUE, Actor as Actor
    from jaxrec.align.advantages import gae as gae
    from jaxrec.align.config import PpoSettings as PpoSettings
    from jaxrec.align.episodes import (
        Episodes as Episodes,
        end_scores as end_scores,
        judge_episodes as judge_episodes,
        token_rewards as token_rewards,
        write_episodes as write_episodes,
    )
    from jaxrec.align.kl import AdaptiveKL as AdaptiveKL, k1 as k1, k2 as k2, k3 as k3
    from jaxrec.align.losses import (
        importance_ratio as importance_ratio,
        is_clipped as is_clipped,
        policy_loss as policy_loss,
        value_loss as value_loss,
    )
    from jaxrec.align.masked import (
        explained_variance as explained_variance,
        masked_mean as masked_mean,
        masked_variance as masked_variance,
        whiten as whiten,
    )
    from jaxrec.align.objective import ppo_loss as ppo_loss
    from jaxrec.align.rewards import (
        Reward as Reward,
        device_reward as device_reward,
        host_reward as host_reward,
        model_reward as model_reward,
        token_share as token_share,
    )
    from jaxrec.align.rollouts import Rollouts as Rollouts
    from jaxrec.align.stopping import over_optimized as over_optimized
    from jaxrec.align.task import PpoTask as PpoTask
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
