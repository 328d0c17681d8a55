"""Root-mean-square and layer normalization, computed in float32 whatever the input."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.core.activations import gathered


class Norm(nn.Module):
    """Normalize the last axis.

    `rms` is x / sqrt(mean(x^2) + eps) * scale (Zhang and Sennrich 2019); `layer` also subtracts the
    mean and adds a bias (Ba et al. 2016). `axis_name` names the axis for sharding rules.
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
        y = x.astype(jnp.float32)
        if self.kind == "layer":
            y = y - y.mean(-1, keepdims=True)
        y = y * jax.lax.rsqrt(jnp.mean(y * y, -1, keepdims=True) + self.eps)
        y = y * scale.reshape((1,) * (x.ndim - 1) + (width,))
        if self.kind == "layer":
            zeros = nn.with_partitioning(nn.initializers.zeros_init(), (self.axis_name,))
            bias = gathered(self.param("bias", zeros, (width,), jnp.float32), (self.axis_name,))
            y = y + bias.reshape((1,) * (x.ndim - 1) + (width,))
        return y.astype(x.dtype)
