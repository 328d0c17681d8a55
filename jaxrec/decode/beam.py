"""Beam search over valid item IDs only: from histories to items and scores in one jitted call.

Prefill reads each history once; then one wide step a level extends all beams, with logits of that
level's codes alone. Illegal codes are removed *before* the top-k, so the search is exact for its
beam width: with as many beams as items it ranks the whole catalogue. Where every beam has one way
left, the rest of all IDs is scored in one pass.

    tokens --read_histories--> History --search_items--> Recommendations
              once a user                  L - 1 wide steps

Shapes: `B` rows of histories, `P` users a row (1 unless packed), `U` = B P users, `K` beams, `L`
levels, `R` levels left.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.core import ConfigError
from jaxrec.decode.cache import BeamCache, BeamContext
from jaxrec.decode.history import CacheDtype, History, read_histories
from jaxrec.decode.kv_cache import LanguageModel, read_tokens
from jaxrec.decode.search import NORMALIZE, Normalize, candidates, pick, search_step
from jaxrec.decode.strategies import (
    BEST,
    Strategy,
    diverse_step,
    sample_step,
    stochastic_step,
)
from jaxrec.ids import IdVocabulary, ItemIndex
from jaxrec.kernels.choose import Implementation


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Recommendations:
    """Ranked items of a batch of users.

    Attributes:
      items: `[U, K]` int32, best first, no item twice (but "sample" keeps the order of its draws,
        and may repeat); -1 where fewer items are allowed than beams.
      scores: `[U, K]` float32 log-probabilities of the IDs; -inf where `items` is -1.
    """

    items: jax.Array
    scores: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Beams:
    """Loop state.

    Attributes:
      node: `[U, K]` int32 states in the trie.
      token: `[U, K]` int32, the newest.
      score: `[U, K]` float32.
      rank: `[U, K]` float32, what a stochastic search selects by.
      ancestors: `[U, K, J]` int32.
    """

    node: jax.Array
    token: jax.Array
    score: jax.Array
    rank: jax.Array
    ancestors: jax.Array


def beam_widths(index: ItemIndex, beams: int | Sequence[int]) -> tuple[int, ...]:
    """Beams kept after each level: at most `beams`, and no more than the trie has nodes there."""
    wanted = (beams,) * index.levels if isinstance(beams, int) else tuple(beams)
    if len(wanted) != index.levels or min(wanted) < 1:
        raise ConfigError(
            f"beams must be one positive width, or one for each of {index.levels} levels, got "
            f"{beams}"
        )
    return tuple(min(k, edges.shape[0]) for k, edges in zip(wanted, index.edges, strict=True))


def check_beams(num_items: int, beams: int) -> None:
    """Reject a beam width that the catalogue cannot fill, before any work.

    Raises:
      ConfigError: beams below 1 or above the number of items.
    """
    if not 1 <= beams <= num_items:
        raise ConfigError(
            f"decode.beams must lie between 1 and the catalogue's {num_items} items, got {beams}"
        )


@functools.partial(
    jax.jit,
    static_argnames=(
        "model",
        "vocabulary",
        "beams",
        "normalize",
        "strategy",
        "users",
        "start",
        "cache_dtype",
        "implementation",
    ),
)
def beam_search(
    model: LanguageModel,
    params: Any,
    index: ItemIndex,
    tokens: jax.Array,
    allowed: jax.Array | None = None,
    excluded: jax.Array | None = None,
    *,
    vocabulary: IdVocabulary,
    beams: int | tuple[int, ...],
    normalize: Normalize = "codes",
    strategy: Strategy = BEST,
    key: jax.Array | None = None,
    prefix: jax.Array | None = None,
    segments: jax.Array | None = None,
    users: int = 1,
    start: int = 0,
    cache_dtype: CacheDtype = "model",
    implementation: Implementation = "auto",
) -> Recommendations:
    """Generate the `beams` best items after each history: `read_histories` and `search_items`.

    Args:
      model: a decoder, or an encoder-decoder whose encoder reads the history (static).
      params: its parameters.
      index: all valid IDs.
      tokens: `[B, S]` int32 histories as tokens, padded with PAD (0) on either side.
      allowed: as of `search_items`.
      excluded: as of `search_items`.
      vocabulary: as of `search_items` (static).
      beams: as of `search_items` (static).
      normalize: as of `search_items` (static).
      strategy: as of `search_items` (static).
      key: as of `search_items`.
      prefix: `[B, S]` bool, as of `read_histories`.
      segments: `[B, S]` int32, as of `read_histories`.
      users: P, as of `read_histories` (static).
      start: as of `read_histories` (static).
      cache_dtype: as of `read_histories` (static).
      implementation: as of `search_items` (static).

    Returns:
      `Recommendations` of `[U, min(K, I)]`.
    """
    history = read_histories(
        model,
        params,
        tokens,
        prefix=prefix,
        segments=segments,
        users=users,
        start=start,
        cache_dtype=cache_dtype,
    )
    return search_items(
        model,
        params,
        index,
        history,
        allowed,
        excluded,
        vocabulary=vocabulary,
        beams=beams,
        normalize=normalize,
        strategy=strategy,
        key=key,
        implementation=implementation,
    )


@functools.partial(
    jax.jit,
    static_argnames=("model", "vocabulary", "beams", "normalize", "strategy", "implementation"),
)
def search_items(
    model: LanguageModel,
    params: Any,
    index: ItemIndex,
    history: History,
    allowed: jax.Array | None = None,
    excluded: jax.Array | None = None,
    *,
    vocabulary: IdVocabulary,
    beams: int | tuple[int, ...],
    normalize: Normalize = "codes",
    strategy: Strategy = BEST,
    key: jax.Array | None = None,
    implementation: Implementation = "auto",
) -> Recommendations:
    """Generate items after histories that were read.

    Args:
      model: as of `read_histories` (static).
      params: its parameters.
      index: all valid IDs.
      history: of B rows with P users each; users are counted row by row.
      allowed: `[U, I]` bool items that may be recommended (a region, a shelf); None for all.
      excluded: `[U, E]` int32 items that may not, such as the user's history, padded with -1; None
        for none. Costs O(E log E) a user, whatever I; with `allowed`, O(I).
      vocabulary: token numbers of the codes (static).
      beams: K after each level, or one width for each level (static).
      normalize: log-probabilities over all codes of a level, over the legal ones only, or over the
        whole vocabulary, whose logits are then computed (static).
      strategy: which beams are kept (static).
      key: typed random key of a random strategy.
      implementation: of the kernels, see `kernels.choose` (static).

    Returns:
      `Recommendations` of `[U, min(K, I)]`.

    Raises:
      ConfigError: settings that contradict one another.

    Cost a user: L - 1 steps of K tokens, each reading the history's keys and values once, and a
    search of O(K C_l) a level. The trace is unrolled over levels.
    """
    widths = _widths(index, beams, normalize, strategy, key)
    search = _Search(
        model=model,
        params=params,
        index=index,
        history=history,
        vocabulary=vocabulary,
        widths=widths,
        normalize=normalize,
        strategy=strategy,
        implementation=implementation,
        alive=_alive(index, allowed, excluded),
        keys=None if key is None else jax.random.split(key, index.levels),
    )
    batch, users, width = history.state.shape
    # A history is one beam at the root of the trie.
    root = jnp.zeros((batch * users, 1), jnp.int32)
    zero = jnp.zeros(root.shape, jnp.float32)
    state = _Beams(root, root, zero, zero, jnp.zeros((*root.shape, 0), jnp.int32))
    cache = BeamCache.of_history(history.cache.key, history.cache.value, history.scale)
    state = search.choose(0, state, history.state.reshape(batch * users, 1, width))
    found = search.go_on(1, state, cache)
    if strategy.kind == "diverse":
        scores, order = jax.lax.top_k(found.scores, found.scores.shape[1])
        return Recommendations(pick(found.items, order.astype(jnp.int32)), scores)
    return found


def _widths(
    index: ItemIndex,
    beams: int | tuple[int, ...],
    normalize: Normalize,
    strategy: Strategy,
    key: jax.Array | None,
) -> tuple[int, ...]:
    """Check the settings; beams after each level."""
    widths = beam_widths(index, beams)
    if normalize not in NORMALIZE:
        raise ConfigError(f"normalize must be one of {NORMALIZE}, got {normalize!r}")
    if strategy.random != (key is not None):
        raise ConfigError(
            f"strategy {strategy.kind!r} {'needs a' if strategy.random else 'reads no'} key"
        )
    if strategy.random and normalize != "legal":
        raise ConfigError(
            f"strategy {strategy.kind!r} draws legal items; set normalize='legal', got "
            f"{normalize!r}"
        )
    if strategy.kind not in ("diverse", "sample"):
        return widths
    # Groups and draws are not limited by the number of nodes.
    if not isinstance(beams, int) or beams % strategy.groups:
        raise ConfigError(
            f"strategy {strategy.kind!r} needs one width for all levels, a multiple of its "
            f"{strategy.groups} groups; got beams={beams}"
        )
    return (beams,) * index.levels


def _alive(index: ItemIndex, allowed: jax.Array | None, excluded: jax.Array | None) -> Any:
    if allowed is not None and excluded is not None:
        rows = jnp.arange(allowed.shape[0], dtype=jnp.int32)[:, None]
        # -1 would be the last item; what lies beyond the end is dropped.
        out = jnp.where(excluded < 0, allowed.shape[1], excluded)
        allowed = allowed.at[rows, out].set(False, mode="drop")
        return index.restrict(allowed)
    if excluded is not None:
        return index.exclude(excluded)
    return None if allowed is None else index.restrict(allowed)


@dataclasses.dataclass(frozen=True, eq=False)
class _Search:
    """What all levels of one search share; lives only while it is traced."""

    model: LanguageModel
    params: Any
    index: ItemIndex
    history: History
    vocabulary: IdVocabulary
    widths: tuple[int, ...]
    normalize: Normalize
    strategy: Strategy
    implementation: Implementation
    alive: Any
    keys: jax.Array | None

    def go_on(self, level: int, state: _Beams, cache: BeamCache) -> Recommendations:
        """From the beams after `level` levels to items."""
        index = self.index
        if level == index.levels:
            return Recommendations(index.item(state.node), state.score)
        if not self._may_be_forced(level):
            return self._ordinary(level, state, cache)
        if max(index.max_children[level:]) == 1:
            return self._forced(level, state, cache)
        return jax.lax.cond(
            jnp.all(index.leaves(level, state.node)[1] <= 1),
            lambda: self._forced(level, state, cache),
            lambda: self._ordinary(level, state, cache),
        )

    def _ordinary(self, level: int, state: _Beams, cache: BeamCache) -> Recommendations:
        """Read the beams' newest tokens, and choose their continuations."""
        hidden, key_value = self._read(level, state, cache, state.token[:, :, None])
        chosen = self.choose(level, state, hidden[:, :, 0])
        return self.go_on(level + 1, chosen, cache.extend(key_value))

    def choose(self, level: int, state: _Beams, hidden: jax.Array) -> _Beams:
        """Keep continuations of beams, from their newest states `[U, K, D]`."""
        index, width, kind = self.index, self.widths[level], self.strategy.kind
        logits, total = self._logits(level, hidden)
        rank = state.score
        if kind == "best":
            step = search_step(
                index,
                level,
                state.node,
                state.score,
                logits,
                width,
                self.normalize,
                self.alive,
                total,
                self.implementation,
            )
        else:
            each = candidates(index, level, state.node, logits, self.normalize, self.alive, total)
            position = (index, level, state.node, state.score)
            if kind == "diverse":
                step = diverse_step(*position, each, width, self.strategy)
            elif kind == "stochastic":
                step, rank = stochastic_step(*position, state.rank, each, width, self._key(level))
            else:
                temperature = self.strategy.temperature
                step = sample_step(*position, each, width, temperature, self._key(level))
        own = jnp.broadcast_to(jnp.arange(width, dtype=jnp.int32)[None], step.parent.shape)
        path = pick(state.ancestors, step.parent)
        return _Beams(
            node=step.node,
            token=step.code + jnp.int32(self.vocabulary.level(level).start),
            score=step.score,
            rank=step.score if kind != "stochastic" else rank,
            ancestors=jnp.concatenate([path, own[:, :, None]], axis=2),
        )

    def _key(self, level: int) -> jax.Array:
        assert self.keys is not None
        return self.keys[level]

    def _logits(self, level: int, hidden: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        """Logits `[U, K, C]` of the level's codes, and the log-sum of all if that is asked for."""
        rows = self.vocabulary.level(level)
        if self.normalize != "vocabulary":
            size = rows.stop - rows.start
            logits = self.model.apply(self.params, hidden, rows.start, size, method="logits")
            return logits, None
        every = self.model.apply(self.params, hidden, method="logits")
        return every[..., rows], jax.nn.logsumexp(every, axis=-1)

    def _read(
        self, level: int, state: _Beams, cache: BeamCache, tokens: jax.Array
    ) -> tuple[jax.Array, Any]:
        """Read tokens `[U, K, R]` of all beams: states `[U, K, R, D]`, and keys and values."""
        history = self.history
        batch, users = history.state.shape[:2]
        _, beams, new = tokens.shape
        positions = history.position.reshape(-1, 1, 1) + jnp.arange(
            level - 1, level - 1 + new, dtype=jnp.int32
        ).reshape(1, 1, new)
        # Beams of the users of a row stand side by side: [U, K, ...] -> [B, P K, ...]
        rows = (batch, users * beams * new)
        # The newest beams are their own ancestors only once their keys are in the cache.
        ancestors = state.ancestors[:, :, : level - 1].reshape(batch, users, beams, -1)
        if users > 1:
            before = jnp.array(self.widths[: level - 1], jnp.int32).reshape(1, 1, 1, -1)
            user = jnp.arange(users, dtype=jnp.int32).reshape(1, users, 1, 1)
            ancestors = ancestors + user * before
        context = BeamContext(
            self._of_each(history.seen, beams * new),
            history.cache.positions,
            ancestors.reshape(batch, users * beams, -1),
            new,
            self.implementation,
        )
        memory = None
        if history.cache.memory is not None and history.memory_seen is not None:
            memory = history.cache.memory, self._of_each(history.memory_seen, beams * new)
        hidden, key_value = read_tokens(
            self.model,
            self.params,
            tokens.reshape(rows),
            jnp.broadcast_to(positions, tokens.shape).reshape(rows),
            context,
            cache,
            memory,
        )
        return hidden.reshape(*tokens.shape, -1), key_value

    def _of_each(self, seen: jax.Array, count: int) -> jax.Array:
        """What the `count` tokens of each user see: `[B, S]` as it is, `[B, P, S]` repeated."""
        return seen if seen.ndim == 2 else jnp.repeat(seen, count, axis=1)

    def _may_be_forced(self, level: int) -> bool:
        """Whether beams may have one way left, and following it at once is the same search.

        Worth it for two levels or more. A later, narrower level would drop beams on the way.
        """
        index, left = self.index, self.widths[level:]
        return (
            self.strategy.kind == "best"
            and len(left) > 1
            and level >= index.forced_level
            and min(left) >= self.widths[level - 1]
        )

    def _forced(self, level: int, state: _Beams, cache: BeamCache) -> Recommendations:
        """Every beam has at most one leaf below it: score the rest of all IDs in one pass."""
        index = self.index
        leaf, count = index.leaves(level, state.node)
        alive = (count == 1) & jnp.isfinite(state.score)
        item = index.item(jnp.where(alive, leaf, -1))
        score = state.score
        # Normalized over legal codes, the only one has probability one.
        if self.normalize != "legal":
            # [U, K, R]
            codes = jnp.maximum(index.codes_of(item)[..., level:], 0)
            starts = self.vocabulary.offsets[level:].reshape(1, 1, -1)
            tokens = jnp.concatenate(
                [state.token[..., None], (codes + jnp.asarray(starts))[..., :-1]], axis=2
            )
            hidden, _ = self._read(level, state, cache, tokens)
            for r in range(index.levels - level):
                logits, total = self._logits(level + r, hidden[:, :, r])
                total = jax.nn.logsumexp(logits, axis=-1) if total is None else total
                own = jnp.take_along_axis(logits, codes[:, :, r, None], axis=2)[..., 0]
                score = score + own - total
        score = jnp.where(alive, score, -jnp.inf)
        best, order = jax.lax.top_k(score, score.shape[1])
        free = ((0, 0), (0, self.widths[-1] - score.shape[1]))
        return Recommendations(
            jnp.pad(pick(item, order.astype(jnp.int32)), free, constant_values=-1),
            jnp.pad(best, free, constant_values=-jnp.inf),
        )
