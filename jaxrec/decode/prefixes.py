"""Reading a prefix once for all prompts that begin with it, and finding such prefixes.

Demonstrations before many questions, and the earlier turns of an agent before its next one, are the
same tokens again and again. `prefix_groups` says which prompts to read together so that the fewest
tokens are read, and `read_prefix` reads what they share.

Shapes: `T` tokens, `P` slots of the prefix.
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError
from jaxrec.decode.cache_contexts import CacheContext, PrefixContext, SharedPrefix
from jaxrec.decode.kv_cache import prefill, read_tokens
from jaxrec.decode.prompts import Prompts
from jaxrec.models import CausalLM
from jaxrec.nn import attention_mask, positions_of
from jaxrec.peft import virtual_of

# Prefixes that branch more often than this are not divided further.
_DEEPEST = 100


@functools.partial(jax.jit, static_argnames=("model", "capacity"))
def read_prefix(
    model: CausalLM,
    params: Any,
    tokens: jax.Array,
    valid: jax.Array,
    capacity: int,
    before: SharedPrefix | None = None,
) -> SharedPrefix:
    """Read the tokens that many prompts begin with.

    Args:
      model: a decoder (static).
      params: its parameters; the virtual tokens of a tuned prefix or prompt among them come first.
      tokens: `[T]` int32, padded on the right.
      valid: `[T]` bool, False for padding.
      capacity: P, number of slots (static): at least T, the virtual tokens, and the tokens of
        `before`.
      before: a prefix that the tokens continue; None to begin a text.

    Returns:
      The prefix, with the tokens of `before` at its beginning.

    Raises:
      ConfigError: a model with an encoder, or too few slots for the tokens.

    Cost: one pass over T tokens. Under `jit` nothing can check that the tokens of `before` leave
    enough free slots.

    Example:
      >>> from jaxrec.testing.brute_force import make_case
      >>> case = make_case(0, sizes=(6,), share=1.0)
      >>> tokens = jnp.array([3, 4, 2], jnp.int32)
      >>> read_prefix(case.model, case.params, tokens, tokens > 0, 8).length.item()
      3
    """
    if not isinstance(model, CausalLM):
        raise ConfigError(
            f"{type(model).__name__} has no causal prefix that prompts could share; read whole "
            "prompts"
        )
    virtual = virtual_of(params).read if before is None else 0
    if virtual:
        # They come first even if no other token follows, unlike in `Prompts.with_virtual`.
        first = model.config.vocab_size + jnp.arange(virtual, dtype=jnp.int32)
        tokens = jnp.concatenate([first, tokens])
        valid = jnp.concatenate([jnp.ones(virtual, bool), valid])
    prompts = Prompts(tokens=tokens[None], valid=valid[None])
    length = prompts.tokens.shape[1]
    if capacity < length or (before is not None and capacity < before.capacity):
        raise ConfigError(
            f"capacity {capacity} is less than the {length} tokens to read or the slots of the "
            "prefix before them; raise it"
        )
    if before is None:
        _, cache = prefill(model, params, prompts, capacity)
        key, value = (jnp.swapaxes(x[:, 0], 1, 2) for x in (cache.key, cache.value))
        return SharedPrefix(key, value, cache.valid[0])
    positions = positions_of(prompts.mask) + before.length
    context = PrefixContext(before.valid, CacheContext(None, None, attention_mask(prompts.mask)))
    layers = (before.key, before.value), None
    _, (key, value) = read_tokens(model, params, prompts.tokens, positions, context, layers, None)
    more = capacity - before.capacity

    def write(slots: jax.Array, new: jax.Array) -> jax.Array:
        # [depth, 1, T, G, H] -> [depth, G, T, H]
        wide = jnp.pad(slots, ((0, 0), (0, 0), (0, more), (0, 0)))
        rows = jnp.swapaxes(new[:, 0], 1, 2)
        return jax.lax.dynamic_update_slice_in_dim(wide, rows, before.length, 2)

    there = jnp.pad(before.valid, (0, more))
    there = jax.lax.dynamic_update_slice_in_dim(there, prompts.mask[0], before.length, 0)
    return SharedPrefix(write(before.key, key), write(before.value, value), there)


@functools.partial(jax.jit, static_argnames=("capacity",))
def first_tokens(prefix: SharedPrefix, length: jax.typing.ArrayLike, capacity: int) -> SharedPrefix:
    """Return a prefix of the first `length` tokens in `capacity` slots; nothing is read anew."""
    slots = jnp.arange(min(capacity, prefix.capacity), dtype=jnp.int32)
    kept = slots.shape[0]
    return SharedPrefix(
        prefix.key[:, :, :kept],
        prefix.value[:, :, :kept],
        prefix.valid[:kept] & (slots < length),
    )


@dataclasses.dataclass(frozen=True)
class PrefixGroup:
    """Rows that are read together.

    Attributes:
      length: number of tokens that all of them begin with, of which none is a row's last one; 0 if
        it is too few to be worth sharing.
      rows: numbers of the rows.
    """

    length: int
    rows: tuple[int, ...]


def prefix_groups(
    rows: Sequence[Sequence[int]], *, least: int = 16, call: int = 256
) -> list[PrefixGroup]:
    """Divide rows into groups that share a prefix, so that few tokens are read.

    Args:
      rows: tokens of each row, at least one.
      least: fewest tokens that are worth sharing.
      call: number of tokens that cost as much to read as a further group costs.

    Returns:
      The groups; every row is in one of them.

    Cost: O(N log N) comparisons of rows.

    Example:
      >>> few, many = [1, 2, 3], [7] * 40
      >>> groups = prefix_groups([[*few, 4], [*few, 5], [*many, 1], [*many, 2]], least=2, call=8)
      >>> [(group.length, group.rows) for group in groups]
      [(40, (2, 3)), (3, (0, 1))]
      >>> prefix_groups([[*few, 4], [*few, 5], [*many, 1], [*many, 2]])
      [PrefixGroup(length=0, rows=(0, 1, 2, 3))]
    """
    if not rows:
        return []
    order = sorted(range(len(rows)), key=lambda row: tuple(rows[row]))
    common = [_common(rows[a], rows[b]) for a, b in itertools.pairwise(order)]

    def group_of(chosen: Sequence[int]) -> PrefixGroup:
        """Make a group of sorted rows; what the first and the last share, all share."""
        shared = _common(rows[chosen[0]], rows[chosen[-1]])
        # A row's last token is its own: the state that the next token follows from.
        length = min(shared, min(len(rows[row]) for row in chosen) - 1)
        return PrefixGroup(length if length >= least else 0, tuple(sorted(chosen)))

    def divide(first: int, last: int, depth: int) -> list[PrefixGroup]:
        """Groups of the sorted rows `first` to `last` - 1."""
        inner = common[first : last - 1]
        if not inner or depth == _DEEPEST:
            return [group_of(order[first:last])]
        lcp = min(inner)
        cuts = [first, *(first + 1 + i for i, value in enumerate(inner) if value == lcp), last]
        kept, rest = [], []
        for begin, end in itertools.pairwise(cuts):
            groups = divide(begin, end, depth + 1) if end - begin > 1 else []
            saved = sum((group.length - lcp) * (len(group.rows) - 1) - call for group in groups)
            if groups and saved > 0:
                kept += groups
            else:
                rest += order[begin:end]
        return [*kept, group_of(rest)] if rest else kept

    return divide(0, len(order), 0)


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Number of tokens that two rows begin with alike."""
    size = min(len(a), len(b))
    differ = np.flatnonzero(np.asarray(a[:size]) != np.asarray(b[:size]))
    return int(differ[0]) if len(differ) else size
