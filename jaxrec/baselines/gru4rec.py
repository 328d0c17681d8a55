"""GRU4Rec: a recurrent network over item vectors (Hidasi et al. 2016, arXiv:1511.06939).

The state of the gated recurrent units scores the items, by default with an output table of its own.
Training reads whole histories instead of the paper's session-parallel batches.

Shapes: `B` batch, `T` tokens, `D` model width, which is also the width of the hidden state.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.baselines.sequential_config import SequentialConfig
from jaxrec.core import Count
from jaxrec.nn import Dropout, Einsum, fan_in_normal


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gru4RecConfig(SequentialConfig):
    """Settings of GRU4Rec, in addition to those of all sequential baselines.

    Attributes:
      depth: number of recurrent layers.

    Example:
      >>> config = Gru4RecConfig(width=32, objective="bpr", negatives=4)
      >>> config.max_items, config.tied  # the scores have a table of their own
      (50, False)
    """

    title: ClassVar[str] = "gru4rec"
    item_bias: ClassVar[bool] = True

    tied: bool = False
    depth: Count = 1

    def body(self) -> nn.Module:
        """The recurrent layers."""
        return GruBody(self.width, self.depth, self.dropout)


class GruBody(nn.Module):
    """Layers of gated recurrent units, with dropout on the input of each layer.

    Attributes:
      width: D.
      depth: number of layers.
      dropout: dropout rate.
    """

    width: int
    depth: int = 1
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, deterministic: bool = True) -> jax.Array:
        """Map `[B, T, D]` and validity `[B, T]`, padded on the left, to `[B, T, D]`."""
        for layer in range(self.depth):
            x = Dropout(self.dropout, name=f"dropout_{layer}")(x, deterministic)
            x = Gru(self.width, name=f"gru_{layer}")(x, valid)
        return x


class Gru(nn.Module):
    """One layer of gated recurrent units (Cho et al. 2014), in the form of cuDNN and PyTorch.

    r = σ(W_r x + b_r + U_r h + c_r)
    z = σ(W_z x + b_z + U_z h + c_z)
    n = tanh(W_n x + b_n + r (U_n h + c_n))
    h' = (1 - z) n + z h

    The initial state is zero, and padding does not change the state.
    """

    width: int

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array) -> jax.Array:
        """Map `[B, T, D]` and validity `[B, T]` to the state after each token, `[B, T, D]`."""
        wide = 3 * self.width
        # Products with the input do not depend on the state, so all tokens are computed at once.
        driven = Einsum(
            "btd,df->btf",
            (x.shape[-1], wide),
            ("embed", "mlp"),
            1,
            fan_in_normal(x.shape[-1]),
            name="input",
        )(x)
        run = nn.scan(
            _Cell,
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=1,
            out_axes=1,
        )(self.width, name="cell")
        start = jnp.zeros((x.shape[0], self.width), x.dtype)
        return run(start, (driven, valid))[1]


class _Cell(nn.Module):
    """One step: the state `[B, D]`, products with the input `[B, 3 D]` and validity `[B]`."""

    width: int

    @nn.compact
    def __call__(
        self, h: jax.Array, step: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        driven, valid = step
        wide = 3 * self.width
        recurrent = Einsum(
            "bd,df->bf",
            (self.width, wide),
            ("embed", "mlp"),
            1,
            fan_in_normal(self.width),
            name="recurrent",
        )(h)
        x_r, x_z, x_n = jnp.split(driven, 3, axis=-1)
        h_r, h_z, h_n = jnp.split(recurrent, 3, axis=-1)
        r, z = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
        n = jnp.tanh(x_n + r * h_n)
        h = jnp.where(valid[:, None], (1.0 - z) * n + z * h, h)
        return h, h
