"""One level of the search over valid IDs: from logits to the beams that are kept.

Legal continuations are selected *before* the top-k, never after, so a search is exact for its beam
width. No level is padded to its widest node. On a level whose nodes have few children, only these
children are read. On every other level the legal codes of a beam are a bitmask of C / 32 words
(`ItemIndex.words`).

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

# A level is read child by child if its nodes have at most one child for so many codes.
SPARSE = 4


@dataclasses.dataclass(frozen=True, eq=False)
class TrieLevel:
    """One level of the trie, restricted to the items of a request.

    Attributes:
      index: all valid IDs.
      number: l, a Python int.
      alive: what `ItemIndex.restrict` or `ItemIndex.exclude` returned; None for no restriction.
    """

    index: ItemIndex
    number: int
    alive: Any = None

    @property
    def size(self) -> int:
        """C, the number of codes of the level."""
        return self.index.sizes[self.number]

    @property
    def last(self) -> bool:
        """Whether the children of this level's nodes are items."""
        return self.number == self.index.levels - 1

    @property
    def sparse(self) -> bool:
        """Whether the level is read child by child: its nodes have few children, and none many."""
        index, l = self.index, self.number
        return index.masks[l] is None and index.windows[l] * SPARSE <= index.sizes[l]

    def words(self, node: jax.Array) -> jax.Array:
        """Return the legal codes of nodes `[B, K]` as a bitmask, see `ItemIndex.words`."""
        return self.index.words(self.number, node, self.alive)

    def children(self, node: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return codes, states and existence of the children, see `ItemIndex.children`."""
        return self.index.children(self.number, node, self.alive)

    def child(self, node: jax.Array, code: jax.Array) -> jax.Array:
        """Return the state that a code leads to; -1 if it is not legal."""
        return self.index.child(self.number, node, code)


@dataclasses.dataclass(frozen=True, eq=False)
class CodeLogits:
    """The logits of a level's codes, and what turns them into log-probabilities.

    Attributes:
      values: `[B, K, C]` float32, finite.
      normalize: "codes": normalized over the codes of the level. "legal": over the legal codes.
        "vocabulary": over all tokens, by `total`.
      total: `[B, K]` float32, logarithm of the sum of exponentials over the whole vocabulary; only
        for "vocabulary".

    Raises:
      ConfigError: "vocabulary" without `total`.
    """

    values: jax.Array
    normalize: Normalize = "codes"
    total: jax.Array | None = None

    def __post_init__(self) -> None:
        if self.normalize == "vocabulary" and self.total is None:
            raise ConfigError(
                "normalize='vocabulary' needs total: the logarithm of the sum of exponentials over "
                "the whole vocabulary"
            )

    def log_total(self, legal: jax.Array) -> jax.Array:
        """Return the normalizer `[B, K]`: what is subtracted from a logit.

        Args:
          legal: logits of the legal codes, -inf elsewhere; `[B, K, C]` or only the children
            `[B, K, M]`.
        """
        if self.normalize == "legal":
            return _log_sum(legal)
        if self.normalize == "codes":
            return jax.nn.logsumexp(self.values, axis=-1)
        assert self.total is not None
        return self.total


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """The continuations that are kept at one level, best first.

    Attributes:
      score: `[B, W]` float32 log-probabilities of the paths; -inf where there are fewer than W.
      parent: `[B, W]` int32, the beam that each one continues.
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
      logprob: `[B, K, M]` float32, -inf where there is no continuation.
      code: `[B, K, M]` int32.
      node: `[B, K, M]` int32 states one level down, undefined where there is no continuation; None
        if a state is looked up only for the continuations that are picked.
    """

    logprob: jax.Array
    code: jax.Array
    node: jax.Array | None


def search_step(
    level: TrieLevel,
    node: jax.Array,
    score: jax.Array,
    logits: CodeLogits,
    width: int,
    implementation: Implementation = "auto",
) -> Step:
    """Keep the best `width` legal continuations of all beams of each user.

    Args:
      level: the level of the trie.
      node: `[B, K]` int32 states at this level's depth; negative for a dead beam.
      score: `[B, K]` float32 log-probabilities of the paths so far.
      logits: `[B, K, C]` of the level's codes.
      width: W.
      implementation: which form of the top-k runs, see `kernels.choose`.

    Cost a user: O(K C) to normalize and mask, or O(K M) on a sparse level; top-k among about
    sqrt(K C W) numbers. Nothing depends on the number of items.

    Example:
      >>> import numpy as np
      >>> index = ItemIndex.build(np.array([[0], [2]]), (3,))
      >>> def best_two(node, score, logits):
      ...     return search_step(TrieLevel(index, 0), node, score, CodeLogits(logits), 2).code
      >>> logits = jnp.array([[[1.0, 9.0, 2.0]]])
      >>> jax.jit(best_two)(jnp.zeros((1, 1), jnp.int32), jnp.zeros((1, 1)), logits).tolist()
      [[2, 0]]
    """
    if level.sparse:
        each = candidates(level, node, logits)
        flat = (score[:, :, None] + each.logprob).reshape(score.shape[0], -1)
        best, place = grouped_top_k(flat, min(width, flat.shape[1]))
        return _padded(descend(level, node, each, place, best), width)
    words, codes = level.words(node), logits.values.shape[-1]
    shown = logits.values
    if logits.normalize == "legal":
        shown = jnp.where(unpack_bits(words, codes), shown, -jnp.inf)
    total = logits.log_total(shown)
    best, chosen = trie_topk(logits.values, score - total, words, width, implementation)
    parent, code = chosen // codes, chosen % codes
    child = level.child(jnp.take_along_axis(node, parent, axis=1), code)
    # With more beams than legal continuations the rest is marked dead, and so are its descendants.
    child = jnp.where(jnp.isfinite(best), child, -1)
    return _padded(Step(score=best, parent=parent, code=code, node=child), width)


def candidates(level: TrieLevel, node: jax.Array, logits: CodeLogits) -> Candidates:
    """Return all legal continuations, for searches that need the log-probability of every one.

    M is the window of a sparse level, else C, so that this holds O(K C) numbers a user.

    Args:
      level: the level of the trie.
      node: `[B, K]` int32 states at this level's depth; negative for a dead beam.
      logits: `[B, K, C]` of the level's codes.
    """
    if level.sparse:
        code, edge, there = level.children(node)
        code = jnp.where(there, code, 0)
        own = jnp.take_along_axis(logits.values, code, axis=-1)
    else:
        there = unpack_bits(level.words(node), logits.values.shape[-1])
        code = jax.lax.broadcasted_iota(jnp.int32, logits.values.shape, 2)
        edge, own = None, logits.values
    own = jnp.where(there, own, -jnp.inf)
    return Candidates(own - logits.log_total(own)[:, :, None], code, edge)


def every_code(logits: jax.Array) -> Candidates:
    """Return all codes as continuations, legal or not, normalized over them: `[B, K, C]`."""
    code = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 2)
    return Candidates(jax.nn.log_softmax(logits, axis=-1), code, None)


def descend(
    level: TrieLevel, node: jax.Array, each: Candidates, place: jax.Array, score: jax.Array
) -> Step:
    """Go down by the continuations that were picked.

    Args:
      level: the level of the trie.
      node: `[B, K]` states of the beams.
      each: their continuations `[B, K, M]`.
      place: `[B, W]`, which continuations were picked: beam * M + its place among the beam's.
      score: `[B, W]` log-probabilities of the new paths; -inf for a path that is dead.
    """
    batch, _, most = each.code.shape
    parent, code = place // most, pick(each.code.reshape(batch, -1), place)
    if each.node is None:
        child = level.child(pick(node, parent), code)
    else:
        child = pick(each.node.reshape(batch, -1), place)
    child = jnp.where(jnp.isfinite(score), child, -1)
    return Step(score=score, parent=parent, code=code, node=child)


def log_probabilities(logits: jax.Array, legal: jax.Array, normalize: Normalize) -> jax.Array:
    """Return the log-softmax over all codes or over the legal ones, -inf at illegal codes.

    Args:
      logits: `[..., C]`.
      legal: `[..., C]` bool.
      normalize: "codes" or "legal".

    Example:
      >>> logits, legal = jnp.zeros(4), jnp.array([True, True, False, False])
      >>> jnp.exp(log_probabilities(logits, legal, "codes")).tolist()
      [0.25, 0.25, 0.0, 0.0]
      >>> jnp.exp(log_probabilities(logits, legal, "legal")).tolist()
      [0.5, 0.5, 0.0, 0.0]
    """
    shown = jnp.where(legal, logits, -jnp.inf)
    total = _log_sum(shown) if normalize == "legal" else jax.nn.logsumexp(logits, axis=-1)
    return shown - total[..., None]


def pick(rows: jax.Array, place: jax.Array) -> jax.Array:
    """Return `rows[b, place[b, w]]`: from `[B, K, ...]` and `[B, W]` to `[B, W, ...]`."""
    place = place.reshape(*place.shape, *(1,) * (rows.ndim - 2))
    return jnp.take_along_axis(rows, place, axis=1)


def _padded(step: Step, width: int) -> Step:
    """Add dead beams up to `width`."""
    free = ((0, 0), (0, width - step.score.shape[1]))
    return Step(
        score=jnp.pad(step.score, free, constant_values=-jnp.inf),
        parent=jnp.pad(step.parent, free),
        code=jnp.pad(step.code, free),
        node=jnp.pad(step.node, free, constant_values=-1),
    )


def _log_sum(logits: jax.Array) -> jax.Array:
    """Logarithm of the sum of exponentials over the last axis; 0 where all logits are -inf."""
    top = logits.max(-1, keepdims=True)
    safe = jnp.where(jnp.isfinite(top), top, 0.0)
    total = jnp.exp(logits - safe).sum(-1)
    # A dead beam has no legal child. The logarithm of its zero would turn -inf - (-inf) into NaN.
    return jnp.where(total > 0, jnp.log(jnp.where(total > 0, total, 1.0)) + safe[..., 0], 0.0)
