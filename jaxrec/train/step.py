"""The train state and the jitted step.

The variables of a model may be split into two trees: a trainable one and a frozen one, which the
step reads but does not differentiate. `join` combines both into the model's variables. The frozen
tree is an argument of the step; it is part neither of the state nor of the compiled program.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.sharding import Mesh

from jaxrec.core import (
    ConfigError,
    ShardingRules,
    batch_sharding,
    param_shardings,
    replicated,
    sharded,
    ways,
)
from jaxrec.objectives import Loss
from jaxrec.train.config import TrainConfig
from jaxrec.train.optimizer import state_shapes


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainState:
    """What a step reads and writes, as arrays or as shapes.

    Attributes:
      step: int32 scalar, number of steps done.
      params: trainable tree.
      opt_state: state of the optimizer.
      ema: moving average of the parameters; None if the config disables it.
    """

    step: Any
    params: Any
    opt_state: Any
    ema: Any = None

    @property
    def measured(self) -> Any:
        """The parameters to evaluate and to use."""
        return self.params if self.ema is None else self.ema


Init = Callable[[jax.Array], Any]
Join = Callable[[Any, Any], Any]
LossFunction = Callable[[Any, Any, jax.Array], Loss]


def all_trained(trainable: Any, frozen: Any) -> Any:
    """The `join` of a model whose variables are all trained."""
    del frozen
    return trainable


def make_shapes(
    init: Init | Any,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    rules: ShardingRules,
    config: TrainConfig,
) -> TrainState:
    """Shapes of the train state with their shardings.

    The arguments are those of `make_state`, except that `init` may also be the shapes of the
    trainable tree, with axis names.
    """
    boxed = jax.eval_shape(init, jax.random.key(config.seed)) if callable(init) else init
    params = jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        nn.meta.unbox(boxed),
        param_shardings(boxed, mesh, rules),
    )
    return TrainState(
        step=jax.ShapeDtypeStruct((), jnp.int32, sharding=replicated(mesh)),
        params=params,
        opt_state=state_shapes(optimizer, params, mesh),
        ema=params if config.ema_decay else None,
    )


def make_state(
    init: Init,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    rules: ShardingRules,
    config: TrainConfig,
) -> TrainState:
    """Create the initial state, each array on the devices of its sharding.

    Args:
      init: maps a key to the trainable tree as `Module.init` returns it, with axis names.
      optimizer: its state is created with the sharding of the parameters.
      mesh: devices.
      rules: maps logical axes to mesh axes.
      config: seed, and whether to keep a moving average.
    """
    shapes = make_shapes(init, optimizer, mesh, rules, config)
    params = initializer(init, shapes)(jax.random.key(config.seed))
    return start_state(params, optimizer, shapes)


def initializer(init: Init, shapes: TrainState) -> Init:
    """Jit `init`, without axis names and with each array on the devices of its sharding."""
    return jax.jit(lambda key: nn.meta.unbox(init(key)), out_shardings=shardings(shapes.params))


def start_state(
    params: Any, optimizer: optax.GradientTransformation, shapes: TrainState
) -> TrainState:
    """The state before the first step, from trainable parameters that are sharded like `shapes`."""
    opt_state = jax.jit(optimizer.init, out_shardings=shardings(shapes.opt_state))(params)
    step = jax.device_put(jnp.zeros((), jnp.int32), shapes.step.sharding)
    # The average is a copy because the step donates its state, and a buffer can be donated once.
    ema = None if shapes.ema is None else jax.tree.map(jnp.copy, params)
    return TrainState(step=step, params=params, opt_state=opt_state, ema=ema)


def shardings(shapes: Any) -> Any:
    """Shardings of a tree of `jax.ShapeDtypeStruct`."""
    return jax.tree.map(lambda leaf: leaf.sharding, shapes)


def check_batch(config: TrainConfig, mesh: Mesh, rules: ShardingRules) -> int:
    """Return the number of sequences in a micro-batch.

    Raises:
      ConfigError: the sequences do not divide over the data-parallel devices.

    Example:
      >>> from jaxrec.core import MeshConfig, ShardingRules, make_mesh
      >>> from jaxrec.train import TrainConfig
      >>> config = TrainConfig(batch_size=32, accumulate=4)
      >>> check_batch(config, make_mesh(MeshConfig()), ShardingRules())
      8
    """
    micro = config.batch_size // config.accumulate
    devices = ways(mesh, rules.mesh_axes("batch", mesh))
    if micro % devices:
        raise ConfigError(
            f"a micro-batch of {micro} sequences (train.batch_size / train.accumulate) does not "
            f"divide over {devices} data-parallel devices; change one of the two settings"
        )
    return micro


def make_step(
    loss: LossFunction,
    optimizer: optax.GradientTransformation,
    config: TrainConfig,
    mesh: Mesh,
    rules: ShardingRules,
    join: Join = all_trained,
    out_shardings: Any = None,
) -> Any:
    """Jit the step `(state, batch, frozen=None) -> (state, metrics)`; the old state is donated.

    The random key of a step depends only on the seed and the step number, so a resumed run draws
    the same numbers as an uninterrupted one.

    Args:
      loss: function of the model's variables, a batch and a key.
      optimizer: optimizer of the trainable tree.
      config: seed, micro-batches and moving average.
      mesh: devices.
      rules: sharding rules, for the batch.
      join: maps the trainable and the frozen tree to the model's variables.
      out_shardings: shardings of the new state; None leaves them to the compiler.

    Raises:
      ConfigError: a micro-batch does not divide over the devices.
    """
    check_batch(config, mesh, rules)
    place = batch_sharding(mesh, rules)

    def sums(params: Any, frozen: Any, batch: Any, key: jax.Array) -> tuple[Loss, Any]:
        def total(p: Any) -> tuple[jax.Array, Loss]:
            value = loss(join(p, frozen), batch, key)
            return value.total, value

        (_, value), gradient = jax.value_and_grad(total, has_aux=True)(params)
        if out_shardings is not None:
            # Gradients are sharded like parameters before they are summed, so that no device ever
            # holds a whole gradient.
            gradient = jax.lax.with_sharding_constraint(gradient, out_shardings.params)
        return value, gradient

    def accumulate(params: Any, frozen: Any, batch: Any, key: jax.Array) -> tuple[Loss, Any]:
        if config.accumulate == 1:
            return sums(params, frozen, batch, key)
        # Every device contributes an equal share of its rows to each micro-batch.
        parts = jax.tree.map(
            lambda x: jnp.swapaxes(x.reshape(-1, config.accumulate, *x.shape[1:]), 0, 1), batch
        )
        keys = jax.random.split(key, config.accumulate)
        first = jax.tree.map(lambda x: x[0], parts)
        zeros = jax.tree.map(
            lambda s: jnp.zeros(s.shape, s.dtype),
            jax.eval_shape(sums, params, frozen, first, key),
        )

        def add(carry: Any, part: Any) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, carry, sums(params, frozen, *part)), None

        return jax.lax.scan(add, zeros, (parts, keys))[0]

    def step(
        state: TrainState, batch: Any, frozen: Any = None
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        batch = jax.lax.with_sharding_constraint(batch, place)
        key = jax.random.fold_in(jax.random.key(config.seed + 1), state.step)
        with sharded(mesh, rules):
            value, gradient = accumulate(state.params, frozen, batch, key)
        weight = jnp.maximum(value.weight, 1.0)
        gradient = jax.tree.map(lambda g: g / weight, gradient)
        # Optax raises floats to integer powers, which strict promotion rejects.
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
        metrics = {name: part / weight for name, part in value.parts.items()}
        metrics |= {"loss": value.total / weight, "gradient_norm": optax.tree.norm(gradient)}
        ema = state.ema
        if ema is not None:
            # The average decays faster in early steps, or it would remember the initial values.
            seen = state.step.astype(jnp.float32)
            decay = jnp.minimum(config.ema_decay, (1.0 + seen) / (10.0 + seen))
            ema = jax.tree.map(lambda old, new: decay * old + (1.0 - decay) * new, ema, params)
        return TrainState(step=state.step + 1, params=params, opt_state=opt_state, ema=ema), metrics

    return jax.jit(step, out_shardings=(out_shardings, None), donate_argnums=0)
