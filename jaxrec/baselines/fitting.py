"""Training of every neural baseline: parameters, arrays that are not trained, batches, a loss."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.baselines.item_table import FIXED
from jaxrec.core import DataError, is_box
from jaxrec.data import endless
from jaxrec.train import FitResult, LossFunction, TrainConfig, fit, make_plan

Evaluate = Callable[[Any], dict[str, float]]


def train_baseline(
    model: nn.Module,
    example: tuple[Any, ...],
    loss: LossFunction,
    batches: Any,
    config: TrainConfig,
    evaluate: Evaluate,
    directory: Path,
    *,
    fixed: Mapping[str, Any],
    metric: str = "ndcg@10",
    title: str = "baseline",
    start: Callable[[], Any] | None = None,
    shapes: Sequence[Any] | None = None,
    held: Any = None,
) -> FitResult:
    """Train, or resume training, below `directory`.

    Args:
      model: the module.
      example: arguments of its call, arrays or shapes, to make its parameters.
      loss: of the variables `{"params": ..., "fixed": ...}`, a batch and a key.
      batches: Grain dataset of batches.
      config: optimizer and schedule.
      evaluate: variables to validation metrics.
      directory: gets checkpoints and metrics.
      fixed: tree of arrays for the collection "fixed", which are part of the result's variables and
        of no checkpoint.
      metric: ranks checkpoints.
      title: of the progress bar.
      start: gives the parameters to begin from; None for the module's own initializers.
      shapes: of every kind of batch, arrays or `jax.ShapeDtypeStruct`; None where all batches have
        the shape of the first.
      held: parameters that are not trained: a tree with some of the module's leaves, which are part
        of the result's variables and of no checkpoint; None for none.
    """
    fixed, held = jax.tree.map(jnp.asarray, (dict(fixed), held or {}))
    still = flatten_dict(held, sep="/")

    def init(key: jax.Array) -> Any:
        # Of the fixed arrays only the shapes matter here; as constants they would be compiled in.
        shapes = jax.tree.map(jnp.zeros_like, fixed)
        variables: Any = {FIXED: shapes}
        values = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), example)
        made = model.apply(variables, *values, rngs={"params": key}, mutable=["params"])[1]
        trained = {k: v for k, v in flatten_dict(made["params"], sep="/").items() if k not in still}
        return _whole(unflatten_dict(trained, sep="/"))

    def join(trained: Any, frozen: Any) -> Any:
        params = flatten_dict(trained, sep="/") | flatten_dict(frozen["held"], sep="/")
        return {"params": unflatten_dict(params, sep="/"), FIXED: frozen[FIXED]}

    frozen = {FIXED: fixed, "held": held}
    if shapes is None:
        first = next(iter(batches))
        shapes = [jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), first)]
    plan = make_plan(
        init,
        loss,
        shapes[-1],
        config,
        more=shapes[:-1],
        frozen=_whole(jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), frozen)),
        join=join,
    )
    return fit(
        plan,
        iter(batches),
        evaluate,
        directory,
        frozen=frozen,
        start=start,
        metric=metric,
        title=title,
    )


def _whole(tree: Any) -> Any:
    """Say of arrays whose axes have no names that every device holds them whole."""
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
    """Endless, seeded, resumable batches of numbered examples, every example once an epoch.

    Args:
      count: examples.
      batch_size: of them a batch; one may end an epoch and begin the next.
      seed: decides the order and what `take` draws.
      take: `[batch_size]` numbers of examples, generator -> name -> array.
    """
    if not count:
        raise DataError("no examples to train on")

    def batch(step: int) -> dict[str, np.ndarray]:
        places = np.arange(step * batch_size, (step + 1) * batch_size)
        chosen = np.empty(batch_size, np.int64)
        for epoch in range(places[0] // count, places[-1] // count + 1):
            mine = places // count == epoch
            order = np.random.default_rng([seed, 0, epoch]).permutation(count)
            chosen[mine] = order[places[mine] % count]
        return take(chosen, np.random.default_rng([seed, 1, step]))

    return endless(batch, batch_size, 0)
