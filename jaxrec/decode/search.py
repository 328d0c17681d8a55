"""One level of the search over valid IDs: from logits to the beams that go on.

Legal continuations are selected *before* the top-k, never after, so a search is exact for its beam
width. No level pads to its widest node: where nodes have few children these are looked at alone,
elsewhere the legal codes of a beam are a bitmask of C / 32 words (`ItemIndex.words`).

Shapes: `B` users, `K` beams, `W` beams kept, `C` codes of the level, `M` children in a window.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError, unpack_bits
from jaxrec.ids import ItemIndex
from jaxrec.kernels import Implementation, grouped_top_k, trie_topk

Normalize = Literal["codes", "legal", "vocabulary"]
NORMALIZE = ("codes", "legal", "vocabulary")

# A level whose nodes have at most one child for so many codes is read child by child.
SPARSE = 4


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """The continuations kept at one level, best first.

    Attributes:
      score: `[B, W]` float32 log-probabilities of the paths; -inf where there are fewer.
      parent: `[B, W]` int32, the beam that each continues.
      code: `[B, W]` int32.
      node: `[B, W]` int32 states one level down; -1 where `score` is -inf.
    """

    score: jax.Array
    parent: jax.Array
    code: jax.Array
    node: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Candidates:
    """All continuations of every beam.

    Attributes:
      logprob: `[B, K, M]` float32, -inf where there is none.
      code: `[B, K, M]` int32.
      node: `[B, K, M]` int32 states one level down, garbage where there is none; None where they
        are found only for those that are picked.
    """

    logprob: jax.Array
    code: jax.Array
    node: jax.Array | None


def is_sparse(index: ItemIndex, level: int) -> bool:
    """Whether a level is read child by child: no node is wide, and children are few."""
    return index.masks[level] is None and index.windows[level] * SPARSE <= index.sizes[level]


def search_step(
    index: ItemIndex,
    level: int,
    node: jax.Array,
    score: jax.Array,
    logits: jax.Array,
    width: int,
    normalize: Normalize = "codes",
    alive: Any = None,
    total: jax.Array | None = None,
    implementation: Implementation = "auto",
) -> Step:
    """Keep the best `width` legal continuations of all beams of each user.

    Args:
      index: all valid IDs.
      level: l, a Python int.
      node: `[B, K]` int32 states at depth l; negative for a dead beam.
      score: `[B, K]` float32 log-probabilities of the paths so far.
      logits: `[B, K, C]` float32 of the level's codes, finite.
      width: W.
      normalize: logits become log-probabilities over the level's codes, over the legal ones, or
        with `total`.
      alive: what `ItemIndex.restrict` or `exclude` returned, or None.
      total: `[B, K]` float32 logarithm of the sum of exponentials over the whole vocabulary, for
        "vocabulary".
      implementation: of the top-k, see `kernels.choose`.

    Cost a user: O(K C) to normalize and mask, or O(K M) on a sparse level; top-k among about
    sqrt(K C W) numbers. Nothing depends on the number of items.
    """
    if is_sparse(index, level):
        return _by_children(index, level, node, score, logits, width, normalize, alive, total)
    words = index.words(level, node, alive)
    if normalize == "legal":
        legal = unpack_bits(words, logits.shape[-1])
        total = _log_sum(jnp.where(legal, logits, -jnp.inf))
    elif normalize == "codes":
        total = jax.nn.logsumexp(logits, axis=-1)
    best, chosen = trie_topk(logits, score - _given(total), words, width, implementation)
    codes = logits.shape[-1]
    parent, code = chosen // codes, chosen % codes
    found = index.child(level, jnp.take_along_axis(node, parent, axis=1), code)
    # More beams than legal continuations: the rest are marked dead, and so are their descendants.
    return _padded(
        Step(score=best, parent=parent, code=code, node=jnp.where(jnp.isfinite(best), found, -1)),
        width,
    )


def candidates(
    index: ItemIndex,
    level: int,
    node: jax.Array,
    logits: jax.Array,
    normalize: Normalize = "codes",
    alive: Any = None,
    total: jax.Array | None = None,
) -> Candidates:
    """All legal continuations with their log-probabilities, for searches that need every one.

    Arguments as of `search_step`. M is the window of a sparse level, else C: O(K C) numbers.
    """
    if is_sparse(index, level):
        code, edge, there = index.children(level, node, alive)
        code = jnp.where(there, code, 0)
        own = jnp.take_along_axis(logits, code, axis=-1)
    else:
        there = unpack_bits(index.words(level, node, alive), logits.shape[-1])
        code = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 2)
        edge, own = None, logits
    own = jnp.where(there, own, -jnp.inf)
    if normalize == "legal":
        total = _log_sum(own)
    elif normalize == "codes":
        total = jax.nn.logsumexp(logits, axis=-1)
    return Candidates(own - _given(total)[:, :, None], code, edge)


def every_code(logits: jax.Array) -> Candidates:
    """All codes as continuations, legal or not, normalized over them: of `[B, K, C]` logits."""
    code = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 2)
    return Candidates(jax.nn.log_softmax(logits, axis=-1), code, None)


def descend(
    index: ItemIndex,
    level: int,
    node: jax.Array,
    each: Candidates,
    place: jax.Array,
    score: jax.Array,
) -> Step:
    """Follow picked continuations: flat places `[B, W]` of `each` and their scores to a `Step`."""
    batch, _, most = each.code.shape
    parent, code = place // most, pick(each.code.reshape(batch, -1), place)
    if each.node is None:
        found = index.child(level, pick(node, parent), code)
    else:
        found = pick(each.node.reshape(batch, -1), place)
    return Step(
        score=score, parent=parent, code=code, node=jnp.where(jnp.isfinite(score), found, -1)
    )


def log_probabilities(logits: jax.Array, legal: jax.Array, normalize: Normalize) -> jax.Array:
    """Log-softmax over codes or over legal ones, -inf at illegal ones: `[..., C]` to the same."""
    shown = jnp.where(legal, logits, -jnp.inf)
    total = _log_sum(shown) if normalize == "legal" else jax.nn.logsumexp(logits, axis=-1)
    return shown - total[..., None]


def pick(rows: jax.Array, place: jax.Array) -> jax.Array:
    """`rows[b, place[b, w]]`: `[B, K, ...]` and `[B, W]` to `[B, W, ...]`."""
    place = place.reshape(*place.shape, *(1,) * (rows.ndim - 2))
    return jnp.take_along_axis(rows, place, axis=1)


def _by_children(
    index: ItemIndex,
    level: int,
    node: jax.Array,
    score: jax.Array,
    logits: jax.Array,
    width: int,
    normalize: Normalize,
    alive: Any,
    total: jax.Array | None,
) -> Step:
    """`search_step` among the children that there are: the states come with them."""
    each = candidates(index, level, node, logits, normalize, alive, total)
    flat = (score[:, :, None] + each.logprob).reshape(score.shape[0], -1)
    best, place = grouped_top_k(flat, min(width, flat.shape[1]))
    return _padded(descend(index, level, node, each, place, best), width)


def _padded(step: Step, width: int) -> Step:
    """Fill up with dead beams to `width`."""
    free = ((0, 0), (0, width - step.score.shape[1]))
    return Step(
        score=jnp.pad(step.score, free, constant_values=-jnp.inf),
        parent=jnp.pad(step.parent, free),
        code=jnp.pad(step.code, free),
        node=jnp.pad(step.node, free, constant_values=-1),
    )


def _log_sum(logits: jax.Array) -> jax.Array:
    """Logarithm of the sum of exponentials of the last axis; 0 where all are -inf."""
    top = logits.max(-1, keepdims=True)
    safe = jnp.where(jnp.isfinite(top), top, 0.0)
    total = jnp.exp(logits - safe).sum(-1)
    # A dead beam has no legal child: its logarithm of zero must not make -inf less -inf, a NaN.
    return jnp.where(total > 0, jnp.log(jnp.where(total > 0, total, 1.0)) + safe[..., 0], 0.0)


def _given(total: jax.Array | None) -> jax.Array:
    if total is None:
        raise ConfigError("normalize='vocabulary' needs total, the whole vocabulary's logarithm")
    return total
