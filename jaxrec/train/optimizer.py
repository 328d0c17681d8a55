"""Optimizers, their learning rates over time, and where their state lies."""

from typing import Any

import jax
import optax
from jax.sharding import Mesh

from jaxrec.core import replicated
from jaxrec.train.config import TrainConfig

# Ends of the names of leaves that weight decay leaves alone: of norms and of biases.
_NOT_DECAYED = ("scale", "bias")


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter 2019) or Adafactor (Shazeer and Stern 2018), with clipping.

    Adafactor is without parameter scaling, as in Lester et al. 2021, appendix A.
    """
    schedule = make_schedule(config)
    if config.optimizer == "adamw":
        rule = optax.adamw(
            schedule, b2=config.beta2, weight_decay=config.weight_decay, mask=_is_matrix
        )
    else:
        rule = optax.chain(
            optax.scale_by_factored_rms(),
            optax.clip_by_block_rms(1.0),
            optax.add_decayed_weights(config.weight_decay, _is_matrix),
            optax.scale_by_learning_rate(schedule),
        )
    if not config.clip_norm:
        return rule
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), rule)


def make_schedule(config: TrainConfig) -> optax.Schedule:
    """Learning rate by step: linear warm-up, then what the config says."""
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
    """Shapes of the optimizer's state with their shardings: a moment lies as its parameter does.

    Args:
      optimizer: of the parameters.
      params: tree of `jax.ShapeDtypeStruct` with shardings.
      mesh: on which all else is replicated.
    """

    def alike(leaf: jax.ShapeDtypeStruct, param: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        # Adafactor's rows and columns are smaller than their parameter, and need not be split.
        same = leaf.shape == param.shape
        return _placed(leaf, param.sharding if same else replicated(mesh))

    return optax.tree_utils.tree_map_params(
        optimizer,
        alike,
        jax.eval_shape(optimizer.init, params),
        params,
        transform_non_params=lambda leaf: _placed(leaf, replicated(mesh)),
    )


def _placed(leaf: jax.ShapeDtypeStruct, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _is_matrix(params: Any) -> Any:
    """Which leaves decay. Keys may be names of a dict's entries or of a node's fields."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: not jax.tree_util.keystr(path[-1:], simple=True).endswith(_NOT_DECAYED),
        params,
    )
