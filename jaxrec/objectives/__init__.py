"""Training objectives: pure functions, mostly of scores or of a model's variables and a batch."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.objectives.contrastive import info_nce as info_nce, semi_synthetic as semi_synthetic
    from jaxrec.objectives.id_modeling import (
        cross_entropy as cross_entropy,
        id_loss as id_loss,
        next_item_loss as next_item_loss,
    )
    from jaxrec.objectives.language_modeling import language_loss as language_loss
    from jaxrec.objectives.loss import Loss as Loss
    from jaxrec.objectives.ranking import bce as bce, bpr as bpr, sampled_softmax as sampled_softmax
    from jaxrec.objectives.robust import dro as dro, propensities as propensities
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
