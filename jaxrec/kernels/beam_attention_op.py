"""Attention of all beams of a user over one shared history and each beam's own short suffix.

The history's keys and values are stored once a user, not once a beam: reading them is what a
decoding step costs, so K beams cost what one does.

The two parts are computed apart and *merged by log-sum-exp*: a part is its normalized output and
the logarithm of the sum of its exponentiated scores, and the softmax over several parts weighs
their outputs by exp(lse). So the wide part can come from a kernel, in one piece or in several, and
the narrow one stays plain.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError
from jaxrec.kernels.beam_attention_mosaic import history_mosaic
from jaxrec.kernels.beam_attention_triton import history_triton
from jaxrec.kernels.beam_attention_xla import Part, Scales, history_xla, suffix_xla
from jaxrec.kernels.choose import (
    PLATFORMS,
    Choice,
    Implementation,
    against_triton,
    dispatch,
    this_platform,
)
from jaxrec.nn import ScoreTerms

# The largest head that the kernels hold on the chip.
MAX_HEAD = 256


def beam_attention(
    query: jax.Array,
    history_key: jax.Array,
    history_value: jax.Array,
    history_valid: jax.Array,
    suffix_key: jax.Array,
    suffix_value: jax.Array,
    terms: ScoreTerms | None = None,
    *,
    history_scale: Scales | None = None,
    implementation: Implementation = "auto",
    interpret: bool = False,
) -> jax.Array:
    """Softmax over history and suffix together, in float32.

    Args:
      query: `[B, K, N, H]`, one token a beam, scaled already.
      history_key: `[B, G, S, H]`, N a multiple of G; int8 with `history_scale`.
      history_value: `[B, G, S, H]`, likewise.
      history_valid: bool `[B, S]`, or `[B, K, S]` where beams see different parts of the row.
      suffix_key: `[B, K, J, G, H]`, the beam's own tokens, the current one last.
      suffix_value: `[B, K, J, G, H]`.
      terms: bias, cap and further mask over the S + J keys.
      history_scale: of an int8 history, float32 `[B, G, S]` for keys and for values: what stands
        for x is x * scale.
      implementation: see `choose` and `beam_attention_choice`. On several devices call a kernel
        inside `jax.shard_map`, users divided among them.
      interpret: run a kernel's code step by step on any platform; slow, for tests.

    Returns:
      `[B, K, N, H]` of the query's dtype.

    Cost: 4 B K N H (S + J) operations in products; reads 2 B S G H numbers of history, once for
    all K beams, and 2 B K J G H of suffixes.
    """
    _check(query, history_key, history_valid, suffix_key, history_scale)
    terms = ScoreTerms() if terms is None else terms
    against = {name: _against(name, query, terms) for name in PLATFORMS}
    return dispatch(
        "beam_attention",
        implementation,
        {
            "xla": _attend_xla,
            "triton": functools.partial(_attend_kernel, history_triton, interpret),
            "mosaic": functools.partial(_attend_kernel, history_mosaic, interpret),
        },
        against,
        {name: beam_attention_choice(query, terms, name) for name in PLATFORMS.values()},
        query,
        history_key,
        history_value,
        history_valid,
        suffix_key,
        suffix_value,
        terms,
        history_scale,
    )


def beam_attention_choice(
    query: jax.Array | jax.ShapeDtypeStruct,
    terms: ScoreTerms | None = None,
    platform: str | None = None,
) -> Choice:
    """What `implementation="auto"` runs for such a query on a platform, and why.

    Args:
      query: `[B, K, N, H]`, or its shape and dtype.
      terms: as for `beam_attention`.
      platform: "cpu", "cuda", "rocm" or "tpu"; None for this process's default backend.
    """
    platform = this_platform() if platform is None else platform
    if platform == "tpu":
        return Choice("xla", "no measurement shows the Mosaic kernel ahead of XLA on a TPU")
    if platform != "cuda":
        return Choice("xla", f"there is no kernel for {platform}")
    reason = _against("triton", query, ScoreTerms() if terms is None else terms)
    if reason is not None:
        return Choice("xla", reason)
    return Choice("triton", "scores of all beams stay on the chip; XLA writes and reads them")


def _against(kernel: str, query: jax.Array | jax.ShapeDtypeStruct, terms: ScoreTerms) -> str | None:
    """Why a kernel cannot run this, or None."""
    if terms.bias is not None:
        return "only the XLA form adds a bias to scores"
    if query.shape[-1] > MAX_HEAD:
        return f"heads of {query.shape[-1]} are larger than {MAX_HEAD}"
    if query.dtype not in (jnp.float32, jnp.bfloat16, jnp.float16):
        return f"queries are {query.dtype}, not float32, bfloat16 or float16"
    return against_triton() if kernel == "triton" else None


def merge(parts: list[Part]) -> jax.Array:
    """One softmax over the keys of all parts: float32 `[B, K, N, H]`."""
    top = parts[0].lse
    for part in parts[1:]:
        top = jnp.maximum(top, part.lse)
    weights = [jnp.exp(part.lse - top) for part in parts]
    out = sum(
        (
            part.out.astype(jnp.float32) * w[..., None]
            for part, w in zip(parts, weights, strict=True)
        ),
        start=jnp.float32(0.0),
    )
    return out / sum(weights, start=jnp.float32(0.0))[..., None]


def _check(
    query: jax.Array,
    history_key: jax.Array,
    history_valid: jax.Array,
    suffix_key: jax.Array,
    history_scale: Scales | None,
) -> None:
    b, k, n, h = query.shape
    g, s = history_key.shape[1:3]
    if n % g:
        raise ConfigError(f"beam_attention: {n} query heads are no multiple of {g} key heads")
    if history_valid.shape not in ((b, s), (b, k, s)):
        raise ConfigError(
            f"beam_attention needs history_valid {(b, s)} or {(b, k, s)}, got {history_valid.shape}"
        )
    if suffix_key.shape[:2] != (b, k) or suffix_key.shape[3:] != (g, h):
        raise ConfigError(
            f"beam_attention needs suffix_key [{b}, {k}, J, {g}, {h}], got {suffix_key.shape}"
        )
    if (history_key.dtype == jnp.int8) != (history_scale is not None):
        raise ConfigError(
            "beam_attention takes history_scale with an int8 history and with no other, got "
            f"history_key {history_key.dtype} and "
            f"{'no' if history_scale is None else 'a'} history_scale"
        )


def _split(terms: ScoreTerms, history_valid: jax.Array) -> tuple[jax.Array, ScoreTerms, ScoreTerms]:
    """The mask and the terms of the history, and the terms of the suffix."""
    s = history_valid.shape[-1]
    past = own = dataclasses.replace(terms, allowed=None)
    if terms.bias is not None:
        past = dataclasses.replace(past, bias=terms.bias[..., :s])
        own = dataclasses.replace(own, bias=terms.bias[..., s:])
    if terms.allowed is not None:
        # [B or 1, K or 1, S + J]; a mask that is one for all beams stays one.
        narrow = terms.allowed[..., :s]
        if history_valid.ndim == 2 and narrow.shape[1] == 1:
            narrow = narrow[:, 0]
        elif history_valid.ndim == 2:
            history_valid = history_valid[:, None]
        history_valid = history_valid & narrow
        own = dataclasses.replace(own, allowed=terms.allowed[..., s:])
    return history_valid, past, own


def _attend_xla(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    valid: jax.Array,
    suffix_key: jax.Array,
    suffix_value: jax.Array,
    terms: ScoreTerms,
    scale: Scales | None,
) -> jax.Array:
    valid, past, own = _split(terms, valid)
    parts = [
        history_xla(query, key, value, valid, scale, past),
        suffix_xla(query, suffix_key, suffix_value, own),
    ]
    return merge(parts).astype(query.dtype)


def _attend_kernel(
    history: Callable[..., list[Part]],
    interpret: bool,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    valid: jax.Array,
    suffix_key: jax.Array,
    suffix_value: jax.Array,
    terms: ScoreTerms,
    scale: Scales | None,
) -> jax.Array:
    valid, _, own = _split(terms, valid)
    parts = history(query, key, value, valid, scale, terms.softcap, interpret)
    parts = [*parts, suffix_xla(query, suffix_key, suffix_value, own)]
    return merge(parts).astype(query.dtype)
