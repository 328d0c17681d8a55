"""Attention of all beams of a user over one shared history and each beam's own short suffix.

The keys and values of the history are stored once for each user, not once for each beam. Reading
them is what a decoding step costs, so K beams cost about as much as one.

The two parts are computed apart and *merged by log-sum-exp*. A part is its normalized output and
the logarithm of the sum of its exponentiated scores; the softmax over several parts weights their
outputs by exp(lse). So the wide part may come from a kernel, in one piece or in several, and the
narrow one stays plain. Without a softmax (`ScoreTerms.pointwise`, HSTU) the parts simply add up.

Shapes: `B` users, `K` beams, `N` query heads, `G` key heads, `H` head size, `S` tokens of the
history, `J` tokens of a suffix.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError
from jaxrec.kernels.beam_attention_mosaic import history_mosaic
from jaxrec.kernels.beam_attention_triton import history_triton
from jaxrec.kernels.beam_attention_xla import Part, SharedHistory, history_xla, suffix_xla
from jaxrec.kernels.choose import (
    PLATFORMS,
    Choice,
    Implementation,
    against_triton,
    dispatch,
    this_platform,
)
from jaxrec.nn import KeyValue, ScoreTerms

# The largest head that the kernels can hold on the chip.
MAX_HEAD = 256


def beam_attention(
    query: jax.Array,
    history: SharedHistory,
    suffix: KeyValue,
    terms: ScoreTerms | None = None,
    *,
    implementation: Implementation = "auto",
    interpret: bool = False,
) -> jax.Array:
    """Take one softmax over history and suffix, in float32, or one sum as `terms.pointwise` says.

    Args:
      query: `[B, K, N, H]`, one token a beam, already scaled; N is a multiple of G.
      history: keys and values that all beams of a user share.
      suffix: keys and values `[B, K, J, G, H]` of each beam's own tokens, the current one last.
      terms: bias, cap and further mask of the scores of the S + J keys.
      implementation: see `choose` and `beam_attention_choice`. On several devices call a kernel
        inside `jax.shard_map` with the users divided among them.
      interpret: run a kernel's code step by step on any platform; slow, for tests.

    Returns:
      `[B, K, N, H]` in the query's dtype.

    Raises:
      ConfigError: arrays of wrong shapes, or an implementation that cannot run them.

    Cost: 4 B K N H (S + J) operations in products; reads 2 B S G H numbers of history, once for
    all K beams, and 2 B K J G H numbers of suffixes.

    Example:
      Two beams see one history of three tokens and one token of their own:

      >>> import numpy as np
      >>> past, own = np.zeros((1, 1, 3, 4), np.float32), np.zeros((1, 2, 1, 1, 4), np.float32)
      >>> history = SharedHistory(key=past, value=past + 4, valid=np.ones((1, 3), bool))
      >>> out = jax.jit(beam_attention)(own[:, :, 0], history, (own, own))
      >>> print(f"{out[0, 0, 0, 0]:.3f}")
      3.000
    """
    _check(query, history, suffix)
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
        history,
        suffix,
        terms,
    )


def history_attention(
    query: jax.Array,
    history: SharedHistory,
    terms: ScoreTerms | None = None,
    *,
    implementation: Implementation = "auto",
    interpret: bool = False,
) -> Part:
    """Attend to a shared history alone; `merge_parts` joins the result with other parts.

    Args:
      query: `[B, K, N, H]`, already scaled; N is a multiple of G.
      history: keys and values that all queries of a row share.
      terms: bias and cap of the scores. What a query may see is part of the history.
      implementation: see `choose` and `beam_attention_choice`.
      interpret: run a kernel's code step by step on any platform; slow, for tests.

    Returns:
      The output over these keys, and the logarithm of the sum of the exponentiated scores, which
      means nothing with `terms.pointwise`.

    Raises:
      ConfigError: arrays of wrong shapes, a mask in the terms, or an implementation that cannot run
        them.

    Example:
      >>> import numpy as np
      >>> past, query = np.zeros((1, 1, 3, 4), np.float32), np.zeros((1, 2, 1, 4), np.float32)
      >>> history = SharedHistory(key=past, value=past + 4, valid=np.ones((1, 3), bool))
      >>> part = jax.jit(history_attention)(query, history)
      >>> print(f"{part.out[0, 0, 0, 0]:.3f} {part.lse[0, 0, 0]:.3f}")  # the logarithm of 3
      4.000 1.099
    """
    _check(query, history, ())
    terms = ScoreTerms() if terms is None else terms
    if terms.allowed is not None:
        raise ConfigError("history_attention takes no mask in its terms; narrow history.valid")

    def run_kernel(
        attend: Callable[..., list[Part]],
        query: jax.Array,
        history: SharedHistory,
        terms: ScoreTerms,
    ) -> Part:
        return joined(attend(query, history, terms.softcap, interpret))

    against = {name: _against(name, query, terms) for name in PLATFORMS}
    return dispatch(
        "history_attention",
        implementation,
        {
            "xla": lambda *inputs: _float32(history_xla(*inputs)),
            "triton": functools.partial(run_kernel, history_triton),
            "mosaic": functools.partial(run_kernel, history_mosaic),
        },
        against,
        {name: beam_attention_choice(query, terms, name) for name in PLATFORMS.values()},
        query,
        history,
        terms,
    )


def beam_attention_choice(
    query: jax.Array | jax.ShapeDtypeStruct,
    terms: ScoreTerms | None = None,
    platform: str | None = None,
) -> Choice:
    """Return what `implementation="auto"` runs for a query on a platform, and why.

    Args:
      query: `[B, K, N, H]`, or its shape and dtype.
      terms: bias, cap and further mask of the scores.
      platform: "cpu", "cuda", "rocm" or "tpu"; None for this process's default backend.

    Example:
      >>> query = jax.ShapeDtypeStruct((8, 50, 16, 128), jnp.bfloat16)
      >>> beam_attention_choice(query, platform="cpu")
      Choice(implementation='xla', reason='there is no kernel for cpu')
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
    """Return why a kernel cannot run this; None if it can."""
    if terms.pointwise is not None:
        return "only the XLA form weights by silu instead of a softmax (HSTU)"
    if terms.bias is not None:
        return "only the XLA form adds a bias to scores"
    if query.shape[-1] > MAX_HEAD:
        return f"heads of {query.shape[-1]} are larger than {MAX_HEAD}"
    if query.dtype not in (jnp.float32, jnp.bfloat16, jnp.float16):
        return f"queries are {query.dtype}, not float32, bfloat16 or float16"
    return against_triton() if kernel == "triton" else None


def merge_parts(parts: Sequence[Part], terms: ScoreTerms | None = None) -> jax.Array:
    """Return the attention over the keys of all parts together, float32 `[B, K, N, H]`.

    Args:
      parts: attention over disjoint keys, all with the same terms.
      terms: how the parts were weighted; None for a softmax.

    Example:
      >>> import jax.numpy as jnp
      >>> ones = jnp.ones((1, 1, 1, 1))
      >>> parts = [Part(ones, ones[..., 0]), Part(3 * ones, ones[..., 0])]
      >>> merge_parts(parts).item()
      2.0
      >>> merge_parts(parts, ScoreTerms(pointwise=8)).item()  # a sum, which is already divided
      4.0
    """
    if terms is not None and terms.pointwise is not None:
        return sum((part.out.astype(jnp.float32) for part in parts), start=jnp.float32(0.0))
    return joined(parts).out


def joined(parts: Sequence[Part]) -> Part:
    """Return the part that consists of the keys of all parts together, in float32."""
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
    total = sum(weights, start=jnp.float32(0.0))
    return Part(out / total[..., None], top + jnp.log(total))


def _float32(part: Part) -> Part:
    return Part(part.out.astype(jnp.float32), part.lse)


def _check(query: jax.Array, history: SharedHistory, suffix: tuple[()] | KeyValue) -> None:
    b, k, n, h = query.shape
    g, s = history.key.shape[1:3]
    if n % g:
        raise ConfigError(
            f"beam_attention: {n} query heads are not a multiple of {g} key heads; give N, a "
            "multiple of G"
        )
    if history.valid.shape not in ((b, s), (b, k, s)):
        raise ConfigError(
            f"beam_attention needs history.valid {(b, s)} or {(b, k, s)}, got {history.valid.shape}"
        )
    for rows in suffix:
        if rows.shape[:2] != (b, k) or rows.shape[3:] != (g, h):
            raise ConfigError(
                f"beam_attention needs a suffix of [{b}, {k}, J, {g}, {h}], got {rows.shape}"
            )
    if (history.key.dtype == jnp.int8) != (history.scale is not None):
        raise ConfigError(
            "beam_attention needs history.scale for an int8 history and for no other, got keys of "
            f"{history.key.dtype} and {'no' if history.scale is None else 'a'} scale"
        )


def _split(
    terms: ScoreTerms, history: SharedHistory
) -> tuple[SharedHistory, ScoreTerms, ScoreTerms]:
    """Split the terms: those of the history, whose mask the history takes, and of the suffix."""
    valid, s = history.valid, history.valid.shape[-1]
    past = own = dataclasses.replace(terms, allowed=None)
    if terms.bias is not None:
        past = dataclasses.replace(past, bias=terms.bias[..., :s])
        own = dataclasses.replace(own, bias=terms.bias[..., s:])
    if terms.allowed is not None:
        # [B or 1, K or 1, S + J]; one mask for all beams stays one.
        narrow = terms.allowed[..., :s]
        if valid.ndim == 2 and narrow.shape[1] == 1:
            narrow = narrow[:, 0]
        elif valid.ndim == 2:
            valid = valid[:, None]
        history = dataclasses.replace(history, valid=valid & narrow)
        own = dataclasses.replace(own, allowed=terms.allowed[..., s:])
    return history, past, own


def _attend_xla(
    query: jax.Array, history: SharedHistory, suffix: KeyValue, terms: ScoreTerms
) -> jax.Array:
    history, past, own = _split(terms, history)
    parts = [history_xla(query, history, past), suffix_xla(query, *suffix, own)]
    return merge_parts(parts, terms).astype(query.dtype)


def _attend_kernel(
    attend: Callable[..., list[Part]],
    interpret: bool,
    query: jax.Array,
    history: SharedHistory,
    suffix: KeyValue,
    terms: ScoreTerms,
) -> jax.Array:
    history, _, own = _split(terms, history)
    parts = attend(query, history, terms.softcap, interpret)
    parts = [*parts, suffix_xla(query, *suffix, own)]
    return merge_parts(parts).astype(query.dtype)
