"""HSTU's layer as a block of a causal model: `TransformerConfig(block="hstu")`.

The block has no MLP. Its attention weights are silu(q k^T + bias of the distance) / N without a
softmax, where N is `max_length`: a constant of the model, so that no result depends on how far a
batch is padded (Zhai et al. 2024, arXiv:2402.17152, section 3.2; the layer is `nn.HstuLayer`).
Batches of tokens have no times, so there is no bias for the time between items.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.core import constrain
from jaxrec.models.block import PerLayer, Shared
from jaxrec.models.config import TransformerConfig
from jaxrec.nn import HstuLayer, KeyValue, tuned


class HstuBlock(nn.Module):
    """One layer of HSTU on a residual stream; it takes and returns what `Block` does."""

    config: TransformerConfig

    @nn.compact
    def __call__(
        self, x: jax.Array, own: PerLayer, shared: Shared, deterministic: bool
    ) -> tuple[jax.Array, KeyValue]:
        """Map `[B, T, D]` to the same shape; also return keys and values, each `[B, T, N, H]`."""
        c = self.config
        assert shared.distance is not None
        layer = HstuLayer(
            num_heads=c.num_heads,
            head_size=c.head_width,
            longest=c.max_length,
            time_gaps=False,
            dropout=c.dropout,
            norm=c.norm,
            eps=c.norm_eps,
            dtype=jnp.dtype(c.dtype),
            name="attention",
        )
        update, key_value = layer(
            x,
            shared.context,
            shared.distance,
            terms=shared.reach_of(own.local).terms,
            layer=own.cache,
            deterministic=deterministic,
        )
        if (adapter := tuned(self, "attention_adapter")) is not None:
            update = adapter(update).astype(x.dtype)
        return constrain(x + update, "batch", "sequence", "embed"), key_value
