"""SASRec's own blocks (Kang and McAuley 2018, section III), as in the published code.

They differ from the blocks of a decoder in what the residual connections add: the normalized query
and the normalized input of the network. Keys and values are computed from item vectors that are not
normalized.

Shapes: `B` batch, `T` tokens, `D` width.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.nn import CrossAttention, Dropout, Memory, Mlp, Norm, attention_mask

EPS = 1e-8


class SasrecBody(nn.Module):
    """Item vectors to states. Positions are counted from the newest item; BOS is not an item.

    Attributes:
      width: D.
      depth: number of blocks.
      num_heads: attention heads.
      max_items: largest number of items that are read.
      mlp_width: width of the network.
      activation: activation of the network.
      dropout: dropout of item vectors with their positions, and twice in the network.
      attention_dropout: dropout of attention weights.
      init_std: initial standard deviation of the position vectors.
    """

    width: int
    depth: int
    num_heads: int
    max_items: int
    mlp_width: int
    activation: str = "relu"
    dropout: float = 0.0
    attention_dropout: float = 0.0
    init_std: float = 0.02

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, deterministic: bool = True) -> jax.Array:
        """Map `[B, T, D]` and validity `[B, T]`, padded on the left, to `[B, T, D]`."""
        items = valid & jnp.pad(valid[:, :-1], ((0, 0), (1, 0)))
        is_item = items[:, :, None]
        init = nn.with_partitioning(nn.initializers.normal(self.init_std), ("position", "embed"))
        # There is one row more than items, for BOS, the first token; it is never read.
        rows = self.param("position", init, (self.max_items + 1, self.width), jnp.float32)
        x = x + rows[: x.shape[1]][::-1][None]
        x = jnp.where(is_item, Dropout(self.dropout, name="dropout")(x, deterministic), 0.0)
        mask = attention_mask(items, causal=True)
        for i in range(self.depth):
            y = SasrecBlock(
                self.width,
                self.num_heads,
                self.mlp_width,
                self.activation,
                self.dropout,
                self.attention_dropout,
                name=f"block_{i}",
            )(x, mask, deterministic)
            x = jnp.where(is_item, y, 0.0)
        return Norm("layer", EPS, name="final_norm")(x)


class SasrecBlock(nn.Module):
    """One block; `SasrecBody` explains the attributes.

    q = norm(x)
    y = norm(q + attention(q, x, x))
    y + act(y W1 + b1) W2 + b2
    """

    width: int
    num_heads: int
    mlp_width: int
    activation: str
    dropout: float
    attention_dropout: float

    def setup(self) -> None:
        """Create the layers; the parameters of attention share the scope of the block."""
        self.query_norm = Norm("layer", EPS)
        self.mlp_norm = Norm("layer", EPS)
        size = self.width // self.num_heads
        self.memory = Memory(self.num_heads, size, bias=True)
        self.attention = CrossAttention(
            self.num_heads, size, q_bias=True, out_bias=True, dropout=self.attention_dropout
        )
        for layer in (self.memory, self.attention):
            nn.share_scope(self, layer)
        self.mlp = Mlp(
            self.mlp_width, self.activation, gated=False, bias=True, dropout=self.dropout
        )
        self.drop = Dropout(self.dropout, name="dropout")

    def __call__(self, x: jax.Array, mask: jax.Array, deterministic: bool) -> jax.Array:
        """Map `[B, T, D]` to `[B, T, D]` under a mask `[B, T, T]`."""
        q = self.query_norm(x)
        y = self.mlp_norm(q + self.attention(q, self.memory(x), mask, deterministic))
        return y + self.drop(self.mlp(y, deterministic), deterministic)
