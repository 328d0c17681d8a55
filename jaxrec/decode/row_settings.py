"""Settings of each row of a batch as arrays, so that unlike requests share one compiled program.

`Sampling` is static: another temperature is another program. A service gets requests with all
kinds of temperatures and compiles nothing after its start, so here every setting is an array.

Shapes: `B` rows, `V` tokens of the vocabulary.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowSetting:
    """How one row is continued.

    Attributes:
      key: two words of 32 bits, which seed the draws of the row.
      limit: most tokens to write.
      temperature: what the logits are divided by; 0 takes the best token.
      top_k: draw only from the k best tokens; 0 for all.
      top_p: draw only from the fewest best tokens that have this probability together.
      presence_penalty: what the logits of tokens that the continuation has are lowered by.
      frequency_penalty: what they are lowered by for each time that the continuation has them.
      alternatives: number of likeliest tokens to report at each place.
    """

    key: tuple[int, int] = (0, 0)
    limit: int = 1
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    alternatives: int = 0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class RowSettings:
    """The settings of a batch; see `RowSetting`.

    Attributes:
      key: `[B, 2]` uint32.
      limit: `[B]` int32.
      temperature: `[B]` float32.
      top_k: `[B]` int32.
      top_p: `[B]` float32.
      presence_penalty: `[B]` float32.
      frequency_penalty: `[B]` float32.
      alternatives: `[B]` int32.
    """

    key: jax.Array
    limit: jax.Array
    temperature: jax.Array
    top_k: jax.Array
    top_p: jax.Array
    presence_penalty: jax.Array
    frequency_penalty: jax.Array
    alternatives: jax.Array

    @classmethod
    def build(cls, rows: Sequence[RowSetting], count: int) -> "RowSettings":
        """Make arrays on the host for `count` rows; those beyond `rows` write nothing.

        Example:
          >>> RowSettings.build([RowSetting(limit=3)], 2).limit.tolist()
          [3, 0]
        """
        filled = [*rows, *[RowSetting(limit=0)] * (count - len(rows))]
        kinds = {"key": np.uint32, "limit": np.int32, "top_k": np.int32, "alternatives": np.int32}
        arrays: dict[str, Any] = {
            field.name: np.array(
                [getattr(row, field.name) for row in filled], kinds.get(field.name, np.float32)
            )
            for field in dataclasses.fields(cls)
        }
        return cls(**arrays)


def choose_tokens(
    logits: jax.Array, counts: jax.Array, number: jax.Array, settings: RowSettings
) -> jax.Array:
    """Choose the next token of each row; a row does not depend on the others.

    The draws are those of `sample` with the row's `Sampling` and key.

    Args:
      logits: `[B, V]`.
      counts: `[B, V]` int32, how often the continuation has each token.
      number: int32 scalar, number of tokens that were written before.
      settings: of each row.

    Returns:
      `[B]` int32.

    Cost: O(V) a row while all rows are greedy; a sort of V as soon as one row has `top_k` or
    `top_p`.

    Example:
      >>> logits, counts = jnp.array([[1.0, 3.0, 2.0]]), jnp.zeros((1, 3), jnp.int32)
      >>> settings = RowSettings.build([RowSetting()], 1)
      >>> choose_tokens(logits, counts, jnp.int32(0), settings).tolist()
      [1]
    """
    present = (counts > 0).astype(jnp.float32)
    logits = logits.astype(jnp.float32)
    logits = logits - settings.presence_penalty[:, None] * present
    logits = logits - settings.frequency_penalty[:, None] * counts.astype(jnp.float32)
    best = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    drawn = settings.temperature > 0

    def draw(logits: jax.Array) -> jax.Array:
        scaled = logits / jnp.where(drawn, settings.temperature, 1.0)[:, None]
        limited = (settings.top_k > 0) | (settings.top_p < 1)
        scaled = jax.lax.cond(
            jnp.any(limited & drawn),
            lambda x: filter_rows(x, settings.top_k, settings.top_p),
            lambda x: x,
            scaled,
        )
        keys = jax.random.wrap_key_data(settings.key, impl="threefry2x32")
        keys = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
        token = jax.vmap(jax.random.categorical)(keys, scaled)
        return jnp.where(drawn, token.astype(jnp.int32), best)

    # Greedy rows alone need no random numbers.
    return jax.lax.cond(jnp.any(drawn), draw, lambda _: best, logits)


def filter_rows(logits: jax.Array, top_k: jax.Array, top_p: jax.Array) -> jax.Array:
    """Return `filter_logits` with settings of each row's own.

    Args:
      logits: `[B, V]` float32, divided by the temperature.
      top_k: `[B]` int32, 0 for all tokens.
      top_p: `[B]` float32, 1 for all tokens.

    Returns:
      `[B, V]`, -inf where a token is left out.

    Example:
      >>> filter_rows(jnp.array([[1.0, 3.0, 2.0]]), jnp.array([2]), jnp.array([1.0])).tolist()
      [[-inf, 3.0, 2.0]]
    """
    size = logits.shape[-1]
    ordered = -jnp.sort(-logits, axis=-1)
    most = jnp.where((top_k > 0) & (top_k < size), top_k, size)[:, None]
    least = jnp.take_along_axis(ordered, most - 1, axis=-1)
    logits = jnp.where(logits >= least, logits, -jnp.inf)
    # The normalizer counts all ties of the k-th token; the sorted ones hold only some of them.
    share = jnp.exp(ordered - jax.nn.logsumexp(logits, axis=-1, keepdims=True))
    share = jnp.where(jnp.arange(size)[None] < most, share, 0.0)
    before = jnp.cumsum(share, axis=-1) - share
    inside = (before < top_p[:, None]) & (jnp.arange(size)[None] < most)
    kept = jnp.maximum(jnp.sum(inside, axis=-1, keepdims=True), 1)
    edge = jnp.take_along_axis(ordered, kept - 1, axis=-1)
    return jnp.where((top_p[:, None] < 1) & (logits < edge), -jnp.inf, logits)
