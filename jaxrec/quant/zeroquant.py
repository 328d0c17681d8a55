"""ZeroQuant: group-wise weights, token-wise inputs, layer-wise distillation (Yao et al. 2022).

Its kernels are `UniformConfig(per="group", activations="token")`. Distillation recovers what
rounding to nearest loses at 4 bits, one layer at a time, without labels and with the memory of one
layer. With x the residual stream before layer k of the original model, the rounded weights of layer
k are trained to

    min ||L_k(x) - L^_k(x)||^2

with gradients that pass through rounding unchanged (section 4.3).
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError
from jaxrec.models import ModelSpec
from jaxrec.quant.calibration import stacked_targets
from jaxrec.quant.layers import Batch, Feed, Layer, run_layer, walk
from jaxrec.quant.qat import FakeKernel, QatConfig
from jaxrec.quant.tree import ALL
from jaxrec.quant.uniform import UniformConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Distillation of each layer into its quantized version.

    Attributes:
      weights: how kernels are rounded.
      steps: optimizer steps per layer; each step takes the next batch, starting over at the end.
      lr: learning rate of Adam, with cosine decay to 0.
      learn_scale: train the scales too; only for symmetric grids.

    Raises:
      ConfigError: a value out of range.

    Example:
      >>> DistillConfig(steps=100).weights.bits
      4
    """

    weights: UniformConfig = UniformConfig(bits=4, per="group", group=32, activations="token")
    steps: int = 400
    lr: float = 1e-3
    learn_scale: bool = False

    def __post_init__(self) -> None:
        """Reject values out of range."""
        QatConfig(self.weights, self.learn_scale)
        if self.steps < 1:
            raise ConfigError(f"steps of distillation must be at least 1, got {self.steps}")
        if self.lr <= 0:
            raise ConfigError(f"lr of distillation must be positive, got {self.lr}")


def distilled_params(
    spec: ModelSpec,
    variables: Any,
    batches: Sequence[Batch],
    config: DistillConfig,
    names: Iterable[str] = (ALL,),
) -> tuple[Any, dict[str, np.ndarray]]:
    """Quantize the kernels of the stacks and distill each layer.

    Args:
      spec: the model.
      variables: {"params": tree}, with the `TUNED` collection of an adapter if there is one.
      batches: calibration data: keyword arguments of the model.
      config: settings.
      names: which kernels, see `quant.targets`.

    Returns:
      The "params" tree, and for each stack ("decoder/blocks") the mean squared error of each
      layer's output before and after distillation, `[layers, 2]` float64.

    Raises:
      ConfigError: a name is unknown, a kernel lies outside the stacks or is already quantized, or
        groups do not divide a kernel.
      DataError: there are no batches.
    """
    chosen = stacked_targets(spec, variables["params"], names)
    scheme = QatConfig(config.weights, config.learn_scale)
    errors: dict[str, list[tuple[float, float]]] = {}

    def visit(layer: Layer) -> Any:
        leaves = flatten_dict(layer.params, sep="/")
        kernels: dict[str, FakeKernel] = {}
        for name, own in layer.specs.items():
            if f"{layer.path}/{name}" not in chosen:
                continue
            matrix = own.matrix(leaves.pop(f"{name}/kernel"))
            try:
                kernels[f"{name}/kernel"] = scheme.quantize(matrix, own.shape)
            except ConfigError as error:
                raise ConfigError(f"{layer.path}/{name}: {error}") from error
        if not kernels:
            return layer.params
        kernels, before_after = _distill(layer, kernels, leaves, config)
        errors.setdefault(layer.path, []).append(before_after)
        stored = {path: kernel.stored() for path, kernel in kernels.items()}
        return unflatten_dict({**leaves, **stored}, sep="/")

    params = walk(spec, variables, batches, visit, teacher=True)
    return params, {path: np.asarray(found) for path, found in errors.items()}


def _distill(
    layer: Layer, kernels: dict[str, FakeKernel], rest: dict[str, Any], config: DistillConfig
) -> tuple[dict[str, FakeKernel], tuple[float, float]]:
    """Train the kernels of one layer; return them with the mean squared errors before and after.

    If training does not lower the error, the given kernels are returned.
    """
    index = jnp.int32(layer.index)
    own = (layer.tuned, index)
    targets = [
        _computed(layer.module, layer.params, layer.tuned, feed, index) for feed in layer.feeds
    ]
    pairs = list(zip(layer.feeds, targets, strict=True))

    def error(kernels: dict[str, FakeKernel]) -> float:
        found = [_error(layer.module, kernels, rest, *own, *pair) for pair in pairs]
        return float(sum(total for total, _ in found) / max(sum(n for _, n in found), 1.0))

    before, first = error(kernels), kernels
    state = _optimizer(config).init(kernels)
    for step in range(config.steps):
        pair = pairs[step % len(pairs)]
        kernels, state = _step(layer.module, config, kernels, state, rest, *own, *pair)
    after = error(kernels)
    return (kernels, (before, after)) if after < before else (first, (before, before))


def _optimizer(config: DistillConfig) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(config.lr, config.steps))


@functools.partial(jax.jit, static_argnums=0)
def _computed(
    module: nn.Module, params: Any, tuned: Any, feed: Feed, index: jax.Array
) -> jax.Array:
    """Return a layer's result: the stream after a block, the keys and values of a memory."""
    stream, key_value = run_layer(module, params, tuned, feed, index)
    return jnp.concatenate(key_value, axis=-1) if feed.shared is None else stream


@functools.partial(jax.jit, static_argnums=0)
def _error(
    module: nn.Module,
    kernels: dict[str, FakeKernel],
    rest: dict[str, Any],
    tuned: Any,
    index: jax.Array,
    feed: Feed,
    target: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Return the sum of squared errors over tokens that are not padding, and its term count."""
    params = unflatten_dict({**rest, **kernels}, sep="/")
    difference = _computed(module, params, tuned, feed, index) - target
    difference = difference.astype(jnp.float32).reshape(feed.rows.size, -1)
    rows = feed.rows.reshape(-1, 1)
    total = jnp.sum(jnp.where(rows, difference, 0.0) ** 2)
    return total, jnp.sum(rows, dtype=jnp.float32) * difference.shape[1]


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=3)
def _step(
    module: nn.Module,
    config: DistillConfig,
    kernels: dict[str, FakeKernel],
    state: optax.OptState,
    rest: dict[str, Any],
    tuned: Any,
    index: jax.Array,
    feed: Feed,
    target: jax.Array,
) -> tuple[dict[str, FakeKernel], optax.OptState]:
    """Take one optimizer step on one batch."""

    def loss(kernels: dict[str, FakeKernel]) -> jax.Array:
        total, count = _error(module, kernels, rest, tuned, index, feed, target)
        return total / jnp.maximum(count, 1.0)

    gradient = jax.grad(loss)(kernels)
    # Optax raises floats to integer powers, which strict promotion rejects.
    with jax.numpy_dtype_promotion("standard"):
        updates, state = _optimizer(config).update(gradient, state, kernels)
        return optax.apply_updates(kernels, updates), state
