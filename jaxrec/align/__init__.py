"""Alignment: the mathematics of learning from preferences and rewards, as pure functions."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.align.advantages import (
        gae as gae,
        group_advantages as group_advantages,
        token_rewards as token_rewards,
        whiten as whiten,
    )
    from jaxrec.align.agreement import (
        Agreement as Agreement,
        Level as Level,
        agreement_with as agreement_with,
        cohen_kappa as cohen_kappa,
        kendall_tau as kendall_tau,
        krippendorff_alpha as krippendorff_alpha,
        labels_of as labels_of,
        percent_agreement as percent_agreement,
        rating_table as rating_table,
        select_labelers as select_labelers,
    )
    from jaxrec.align.comparisons import (
        Comparisons as Comparisons,
        Prompted as Prompted,
        gather as gather,
        ordered_pairs as ordered_pairs,
        split_prompts as split_prompts,
    )
    from jaxrec.align.controller import KlController as KlController
    from jaxrec.align.feedback import (
        Feedback as Feedback,
        append_feedback as append_feedback,
        mend_feedback as mend_feedback,
        read_feedback as read_feedback,
    )
    from jaxrec.align.feedback_rules import (
        Rule as Rule,
        penalized as penalized,
        violations as violations,
    )
    from jaxrec.align.kl import k1 as k1, k2 as k2, k3 as k3
    from jaxrec.align.policy import (
        PolicyStats as PolicyStats,
        grpo_loss as grpo_loss,
        ppo_policy_loss as ppo_policy_loss,
        ppo_value_loss as ppo_value_loss,
    )
    from jaxrec.align.preference import dpo as dpo, s_dpo as s_dpo
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
        init_head as init_head,
        last_scalars as last_scalars,
        normalization as normalization,
        pad_rows as pad_rows,
        rescale as rescale,
        reward_of as reward_of,
        score_rows as score_rows,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
