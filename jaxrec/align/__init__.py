"""Alignment: preferences, rewards, rollouts, and the losses of DPO, S-DPO, GRPO and PPO."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.align import rewards as rewards
    from jaxrec.align.config import AlignConfig as AlignConfig, RewardConfig as RewardConfig
    from jaxrec.align.gae import gae as gae
    from jaxrec.align.group import group_advantages as group_advantages, grpo as grpo
    from jaxrec.align.item_log_probs import item_log_probs as item_log_probs
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
    from jaxrec.align.preference import (
        check_pairs as check_pairs,
        dpo as dpo,
        sdpo as sdpo,
        sequence_log_probs as sequence_log_probs,
    )
    from jaxrec.align.rewards import (
        Group as Group,
        Reward as Reward,
        total_reward as total_reward,
    )
    from jaxrec.align.rollout import (
        ItemPrompts as ItemPrompts,
        Rollout as Rollout,
        RolloutOptions as RolloutOptions,
        item_tokens as item_tokens,
        roll_items as roll_items,
    )
    from jaxrec.align.rollout_batches import RolloutBatches as RolloutBatches
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
