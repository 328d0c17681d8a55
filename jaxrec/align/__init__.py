"""Alignment: preferences, rewards, rollouts, and the objectives of DPO, S-DPO, GRPO and PPO."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.align import item_rewards as item_rewards
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
    from jaxrec.align.group import group_advantages as group_advantages, grpo as grpo
    from jaxrec.align.item_config import AlignConfig as AlignConfig, RewardConfig as RewardConfig
    from jaxrec.align.item_rewards import (
        ItemGroup as ItemGroup,
        ItemReward as ItemReward,
        total_reward as total_reward,
    )
    from jaxrec.align.item_rollout import (
        GroupOptions as GroupOptions,
        ItemPrompts as ItemPrompts,
        ItemRollout as ItemRollout,
        item_tokens as item_tokens,
        roll_items as roll_items,
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
    from jaxrec.align.negatives import (
        beam_negatives as beam_negatives,
        draw_negatives as draw_negatives,
    )
    from jaxrec.align.objective import TEXT as TEXT, ppo_loss as ppo_loss
    from jaxrec.align.preference import (
        check_pairs as check_pairs,
        dpo as dpo,
        sdpo as sdpo,
        sequence_log_probs as sequence_log_probs,
    )
    from jaxrec.align.rewards import (
        Reward as Reward,
        device_reward as device_reward,
        host_reward as host_reward,
        model_reward as model_reward,
        token_share as token_share,
    )
    from jaxrec.align.rollout_batches import RolloutBatches as RolloutBatches
    from jaxrec.align.rollouts import Rollouts as Rollouts
    from jaxrec.align.stopping import over_optimized as over_optimized
    from jaxrec.align.task import PpoTask as PpoTask
    from jaxrec.align.teacher_forcing import item_log_probs as item_log_probs
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
