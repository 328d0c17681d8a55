"""BERT4Rec: an encoder that predicts masked items (Sun et al., CIKM 2019, arXiv:1904.06690).

Shapes: `B` batch, `T` tokens.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.baselines.item_table import FIRST, mask_token
from jaxrec.baselines.sequential_config import SequentialConfig
from jaxrec.baselines.transformer import TransformerBody, transformer_config
from jaxrec.core import Count, Share
from jaxrec.ids import PAD


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bert4RecConfig(SequentialConfig):
    """Settings of BERT4Rec, in addition to those of all sequential baselines.

    Attributes:
      depth: number of blocks.
      num_heads: attention heads.
      mask_share: ρ, share of a history's items that are masked; at least one item is masked.
      last_share: share of the histories in which only the last item is masked, as it is in
        recommendation (section 3.6; the published data hold one such copy for ten others).

    Example:
      >>> config = Bert4RecConfig(width=32, mask_share=0.4)
      >>> config.objective, config.depth
      ('cross_entropy', 2)
    """

    title: ClassVar[str] = "bert4rec"
    item_bias: ClassVar[bool] = True

    depth: Count = 2
    num_heads: Count = 2
    mask_share: Share = 0.2
    last_share: Share = 1 / 11

    def body(self) -> nn.Module:
        """Bidirectional blocks with BERT's order of norms, then BERT's layer before the scores."""
        config = transformer_config(
            self.width,
            self.depth,
            self.num_heads,
            self.max_items,
            self.dropout,
            activation="gelu",
            norm_order="post",
            norm_eps=1e-12,
        )
        return TransformerBody(config, causal=False, transform=True)

    def pairs(
        self, tokens: jax.Array, num_items: int, key: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Masked histories, the histories, and where the masks are: `[B, max_items]` each."""
        items = _items(tokens)
        chosen = choose_masked(items >= FIRST, self.mask_share, self.last_share, key)
        return jnp.where(chosen, mask_token(num_items), items), items, chosen

    def query(self, tokens: jax.Array, num_items: int) -> jax.Array:
        """The newest items followed by a mask: `[B, max_items]`."""
        return jnp.pad(
            _items(tokens)[:, 1:], ((0, 0), (0, 1)), constant_values=mask_token(num_items)
        )

    def query_feedback(self, feedback: jax.Array) -> jax.Array:
        """Feedback of the newest items; that of the mask is unknown: `[B, max_items]`."""
        return jnp.pad(feedback[:, 2:], ((0, 0), (0, 1)))


def _items(tokens: jax.Array) -> jax.Array:
    """Remove the beginning from PAD ..., BOS, items: `[B, 1 + T]` to `[B, T]`."""
    return jnp.where(tokens >= FIRST, tokens, PAD)[:, 1:]


def choose_masked(valid: jax.Array, share: float, last_share: float, key: jax.Array) -> jax.Array:
    """Draw the places to mask in each row: `[B, T]` bool, padded on the left, to `[B, T]` bool.

    A row of n items gets max(1, round(share n)) masks at random places or, with probability
    `last_share`, only one, at its last place. Empty rows get none.
    """
    at, kind = jax.random.split(key)
    count = valid.sum(-1, keepdims=True).astype(jnp.float32)
    wanted = jnp.maximum(jnp.round(share * count), 1.0)
    order = jnp.where(valid, jax.random.uniform(at, valid.shape), 2.0)
    rank = jnp.argsort(jnp.argsort(order, axis=-1), axis=-1)
    several = valid & (rank.astype(jnp.float32) < wanted)
    last = valid & (jnp.arange(valid.shape[1]) == valid.shape[1] - 1)[None]
    only_last = jax.random.bernoulli(kind, last_share, (valid.shape[0], 1))
    return jnp.where(only_last, last, several)
