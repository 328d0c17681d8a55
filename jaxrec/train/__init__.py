"""Training: state, step, loop, checkpoints, metric writer, progress."""

from jaxrec.train.checkpoint import Checkpoints, load_params
from jaxrec.train.config import TrainConfig
from jaxrec.train.loop import Batches, FitResult, fit
from jaxrec.train.metrics import MetricWriter, read_metrics
from jaxrec.train.progress import ProgressBar
from jaxrec.train.step import (
    LossFunction,
    TrainState,
    check_batch,
    make_optimizer,
    make_state,
    make_step,
)

__all__ = [
    "Batches",
    "Checkpoints",
    "FitResult",
    "LossFunction",
    "MetricWriter",
    "ProgressBar",
    "TrainConfig",
    "TrainState",
    "check_batch",
    "fit",
    "load_params",
    "make_optimizer",
    "make_state",
    "make_step",
    "read_metrics",
]
