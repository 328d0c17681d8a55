"""SASRec's own blocks (Kang and McAuley 2018, section III), as the published code has them.

They differ from a decoder's in what the residual sums carry: a normalized query and a normalized
input of the network, not the item vectors themselves, while keys and values are of those. So the
size of an item's vector, which grows with how often it was met, does not reach the last state.

Shapes: `B` batch, `T` tokens, `D` width.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.nn import (
    ACTIVATIONS,
    Dropout,
    Einsum,
    Norm,
    ScoreTerms,
    attention_mask,
    dot_product_attention,
    fan_in_normal,
)
from jaxrec.nn.attention import head_projection, output_projection, scale_of
from jaxrec.nn.einsum import joint

EPS = 1e-8


class SasrecBody(nn.Module):
    """Item vectors to states. Positions are counted from the newest item; BOS is no item.

    q = norm(x)
    y = norm(q + attention(q, x, x))
    x' = y + relu(y W1 + b1) W2 + b2

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
        for i in range(self.depth):
            q = Norm("layer", EPS, name=f"query_norm_{i}")(x)
            y = Norm("layer", EPS, name=f"mlp_norm_{i}")(
                q + self._attention(i, q, x, mask, deterministic)
            )
            x = jnp.where(there, y + self._network(i, y, deterministic), 0.0)
        return Norm("layer", EPS, name="final_norm")(x)

    def _attention(
        self, i: int, q: jax.Array, x: jax.Array, mask: jax.Array, deterministic: bool
    ) -> jax.Array:
        """Queries of `q`, keys and values of `x`: `[B, T, D]` each."""
        size = self.width // self.num_heads
        query, key, value = (
            head_projection(f"{name}_{i}", self.num_heads, x, size, True, x.dtype)
            for name in ("query", "key", "value")
        )
        terms = ScoreTerms()
        if self.attention_dropout and not deterministic:
            seed = jax.random.key_data(self.make_rng("dropout"))[:2]
            terms = ScoreTerms(dropout=seed, dropout_rate=self.attention_dropout)
        scaled = query(q) * scale_of(None, size, q.dtype)
        attended = dot_product_attention(scaled, *joint([key, value], x), mask, terms, causal=True)
        return output_projection(f"out_{i}", attended, self.width, True, 1.0, x.dtype)

    def _network(self, i: int, y: jax.Array, deterministic: bool) -> jax.Array:
        """The position-wise network, `[B, T, D]` to the same."""

        def layer(name: str, wide: int, to: int, axes: tuple[str, str]) -> Einsum:
            return Einsum("btd,de->bte", (wide, to), axes, 1, fan_in_normal(wide), name=name)

        hidden = layer(f"up_{i}", self.width, self.mlp_width, ("embed", "mlp"))(y)
        hidden = ACTIVATIONS[self.activation](hidden)
        hidden = Dropout(self.dropout, name=f"hidden_dropout_{i}")(hidden, deterministic)
        found = layer(f"down_{i}", self.mlp_width, self.width, ("mlp", "embed"))(hidden)
        return Dropout(self.dropout, name=f"mlp_dropout_{i}")(found, deterministic)
