"""Train state, optimizer and the jitted step."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.sharding import Mesh

from jaxrec.core import ConfigError
from jaxrec.core.mesh import ShardingRules, batch_sharding, param_shardings, replicated
from jaxrec.objectives import Loss
from jaxrec.train.config import TrainConfig


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """What a step reads and writes: `step` is an int32 scalar, the rest are trees.

    `ema` is the moving average of the parameters, None where the config asks for none.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    ema: Any = None

    @property
    def measured(self) -> Any:
        """The parameters to evaluate and to use."""
        return self.params if self.ema is None else self.ema


LossFunction = Callable[[Any, Any, jax.Array], Loss]
StepFunction = Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter 2019) with warm-up, cosine decay and clipping."""
    warmup = min(config.warmup_steps, config.steps - 1)
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=config.lr,
        warmup_steps=warmup,
        decay_steps=max(config.steps, warmup + 1),
        end_value=config.lr * config.final_fraction,
    )

    def is_matrix(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, _: path[-1].key not in ("scale", "bias"), params
        )

    adamw = optax.adamw(schedule, b2=config.beta2, weight_decay=config.weight_decay, mask=is_matrix)
    if not config.clip_norm:
        return adamw
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), adamw)


def make_state(
    init: Callable[[jax.Array], Any],
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    rules: ShardingRules,
    config: TrainConfig,
) -> TrainState:
    """Create the initial state, each array where its sharding puts it.

    Args:
      init: from a key to variables as `Module.init` gives them, with axis names.
      optimizer: its state is made beside the parameters.
      mesh: devices.
      rules: logical to mesh axes.
      config: seed, and whether to average.
    """
    key = jax.random.key(config.seed)
    shapes = jax.eval_shape(init, key)
    shardings = param_shardings(shapes, mesh, rules)
    params = jax.jit(lambda k: nn.meta.unbox(init(k)), out_shardings=shardings)(key)
    # Moments take the sharding of the parameter that they belong to.
    opt_state = jax.jit(optimizer.init)(params)
    step = jax.device_put(jnp.zeros((), jnp.int32), replicated(mesh))
    # A copy: the step is given its state's buffers, and may be given each only once.
    ema = jax.tree.map(jnp.copy, params) if config.ema_decay else None
    return TrainState(step=step, params=params, opt_state=opt_state, ema=ema)


def check_batch(config: TrainConfig, mesh: Mesh) -> int:
    """Return the sequences of a micro-batch.

    Raises:
      ConfigError: they do not divide over the data-parallel devices.
    """
    micro, ways = config.batch_size // config.accumulate, mesh.shape["data"]
    if micro % ways:
        raise ConfigError(
            f"a micro-batch of {micro} sequences (train.batch_size / train.accumulate) does not "
            f"divide over {ways} data-parallel devices"
        )
    return micro


def make_step(
    loss: LossFunction,
    optimizer: optax.GradientTransformation,
    config: TrainConfig,
    mesh: Mesh,
    rules: ShardingRules,
) -> StepFunction:
    """Build the jitted step `(state, batch) -> (state, metrics)`; the old state is donated.

    The random key of a step is a function of the seed and the step number alone, so a resumed run
    draws what the unbroken one would have drawn.

    Raises:
      ConfigError: a micro-batch that does not divide over the devices.
    """
    check_batch(config, mesh)

    def sums(params: Any, batch: Any, key: jax.Array) -> tuple[Loss, Any]:
        def total(p: Any) -> tuple[jax.Array, Loss]:
            found = loss(p, batch, key)
            return found.total, found

        (_, found), gradient = jax.value_and_grad(total, has_aux=True)(params)
        return found, gradient

    def accumulate(params: Any, batch: Any, key: jax.Array) -> tuple[Loss, Any]:
        if config.accumulate == 1:
            return sums(params, batch, key)
        parts = jax.tree.map(lambda x: x.reshape(config.accumulate, -1, *x.shape[1:]), batch)
        keys = jax.random.split(key, config.accumulate)
        first = jax.tree.map(lambda x: x[0], parts)
        zeros = jax.tree.map(
            lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(sums, params, first, key)
        )

        def add(carry: Any, part: Any) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, carry, sums(params, *part)), None

        found, _ = jax.lax.scan(add, zeros, (parts, keys))
        return found

    def step(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, jax.Array]]:
        key = jax.random.fold_in(jax.random.key(config.seed + 1), state.step)
        found, gradient = accumulate(state.params, batch, key)
        weight = jnp.maximum(found.weight, 1.0)
        gradient = jax.tree.map(lambda g: g / weight, gradient)
        # Optax raises floats to integer powers, which strict promotion refuses.
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
        metrics = {name: part / weight for name, part in found.parts.items()}
        metrics |= {"loss": found.total / weight, "gradient_norm": optax.tree.norm(gradient)}
        ema = state.ema
        if ema is not None:
            # Early on the average follows the parameters closely, or it would remember their start.
            seen = state.step.astype(jnp.float32)
            decay = jnp.minimum(config.ema_decay, (1.0 + seen) / (10.0 + seen))
            ema = jax.tree.map(lambda old, new: decay * old + (1.0 - decay) * new, ema, params)
        return TrainState(state.step + 1, params, opt_state, ema), metrics

    return jax.jit(step, in_shardings=(None, batch_sharding(mesh, rules)), donate_argnums=0)
