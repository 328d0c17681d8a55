"""The decoding cache: one history a user, and one key and value per beam and level.

Beams that win are not copied. Each keeps the *ancestor indices* of its path, and attention reads
the keys of earlier levels through them.
"""

import dataclasses

import jax
import jax.numpy as jnp

from jaxrec.kernels import beam_attention


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
      ancestors: `[B, K, J]` int32: which beam of level j each beam descends from.
    """

    history_valid: jax.Array
    ancestors: jax.Array

    def attend(
        self, query: jax.Array, key: jax.Array, value: jax.Array, layer: BeamCache
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
        )

    def _follow(self, suffix: tuple[jax.Array, ...]) -> list[jax.Array]:
        # [B, K_j, G, H] -> [B, K, G, H]
        return [
            jnp.take_along_axis(rows, self.ancestors[:, :, j, None, None], axis=1)
            for j, rows in enumerate(suffix)
        ]
