"""Training objectives: pure functions from parameters and a batch to a loss."""

from jaxrec.objectives.contrastive import info_nce, semi_synthetic
from jaxrec.objectives.dro import dro, propensities
from jaxrec.objectives.id_modeling import cross_entropy, id_loss, next_item_loss
from jaxrec.objectives.language_modeling import language_loss
from jaxrec.objectives.loss import Loss
from jaxrec.objectives.ranking import bce, bpr, sampled_softmax

__all__ = [
    "Loss",
    "bce",
    "bpr",
    "cross_entropy",
    "dro",
    "id_loss",
    "info_nce",
    "language_loss",
    "next_item_loss",
    "propensities",
    "sampled_softmax",
    "semi_synthetic",
]
