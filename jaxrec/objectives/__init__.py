"""Training objectives: pure functions from parameters and a batch to a loss."""

from jaxrec.objectives.id_modeling import id_loss, mean_cross_entropy

__all__ = ["id_loss", "mean_cross_entropy"]
