"""Training: plan, state, step, loop, checkpoints, metric writer, progress."""

from jaxrec.train.checkpoint import Checkpoints, load_params
from jaxrec.train.config import TrainConfig
from jaxrec.train.loop import Batches, FitResult, fit
from jaxrec.train.memory import StepMemory
from jaxrec.train.metrics import MetricWriter, read_metrics
from jaxrec.train.optimizer import make_optimizer
from jaxrec.train.plan import Plan, make_plan
from jaxrec.train.progress import ProgressBar
from jaxrec.train.step import (
    LossFunction,
    TrainState,
    all_trained,
    check_batch,
    make_shapes,
    make_state,
    make_step,
)

__all__ = [
    "Batches",
    "Checkpoints",
    "FitResult",
    "LossFunction",
    "MetricWriter",
    "Plan",
    "ProgressBar",
    "StepMemory",
    "TrainConfig",
    "TrainState",
    "all_trained",
    "check_batch",
    "fit",
    "load_params",
    "make_optimizer",
    "make_plan",
    "make_shapes",
    "make_state",
    "make_step",
    "read_metrics",
]
