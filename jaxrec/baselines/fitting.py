"""Training that every neural baseline shares: from a module, its loss and batches to variables."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.baselines.item_table import FIXED
from jaxrec.core import DataError, MeshConfig, ShardingRules, is_box, make_mesh
from jaxrec.data import endless
from jaxrec.train import (
    FitResult,
    LossFunction,
    Plan,
    Start,
    TrainConfig,
    Validation,
    fit,
    load_params,
    make_optimizer,
    make_plan,
    make_shapes,
)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """What `train_baseline` trains.

    Attributes:
      title: name of the baseline, shown by the progress bar.
      model: the Flax module.
      example: arguments of a call of the module, arrays or `jax.ShapeDtypeStruct`, from which the
        shapes of its parameters follow.
      loss: maps the variables `{"params": ..., "fixed": ...}`, a batch and a random key to a loss.
      batches: Grain dataset of batches.
      shapes: `jax.ShapeDtypeStruct` (or arrays) for every kind of batch; None if all batches have
        the shapes of the first one.
      fixed: arrays of the collection "fixed". They are part of the resulting variables, but they
        are not trained and no checkpoint holds them.
    """

    title: str
    model: nn.Module
    example: tuple[Any, ...]
    loss: LossFunction
    batches: Any
    shapes: Sequence[Any] | None = None
    fixed: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def train_baseline(
    problem: Problem,
    config: TrainConfig,
    validation: Validation,
    directory: Path,
    start: Start | None = None,
) -> FitResult:
    """Train a baseline in `directory`, or resume its training there.

    Args:
      problem: the module, its loss and its batches.
      config: optimizer and schedule.
      validation: how checkpoints are measured and ranked.
      directory: receives checkpoints and metrics.
      start: initial parameters, and as `frozen` a tree of the module's parameters that are kept as
        they are. Frozen parameters are part of the resulting variables and of no checkpoint. None
        trains all parameters from the module's own initializers.
    """
    plan, frozen = plan_baseline(problem, config, start)
    return fit(
        plan,
        iter(problem.batches),
        validation,
        directory,
        start=dataclasses.replace(start or Start(), frozen=frozen),
        title=problem.title,
    )


def plan_baseline(
    problem: Problem, config: TrainConfig, start: Start | None = None
) -> tuple[Plan, Any]:
    """Plan the training of a baseline, without compiling anything.

    The arguments are those of `train_baseline`.

    Returns:
      The plan, and the arrays of the frozen tree that it takes.
    """
    init, join, frozen = _trees(problem.model, problem.example, problem.fixed, start)
    shapes = [_shapes(next(iter(problem.batches)))] if problem.shapes is None else problem.shapes
    plan = make_plan(
        init,
        problem.loss,
        shapes[-1],
        config,
        more=shapes[:-1],
        frozen=_replicated(_shapes(frozen)),
        join=join,
    )
    return plan, frozen


def load_baseline(
    model: nn.Module,
    example: tuple[Any, ...],
    fixed: Mapping[str, Any],
    config: TrainConfig,
    directory: Path,
    start: Start | None = None,
) -> Any:
    """Read the variables of the best checkpoint of a baseline, without any data.

    Args:
      model: see `Problem`.
      example: see `Problem`.
      fixed: see `Problem`; no checkpoint holds these arrays.
      config: optimizer and schedule of the training.
      directory: where it was trained.
      start: frozen parameters, and hashes that the checkpoint must have.

    Raises:
      DataError: not trained yet, damaged, or of another model.
    """
    start = start or Start()
    init, join, frozen = _trees(model, example, fixed, start)
    mesh, rules = make_mesh(MeshConfig()), ShardingRules()
    target = make_shapes(init, make_optimizer(config), mesh, rules, config)
    trained, _ = load_params(directory / "checkpoints", target, start.base, start.run)
    return join(trained, frozen)


def _trees(
    model: nn.Module, example: tuple[Any, ...], fixed: Mapping[str, Any], start: Start | None
) -> tuple[Callable[[jax.Array], Any], Callable[[Any, Any], Any], Any]:
    """What a plan takes: how to draw the trainable tree and to join it, and the frozen tree."""
    start = start or Start()
    fixed, held = jax.tree.map(jnp.asarray, (dict(fixed), start.frozen or {}))
    held_names = flatten_dict(held, sep="/")

    def init(key: jax.Array) -> Any:
        # Only the shapes of the fixed arrays matter here; their values would become constants of
        # the compiled program.
        variables: Any = {FIXED: jax.tree.map(jnp.zeros_like, fixed)}
        values = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), example)
        made = model.apply(variables, *values, rngs={"params": key}, mutable=["params"])[1]
        leaves = flatten_dict(made["params"], sep="/")
        trained = {name: leaf for name, leaf in leaves.items() if name not in held_names}
        return _replicated(unflatten_dict(trained, sep="/"))

    def join(trained: Any, frozen: Any) -> Any:
        params = flatten_dict(trained, sep="/") | flatten_dict(frozen["held"], sep="/")
        return {"params": unflatten_dict(params, sep="/"), FIXED: frozen[FIXED]}

    return init, join, {FIXED: fixed, "held": held}


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def _replicated(tree: Any) -> Any:
    """Mark arrays without axis names as replicated on every device."""
    return jax.tree.map(
        lambda leaf: leaf if is_box(leaf) else nn.Partitioned(leaf, (None,) * leaf.ndim),
        tree,
        is_leaf=is_box,
    )


def shuffled_batches(
    count: int,
    batch_size: int,
    seed: int,
    take: Callable[[np.ndarray, np.random.Generator], dict[str, np.ndarray]],
) -> Any:
    """Endless, seeded, resumable batches of numbered examples; every epoch holds each example once.

    Args:
      count: number of examples.
      batch_size: examples per batch. A batch may end one epoch and begin the next.
      seed: determines the order and what `take` draws.
      take: maps example numbers `[batch_size]` and a random generator to arrays by name.

    Raises:
      DataError: `count` is 0.
    """
    if not count:
        raise DataError("there are no examples to train on; check the filters of the data")

    def batch(step: int) -> dict[str, np.ndarray]:
        places = np.arange(step * batch_size, (step + 1) * batch_size)
        chosen = np.empty(batch_size, np.int64)
        for epoch in range(places[0] // count, places[-1] // count + 1):
            mine = places // count == epoch
            order = np.random.default_rng([seed, 0, epoch]).permutation(count)
            chosen[mine] = order[places[mine] % count]
        return take(chosen, np.random.default_rng([seed, 1, step]))

    return endless(batch, batch_size, 0)
