"""The cache of a search: one history for each user, and one key and value per beam and level.

The cache of a beam that is kept is never copied. Each beam stores the *ancestor indices* of its
path, and attention reads the keys of earlier levels through them.

Shapes: `B` rows of histories, `Q` tokens that are read at once (the beams of all users of a row,
times the tokens of each), `S` history tokens, `J` levels generated so far, `R` tokens that a beam
reads.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.kernels import Implementation, SharedHistory, beam_attention
from jaxrec.nn import ScoreTerms


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class BeamCache:
    """Keys and values of the whole stack of layers.

    Attributes:
      history_key: `[depth, B, G, S, H]`, int8 where there is a scale.
      history_value: `[depth, B, G, S, H]`.
      history_scale: `[depth, B, G, S]` for keys and for values of an int8 history; else None.
      suffix_key: keys of each level generated so far, `[depth, B, K_j, G, H]` each.
      suffix_value: values of each level, of the same shapes.
    """

    history_key: jax.Array
    history_value: jax.Array
    history_scale: tuple[jax.Array, jax.Array] | None = None
    suffix_key: tuple[jax.Array, ...] = ()
    suffix_value: tuple[jax.Array, ...] = ()

    @classmethod
    def of_history(
        cls, key: jax.Array, value: jax.Array, scale: tuple[jax.Array, jax.Array] | None = None
    ) -> "BeamCache":
        """Make a cache of keys and values `[depth, B, S, G, H]` and scales `[depth, B, S, G]`.

        They are transposed once a search, so that every step reads each head's tokens in one run.
        """
        key, value, scale = jax.tree.map(lambda x: jnp.swapaxes(x, 2, 3), (key, value, scale))
        return cls(history_key=key, history_value=value, history_scale=scale)

    def extend(self, key_value: tuple[jax.Array, jax.Array]) -> "BeamCache":
        """Append the keys and values of the beams' newest tokens."""
        key, value = key_value
        return dataclasses.replace(
            self, suffix_key=(*self.suffix_key, key), suffix_value=(*self.suffix_value, value)
        )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class BeamContext:
    """Beams attend to their user's history, to their ancestors and to their own new tokens.

    Attributes:
      history_valid: `[B, S]` bool; `[B, Q, S]` where several users share a row.
      history_positions: `[B, S]` int32.
      ancestors: `[B, K, J]` int32: which beam of level j each beam of the row descends from.
      new: R, number of successive tokens that each beam reads at once; 1 in a step of a search.
      implementation: which form of the attention runs, see `kernels.choose`.
    """

    history_valid: jax.Array
    history_positions: jax.Array
    ancestors: jax.Array
    new: int = dataclasses.field(default=1, metadata={"static": True})
    implementation: Implementation = dataclasses.field(default="auto", metadata={"static": True})

    def distance(self, positions: jax.Array) -> jax.Array:
        """Return distances to history, J ancestors and R new tokens: `[B, Q, S + J + R]`."""
        past = positions[:, :, None] - self.history_positions[:, None, :]
        count = self.ancestors.shape[2] + self.new
        token = jnp.arange(positions.shape[1], dtype=jnp.int32) % self.new
        own = self.ancestors.shape[2] + token[:, None] - jnp.arange(count, dtype=jnp.int32)[None]
        own = jnp.broadcast_to(own[None], (*positions.shape, count))
        return jnp.concatenate([past, own], axis=2)

    def attend(
        self,
        query: jax.Array,
        key: jax.Array,
        value: jax.Array,
        terms: ScoreTerms,
        layer: BeamCache,
    ) -> jax.Array:
        """Attend to one layer; beams, and the tokens within them, stand on the axis of time."""
        if self.new > 1:
            allowed = self._allowed(layer.history_key.shape[2])
            allowed = allowed if terms.allowed is None else allowed & terms.allowed
            terms = dataclasses.replace(terms, allowed=allowed)
        history = SharedHistory(
            key=layer.history_key,
            value=layer.history_value,
            valid=self.history_valid,
            scale=layer.history_scale,
        )
        suffix = self._suffix(layer.suffix_key, key), self._suffix(layer.suffix_value, value)
        return beam_attention(query, history, suffix, terms, implementation=self.implementation)

    def _allowed(self, history: int) -> jax.Array:
        """Let a token see its beam's new tokens up to itself: `[1, Q, S + J + R]` bool.

        For one beam of three tokens, after the history and the ancestors::

            1 0 0
            1 1 0
            1 1 1
        """
        lower = jnp.tril(jnp.ones((self.new, self.new), bool))
        before = jnp.ones((self.new, history + self.ancestors.shape[2]), bool)
        rows = jnp.concatenate([before, lower], axis=1)
        return jnp.tile(rows, (self.ancestors.shape[1], 1))[None]

    def _suffix(self, levels: tuple[jax.Array, ...], new: jax.Array) -> jax.Array:
        """Gather what each token sees of its own beam: `[B, Q, J + R, G, H]`."""
        # [B, K_j, G, H] -> [B, K, G, H]
        path = [
            jnp.take_along_axis(rows, self.ancestors[:, :, j, None, None], axis=1)
            for j, rows in enumerate(levels)
        ]
        b, q, g, h = new.shape
        own = new.reshape(b, q // self.new, self.new, g, h)
        seen = jnp.concatenate([*(rows[:, :, None] for rows in path), own], axis=2)
        if self.new == 1:
            return seen
        return jnp.repeat(seen, self.new, axis=1)


def quantized(key_value: Any) -> tuple[Any, Any]:
    """Round keys and values `[..., H]` to int8; return them and their scales `[...]`.

    Rounding is symmetric with one scale for each token and head: the largest component becomes 127.
    """

    def rounded(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = x.astype(jnp.float32)
        scale = jnp.maximum(jnp.abs(x).max(-1, keepdims=True) / 127.0, jnp.float32(1e-30))
        return jnp.round(x / scale).astype(jnp.int8), scale[..., 0]

    (key, key_scale), (value, value_scale) = (rounded(x) for x in key_value)
    return (key, value), (key_scale, value_scale)
