"""SASRec's own blocks (Kang and McAuley 2018, section III), as the published code has them.

They differ from a decoder's in what the residual sums carry: a normalized query and the normalized
input of the network, not the item vectors themselves, of which keys and values are made.

Shapes: `B` batch, `T` tokens, `D` width.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.models.stack import KEPT
from jaxrec.nn import Dropout, Mlp, Norm, ScoreTerms, attention_mask, dot_product_attention
from jaxrec.nn.attention import head_projection, output_projection, scale_of
from jaxrec.nn.einsum import joint

EPS = 1e-8


class SasrecBody(nn.Module):
    """Item vectors to states. Positions are counted from the newest item; BOS is no item.

    Attributes:
      width: D.
      depth: blocks.
      num_heads: attention heads.
      max_items: most items that are read.
      mlp_width: of the network.
      activation: of the network.
      dropout: of item vectors with their positions, and twice in the network.
      attention_dropout: of attention weights.
      init_std: of the positions' vectors at the beginning.
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
        there = items[:, :, None]
        init = nn.with_partitioning(nn.initializers.normal(self.init_std), ("position", "embed"))
        # One row more than items: the first token is BOS, whose place is never read.
        rows = self.param("position", init, (self.max_items + 1, self.width), jnp.float32)
        x = x + rows[: x.shape[1]][::-1][None]
        x = jnp.where(there, Dropout(self.dropout, name="dropout")(x, deterministic), 0.0)
        mask = attention_mask(items, causal=True)
        block = nn.remat(SasrecBlock, static_argnums=(3,), prevent_cse=False, policy=KEPT["cheap"])
        for i in range(self.depth):
            y = block(
                self.num_heads,
                self.mlp_width,
                self.activation,
                self.dropout,
                self.attention_dropout,
                name=f"block_{i}",
            )(x, mask, deterministic)
            x = jnp.where(there, y, 0.0)
        return Norm("layer", EPS, name="final_norm")(x)


class SasrecBlock(nn.Module):
    """One block; attributes as of `SasrecBody`.

    q = norm(x)
    y = norm(q + attention(q, x, x))
    y + act(y W1 + b1) W2 + b2
    """

    num_heads: int
    mlp_width: int
    activation: str
    dropout: float
    attention_dropout: float

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, deterministic: bool) -> jax.Array:
        """Map `[B, T, D]` to the same, under a mask `[B, T, T]`."""
        q = Norm("layer", EPS, name="query_norm")(x)
        y = Norm("layer", EPS, name="mlp_norm")(q + self._attention(q, x, mask, deterministic))
        mlp = Mlp(
            self.mlp_width,
            self.activation,
            gated=False,
            bias=True,
            dropout=self.dropout,
            name="mlp",
        )
        return y + Dropout(self.dropout, name="dropout")(mlp(y, deterministic), deterministic)

    def _attention(
        self, q: jax.Array, x: jax.Array, mask: jax.Array, deterministic: bool
    ) -> jax.Array:
        """Queries of `q`, keys and values of `x`: `[B, T, D]` each."""
        width = x.shape[-1]
        size = width // self.num_heads
        query, key, value = (
            head_projection(name, self.num_heads, x, size, True, x.dtype)
            for name in ("query", "key", "value")
        )
        terms = ScoreTerms()
        if self.attention_dropout and not deterministic:
            seed = jax.random.key_data(self.make_rng("dropout"))[:2]
            terms = ScoreTerms(dropout=seed, dropout_rate=self.attention_dropout)
        queries = query(q) * scale_of(None, size, q.dtype)
        keys, values = joint([key, value], x)
        attended = dot_product_attention(queries, keys, values, mask, terms, causal=True)
        return output_projection("out", attended, width, True, 1.0, x.dtype)
