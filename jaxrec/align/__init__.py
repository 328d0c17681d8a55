"""Alignment: the mathematics of learning from preferences and rewards, as pure functions."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.align.advantages import (
        gae as gae,
        group_advantages as group_advantages,
        token_rewards as token_rewards,
        whiten as whiten,
    )
    from jaxrec.align.controller import KlController as KlController
    from jaxrec.align.kl import k1 as k1, k2 as k2, k3 as k3
    from jaxrec.align.policy import (
        PolicyStats as PolicyStats,
        grpo_loss as grpo_loss,
        ppo_policy_loss as ppo_policy_loss,
        ppo_value_loss as ppo_value_loss,
    )
    from jaxrec.align.preference import dpo as dpo, s_dpo as s_dpo
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
