"""The position-wise network of a block: two matrices, or three with a gate (Shazeer 2020)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.nn.dropout import Dropout
from jaxrec.nn.einsum import Einsum, fan_in_normal, joint


def gelu(x: jax.Array) -> jax.Array:
    """Return x Phi(x), computed in float32 (Hendrycks and Gimpel 2016, arXiv:1606.08415).

    It uses erf, as PyTorch does: `jax.nn.gelu` uses erfc, which is several times slower on a CPU.
    """
    y = x.astype(jnp.float32)
    return (0.5 * y * (1.0 + jax.lax.erf(y * 0.5**0.5))).astype(x.dtype)


ACTIVATIONS = {
    "gelu": gelu,
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "relu": jax.nn.relu,
    "relu2": lambda x: jnp.square(jax.nn.relu(x)),
    "silu": jax.nn.silu,
}


class Mlp(nn.Module):
    """act(x W_up) W_down, or (act(x W_gate) * x W_up) W_down if `gated`.

    Attributes:
      mlp_width: F, width of the hidden layer.
      activation: a key of `ACTIVATIONS`.
      gated: whether there is a gate.
      bias: whether the layers have biases.
      dropout: dropout rate of the hidden layer.
      out_scale: variance multiplier of the last matrix's initializer.
      dtype: dtype of the products; parameters are stored in float32.
    """

    mlp_width: int
    activation: str = "silu"
    gated: bool = True
    bias: bool = False
    dropout: float = 0.0
    out_scale: float = 1.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool = True) -> jax.Array:
        """Map `[B, T, D]` to the same shape; dropout needs a "dropout" key."""
        width = x.shape[-1]
        act = ACTIVATIONS[self.activation]

        def layer(name: str) -> Einsum:
            return Einsum(
                "btd,df->btf",
                (width, self.mlp_width),
                ("embed", "mlp"),
                bias_axes=int(self.bias),
                init=fan_in_normal(width),
                dtype=self.dtype,
                name=name,
            )

        if self.gated:
            gate, up = joint([layer("gate"), layer("up")], x)
            hidden = act(gate) * up
        else:
            hidden = act(layer("up")(x))
        hidden = Dropout(self.dropout, name="dropout")(hidden, deterministic)
        return Einsum(
            "btf,fd->btd",
            (self.mlp_width, width),
            ("mlp", "embed"),
            bias_axes=int(self.bias),
            init=fan_in_normal(self.mlp_width, self.out_scale),
            dtype=self.dtype,
            name="down",
        )(hidden)
