"""The decoding cache: one history a user, and one key and value per beam and level.

Beams that win are not copied. Each keeps the *ancestor indices* of its path, and attention reads
the keys of earlier levels through them.
"""

import dataclasses

import jax
import jax.numpy as jnp

from jaxrec.kernels import beam_attention
from jaxrec.nn import ScoreTerms


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BeamCache:
    """Keys and values of the whole stack of layers.

    Attributes:
      history_key: `[depth, B, S, G, H]`.
      history_value: `[depth, B, S, G, H]`.
      suffix_key: one `[depth, B, K_j, G, H]` for each level generated so far.
      suffix_value: likewise.
    """

    history_key: jax.Array
    history_value: jax.Array
    suffix_key: tuple[jax.Array, ...] = ()
    suffix_value: tuple[jax.Array, ...] = ()

    def extend(self, key_value: tuple[jax.Array, jax.Array]) -> "BeamCache":
        """Append the keys and values of the beams' newest tokens."""
        key, value = key_value
        return dataclasses.replace(
            self, suffix_key=(*self.suffix_key, key), suffix_value=(*self.suffix_value, value)
        )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BeamContext:
    """Beams attend to their user's history, to their ancestors and to themselves.

    Attributes:
      history_valid: `[B, S]` bool.
      history_positions: `[B, S]` int32.
      ancestors: `[B, K, J]` int32: which beam of level j each beam descends from.
    """

    history_valid: jax.Array
    history_positions: jax.Array
    ancestors: jax.Array

    def distance(self, positions: jax.Array) -> jax.Array:
        """Distances to the history and then to the J + 1 suffix tokens: `[B, K, S + J + 1]`."""
        past = positions[:, :, None] - self.history_positions[:, None, :]
        back = jnp.arange(self.ancestors.shape[2], -1, -1, dtype=jnp.int32)
        own = jnp.broadcast_to(back[None, None], (*positions.shape, back.size))
        return jnp.concatenate([past, own], axis=2)

    def attend(
        self,
        query: jax.Array,
        key: jax.Array,
        value: jax.Array,
        terms: ScoreTerms,
        layer: BeamCache,
    ) -> jax.Array:
        """Attend; beams take the place of time: all arrays are `[B, K, heads, H]`."""
        keys = [*self._follow(layer.suffix_key), key]
        values = [*self._follow(layer.suffix_value), value]
        return beam_attention(
            query,
            layer.history_key,
            layer.history_value,
            self.history_valid,
            jnp.stack(keys, axis=2),
            jnp.stack(values, axis=2),
            terms,
        )

    def _follow(self, suffix: tuple[jax.Array, ...]) -> list[jax.Array]:
        # [B, K_j, G, H] -> [B, K, G, H]
        return [
            jnp.take_along_axis(rows, self.ancestors[:, :, j, None, None], axis=1)
            for j, rows in enumerate(suffix)
        ]
