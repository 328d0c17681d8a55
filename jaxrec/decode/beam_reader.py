"""What a search asks of the model: states of the beams' newest tokens, and logits of a level.

Beams never copy a cache. A beam knows its *ancestors*, the beams of earlier levels that it descends
from, and reads their keys where they lie (see `cache`).

Shapes: `B` rows of histories, `P` users a row, `U` = B P users, `K` beams, `J` levels so far, `R`
tokens that a beam reads at once.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.decode.cache import BeamCache, BeamContext
from jaxrec.decode.history import History
from jaxrec.decode.kv_cache import LanguageModel, read_tokens
from jaxrec.decode.level import CodeLogits
from jaxrec.decode.options import SearchOptions
from jaxrec.ids import IdVocabulary

# The logit of a token that cannot follow: as good as impossible, and finite.
_NEVER = -1.0e9


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class BeamReader:
    """A model with the histories of one search; it exists only while the search is traced.

    Attributes:
      model: a decoder, or an encoder-decoder.
      params: its parameters.
      history: what the users' beams continue.
      vocabulary: the tokens of the codes.
      widths: beams after each level.
      options: how logits are normalized, and which form of the attention runs.
    """

    model: LanguageModel
    params: Any
    history: History
    vocabulary: IdVocabulary
    widths: tuple[int, ...]
    options: SearchOptions

    def logits(self, level: int, hidden: jax.Array, token: jax.Array) -> CodeLogits:
        """Return the logits of a level's codes.

        Args:
          level: l.
          hidden: `[U, K, D]` states of the newest tokens.
          token: `[U, K]` these tokens.
        """
        rows, normalize = self.vocabulary.level(level), self.options.normalize
        if normalize != "vocabulary":
            size = rows.stop - rows.start
            logits = self.model.apply(self.params, hidden, rows.start, size, method="logits")
            if level:
                logits = self._only_end_after_end(logits, rows.start, token)
            return CodeLogits(logits, normalize)
        logits = self.model.apply(self.params, hidden, method="logits")
        # Before the first level there is no token yet.
        if level:
            logits = self._only_end_after_end(logits, 0, token)
        return CodeLogits(logits[..., rows], normalize, jax.nn.logsumexp(logits, axis=-1))

    def read(
        self, level: int, tokens: jax.Array, ancestors: jax.Array, cache: BeamCache
    ) -> tuple[jax.Array, Any]:
        """Read R tokens of every beam, the first of which is the code of level `level` - 1.

        Args:
          level: l, at least 1.
          tokens: `[U, K, R]` int32.
          ancestors: `[U, K, J]` int32, see `search.Beams`.
          cache: keys and values of the histories and of the levels before.

        Returns:
          `[U, K, R, D]` states, and the new keys and values.
        """
        history = self.history
        batch, users = history.state.shape[:2]
        _, beams, new = tokens.shape
        positions = history.position.reshape(-1, 1, 1) + jnp.arange(
            level - 1, level - 1 + new, dtype=jnp.int32
        ).reshape(1, 1, new)
        # Beams of the users of a row stand side by side: [U, K, ...] -> [B, P K, ...]
        rows = (batch, users * beams * new)
        # The newest beams are their own ancestors only once their keys are in the cache.
        ancestors = ancestors[:, :, : level - 1].reshape(batch, users, beams, -1)
        if users > 1:
            before = jnp.array(self.widths[: level - 1], jnp.int32).reshape(1, 1, 1, -1)
            user = jnp.arange(users, dtype=jnp.int32).reshape(1, users, 1, 1)
            ancestors = ancestors + user * before
        context = BeamContext(
            history_valid=_for_each_token(history.seen, beams * new),
            history_positions=history.cache.positions,
            ancestors=ancestors.reshape(batch, users * beams, -1),
            new=new,
            implementation=self.options.implementation,
        )
        memory = None
        if history.cache.memory is not None and history.memory_seen is not None:
            memory = history.cache.memory, _for_each_token(history.memory_seen, beams * new)
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

    def _only_end_after_end(self, logits: jax.Array, first: int, token: jax.Array) -> jax.Array:
        """Make the end token certain after an end token, where IDs are filled up with it.

        Args:
          logits: `[U, K, C]`, of consecutive tokens.
          first: the token of the first column.
          token: `[U, K]`, the token before.
        """
        end = self.vocabulary.end
        if end is None:
            return logits
        columns = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 2) + first
        certain = jnp.where(columns == end, jnp.float32(0), jnp.float32(_NEVER))
        return jnp.where(token[..., None] == end, certain, logits)


def _for_each_token(seen: jax.Array, count: int) -> jax.Array:
    """Repeat the mask of each user `[B, P, S]` for its tokens; one mask a row `[B, S]` stays."""
    return seen if seen.ndim == 2 else jnp.repeat(seen, count, axis=1)
