"""softmax(q k^T + bias) v, with a gradient of its own.

The backward pass recomputes the scores from queries and keys, block by block, and keeps only the
output and each row's maximum and sum (FlashAttention, Dao et al. 2022, section 3.1). Plain autodiff
keeps several `[B, N, T, S]` arrays a layer, and writing and reading those is most of the cost of
attention on a CPU.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.nn.dropout import hash_mask

# Rows of queries in a block of causal attention: fewer skip more of the upper triangle, but their
# products run slower. More than MOST_BLOCKS would cost compile time.
ROWS, MOST_BLOCKS = 128, 8

Residuals = tuple[Any, ...]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ScoreTerms:
    """What enters the attention scores besides the product of query and key.

    Attributes:
      bias: `[B or 1, N, T, S]` added to the scores, or None.
      allowed: `[B or 1, T, S]` bool that narrows the context's own mask, or None.
      dropout: uint32 `[2]` seed of the dropout on attention weights, or None for none.
      softcap: scores become softcap * tanh(score / softcap) (Gemma 2), or None.
      dropout_rate: of the attention weights.
    """

    bias: jax.Array | None = None
    allowed: jax.Array | None = None
    dropout: jax.Array | None = None
    softcap: float | None = dataclasses.field(default=None, metadata={"static": True})
    dropout_rate: float = dataclasses.field(default=0.0, metadata={"static": True})

    def apply(self, scores: jax.Array) -> jax.Array:
        """Cap and bias float32 scores `[B, N, T, S]`; the mask is the caller's."""
        if self.softcap is not None:
            scores = jnp.tanh(scores / self.softcap) * self.softcap
        return scores if self.bias is None else scores + self.bias.astype(scores.dtype)


def dot_product_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array,
    terms: ScoreTerms | None = None,
    causal: bool = False,
) -> jax.Array:
    """softmax(q k^T + bias) v, softmax in float32; the query comes scaled.

    Args:
      query: `[B, T, N, H]`.
      key: `[B, S, G, H]`, N a multiple of G.
      value: `[B, S, G, H]`.
      mask: `[B or 1, T or 1, S]` bool.
      terms: bias, cap, dropout.
      causal: promises that S is T and that the mask shows no row a later column; then what lies
        above the diagonal is, in blocks, not computed.

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
    """Attention of `[B, G, N/G, T, H]` over `[B, G, S, H]` under a mask `[B or 1, T, S]`."""
    return _forward(query, key, value, terms, mask, causal)[0]


def _blocks(length: int, causal: bool) -> list[tuple[slice, slice]]:
    """Rows of queries, and the columns of keys that they may see."""
    if not causal:
        return [(slice(None), slice(None))]
    rows = max(ROWS, -(-length // MOST_BLOCKS))
    starts = range(0, length, rows)
    return [(slice(i, min(i + rows, length)), slice(0, min(i + rows, length))) for i in starts]


def _scores(
    query: jax.Array,
    key: jax.Array,
    terms: ScoreTerms,
    mask: jax.Array,
    rows: slice,
    columns: slice,
) -> jax.Array:
    """Masked scores of a block of the score matrix, `[B, G, N/G, rows, columns]` float32."""
    query, key = query[:, :, :, rows], key[:, :, columns]
    b, g, r, t = query.shape[:4]
    if terms.bias is not None:
        terms = dataclasses.replace(terms, bias=terms.bias[:, :, rows, columns])
    scores = jnp.einsum("bgrth,bgsh->bgrts", query, key, preferred_element_type=jnp.float32)
    scores = terms.apply(scores.reshape(b, g * r, t, -1))
    scores = jnp.where(mask[:, None, rows, columns], scores, jnp.finfo(jnp.float32).min)
    return scores.reshape(b, g, r, t, -1)


def _kept(terms: ScoreTerms, block: int, shape: tuple[int, ...]) -> jax.Array:
    """True where dropout keeps a weight, `shape` bool; both passes draw it anew."""
    assert terms.dropout is not None
    seed = terms.dropout + jnp.array([0, block], jnp.uint32)
    return hash_mask(seed, shape, terms.dropout_rate)


def _forward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    terms: ScoreTerms,
    mask: jax.Array,
    causal: bool,
) -> tuple[jax.Array, Residuals]:
    outs, tops, sums = [], [], []
    for i, (rows, columns) in enumerate(_blocks(query.shape[3], causal)):
        scores = _scores(query, key, terms, mask, rows, columns)
        top = scores.max(-1, keepdims=True)
        weights = jnp.exp(scores - top)
        total = weights.sum(-1, keepdims=True)
        tops.append(top)
        sums.append(total)
        if terms.dropout is not None:
            kept = _kept(terms, i, weights.shape)
            weights = jnp.where(kept, weights, 0.0)
            total = total * (1.0 - terms.dropout_rate)
        # Normalized after the product, where there are fewer numbers.
        weights = weights.astype(value.dtype)
        out = jnp.einsum(
            "bgrts,bgsh->bgrth", weights, value[:, :, columns], preferred_element_type=jnp.float32
        )
        outs.append((out / total).astype(value.dtype))
    out, top, total = (jnp.concatenate(parts, axis=3) for parts in (outs, tops, sums))
    return out, (query, key, value, terms, mask, out, top, total)


def _backward(causal: bool, residuals: Residuals, gradient: jax.Array) -> Any:
    query, key, value, terms, mask, out, top, total = residuals
    f32 = jnp.float32
    # The gradient of the softmax of p is p * (dp - sum(p dp)), and sum(p dp) = sum(out dout).
    inner = jnp.sum(gradient.astype(f32) * out.astype(f32), -1, keepdims=True)
    found: Any = None
    for i, (rows, columns) in enumerate(_blocks(query.shape[3], causal)):

        def scores_of(
            query: jax.Array,
            key: jax.Array,
            bias: jax.Array | None,
            rows: slice = rows,
            columns: slice = columns,
        ) -> jax.Array:
            biased = dataclasses.replace(terms, bias=bias)
            return _scores(query, key, biased, mask, rows, columns)

        scores, pull = jax.vjp(scores_of, query, key, terms.bias)
        weights = jnp.exp(scores - top[:, :, :, rows]) / total[:, :, :, rows]
        d_out, values = gradient[:, :, :, rows], value[:, :, columns]
        d_weights = jnp.einsum("bgrth,bgsh->bgrts", d_out, values, preferred_element_type=f32)
        used = weights
        if terms.dropout is not None:
            kept, scale = _kept(terms, i, weights.shape), 1.0 / (1.0 - terms.dropout_rate)
            used = jnp.where(kept, weights * scale, 0.0)
            d_weights = jnp.where(kept, d_weights * scale, 0.0)
        d_value = jnp.einsum("bgrts,bgrth->bgsh", used.astype(value.dtype), d_out)
        after = value.shape[2] - d_value.shape[2]
        d_value = jnp.pad(d_value, ((0, 0), (0, 0), (0, after), (0, 0)))
        part = (*pull(weights * (d_weights - inner[:, :, :, rows])), d_value)
        found = part if found is None else jax.tree.map(jnp.add, found, part)
    d_query, d_key, d_bias, d_value = found
    return (
        d_query,
        d_key,
        d_value,
        ScoreTerms(d_bias, softcap=terms.softcap, dropout_rate=terms.dropout_rate),
        None,
    )


_attend.defvjp(_forward, _backward)
