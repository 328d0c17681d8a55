"""Where a search walks down the trie: the one loop over levels that all lists of items share.

Beam search (`beam`), sampling (`sampled`), lists of dependent items (`next_k`) and answers from a
finite set (`answer_sets`) all come here, and differ only in their options::

    histories that were read          one beam a user, at the root of the trie
        |
        v  level 0
    +-> choose   logits of the level's codes -> legal continuations -> the beams to keep
    |       |
    |       v    level l = 1 .. L - 1
    +-- read     the beams' newest tokens pass through the model, all at once
            |
            v    after level L - 1, or earlier where every beam has one item left below it
        items and their log-probabilities

`search_levels` is the loop. It is unrolled while it is traced, since every level has its own codes
and beam width. Where beams may have only one item left, the search branches on the device: if all
of them have, `_score_only_items` scores the rest of all IDs in one pass, which gives the same.

Shapes: `B` rows of histories, `P` users a row, `U` = B P users, `K` beams, `J` levels so far, `R`
levels left, `C` codes of a level.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.decode.beam_reader import BeamReader
from jaxrec.decode.cache import BeamCache
from jaxrec.decode.level import TrieLevel, candidates, every_code, pick, search_step
from jaxrec.decode.strategies import diverse_step, sample_step, stochastic_step
from jaxrec.ids import ItemIndex
from jaxrec.kernels import flat_top_k


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Recommendations:
    """Ranked items of a batch of users.

    Attributes:
      items: `[U, K]` int32, best first, no item twice; -1 where fewer items are allowed than beams.
        The strategy "sample" keeps the order of its draws, which may repeat an item.
      scores: `[U, K]` float32 log-probabilities of the IDs; -inf where `items` is -1.

    Example:
      >>> best = Recommendations(jnp.array([[4, 2, -1]]), jnp.array([[-0.5, -1.5, -jnp.inf]]))
      >>> [int(item) for item in best.items[0] if item >= 0]
      [4, 2]
    """

    items: jax.Array
    scores: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Beams:
    """Loop state.

    Attributes:
      node: `[U, K]` int32 states in the trie.
      token: `[U, K]` int32, the newest token of each beam.
      score: `[U, K]` float32 log-probabilities.
      rank: `[U, K]` float32, what a stochastic search selects by.
      ancestors: `[U, K, J]` int32: which beam of level j each beam descends from.
    """

    node: jax.Array
    token: jax.Array
    score: jax.Array
    rank: jax.Array
    ancestors: jax.Array


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Search:
    """What all levels of one search share; it exists only while the search is traced.

    Attributes:
      reader: the model with the users' histories.
      index: all valid IDs.
      alive: the part of the trie that the request allows, see `Request.alive`.
      keys: one typed random key a level; None for a strategy that draws nothing.
      strength: `[U]` penalties of a diverse search; None for that of the strategy.
    """

    reader: BeamReader
    index: ItemIndex
    alive: Any
    keys: jax.Array | None
    strength: jax.Array | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        """Beams after each level."""
        return self.reader.widths

    def may_be_forced(self, level: int) -> bool:
        """Whether beams may have one item left, and scoring it at once is the same search.

        It is worth a branch for two levels or more. A later level that is narrower would drop beams
        on the way.
        """
        index, left, options = self.index, self.widths[level:], self.reader.options
        return (
            options.strategy.kind == "best"
            and len(left) > 1
            and level >= index.forced_level
            and min(left) >= self.widths[level - 1]
        )


def search_all_levels(search: Search) -> Recommendations:
    """Search from the root of the trie to items."""
    history = search.reader.history
    batch, users, width = history.state.shape
    root = jnp.zeros((batch * users, 1), jnp.int32)
    zero = jnp.zeros(root.shape, jnp.float32)
    beams = Beams(
        node=root,
        token=root,
        score=zero,
        rank=zero,
        ancestors=jnp.zeros((*root.shape, 0), jnp.int32),
    )
    cache = BeamCache.of_history(history.cache.key, history.cache.value, history.scale)
    beams = choose(search, 0, beams, history.state.reshape(batch * users, 1, width))
    return search_levels(search, 1, beams, cache)


def search_levels(search: Search, level: int, beams: Beams, cache: BeamCache) -> Recommendations:
    """Walk from the beams after `level` levels down to items: the loop, one level a call.

    It calls itself, because a branch on the device needs the rest of the walk as a function.
    """
    index = search.index
    if level == index.levels:
        return Recommendations(index.item(beams.node), beams.score)

    def next_level() -> Recommendations:
        hidden, key_value = search.reader.read(
            level, beams.token[:, :, None], beams.ancestors, cache
        )
        chosen = choose(search, level, beams, hidden[:, :, 0])
        return search_levels(search, level + 1, chosen, cache.extend(key_value))

    if not search.may_be_forced(level):
        return next_level()
    if max(index.max_children[level:]) == 1:
        return _score_only_items(search, level, beams, cache)
    return jax.lax.cond(
        jnp.all(index.leaves(level, beams.node)[1] <= 1),
        lambda: _score_only_items(search, level, beams, cache),
        next_level,
    )


def choose(search: Search, number: int, beams: Beams, hidden: jax.Array) -> Beams:
    """Keep continuations of beams at one level.

    Args:
      search: what all levels share.
      number: l.
      beams: the beams before.
      hidden: `[U, K, D]` states of their newest tokens.
    """
    options, width = search.reader.options, search.widths[number]
    strategy = options.strategy
    level = TrieLevel(search.index, number, search.alive)
    logits = search.reader.logits(number, hidden, beams.token)
    rank, paths = None, (level, beams.node, beams.score)
    if strategy.kind == "best":
        step = search_step(*paths, logits, width, options.implementation)
    else:
        free = strategy.free
        each = every_code(logits.values) if free else candidates(level, beams.node, logits)
        if strategy.kind == "diverse":
            step = diverse_step(*paths, each, width, strategy, search.strength)
        else:
            assert search.keys is not None
            key = search.keys[number]
            if strategy.kind == "stochastic":
                step, rank = stochastic_step(*paths, beams.rank, each, width, key)
            else:
                step = sample_step(*paths, each, width, strategy.sampling, key)
    own = jnp.broadcast_to(jnp.arange(width, dtype=jnp.int32)[None], step.parent.shape)
    path = pick(beams.ancestors, step.parent)
    return Beams(
        node=step.node,
        token=step.code + jnp.int32(search.reader.vocabulary.level(number).start),
        score=step.score,
        rank=step.score if rank is None else rank,
        ancestors=jnp.concatenate([path, own[:, :, None]], axis=2),
    )


def _score_only_items(
    search: Search, level: int, beams: Beams, cache: BeamCache
) -> Recommendations:
    """Score the rest of all IDs in one pass, where every beam has at most one leaf below it."""
    index, reader = search.index, search.reader
    leaf, count = index.leaves(level, beams.node)
    alive = (count == 1) & jnp.isfinite(beams.score)
    item = index.item(jnp.where(alive, leaf, -1))
    score = beams.score
    # Normalized over legal codes, the only one has probability one.
    if reader.options.normalize != "legal":
        # [U, K, R]
        codes = jnp.maximum(index.codes_of(item)[..., level:], 0)
        starts = reader.vocabulary.offsets[level:].reshape(1, 1, -1)
        tokens = jnp.concatenate(
            [beams.token[..., None], (codes + jnp.asarray(starts))[..., :-1]], axis=2
        )
        hidden, _ = reader.read(level, tokens, beams.ancestors, cache)
        for r in range(index.levels - level):
            logits = reader.logits(level + r, hidden[:, :, r], tokens[:, :, r])
            total = logits.log_total(logits.values)
            own = jnp.take_along_axis(logits.values, codes[:, :, r, None], axis=2)[..., 0]
            score = score + own - total
    score = jnp.where(alive, score, -jnp.inf)
    best, order = flat_top_k(score, score.shape[1])
    free = ((0, 0), (0, search.widths[-1] - score.shape[1]))
    return Recommendations(
        jnp.pad(pick(item, order), free, constant_values=-1),
        jnp.pad(best, free, constant_values=-jnp.inf),
    )
