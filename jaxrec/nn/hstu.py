"""The layer of HSTU: gated attention over items without a softmax (Zhai et al. 2024).

Source: "Actions Speak Louder than Words", ICML 2024, arXiv:2402.17152, section 3.2.

    U, V, Q, K = split(silu(f1(norm(X))))
    A = silu(Q K^T + rab_pos + rab_time) / N      under the causal mask
    Y = f2(norm(A V) * U) + X

No row of A sums to one, so that the sum keeps the intensity of a taste: an item that occurs three
times weighs three times as much. N is the maximal length. `rab_pos` is a learned number for the
distance of two items, and `rab_time` one for the time between them, in buckets that grow
exponentially; all heads of a layer share both.

Shapes: `B` batch, `T` items of a row, `N` heads, `H` head size, `D` model width, `K` time buckets.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.nn.dropout import Dropout
from jaxrec.nn.einsum import Einsum, fan_in_normal
from jaxrec.nn.norms import Norm

# Buckets of the time between two items, and the width of one in units of ln(seconds): the published
# code divides by .301.
TIME_BUCKETS, _BUCKET_WIDTH = 128, 0.301
# Standard deviation of the learned biases at the start, as in the published code.
_STD = 0.02


def time_buckets(gap: jax.Array, number: int = TIME_BUCKETS) -> jax.Array:
    """Return floor(ln(max(1, |gap|)) / .301), at most `number` - 1, as int32 of the same shape.

    Example:
      >>> time_buckets(jnp.array([0, 1, 2, -2, 3600])).tolist()
      [0, 0, 2, 2, 27]
    """
    size = jnp.maximum(jnp.abs(gap), 1).astype(jnp.float32)
    return jnp.minimum(jnp.log(size) / _BUCKET_WIDTH, number - 1).astype(jnp.int32)


def pointwise_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array,
    bias: jax.Array | None,
    longest: int,
) -> jax.Array:
    """silu(q k^T + bias) v / N, with zeros where the mask is False.

    Args:
      query: `[B, T, N, H]`.
      key: `[B, S, N, H]`.
      value: `[B, S, N, H']`.
      mask: `[B or 1, T, S]` bool.
      bias: `[B or 1, T, S]`; None for none.
      longest: the maximal length, by which the sum is divided.

    Returns:
      `[B, T, N, H']`.

    Example:
      >>> one = jnp.ones((1, 1, 1, 1))
      >>> three, all_seen = jnp.ones((1, 3, 1, 1)), jnp.ones((1, 1, 3), bool)
      >>> value = pointwise_attention(one, three, three, all_seen, None, longest=3)
      >>> round(float(value[0, 0, 0, 0]), 4)  # silu(1)
      0.7311
    """
    scores = jnp.einsum("btnh,bsnh->bnts", query, key)
    if bias is not None:
        scores = scores + bias[:, None]
    weights = jnp.where(mask[:, None], jax.nn.silu(scores), 0.0) / longest
    return jnp.einsum("bnts,bsnh->btnh", weights, value)


class HstuLayer(nn.Module):
    """One layer of HSTU.

    Attributes:
      num_heads: N.
      head_size: H, of queries, keys and values.
      longest: the maximal length, and the number of distances that have a bias.
      time_gaps: add a bias for the time between items.
      dropout: dropout of the gated values during training.
      eps: added to the variance of the norms.
    """

    num_heads: int
    head_size: int
    longest: int
    time_gaps: bool = True
    dropout: float = 0.0
    eps: float = 1e-6

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        mask: jax.Array,
        times: jax.Array | None = None,
        deterministic: bool = True,
    ) -> jax.Array:
        """Map `[B, T, D]` to the same shape.

        Args:
          x: item vectors or states.
          mask: `[B or 1, T, T]` bool, True where a query (row) may see a key (column).
          times: `[B, T]` int32 seconds since any moment, and -1 where the time is not known; None
            if no time is. Only differences are read. Unknown gaps have no bias.
          deterministic: False to apply dropout (needs a "dropout" key).
        """
        width, wide = x.shape[-1], self.num_heads * self.head_size
        y = Norm("layer", self.eps, name="input_norm")(x)
        mixed = Einsum(
            "btd,df->btf",
            (width, 4 * wide),
            ("embed", "mlp"),
            0,
            fan_in_normal(width),
            name="mix",
        )(y)
        heads = jax.nn.silu(mixed).reshape(*x.shape[:2], 4, self.num_heads, self.head_size)
        gate, value, query, key = (heads[:, :, part] for part in range(4))
        attended = pointwise_attention(
            query, key, value, mask, self._bias(x.shape[1], times), self.longest
        )
        attended = attended.reshape(*x.shape[:2], wide)
        attended = Norm("layer", self.eps, name="value_norm")(attended)
        gated = attended * gate.reshape(*x.shape[:2], wide)
        gated = Dropout(self.dropout, name="dropout")(gated, deterministic)
        out = Einsum(
            "btf,fd->btd", (wide, width), ("mlp", "embed"), 1, fan_in_normal(wide), name="out"
        )(gated)
        return out + x

    def _bias(self, length: int, times: jax.Array | None) -> jax.Array:
        """`rab_pos` + `rab_time`: `[B or 1, T, T]`."""
        init = nn.with_partitioning(nn.initializers.normal(_STD), ("position",))
        by_distance = self.param("position", init, (self.longest,), jnp.float32)
        place = jnp.arange(length, dtype=jnp.int32)
        # Keys of the future are masked, so all of them may read the bias of distance 0.
        distance = jnp.clip(place[:, None] - place[None], 0, self.longest - 1)
        bias = jnp.take(by_distance, distance, axis=0)[None]
        if not self.time_gaps:
            return bias
        by_gap = self.param("time", init, (TIME_BUCKETS,), jnp.float32)
        if times is None:
            return bias
        query, key = times[:, :, None], times[:, None, :]
        of_gap = jnp.take(by_gap, time_buckets(query - key), axis=0)
        return bias + jnp.where((query >= 0) & (key >= 0), of_gap, 0.0)
