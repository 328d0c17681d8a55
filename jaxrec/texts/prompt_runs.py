"""Runs in which one encoder-decoder learns a mixture of prompts: training and loading.

A system decides what its prompts are made of and how it is validated; what is the same for all of
them is here.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import jax

from jaxrec.core import (
    MeshConfig,
    ShardingRules,
    batch_shard,
    batch_sharding,
    describe_shardings,
    is_writer,
    make_mesh,
    on_writer,
)
from jaxrec.data import Group, Mixture, prompt_batches
from jaxrec.runs import Options, read_training, run_identity, write_summary
from jaxrec.texts.prompt_data import PromptData
from jaxrec.texts.prompted import Prompted, count_tokens, plan_prompts
from jaxrec.texts.tasks import TextTask
from jaxrec.train import (
    Plan,
    Start,
    TrainConfig,
    Validation,
    fit,
    load_params,
    make_optimizer,
    make_shapes,
)

D = TypeVar("D", bound=PromptData)
T = TypeVar("T")


class PromptRunConfig(Protocol):
    """What the functions of this module read of a config."""

    @property
    def train(self) -> TrainConfig:
        """The training."""

    @property
    def mesh(self) -> MeshConfig:
        """The devices."""

    @property
    def sharding(self) -> ShardingRules:
        """Where parameters and batches lie."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PromptParts(Generic[D]):
    """A run without its parameters.

    Attributes:
      data: the data of its prompts.
      tasks: its tasks by name, worded for its names.
      mixture: their training streams.
      groups: which tasks share a length.
      prompted: the model, its tokenizer and its items.
    """

    data: D
    tasks: dict[str, TextTask[D]]
    mixture: Mixture
    groups: list[Group]
    prompted: Prompted


def open_once(opens: Callable[[bool], T], write: bool) -> T:
    """Open a run of several processes, of which one writes what a new run needs before the others.

    Args:
      opens: opens the run; its argument says whether to write.
      write: whether anything is to be written.

    Example:
      >>> open_once(lambda write: f"written: {write}", write=True)
      'written: True'
    """
    if write and jax.process_count() > 1:
        on_writer(lambda: opens(True))
    return opens(write)


def plan_parts(config: PromptRunConfig, parts: PromptParts[D]) -> Plan:
    """Compile the training step of a run.

    Raises:
      ConfigError, ResourceError: see `plan_prompts`.
    """
    return plan_prompts(
        parts.prompted, parts.mixture, parts.groups, config.train, config.mesh, config.sharding
    )


def train_parts(
    config: PromptRunConfig,
    parts: PromptParts[D],
    directory: Path,
    options: Options,
    *,
    validation: Callable[[], Validation],
    first: Callable[[], Any] | None = None,
) -> None:
    """Plan and train a run, or continue a training that was cut short, and write `train.json`.

    Args:
      config: of the run.
      parts: of the run.
      directory: of the run.
      options: flags of the command; a dry run ends after the plan.
      validation: makes the validation, once the plan is known to fit.
      first: makes the parameters to start from; None for random ones.

    Raises:
      OutOfMemory: the training does not fit.
      ConfigError, DataError, ResourceError: see `fit`.
    """
    if options.show_shardings:
        shapes = jax.eval_shape(parts.prompted.init, jax.random.key(0))
        print(describe_shardings(shapes, make_mesh(config.mesh), config.sharding))
    plan = plan_parts(config, parts)
    print(plan)
    plan.memory.check()
    if options.dry:
        return
    shard = batch_shard(batch_sharding(plan.mesh, plan.rules))
    batches = prompt_batches(parts.mixture, parts.groups, parts.prompted.tokenizer, shard)
    result = fit(
        plan,
        iter(batches),
        validation(),
        directory,
        start=Start(params=first, run=run_identity(directory)),
        measure=count_tokens,
        profile=options.profile,
    )
    if is_writer():
        write_summary(directory, result, trained_parameters=plan.size.trainable)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TrainedPrompts:
    """The model of a trained run.

    Attributes:
      prompted: the model.
      parameters: number of its parameters.
      seconds: time that its training took.
    """

    prompted: Prompted
    parameters: int
    seconds: float


def load_trained(config: PromptRunConfig, prompted: Prompted, directory: Path) -> TrainedPrompts:
    """Read the parameters of the best checkpoint of a run.

    Raises:
      DataError: the run is not trained yet, or damaged.
    """
    optimizer = make_optimizer(config.train)
    target = make_shapes(
        prompted.init, optimizer, make_mesh(config.mesh), config.sharding, config.train
    )
    params, _ = load_params(directory / "checkpoints", target, run=run_identity(directory))
    return TrainedPrompts(
        prompted=prompted.with_params(prompted.join(params)),
        parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
        seconds=read_training(directory)["seconds"],
    )
