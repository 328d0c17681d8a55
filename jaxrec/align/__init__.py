"""Alignment: rollouts, divergence from a reference, advantages and the losses of PPO."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.align.gae import gae as gae
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
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
