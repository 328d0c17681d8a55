"""Root-mean-square and layer normalization, computed in float32 for inputs of any dtype."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.core import gathered


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def standardize(x: jax.Array, eps: float, center: bool) -> jax.Array:
    """Divide `x` by sqrt(mean(x^2) + eps) along the last axis, first subtracting its mean if asked.

    The custom gradient reads the activations once, whereas autodiff reads them once per reduction.
    On a CPU this saves a twelfth of a small model's training step.

    Args:
      x: `[..., D]` of any float dtype.
      eps: added to the mean square.
      center: whether to subtract the mean first, as in layer normalization.

    Returns:
      `[..., D]` float32.
    """
    return _forward(x, eps, center)[0]


def _forward(x: jax.Array, eps: float, center: bool) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    y = x.astype(jnp.float32)
    mean = y.mean(-1, keepdims=True) if center else jnp.zeros((), jnp.float32)
    y = y - mean if center else y
    scale = jax.lax.rsqrt(jnp.mean(y * y, -1, keepdims=True) + eps)
    return y * scale, (x, mean, scale)


def _backward(
    eps: float, center: bool, residuals: tuple[jax.Array, ...], gradient: jax.Array
) -> tuple[jax.Array]:
    """Return s (g - mean(g) - y mean(g y)), with scale s, output y and its gradient g.

    The term mean(g) is absent unless `center`.
    """
    x, mean, scale = residuals
    y = x.astype(jnp.float32)
    y = (y - mean if center else y) * scale
    projected = gradient - y * jnp.mean(gradient * y, -1, keepdims=True)
    if center:
        projected = projected - gradient.mean(-1, keepdims=True)
    return ((projected * scale).astype(x.dtype),)


standardize.defvjp(_forward, _backward)


class Norm(nn.Module):
    """Normalize the last axis.

    Attributes:
      kind: `rms` is x / sqrt(mean(x^2) + eps) * scale (Zhang and Sennrich 2019); `layer` also
        subtracts the mean first and adds a bias (Ba et al. 2016).
      eps: added to the mean square.
      axis_name: logical name of the axis, for sharding rules.

    Example:
      >>> params = {"scale": jnp.array([1.0, 2.0])}
      >>> y = Norm("rms").apply({"params": params}, jnp.array([7.0, 1.0]))
      >>> [round(value, 3) for value in y.tolist()]  # sqrt(mean(x^2)) = 5
      [1.4, 0.4]
    """

    kind: Literal["rms", "layer"] = "rms"
    eps: float = 1e-6
    axis_name: str = "embed"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map `[..., D]` to `[..., D]` of the same dtype."""
        width = x.shape[-1]
        ones = nn.with_partitioning(nn.initializers.ones_init(), (self.axis_name,))
        scale = gathered(self.param("scale", ones, (width,), jnp.float32), (self.axis_name,))
        y = standardize(x, self.eps, self.kind == "layer")
        y = y * scale.reshape((1,) * (x.ndim - 1) + (width,))
        if self.kind == "layer":
            zeros = nn.with_partitioning(nn.initializers.zeros_init(), (self.axis_name,))
            bias = gathered(self.param("bias", zeros, (width,), jnp.float32), (self.axis_name,))
            y = y + bias.reshape((1,) * (x.ndim - 1) + (width,))
        return y.astype(x.dtype)
