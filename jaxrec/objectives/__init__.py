"""Training objectives: pure functions from parameters and a batch to a loss."""

from jaxrec.objectives.id_modeling import cross_entropy, id_loss
from jaxrec.objectives.language_modeling import language_loss
from jaxrec.objectives.loss import Loss

__all__ = ["Loss", "cross_entropy", "id_loss", "language_loss"]
