"""Dot-product attention, softmax(q k^T + bias) v, with a custom gradient.

HSTU's attention, silu(q k^T + bias) v / N, runs through the same code: `ScoreTerms.pointwise`.

The backward pass recomputes the scores from queries and keys, block by block, and keeps only the
output and each row's maximum and sum (FlashAttention, Dao et al. 2022, section 3.1). Plain autodiff
keeps several `[B, N, T, S]` arrays per layer; writing and reading them is most of the cost of
attention on a CPU.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from jaxrec.core import move, token_ways
from jaxrec.nn.dropout import hash_mask

# Causal attention runs in blocks of ROWS queries. Smaller blocks skip more of the upper triangle,
# but their products run slower. More than MOST_BLOCKS blocks would take too long to compile.
ROWS, MOST_BLOCKS = 128, 8
# The name under which policies of `jax.checkpoint` find what attention keeps for its backward pass.
ATTENDED = "attended"

Residuals = tuple[Any, ...]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreTerms:
    """What enters the attention scores besides the product of query and key.

    Attributes:
      bias: `[B or 1, N, T, S]` added to the scores, or None.
      allowed: `[B or 1, T, S]` bool that narrows the context's own mask, or None.
      dropout: uint32 `[2]` seed of the dropout on attention weights, or None for none.
      softcap: scores become softcap * tanh(score / softcap) (Gemma 2), or None.
      dropout_rate: rate of that dropout.
      pointwise: N of HSTU, whose weights are silu(score) / N; None for the softmax.
    """

    bias: jax.Array | None = None
    allowed: jax.Array | None = None
    dropout: jax.Array | None = None
    softcap: float | None = dataclasses.field(default=None, metadata={"static": True})
    dropout_rate: float = dataclasses.field(default=0.0, metadata={"static": True})
    pointwise: int | None = dataclasses.field(default=None, metadata={"static": True})

    def apply(self, scores: jax.Array) -> jax.Array:
        """Cap float32 scores `[B, N, T, S]` and add the bias; the caller applies the mask."""
        if self.softcap is not None:
            scores = jnp.tanh(scores / self.softcap) * self.softcap
        return scores if self.bias is None else scores + self.bias.astype(scores.dtype)

    def weigh(self, scores: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return what the values are weighted by.

        Args:
          scores: `[..., S]` float32 from `apply`; a masked score is the lowest float32.

        Returns:
          The weights `[..., S]` before they are divided, what divides them, `[..., 1]`, and the
          score `[..., 1]` that was subtracted in the exponent of a softmax (0 without a softmax).

        Example:
          >>> weights, total, _ = ScoreTerms(pointwise=8).weigh(jnp.array([0.0, 1.0, -3.4e38]))
          >>> [round(float(weight), 4) for weight in weights], total.item()
          ([0.0, 0.7311, -0.0], 8.0)
        """
        if self.pointwise is not None:
            # The silu of a masked score is 0.
            none = jnp.zeros_like(scores[..., :1])
            return jax.nn.silu(scores), none + self.pointwise, none
        top = scores.max(-1, keepdims=True)
        weights = jnp.exp(scores - top)
        return weights, weights.sum(-1, keepdims=True), top


def dot_product_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array,
    terms: ScoreTerms | None = None,
    causal: bool = False,
) -> jax.Array:
    """Return softmax(q k^T + bias) v, with the softmax in float32.

    With `terms.pointwise` N, it is silu(q k^T + bias) v / N (HSTU, Zhai et al. 2024): no row of
    weights sums to one, so three equal tokens weigh three times as much as one.

    Args:
      query: `[B, T, N, H]`, already scaled.
      key: `[B, S, G, H]`, N a multiple of G.
      value: `[B, S, G, H]`.
      mask: `[B or 1, T or 1, S]` bool.
      terms: bias, soft cap, additional mask and dropout of the scores.
      causal: promises that S equals T and that no query sees a later key. Blocks of scores that lie
        entirely above the diagonal are then skipped.

    Returns:
      `[B, T, N, H]`.
    """
    b, t, n, h = query.shape
    s, g = key.shape[1:3]
    terms = ScoreTerms() if terms is None else terms
    if terms.allowed is not None:
        mask = mask & terms.allowed
        terms = dataclasses.replace(terms, allowed=None)
    mask = jnp.broadcast_to(mask, (mask.shape[0], t, s))
    if token_ways("kv_heads")[1] > 1:
        # Every query needs all keys, whichever device its own tokens are on.
        axes = ("batch", "sequence", "kv_heads", None)
        key, value = (move(x, axes, ("batch", None, *axes[2:])) for x in (key, value))
    # A block of rows would occupy only some of the devices.
    causal = causal and token_ways("heads")[1] == 1
    # [B, T, N, H] -> [B, G, N/G, T, H], and [B, S, G, H] -> [B, G, S, H]
    query = jnp.transpose(query.reshape(b, t, g, n // g, h), (0, 2, 3, 1, 4))
    key, value = jnp.swapaxes(key, 1, 2), jnp.swapaxes(value, 1, 2)
    out = _attend(query, key, value, terms, mask, causal)
    return jnp.transpose(out, (0, 3, 1, 2, 4)).reshape(b, t, n, h)


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def _attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    terms: ScoreTerms,
    mask: jax.Array,
    causal: bool,
) -> jax.Array:
    """Attend from `[B, G, N/G, T, H]` to `[B, G, S, H]` under a mask `[B or 1, T, S]`."""
    return _forward(query, key, value, terms, mask, causal)[0]


def _blocks(length: int, causal: bool) -> list[tuple[slice, slice]]:
    """Return each block's rows of queries and the columns of keys that they may see."""
    if not causal:
        return [(slice(None), slice(None))]
    rows = max(ROWS, -(-length // MOST_BLOCKS))
    ends = [min(i + rows, length) for i in range(0, length, rows)]
    return [(slice(i * rows, end), slice(0, end)) for i, end in enumerate(ends)]


def _part(terms: ScoreTerms, rows: slice, columns: slice, block: int) -> ScoreTerms:
    """Return the terms of one block of scores; each block has its own dropout seed."""
    bias = None if terms.bias is None else terms.bias[:, :, rows, columns]
    seed = None if terms.dropout is None else terms.dropout + jnp.array([0, block], jnp.uint32)
    return dataclasses.replace(terms, bias=bias, dropout=seed)


def _scores(query: jax.Array, key: jax.Array, terms: ScoreTerms, mask: jax.Array) -> jax.Array:
    """Return the masked float32 scores `[B, G, N/G, T, S]`."""
    raw = jnp.einsum("bgrth,bgsh->bgrts", query, key, preferred_element_type=jnp.float32)
    return _shown(raw, terms, mask)


def _shown(raw: jax.Array, terms: ScoreTerms, mask: jax.Array) -> jax.Array:
    """Apply terms and mask to products of queries and keys, `[B, G, N/G, T, S]`."""
    b, g, r, t, s = raw.shape
    scores = terms.apply(raw.reshape(b, g * r, t, s))
    scores = jnp.where(mask[:, None], scores, jnp.finfo(jnp.float32).min)
    return scores.reshape(raw.shape)


def _of_bias(d_scores: jax.Array, mask: jax.Array, batch: int) -> jax.Array:
    """Return the gradient `[B or 1, N, T, S]` of a bias, which is added after the soft cap."""
    b, g, r, t, s = d_scores.shape
    shown = jnp.where(mask[:, None], d_scores.reshape(b, g * r, t, s), 0.0)
    if batch == b:
        return shown
    # A CPU sums over the batch several times as fast when the sum is written as a product.
    return jnp.einsum("b,bnts->nts", jnp.ones(b, shown.dtype), shown)[None]


def _over_queries(rows: jax.Array, weights: jax.Array) -> jax.Array:
    """Sum rows `[B, G, N/G, T, H]` over queries with weights `[B, G, N/G, T, S]`: `[B, G, S, H]`.

    The wide operand comes second, where a CPU reads it without a transposed copy. The barrier keeps
    XLA from swapping the operands back.
    """
    product = jnp.einsum("bgrth,bgrts->bghs", rows, weights)
    return jnp.swapaxes(jax.lax.optimization_barrier(product), 2, 3)


def _forward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    terms: ScoreTerms,
    mask: jax.Array,
    causal: bool,
) -> tuple[jax.Array, Residuals]:
    out = jnp.zeros(query.shape, value.dtype)
    top = jnp.zeros((*query.shape[:-1], 1), jnp.float32)
    total = top
    # On a CPU, writing blocks into whole arrays is cheaper than concatenating them.
    for i, (rows, columns) in enumerate(_blocks(query.shape[3], causal)):
        part = _part(terms, rows, columns, i)
        scores = _scores(query[:, :, :, rows], key[:, :, columns], part, mask[:, rows, columns])
        weights, block_total, block_top = part.weigh(scores)
        top = top.at[:, :, :, rows].set(block_top)
        total = total.at[:, :, :, rows].set(block_total)
        if part.dropout is not None:
            kept = hash_mask(part.dropout, weights.shape, part.dropout_rate)
            weights = jnp.where(kept, weights, 0.0)
            block_total = block_total * (1.0 - part.dropout_rate)
        # Normalize after the product, when there are fewer numbers.
        block = jnp.einsum(
            "bgrts,bgsh->bgrth",
            weights.astype(value.dtype),
            value[:, :, columns],
            preferred_element_type=jnp.float32,
        )
        out = out.at[:, :, :, rows].set((block / block_total).astype(value.dtype))
    out, top, total = (checkpoint_name(x, ATTENDED) for x in (out, top, total))
    return out, (query, key, value, terms, mask, out, top, total)


def _backward(causal: bool, residuals: Residuals, gradient: jax.Array) -> Residuals:
    query, key, value, terms, mask, out, top, total = residuals
    f32, longest = jnp.float32, terms.pointwise
    # The gradient of the softmax p is p * (dp - sum(p dp)), and sum(p dp) = sum(out dout).
    inner = jnp.sum(gradient.astype(f32) * out.astype(f32), -1, keepdims=True)
    d_query, d_key, d_value = (jnp.zeros_like(x) for x in (query, key, value))
    d_bias = None if terms.bias is None else jnp.zeros_like(terms.bias)
    for i, (rows, columns) in enumerate(_blocks(query.shape[3], causal)):
        part, shown = _part(terms, rows, columns, i), mask[:, rows, columns]
        d_out, values = gradient[:, :, :, rows], value[:, :, columns]

        q, k = query[:, :, :, rows], key[:, :, columns]
        raw = jnp.einsum("bgrth,bgsh->bgrts", q, k, preferred_element_type=f32)

        scores, pull = jax.vjp(lambda raw: _shown(raw, part, shown), raw)  # noqa: B023
        if longest is None:
            weights = jnp.exp(scores - top[:, :, :, rows]) / total[:, :, :, rows]
        else:
            weights, of_weights = jax.vjp(lambda s: jax.nn.silu(s) / longest, scores)
        d_weights = jnp.einsum("bgrth,bgsh->bgrts", d_out, values, preferred_element_type=f32)
        used = weights
        if part.dropout is not None:
            kept = hash_mask(part.dropout, weights.shape, part.dropout_rate)
            scale = 1.0 / (1.0 - part.dropout_rate)
            used = jnp.where(kept, weights * scale, 0.0)
            d_weights = jnp.where(kept, d_weights * scale, 0.0)
        if longest is None:
            d_scores = weights * (d_weights - inner[:, :, :, rows])
        else:
            (d_scores,) = of_weights(d_weights)
        (d_raw,) = pull(d_scores)
        d_raw, used = d_raw.astype(query.dtype), used.astype(value.dtype)
        d_query = d_query.at[:, :, :, rows].set(jnp.einsum("bgrts,bgsh->bgrth", d_raw, k))
        d_key = d_key.at[:, :, columns].add(_over_queries(q, d_raw))
        d_value = d_value.at[:, :, columns].add(_over_queries(d_out, used))
        if d_bias is not None:
            d_part = _of_bias(d_scores, shown, d_bias.shape[0])
            d_bias = d_bias.at[:, :, rows, columns].add(d_part.astype(d_bias.dtype))
    # Neither the dropout seed nor the mask has a gradient.
    d_terms = dataclasses.replace(terms, bias=d_bias, dropout=None)
    return d_query, d_key, d_value, d_terms, None


_attend.defvjp(_forward, _backward)
