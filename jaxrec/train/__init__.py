"""Training: the plan, state and step of a run, its loop, checkpoints and metrics."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.train.batches import Batches as Batches, OnPolicy as OnPolicy
    from jaxrec.train.checkpoint import Checkpoints as Checkpoints, load_params as load_params
    from jaxrec.train.config import TrainConfig as TrainConfig
    from jaxrec.train.divergence import FAULT as FAULT
    from jaxrec.train.loop import (
        FitResult as FitResult,
        Start as Start,
        Validation as Validation,
        fit as fit,
    )
    from jaxrec.train.memory import (
        StepMemory as StepMemory,
        count_bytes as count_bytes,
        memory_explained as memory_explained,
        step_memory as step_memory,
    )
    from jaxrec.train.metrics import MetricWriter as MetricWriter, read_metrics as read_metrics
    from jaxrec.train.optimizer import make_optimizer as make_optimizer
    from jaxrec.train.plan import Plan as Plan, make_plan as make_plan
    from jaxrec.train.step import (
        LossFunction as LossFunction,
        TrainState as TrainState,
        all_trained as all_trained,
        check_batch as check_batch,
        make_shapes as make_shapes,
        make_state as make_state,
        make_step as make_step,
        shardings as shardings,
        start_state as start_state,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
