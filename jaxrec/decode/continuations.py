"""Scores of given continuations: a prompt is read once for all of its continuations.

The continuations of a prompt stand behind it in one row, and the mask keeps them apart: each sees
the prompt and itself. A continuation's last token is scored but not read, so answers of one token,
such as "yes" and "no", cost nothing beyond the prompt.

Shapes: `B` rows, `T` tokens of a row, `J` scored tokens of a row, `V` tokens of the vocabulary.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.decode.batching import bucket
from jaxrec.decode.cache_contexts import CacheContext, PrefixContext, SharedPrefix
from jaxrec.decode.kv_cache import LanguageModel, memory_of, read_tokens
from jaxrec.decode.prompts import Prompts
from jaxrec.nn import Context, SelfContext
from jaxrec.peft import virtual_of

# Most logits that are computed at once: 256 MiB in float32.
_LOGITS = 1 << 26


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Continuations:
    """A batch of prompts with their continuations.

    Attributes:
      tokens: `[B, T]` int32, each row a prompt and its continuations without their last tokens.
      valid: `[B, T]` bool, False for padding.
      positions: `[B, T]` int32; every continuation begins at the prompt's end.
      segments: `[B, T]` int32, 0 for the prompt, and 1, 2, ... for its continuations.
      places: `[B, J]` int32, the column whose state each scored token follows from.
      targets: `[B, J]` int32, the scored tokens, one continuation after the other.

    Example:
      >>> rows = Continuations.build([[5, 6]], [[[7], [8, 9]]], rows=1)
      >>> rows.tokens[0, :3].tolist(), rows.segments[0, :3].tolist()
      ([5, 6, 8], [0, 0, 2])
      >>> rows.places[0, :3].tolist(), rows.targets[0, :3].tolist()
      ([1, 1, 2], [7, 8, 9])
    """

    tokens: jax.Array
    valid: jax.Array
    positions: jax.Array
    segments: jax.Array
    places: jax.Array
    targets: jax.Array

    @classmethod
    def build(
        cls,
        prompts: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[Sequence[int]]],
        rows: int,
    ) -> "Continuations":
        """Pad prompts and continuations to few shapes, in host memory.

        Args:
          prompts: tokens of each prompt, at least one.
          continuations: tokens of the continuations of each prompt, at least one each.
          rows: B, at least the number of prompts; further rows are empty.
        """
        read = [[token for c in row for token in c[:-1]] for row in continuations]
        width = bucket(max(len(p) + len(r) for p, r in zip(prompts, read, strict=True)))
        count = bucket(max(sum(map(len, row)) for row in continuations), 4)
        names = ("tokens", "valid", "positions", "segments", "places", "targets")
        shapes = [(rows, width)] * 4 + [(rows, count)] * 2
        made: dict[str, Any] = {
            n: np.zeros(s, np.int32) for n, s in zip(names, shapes, strict=True)
        }
        for row, (prompt, parts) in enumerate(zip(prompts, continuations, strict=True)):
            end = len(prompt)
            made["tokens"][row, :end] = prompt
            made["positions"][row, :end] = np.arange(end)
            column, scored = end, 0
            for number, part in enumerate(parts, start=1):
                after = column + len(part) - 1
                made["tokens"][row, column:after] = part[:-1]
                made["positions"][row, column:after] = np.arange(end, end + len(part) - 1)
                made["segments"][row, column:after] = number
                made["places"][row, scored] = end - 1
                made["places"][row, scored + 1 : scored + len(part)] = np.arange(column, after)
                made["targets"][row, scored : scored + len(part)] = part
                column, scored = after, scored + len(part)
            made["valid"][row, :column] = 1
        return cls(**{**made, "valid": made["valid"] > 0})


@functools.partial(jax.jit, static_argnames=("model",))
def score_continuations(
    model: LanguageModel,
    params: Any,
    rows: Continuations,
    shared: SharedPrefix | None = None,
    source: Prompts | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Score every token of the continuations.

    Args:
      model: a decoder, or an encoder-decoder (static).
      params: its parameters. A decoder's virtual tokens of a tuned prefix or prompt stand in
        `shared`.
      rows: prompts and continuations; the prompts of an encoder-decoder's decoder are what it reads
        before it writes, see `written_tokens`.
      shared: tokens before every prompt, from `read_prefix`; None for none.
      source: what the encoder of an encoder-decoder reads, one row for each row of continuations.

    Returns:
      `[B, J]` float32 log-probabilities in nats, and `[B, J]` bool, whether a token is the model's
      likeliest one. Places without a token hold numbers without meaning.

    Raises:
      ConfigError: an encoder without a source, or a source without an encoder.

    Cost: one pass over T tokens a row and one read of the prefix. The logits of B J tokens are
    computed in blocks of bounded size.

    Example:
      >>> from jaxrec.testing.brute_force import make_case
      >>> case = make_case(0, sizes=(6,), share=1.0)
      >>> rows = Continuations.build([[2, 3]], [[[4], [5, 2]]], rows=1)
      >>> logprobs, greedy = score_continuations(case.model, case.params, rows)
      >>> logprobs.shape, greedy.dtype.name
      ((1, 4), 'bool')
    """
    lower = jnp.tril(jnp.ones((rows.tokens.shape[1],) * 2, bool))[None]
    # A token sees the prompt, and its own continuation up to itself.
    own = rows.segments[:, :, None] == rows.segments[:, None, :]
    mask = lower & rows.valid[:, None, :] & (own | (rows.segments[:, None, :] == 0))
    mask = mask | jnp.eye(mask.shape[1], dtype=bool)[None]
    context: Context = SelfContext(mask, ordered=False, causal=True)
    positions, layers = rows.positions, None
    if shared is not None:
        context = PrefixContext(shared.valid, CacheContext(None, None, mask))
        positions = positions + shared.length
        layers = (shared.key, shared.value), None
    if source is not None:
        source = source.with_virtual(model.config.vocab_size, virtual_of(params).read)
    memory = memory_of(model, params, source)
    hidden, _ = read_tokens(model, params, rows.tokens, positions, context, layers, memory)
    # [B, T, D] -> [B, J, D]
    states = jnp.take_along_axis(hidden, rows.places[:, :, None], axis=1)
    return _scores(model, params, states, rows.targets)


def _scores(
    model: LanguageModel, params: Any, states: jax.Array, targets: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Score targets `[B, J]` after states `[B, J, D]`, in blocks."""

    def score(block: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        hidden, wanted = block
        logits = model.apply(params, hidden, method="logits")
        picked = jnp.take_along_axis(logits, wanted[:, None], axis=1)[:, 0]
        return picked - jax.nn.logsumexp(logits, axis=1), jnp.argmax(logits, axis=1) == wanted

    flat = states.reshape(-1, states.shape[-1]), targets.reshape(-1)
    logprobs, greedy = score_blocks(score, flat, model.config.vocab_size)
    return logprobs.reshape(targets.shape), greedy.reshape(targets.shape)


def score_blocks(
    score: Callable[[tuple[jax.Array, jax.Array]], Any],
    flat: tuple[jax.Array, jax.Array],
    vocab_size: int,
) -> Any:
    """Apply a function of states `[N, D]` and targets `[N]` in blocks whose logits fit in memory.

    Args:
      score: computes logits `[block, V]`, and returns arrays `[block, ...]`.
      flat: states and targets.
      vocab_size: V.

    Returns:
      What `score` would return for all N rows.

    Example:
      >>> rows = jnp.zeros((3, 2)), jnp.arange(3)
      >>> score_blocks(lambda block: block[1] + 1, rows, vocab_size=8).tolist()
      [1, 2, 3]
    """
    count = flat[1].shape[0]
    size = max(1, min(_LOGITS // vocab_size, count))
    blocks = -(-count // size)
    if blocks == 1:
        return score(flat)
    free = blocks * size - count
    cut = (
        jnp.pad(flat[0], ((0, free), (0, 0))).reshape(blocks, size, -1),
        jnp.pad(flat[1], (0, free)).reshape(blocks, size),
    )
    found = jax.lax.map(score, cut)
    return jax.tree.map(lambda x: x.reshape(blocks * size, *x.shape[2:])[:count], found)
