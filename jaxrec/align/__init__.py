"""Alignment: preferences, rewards, rollouts, and the objectives of DPO, S-DPO, GRPO and PPO."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.align import item_rewards as item_rewards
    from jaxrec.align.actor import POLICY as POLICY, VALUE as VALUE, Actor as Actor
    from jaxrec.align.advantages import gae as gae
    from jaxrec.align.agreement import (
        Level as Level,
        cohen_kappa as cohen_kappa,
        kendall_tau as kendall_tau,
        krippendorff_alpha as krippendorff_alpha,
        percent_agreement as percent_agreement,
    )
    from jaxrec.align.comparisons import (
        Comparisons as Comparisons,
        Part as Part,
        Prompted as Prompted,
        gather as gather,
        ordered_pairs as ordered_pairs,
        split_prompts as split_prompts,
    )
    from jaxrec.align.config import PpoSettings as PpoSettings
    from jaxrec.align.episodes import (
        Episodes as Episodes,
        end_scores as end_scores,
        judge_episodes as judge_episodes,
        token_rewards as token_rewards,
        write_episodes as write_episodes,
    )
    from jaxrec.align.feedback import Feedback as Feedback
    from jaxrec.align.feedback_file import (
        append_feedback as append_feedback,
        mend_feedback as mend_feedback,
        only_writer as only_writer,
        read_feedback as read_feedback,
    )
    from jaxrec.align.feedback_rules import (
        Rule as Rule,
        penalized as penalized,
        violations as violations,
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
    from jaxrec.align.labelers import (
        Agreement as Agreement,
        agreement_with as agreement_with,
        by_criterion as by_criterion,
        labels_of as labels_of,
        rating_table as rating_table,
        select_labelers as select_labelers,
    )
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
        answer_log_probs as answer_log_probs,
        check_pairs as check_pairs,
        dpo as dpo,
        sdpo as sdpo,
        sequence_log_probs as sequence_log_probs,
    )
    from jaxrec.align.preference_records import (
        make_preference as make_preference,
        read_preferences as read_preferences,
    )
    from jaxrec.align.reward_losses import (
        best_of_n_loss as best_of_n_loss,
        pairwise_loss as pairwise_loss,
        regression_loss as regression_loss,
    )
    from jaxrec.align.reward_model import (
        Normalization as Normalization,
        RewardModel as RewardModel,
        check_rewards as check_rewards,
        encode_answers as encode_answers,
        frame_of as frame_of,
        init_head as init_head,
        last_scalars as last_scalars,
        normalization as normalization,
        pad_rows as pad_rows,
        rescale as rescale,
        reward_of as reward_of,
        score_rows as score_rows,
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
    from jaxrec.align.rule_probes import (
        ProbeReport as ProbeReport,
        ProbingSet as ProbingSet,
        probe_rules as probe_rules,
        read_probes as read_probes,
    )
    from jaxrec.align.stopping import over_optimized as over_optimized
    from jaxrec.align.task import PpoTask as PpoTask
    from jaxrec.align.teacher_forcing import item_log_probs as item_log_probs
    from jaxrec.align.text_rewards import (
        check_text_reward as check_text_reward,
        host_text_reward as host_text_reward,
        reads_tokens as reads_tokens,
        text_reward as text_reward,
        weighted_sum as weighted_sum,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
