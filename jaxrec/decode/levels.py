"""The levels of one search: read the beams' newest tokens, choose their continuations, go down.

Traced once for all levels; where beams may have one way left, the rest is scored in one pass.

Shapes: `B` rows of histories, `P` users a row, `U` = B P users, `K` beams, `J` levels so far, `R`
levels left.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.decode.cache import BeamCache, BeamContext
from jaxrec.decode.history import History
from jaxrec.decode.kv_cache import LanguageModel, read_tokens
from jaxrec.decode.search import Normalize, candidates, every_code, pick, search_step
from jaxrec.decode.strategies import Strategy, diverse_step, sample_step, stochastic_step
from jaxrec.ids import IdVocabulary, ItemIndex
from jaxrec.kernels import Implementation, flat_top_k

# A logit that is as good as impossible, and finite.
_NEVER = -1.0e9


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
@dataclasses.dataclass(frozen=True, kw_only=True)
class Beams:
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


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Search:
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

    def go_on(self, level: int, state: Beams, cache: BeamCache) -> Recommendations:
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

    def _ordinary(self, level: int, state: Beams, cache: BeamCache) -> Recommendations:
        """Read the beams' newest tokens, and choose their continuations."""
        hidden, key_value = self._read(level, state, cache, state.token[:, :, None])
        chosen = self.choose(level, state, hidden[:, :, 0])
        return self.go_on(level + 1, chosen, cache.extend(key_value))

    def choose(self, level: int, state: Beams, hidden: jax.Array) -> Beams:
        """Keep continuations of beams, from their newest states `[U, K, D]`."""
        index, width, kind = self.index, self.widths[level], self.strategy.kind
        logits, total = self._logits(level, hidden, state.token)
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
            if self.strategy.free:
                each = every_code(logits)
            else:
                each = candidates(
                    index, level, state.node, logits, self.normalize, self.alive, total
                )
            position = (index, level, state.node, state.score)
            if kind == "diverse":
                step = diverse_step(*position, each, width, self.strategy)
            elif kind == "stochastic":
                step, rank = stochastic_step(*position, state.rank, each, width, self._key(level))
            else:
                sampling = self.strategy.sampling
                step = sample_step(*position, each, width, sampling, self._key(level))
        own = jnp.broadcast_to(jnp.arange(width, dtype=jnp.int32)[None], step.parent.shape)
        path = pick(state.ancestors, step.parent)
        return Beams(
            node=step.node,
            token=step.code + jnp.int32(self.vocabulary.level(level).start),
            score=step.score,
            rank=step.score if kind != "stochastic" else rank,
            ancestors=jnp.concatenate([path, own[:, :, None]], axis=2),
        )

    def _key(self, level: int) -> jax.Array:
        assert self.keys is not None
        return self.keys[level]

    def _logits(
        self, level: int, hidden: jax.Array, token: jax.Array
    ) -> tuple[jax.Array, jax.Array | None]:
        """Logits `[U, K, C]` of the level's codes, and the log-sum of all if that is asked for.

        Args:
          level: l.
          hidden: `[U, K, D]` states of the newest tokens.
          token: `[U, K]` these tokens.
        """
        rows = self.vocabulary.level(level)
        if self.normalize != "vocabulary":
            size = rows.stop - rows.start
            logits = self.model.apply(self.params, hidden, rows.start, size, method="logits")
            return self._filled(logits, token), None
        every = self._filled(self.model.apply(self.params, hidden, method="logits"), token)
        return every[..., rows], jax.nn.logsumexp(every, axis=-1)

    def _filled(self, logits: jax.Array, token: jax.Array) -> jax.Array:
        """Logits `[U, K, C]` that are sure of the end token after one, where IDs are filled so."""
        end = self.vocabulary.end
        if end is None:
            return logits
        codes = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 2) + self.vocabulary.num_special
        sure = jnp.where(codes == end, jnp.float32(0), jnp.float32(_NEVER))
        return jnp.where(token[..., None] == end, sure, logits)

    def _read(
        self, level: int, state: Beams, cache: BeamCache, tokens: jax.Array
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
            history_valid=self._of_each(history.seen, beams * new),
            history_positions=history.cache.positions,
            ancestors=ancestors.reshape(batch, users * beams, -1),
            new=new,
            implementation=self.implementation,
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

    def _forced(self, level: int, state: Beams, cache: BeamCache) -> Recommendations:
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
                logits, total = self._logits(level + r, hidden[:, :, r], tokens[:, :, r])
                total = jax.nn.logsumexp(logits, axis=-1) if total is None else total
                own = jnp.take_along_axis(logits, codes[:, :, r, None], axis=2)[..., 0]
                score = score + own - total
        score = jnp.where(alive, score, -jnp.inf)
        best, order = flat_top_k(score, score.shape[1])
        free = ((0, 0), (0, self.widths[-1] - score.shape[1]))
        return Recommendations(
            jnp.pad(pick(item, order), free, constant_values=-1),
            jnp.pad(best, free, constant_values=-jnp.inf),
        )
