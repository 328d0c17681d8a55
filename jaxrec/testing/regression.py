"""A linear regression as a training run: a second to train, on any mesh, and easy to break."""

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
    """Rows `x` [rows, WIDTH] and `y` [rows], each batch a function of its number; checkpointable.

    Args:
      size: rows of a whole batch.
      shard: (part, parts) of them that are given out.
      change: called with a batch's number and the whole batch before it is given out: returns what
        to give out instead, or raises.
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
        """Go to a batch."""
        self.place = state["place"]


def regression_plan(
    config: TrainConfig, mesh: MeshConfig | None = None, *, split: bool = False
) -> Plan:
    """The plan of such a run.

    Args:
      config: of the training.
      mesh: devices; all by default.
      split: whether the weights and their moments are split over the data axis.
    """
    shapes = {
        "x": jax.ShapeDtypeStruct((config.batch_size, WIDTH), jnp.float32),
        "y": jax.ShapeDtypeStruct((config.batch_size,), jnp.float32),
    }
    rules = ShardingRules(embed="data") if split else ShardingRules()
    return make_plan(_init, _loss, shapes, config, mesh_config=mesh, rules=rules)


def closeness(params: Any) -> dict[str, float]:
    """Less than 0, and 0 at the truth."""
    return {"ndcg@10": -float(jnp.abs(kernel_of(params) - TRUTH).sum())}


def kernel_of(params: Any) -> Any:
    """The weights [WIDTH]."""
    return params["params"]["w"]["kernel"]


def _init(_: jax.Array) -> Any:
    return {"params": {"w": {"kernel": nn.Partitioned(jnp.zeros(WIDTH), names=("embed",))}}}


def _loss(params: Any, batch: Any, key: jax.Array) -> Loss:
    # Noise, so that a run also has to resume its random numbers.
    noise = 1e-3 * jax.random.normal(key, batch["y"].shape)
    error = batch["x"] @ kernel_of(params) - batch["y"] + noise
    return Loss((error**2).sum(), jnp.full((), batch["y"].shape[0], jnp.float32), {})
