"""Cross-entropy computed from states and a vocabulary table without storing all logits.

Tokens are processed in chunks. The logits of a chunk become its loss and, if a gradient is needed,
immediately the gradients of its states and of the table. Logits are never stored and no product
runs twice (as in the Liger kernels, Hsu et al. 2024, section 3.2). For 8,192 tokens and a
vocabulary of 128,000, this takes 0.5 GB instead of 4 GB of logits and another 4 GB of gradients.
"""

import functools
import math

import jax
import jax.numpy as jnp

from jaxrec.core import token_ways

# Most tokens per chunk: enough rows for products at full speed, few enough to keep logits small.
ROWS = 1024

Residuals = tuple[jax.Array, jax.Array]


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def linear_cross_entropy(
    states: jax.Array,
    table: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
    cap: float | None = None,
) -> jax.Array:
    """Return the sum over tokens of -weight log softmax(states table^T)[target], in nats.

    Args:
      states: `[M, D]`, already scaled.
      table: `[V, D]` of the same dtype.
      targets: `[M]` int32.
      weights: `[M]` float32; they get no gradient.
      cap: logits become cap * tanh(logits / cap); None for no cap.

    Returns:
      float32 scalar.

    Cost: 2 M V D operations for the loss and 6 M V D with the gradient; O(min(M, 1024) V) memory.
    """
    return _chunked(states, table, targets, weights, cap, gradient=False)[0]


def _forward(
    states: jax.Array, table: jax.Array, targets: jax.Array, weights: jax.Array, cap: float | None
) -> tuple[jax.Array, Residuals]:
    total, d_states, d_table = _chunked(states, table, targets, weights, cap, gradient=True)
    return total, (d_states, d_table)


def _backward(cap: float | None, residuals: Residuals, gradient: jax.Array) -> tuple:
    d_states, d_table = residuals
    return (
        (gradient * d_states.astype(jnp.float32)).astype(d_states.dtype),
        (gradient * d_table).astype(d_states.dtype),
        None,
        None,
    )


linear_cross_entropy.defvjp(_forward, _backward)


def _chunked(
    states: jax.Array,
    table: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
    cap: float | None,
    gradient: bool,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the loss and the gradients of states (in their dtype) and table (in float32).

    Without `gradient`, the two gradients are placeholders.
    """
    count, width = states.shape
    # Devices that hold different rows process their own chunks in parallel. Each sums its part of
    # the table's gradient, and the parts are added once, after the last chunk.
    groups = math.prod(token_ways("embed", "vocab"))
    groups = groups if count % groups == 0 else 1
    each = count // groups
    # All chunks have one size, chosen so that there is as little padding as possible.
    rows = -(-each // -(-each // ROWS))
    free = -each % rows

    def cut(x: jax.Array) -> jax.Array:
        # [M, ...] -> [devices, M / devices, ...] -> [chunks, devices, rows, ...]
        own = x.reshape(groups, -1, *x.shape[1:])
        padded = jnp.pad(own, [(0, 0), (0, free), *[(0, 0)] * (x.ndim - 1)])
        return jnp.swapaxes(padded.reshape(groups, -1, rows, *x.shape[1:]), 0, 1)

    def one(carry: tuple[jax.Array, jax.Array], chunk: tuple[jax.Array, ...]) -> tuple:
        (total, d_table), (x, target, weight) = carry, chunk
        logits = jnp.einsum("gmd,vd->gmv", x, table, preferred_element_type=jnp.float32)
        if cap is not None:
            bent = jnp.tanh(logits / cap)
            logits = bent * cap
        top = logits.max(-1, keepdims=True)
        exps = jnp.exp(logits - top)
        norm = exps.sum(-1, keepdims=True)
        chosen = jnp.take_along_axis(logits, target[..., None], axis=-1)
        losses = (jnp.log(norm) + top - chosen)[..., 0]
        total = total + jnp.sum(losses * weight, axis=1)
        if not gradient:
            return (total, d_table), jnp.zeros((), x.dtype)
        codes = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 2)
        d_logits = exps * (weight[..., None] / norm)
        d_logits = d_logits - jnp.where(codes == target[..., None], weight[..., None], 0.0)
        if cap is not None:
            d_logits = d_logits * (1.0 - bent * bent)
        d_logits = d_logits.astype(x.dtype)
        # The wide operand comes second, where a CPU reads it without a transposed copy.
        more = jnp.einsum("gmd,gmv->gdv", x, d_logits, preferred_element_type=jnp.float32)
        return (total, d_table + more), jnp.einsum("gmv,vd->gmd", d_logits, table)

    empty = jnp.zeros((groups, width, table.shape[0]) if gradient else (), jnp.float32)
    start = (jnp.zeros(groups, jnp.float32), empty)
    d_states: jax.Array
    tokens = (cut(states), cut(targets), cut(weights))
    (total, d_table), d_states = jax.lax.scan(one, start, tokens)
    if not gradient:
        return total.sum(), d_states, d_table
    # [chunks, devices, rows, D] -> [devices, M / devices, D] -> [M, D]
    d_states = jnp.swapaxes(d_states, 0, 1).reshape(groups, -1, width)
    d_states = d_states[:, :each].reshape(count, width)
    return total.sum(), d_states, d_table.sum(0).T
