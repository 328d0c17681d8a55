"""A linear regression as a training run: quick to train, on any mesh, and easy to make fail."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxrec.core import MeshConfig, ShardingRules
from jaxrec.objectives import Loss
from jaxrec.train import Plan, TrainConfig, make_plan

WIDTH = 64
TRUTH = np.sin(np.arange(WIDTH)).astype(np.float32)


class RegressionBatches:
    """A checkpointable iterator of batches: `x` `[rows, WIDTH]` and `y` `[rows]`.

    Each batch is a function of its number.

    Args:
      size: rows of a whole batch.
      shard: (part, parts): which part of each batch this iterator returns.
      change: called with the number of a batch and the whole batch; returns a replacement, or
        raises.
    """

    def __init__(
        self,
        size: int = 8,
        shard: tuple[int, int] = (0, 1),
        change: Callable[[int, dict[str, np.ndarray]], dict[str, np.ndarray]] | None = None,
    ) -> None:
        self.place, self.size, self.shard, self.change = 0, size, shard, change

    def __next__(self) -> dict[str, np.ndarray]:
        x = np.random.default_rng(self.place).normal(size=(self.size, WIDTH)).astype(np.float32)
        batch = {"x": x, "y": x @ TRUTH}
        if self.change is not None:
            batch = self.change(self.place, batch)
        self.place += 1
        part, parts = self.shard
        rows = slice(part * self.size // parts, (part + 1) * self.size // parts)
        return {name: value[rows] for name, value in batch.items()}

    def get_state(self) -> dict[str, int]:
        """Return the number of the next batch."""
        return {"place": self.place}

    def set_state(self, state: dict[str, int]) -> None:
        """Continue from the batch with this number."""
        self.place = state["place"]


def regression_plan(
    config: TrainConfig, mesh: MeshConfig | None = None, *, split: bool = False
) -> Plan:
    """Return the training plan of the regression.

    Args:
      config: settings of the training.
      mesh: the device mesh; by default all devices.
      split: whether weights and optimizer moments are sharded over the data axis.
    """
    shapes = {
        "x": jax.ShapeDtypeStruct((config.batch_size, WIDTH), jnp.float32),
        "y": jax.ShapeDtypeStruct((config.batch_size,), jnp.float32),
    }
    rules = ShardingRules(embed="data") if split else ShardingRules()
    return make_plan(_init, _loss, shapes, config, mesh_config=mesh, rules=rules)


def closeness(params: Any) -> dict[str, float]:
    """Return a validation metric that is at most 0, and 0 for the true weights."""
    return {"ndcg@10": -float(jnp.abs(kernel_of(params) - TRUTH).sum())}


def kernel_of(params: Any) -> Any:
    """Return the weights, `[WIDTH]`."""
    return params["params"]["w"]["kernel"]


def _init(_: jax.Array) -> Any:
    return {"params": {"w": {"kernel": nn.Partitioned(jnp.zeros(WIDTH), names=("embed",))}}}


def _loss(params: Any, batch: Any, key: jax.Array) -> Loss:
    # The noise makes sure that a resumed run also restores its random state.
    noise = 1e-3 * jax.random.normal(key, batch["y"].shape)
    error = batch["x"] @ kernel_of(params) - batch["y"] + noise
    return Loss((error**2).sum(), jnp.full((), batch["y"].shape[0], jnp.float32), {})
