"""The layer of HSTU: gated attention over items without a softmax (Zhai et al. 2024).

Source: "Actions Speak Louder than Words", ICML 2024, arXiv:2402.17152, section 3.2.

    U, V, Q, K = split(silu(f1(norm(X))))
    A = silu(Q K^T + rab_pos + rab_time) / N      under the causal mask
    Y = f2(norm(A V) * U) + X

No row of A sums to one, so that the sum keeps the intensity of a taste: an item that occurs three
times weighs three times as much. N is the maximal length. `rab_pos` is a learned number for the
distance of two items, and `rab_time` one for the time between them, in buckets that grow
exponentially; all heads of a layer share both.

Shapes: `B` batch, `T` items of a row, `S` keys, `N` heads, `H` head size, `D` model width, `K` time
buckets.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.nn.attention import Context, KeyValue
from jaxrec.nn.dot_product import ScoreTerms
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


class HstuLayer(nn.Module):
    """One layer of HSTU, without the residual sum that the caller takes.

    The context decides what is attended, as for `Attention`, so one set of parameters trains on
    batches and decodes over a cache.

    Attributes:
      num_heads: N.
      head_size: H, of queries, keys and values.
      longest: the maximal length, and the number of distances that have a bias; greater distances
        share the last one.
      time_gaps: add a bias for the time between items.
      dropout: dropout of the gated values during training.
      norm: kind of both norms; the paper has "layer".
      eps: added to the variance of the norms.
      dtype: dtype of the products; parameters are stored in float32.

    Example:
      >>> from jaxrec.nn import SelfContext, attention_mask
      >>> layer = HstuLayer(num_heads=1, head_size=4, longest=8, time_gaps=False)
      >>> x, context = jnp.ones((2, 3, 6)), SelfContext(attention_mask(jnp.ones((2, 3), bool)))
      >>> distance = context.distance(jnp.zeros((2, 3), jnp.int32))
      >>> (update, (keys, _)), _ = jax.eval_shape(
      ...     layer.init_with_output, jax.random.key(0), x, context, distance
      ... )
      >>> update.shape, keys.shape
      ((2, 3, 6), (2, 3, 1, 4))
    """

    num_heads: int
    head_size: int
    longest: int
    time_gaps: bool = True
    dropout: float = 0.0
    norm: Literal["rms", "layer"] = "layer"
    eps: float = 1e-6
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        context: Context,
        distance: jax.Array,
        times: jax.Array | None = None,
        terms: ScoreTerms | None = None,
        layer: Any = None,
        deterministic: bool = True,
    ) -> tuple[jax.Array, KeyValue]:
        """Map `[B, T, D]` to the same shape; also return keys and values, each `[B, T, N, H]`.

        Args:
          x: item vectors or states.
          context: what the queries attend to.
          distance: `[B or 1, T, S]` int32, from `context.distance`.
          times: `[B, T]` int32 seconds since any moment, and -1 where the time is not known; None
            if no time is. Only differences are read. Unknown gaps have no bias. A context with a
            cache has no times.
          terms: an additional mask of the scores.
          layer: this layer's slice of the cache, passed on to the context.
          deterministic: False to apply dropout (needs a "dropout" key).
        """
        width, wide = x.shape[-1], self.num_heads * self.head_size
        y = Norm(self.norm, self.eps, name="input_norm")(x)
        mixed = Einsum(
            "btd,df->btf",
            (width, 4 * wide),
            ("embed", "mlp"),
            0,
            fan_in_normal(width),
            self.dtype,
            name="mix",
        )(y)
        heads = jax.nn.silu(mixed).reshape(*x.shape[:2], 4, self.num_heads, self.head_size)
        gate, value, query, key = (heads[:, :, part] for part in range(4))
        bias = self._bias(distance, times)
        # All heads share the bias: [B or 1, T, S] -> [B or 1, N, T, S]
        bias = jnp.broadcast_to(bias[:, None], (len(bias), self.num_heads, *bias.shape[1:]))
        terms = ScoreTerms() if terms is None else terms
        terms = dataclasses.replace(terms, bias=bias, pointwise=self.longest)
        attended = context.attend(query, key, value, terms, layer).reshape(*x.shape[:2], wide)
        attended = Norm(self.norm, self.eps, axis_name="mlp", name="value_norm")(attended)
        gated = attended * gate.reshape(*x.shape[:2], wide)
        gated = Dropout(self.dropout, name="dropout")(gated, deterministic)
        out = Einsum(
            "btf,fd->btd",
            (wide, width),
            ("mlp", "embed"),
            1,
            fan_in_normal(wide),
            self.dtype,
            name="out",
        )(gated)
        return out, (key, value)

    def _bias(self, distance: jax.Array, times: jax.Array | None) -> jax.Array:
        """`rab_pos` + `rab_time`: `[B or 1, T, S]`."""
        init = nn.with_partitioning(nn.initializers.normal(_STD), ("position",))
        by_distance = self.param("position", init, (self.longest,), jnp.float32)
        # Keys of the future are masked, so all of them may read the bias of distance 0.
        bias = jnp.take(by_distance, jnp.clip(distance, 0, self.longest - 1), axis=0)
        if not self.time_gaps:
            return bias
        by_gap = self.param("time", init, (TIME_BUCKETS,), jnp.float32)
        if times is None:
            return bias
        query, key = times[:, :, None], times[:, None, :]
        of_gap = jnp.take(by_gap, time_buckets(query - key), axis=0)
        return bias + jnp.where((query >= 0) & (key >= 0), of_gap, 0.0)
