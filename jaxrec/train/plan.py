"""A training run before it starts: shapes, shardings, and the step compiled for them.

A plan allocates nothing of the size of the model. It tells whether a run fits into memory without
starting the run, which then uses the same compiled step. It compiles when it is first asked, so
that a training that has already ended is read without a compilation.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import optax
from flax import linen as nn
from jax.sharding import Mesh

from jaxrec.core import (
    MeshConfig,
    OutOfMemory,
    ShardingRules,
    batch_sharding,
    is_out_of_memory,
    make_mesh,
    param_shardings,
    product_flops,
    show_bytes,
)
from jaxrec.peft import Size, Tuning, size_of
from jaxrec.train.config import TrainConfig
from jaxrec.train.memory import (
    ADVICE,
    StepMemory,
    check_arrays,
    count_bytes,
    device_memory,
    step_memory,
)
from jaxrec.train.optimizer import make_optimizer
from jaxrec.train.step import (
    Init,
    Join,
    LossFunction,
    TrainState,
    all_trained,
    initializer,
    make_shapes,
    make_step,
    shardings,
)

BatchShapes = tuple[tuple[tuple[int, ...], str], ...]


def batch_shapes(batch: Any) -> BatchShapes:
    """Shapes and dtypes of a batch; they identify its compiled step."""
    return tuple((leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(batch))


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """What `fit` runs; the result of `make_plan`.

    Attributes:
      config: settings of the training.
      mesh: devices.
      rules: sharding rules.
      init: maps a key to the trainable tree with axis names, or the shapes of that tree.
      join: maps the trainable and the frozen tree to the model's variables.
      optimizer: optimizer of the trainable tree.
      state: shapes and shardings of the train state.
      frozen: shapes and shardings of the frozen tree; None if all parameters are trained.
      forward: the loss `(params, frozen, batch, key) -> scalar`, for `flops`.
      batches: shapes of the batches that occur in the run, with their sharding.
      any_step: the step `(state, batch, frozen) -> (state, metrics)`, compiled on demand.
    """

    config: TrainConfig
    mesh: Mesh
    rules: ShardingRules
    init: Init | Any
    join: Join
    optimizer: optax.GradientTransformation
    state: TrainState
    frozen: Any
    forward: Callable[[Any, Any, Any, jax.Array], jax.Array]
    batches: Sequence[Any]
    any_step: Any

    @functools.cached_property
    def steps(self) -> Mapping[BatchShapes, Any]:
        """The compiled step for each of `batches`, by `batch_shapes`; compiled at the first use.

        Raises:
          OutOfMemory: the arrays do not fit, or the compiler says that the step does not.
        """
        state = self.state
        trees = {
            "trained": state.params,
            "frozen": self.frozen,
            "optimizer state": state.opt_state,
            "moving average": state.ema,
            "batch": self.batches[-1],
        }
        check_arrays(trees, device_memory())
        return {
            batch_shapes(batch): _compile(self.any_step, self.state, batch, self.frozen)
            for batch in self.batches
        }

    @functools.cached_property
    def memory(self) -> StepMemory:
        """Memory of the step that needs most; compiles the steps."""
        return max(
            (step_memory(compiled, device_memory()) for compiled in self.steps.values()),
            key=lambda memory: memory.total,
        )

    @functools.cached_property
    def flops(self) -> Mapping[BatchShapes, float]:
        """Floating-point operations of the matrix products in a step, by the shapes of its batch.

        The gradients count as two forward passes, or as one if most of the model is frozen, because
        then few kernels have a gradient. Operations that rematerialization repeats do not count.
        """
        key = jax.eval_shape(jax.random.key, 0)
        passes = 3 if self.frozen is None else 2
        given = self.state.params, self.frozen
        return {
            batch_shapes(batch): passes * product_flops(self.forward, *given, batch, key)
            for batch in self.batches
        }

    @functools.cached_property
    def initialize(self) -> Init:
        """Map a key to the initial parameters on their devices: one program for all trainings."""
        return initializer(self.init, self.state)

    def compile(self) -> None:
        """Compile the training steps, unless they are compiled already.

        Raises:
          OutOfMemory: a step needs more memory than a device has.
        """
        _ = self.steps, self.flops
        self.memory.check()

    def step(self, state: TrainState, batch: Any, frozen: Any) -> tuple[TrainState, dict[str, Any]]:
        """Train on one batch; the old state is donated."""
        return self.steps.get(batch_shapes(batch), self.any_step)(state, batch, frozen)

    def step_flops(self, batch: Any) -> float:
        """`flops` of a step on a batch; 0 if the plan does not know the shapes of the batch."""
        return self.flops.get(batch_shapes(batch), 0.0)

    @property
    def size(self) -> Size:
        """Number of trained parameters, and of all parameters."""
        return size_of(Tuning(self.state.params, self.frozen))

    def __str__(self) -> str:
        """Parameters, their bytes and the memory of a step, one line each."""
        size = self.size
        share = 100 * size.trainable / max(size.total, 1)
        parts = {
            "trained": self.state.params,
            "frozen": self.frozen,
            "optimizer state": self.state.opt_state,
            "moving average": self.state.ema,
        }
        sizes = [f"{name} {_show(count_bytes(tree))}" for name, tree in parts.items() if tree]
        return (
            f"parameters: {size.trainable:,} of {size.total:,} trained ({share:.2f} %)\n"
            f"bytes: {'; '.join(sizes)}\n"
            f"a step: {max(self.flops.values()) / 1e9:,.4g} GFLOP in products; {self.memory}"
        )


def make_plan(
    init: Init | Any,
    loss: LossFunction,
    batch: Any,
    config: TrainConfig,
    *,
    more: Sequence[Any] = (),
    frozen: Any = None,
    join: Join = all_trained,
    mesh_config: MeshConfig | None = None,
    rules: ShardingRules | None = None,
) -> Plan:
    """Plan the step of a run for its shapes, without allocating anything of the model's size.

    The step is compiled when the plan's `steps` or `memory` is first read; `fit` does so before it
    trains.

    Args:
      init: maps a key to the trainable tree as `Module.init` returns it, with axis names; or the
        shapes of that tree, if `fit` is given a `Start.params`.
      loss: the objective, a function of the model's variables, a batch and a key.
      batch: arrays or `jax.ShapeDtypeStruct`. Their first axis must divide into `config.accumulate`
        micro-batches, and these over the data-parallel devices.
      config: settings.
      more: batches of other shapes that occur in the run.
      frozen: shapes of the frozen tree, with axis names; None if all parameters are trained.
      join: maps the trainable and the frozen tree to the model's variables.
      mesh_config: devices along each axis; by default all are on the data axis.
      rules: sharding of the parameters; by default they are replicated.

    Raises:
      ConfigError: devices, rules or a micro-batch do not fit together.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrec.objectives import Loss
      >>> from jaxrec.train import TrainConfig
      >>> def init(key):
      ...     return {"w": jnp.zeros(3)}
      >>> def loss(params, batch, key):
      ...     return Loss(((batch @ params["w"]) ** 2).sum(), jnp.float32(len(batch)), {})
      >>> plan = make_plan(init, loss, jnp.ones((8, 3)), TrainConfig(batch_size=8))
      >>> plan.size.trainable, list(plan.flops.values())  # 3 passes of 2 · 8 · 3 operations
      (3, [144.0])
    """
    mesh, rules = make_mesh(mesh_config or MeshConfig()), rules or ShardingRules()

    def forward(params: Any, frozen: Any, batch: Any, key: jax.Array) -> jax.Array:
        return loss(join(params, frozen), batch, key).total

    optimizer = make_optimizer(config)
    state = make_shapes(init, optimizer, mesh, rules, config)
    at = batch_sharding(mesh, rules)
    frozen = jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        nn.meta.unbox(frozen),
        param_shardings(frozen, mesh, rules),
    )
    step = make_step(loss, optimizer, config, mesh, rules, join, shardings(state))
    batches = [
        jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=at), shapes)
        for shapes in (batch, *more)
    ]
    return Plan(
        config=config,
        mesh=mesh,
        rules=rules,
        init=init,
        join=join,
        optimizer=optimizer,
        state=state,
        frozen=frozen,
        forward=forward,
        batches=batches,
        any_step=step,
    )


def _compile(step: Any, state: TrainState, batch: Any, frozen: Any) -> Any:
    try:
        return step.lower(state, batch, frozen).compile()
    except jax.errors.JaxRuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        if is_out_of_memory(error):
            raise OutOfMemory(
                f"compiling the training step ran out of memory ({reason}); {ADVICE}"
            ) from error
        # XLA numbers the elements of an array by int32.
        if re.search(r"\b(2147483647|4294967295)\b|overflow|too (large|big)", str(error)):
            raise OutOfMemory(
                f"a training step is too large to be compiled ({reason}); {ADVICE}"
            ) from error
        raise


def _show(sizes: dict[str, int]) -> str:
    """Format `{"uint8": 64, "float32": 32}` as "96 B (uint8 64 B, float32 32 B)"."""
    by_dtype = ", ".join(f"{name} {show_bytes(count)}" for name, count in sizes.items())
    return f"{show_bytes(sum(sizes.values()))} ({by_dtype})"
