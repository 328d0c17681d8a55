"""The prefixes that a model has read last, so that the next call reads only what is new.

A study asks many questions behind the same demonstrations, and an agent's next prompt begins with
its last one. Both find here the keys and values of what was read before.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrec.decode import SharedPrefix, bucket, first_tokens, read_prefix
from jaxrec.models import CausalLM
from jaxrec.peft import virtual_of

# Fewest tokens that are worth keeping.
LEAST = 16


class PrefixMemory:
    """The last prefixes of a model, the newest one first.

    Args:
      model: a decoder.
      params: its parameters.
      keep: number of prefixes whose keys and values stay on the device, at least 1.

    Example:
      >>> from jaxrec.testing import random_params, tiny_model
      >>> model = CausalLM(tiny_model())
      >>> memory = PrefixMemory(model, random_params(model), keep=1)
      >>> _, reused = memory.read([3] * 20)
      >>> _, reused_next = memory.read([3] * 20 + [4])
      >>> reused, reused_next
      (0, 20)
    """

    def __init__(self, model: CausalLM, params: Any, keep: int) -> None:
        self._model, self._params, self._keep = model, params, keep
        self._virtual = virtual_of(params).read
        self._entries: list[tuple[np.ndarray, SharedPrefix]] = []

    @property
    def needed(self) -> bool:
        """Whether even an empty prefix has to be read: it holds the model's virtual tokens."""
        return self._virtual > 0

    def read(self, tokens: Sequence[int]) -> tuple[SharedPrefix, int]:
        """Return the prefix of these tokens, and how many of them did not have to be read.

        Cost: one pass over the tokens after the longest beginning that is in the memory.
        """
        wanted = np.asarray(tokens, np.int32)
        known, best, place = 0, None, -1
        for number, (stored, prefix) in enumerate(self._entries):
            alike = _alike(stored, wanted)
            if best is None or alike > known:
                known, best, place = alike, prefix, number
        if best is not None and known == len(wanted):
            self._entries.insert(0, self._entries.pop(place))
            return self._cut(best, known), known
        if best is None or known < LEAST:
            known, best, place = 0, None, -1
        else:
            best = self._cut(best, known)
            if known < len(self._entries[place][0]):
                # The stored prefix goes another way: both are kept.
                place = -1
        new = _padded(wanted[known:])
        size = _slots(self._virtual + known + len(new))
        valid = np.arange(len(new)) < len(wanted) - known
        prefix = read_prefix(
            self._model, self._params, jnp.asarray(new), jnp.asarray(valid), size, best
        )
        # The free slots depend on what was known; without them, equal lengths have equal shapes.
        prefix = self._cut(prefix, len(wanted))
        if place >= 0:
            del self._entries[place]
        self._entries.insert(0, (wanted, prefix))
        del self._entries[self._keep :]
        return prefix, known

    def clear(self) -> None:
        """Drop all prefixes."""
        self._entries.clear()

    def _cut(self, prefix: SharedPrefix, length: int) -> SharedPrefix:
        length += self._virtual
        return first_tokens(prefix, length, _slots(length))


def _alike(a: np.ndarray, b: np.ndarray) -> int:
    """Number of tokens that two rows begin with alike."""
    size = min(len(a), len(b))
    differ = np.flatnonzero(a[:size] != b[:size])
    return int(differ[0]) if len(differ) else size


def _padded(tokens: np.ndarray) -> np.ndarray:
    return np.pad(tokens, (0, bucket(len(tokens)) - len(tokens)))


def _slots(length: int) -> int:
    """Round up to a power of two or one and a half times that, so that few shapes are compiled."""
    size = bucket(length)
    return size * 3 // 4 if length <= size * 3 // 4 and size > LEAST else size
