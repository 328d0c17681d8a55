"""Optimizers, their learning-rate schedules, and the shardings of their state."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from jaxrec.core import replicated
from jaxrec.train.config import TrainConfig

# Leaves whose names end like this, those of norms and biases, have no weight decay.
_NOT_DECAYED = ("scale", "bias")


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter 2019) or Adafactor (Shazeer and Stern 2018), with clipping.

    Adafactor runs without parameter scaling, as in Lester et al. 2021, appendix A.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrec.train import TrainConfig
      >>> config = TrainConfig(lr=0.1, warmup_steps=0, schedule="constant", weight_decay=0.0)
      >>> optimizer, params = make_optimizer(config), {"kernel": jnp.zeros(2)}
      >>> gradient = {"kernel": jnp.array([3.0, -4.0])}
      >>> with jax.numpy_dtype_promotion("standard"):  # Optax needs it
      ...     updates, _ = optimizer.update(gradient, optimizer.init(params), params)
      >>> [round(x, 3) for x in updates["kernel"].tolist()]  # AdamW's first step is -lr · sign
      [-0.1, 0.1]
    """
    schedule = make_schedule(config)
    after = (
        optax.add_decayed_weights(config.weight_decay, _is_matrix),
        optax.scale_by_learning_rate(schedule),
    )
    if config.optimizer == "adafactor":
        rule = optax.chain(optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0), *after)
    elif config.adam == "tensorflow":
        rule = optax.chain(_tensorflow_adam(config.beta2, config.eps), *after)
    else:
        rule = optax.chain(optax.scale_by_adam(b2=config.beta2, eps=config.eps), *after)
    if not config.clip_norm:
        return rule
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), rule)


def _tensorflow_adam(beta2: float, eps: float) -> optax.GradientTransformation:
    """Adam as TensorFlow 1 has it, with the epsilon outside of the bias correction.

    The step is m sqrt(1 - beta2^t) / (1 - beta1^t) / (sqrt(v) + eps), the second form of Kingma and
    Ba 2015 (arXiv:1412.6980, end of section 2). With corrected moments that is
    m' / (sqrt(v') + eps / sqrt(1 - beta2^t)): the epsilon of Optax, but larger in early steps.
    """

    def update(gradients: Any, state: Any, params: Any = None) -> Any:
        step = jnp.asarray(state.count + 1, jnp.float32)
        now = eps / jnp.sqrt(1.0 - beta2**step)
        return optax.scale_by_adam(b2=beta2, eps=now).update(gradients, state, params)

    return optax.GradientTransformation(optax.scale_by_adam(b2=beta2).init, update)


def make_schedule(config: TrainConfig) -> optax.Schedule:
    """Learning rate by step: a linear warm-up followed by the configured schedule."""
    warmup = min(config.warmup_steps, config.steps - 1)
    rest = max(config.steps - warmup, 1)
    after = {
        "cosine": optax.cosine_decay_schedule(config.lr, rest, config.final_fraction),
        "linear": optax.linear_schedule(config.lr, config.lr * config.final_fraction, rest),
        "constant": optax.constant_schedule(config.lr),
    }
    before = optax.linear_schedule(0.0, config.lr, warmup)
    return optax.join_schedules([before, after[config.schedule]], [warmup])


def state_shapes(optimizer: optax.GradientTransformation, params: Any, mesh: Mesh) -> Any:
    """Shapes and shardings of the optimizer's state; a moment is sharded like its parameter.

    Args:
      optimizer: optimizer of the parameters.
      params: tree of `jax.ShapeDtypeStruct` with shardings.
      mesh: devices; everything but the moments is replicated on them.
    """

    def like(leaf: jax.ShapeDtypeStruct, param: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        # Adafactor's rows and columns are small compared to their parameter and are not split.
        same = leaf.shape == param.shape
        return _placed(leaf, param.sharding if same else replicated(mesh))

    return optax.tree_utils.tree_map_params(
        optimizer,
        like,
        jax.eval_shape(optimizer.init, params),
        params,
        transform_non_params=lambda leaf: _placed(leaf, replicated(mesh)),
    )


def _placed(leaf: jax.ShapeDtypeStruct, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _is_matrix(params: Any) -> Any:
    """Mark the leaves that decay. Keys may name entries of a dict or fields of a node."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: not jax.tree_util.keystr(path[-1:], simple=True).endswith(_NOT_DECAYED),
        params,
    )
