"""A decoder of this library as a `MarkingModel`.

Every text begins with the tokenizer's token for it. Prefix and text are cut into tokens on their
own, so that a text has the same tokens after every prefix.

Shapes: `B` rows, `T` tokens, `V` tokens of the vocabulary.
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError
from jaxrec.models import CausalLM
from jaxrec.nn import SelfContext, attention_mask, positions_of
from jaxrec.prompting.device_calls import DeviceCalls, batches, padded
from jaxrec.prompting.language_model import GenerateOptions
from jaxrec.prompting.toolformer_model import MARKER, Reading

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Rows whose scores over the vocabulary are held at once.
_ROWS = 16


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class LocalMarkingModel:
    """A decoder with its tokenizer, for Toolformer.

    Attributes:
      model: a decoder.
      params: its variables.
      tokenizer: a fast tokenizer in which the marker " [" is one token.
      batch_size: most rows in a call of the model.

    Raises:
      ConfigError: a tokenizer that cuts the marker into several tokens, or has no token that a text
        can begin with.

    Example:
      >>> from jaxrec.data import train_bpe
      >>> from jaxrec.testing import random_params, tiny_model
      >>> tokenizer = train_bpe(["one word"] * 2, vocab_size=300)
      >>> _ = tokenizer.add_tokens([" ["])
      >>> model = CausalLM(tiny_model(len(tokenizer)))
      >>> local = LocalMarkingModel(
      ...     model=model, params=random_params(model), tokenizer=tokenizer
      ... )
      >>> (reading,) = local.read([""], ["one word"])
      >>> local.pieces(["one word"]), reading.logprobs.shape, reading.marker.shape
      ([('one', ' word')], (2,), (3,))
    """

    model: CausalLM
    params: Any
    tokenizer: "PreTrainedTokenizerBase"
    batch_size: int = 64

    def __post_init__(self) -> None:
        if len(self._encode([MARKER])[0]) != 1:
            raise ConfigError(
                f"the tokenizer cuts {MARKER!r} into several tokens; add it before training: "
                f"tokenizer.add_tokens([{MARKER!r}])"
            )
        if self.tokenizer.bos_token_id is None and self.tokenizer.eos_token_id is None:
            raise ConfigError("the tokenizer has no token that a text can begin or end with")
        if self.batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {self.batch_size}")

    @property
    def marker_token(self) -> int:
        """Number of the marker."""
        return self._encode([MARKER])[0][0]

    @property
    def first_token(self) -> int:
        """Number of the token that every text begins with."""
        bos = self.tokenizer.bos_token_id
        return int(self.tokenizer.eos_token_id if bos is None else bos)

    def pieces(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """See `MarkingModel`; a character that is cut into several tokens is in the first one."""
        if not texts:
            return []
        encoded = self.tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True)
        rows = []
        for text, offsets in zip(texts, encoded["offset_mapping"], strict=True):
            # Some tokenizers leave the space of a word out of its offsets, never out of its token.
            ends = [0, *(end for _, end in offsets[:-1]), len(text)] if offsets else []
            rows.append(tuple(text[a:b] for a, b in itertools.pairwise(ends)))
        return rows

    def read(self, prefixes: Sequence[str], texts: Sequence[str]) -> list[Reading]:
        """See `MarkingModel`."""
        if len(prefixes) != len(texts):
            raise ConfigError(f"{len(texts)} texts need as many prefixes, got {len(prefixes)}")
        before = [[self.first_token, *ids] for ids in self._encode(prefixes)]
        after = self._encode(texts)
        rows = [[*a, *b] for a, b in zip(before, after, strict=True)]
        readings: list[Reading | None] = [None] * len(rows)
        marker = jnp.int32(self.marker_token)
        for chosen in batches([len(row) for row in rows], self.batch_size):
            tokens, valid = padded([rows[number] for number in chosen], left=False)
            scores = _read(self.model, self.params, jnp.asarray(tokens), jnp.asarray(valid), marker)
            own, marked, ranks = (np.asarray(part) for part in scores)
            for place, number in enumerate(chosen):
                first, last = len(before[number]) - 1, len(rows[number]) - 1
                readings[number] = Reading(
                    logprobs=own[place, first:last].astype(np.float64),
                    marker=marked[place, first : last + 1].astype(np.float64),
                    ranks=ranks[place, first : last + 1].astype(np.int64),
                )
        return [reading for reading in readings if reading is not None]

    def write(
        self, prompts: Sequence[str], options: GenerateOptions, *, marker: bool
    ) -> list[list[tuple[str, bool]]]:
        """See `MarkingModel`.

        The draws of a continuation depend on the seed, its prompt and its number alone, so equal
        prompts get equal continuations.
        """
        rows = [[self.first_token, *ids] for ids in self._encode(prompts)]
        banned = () if marker else (self.marker_token,)
        made = self._calls.write(
            rows, prompts, None, options, batch_size=self.batch_size, banned=banned
        )
        return [[(found.text, found.truncated) for found, _ in row] for row in made]

    @functools.cached_property
    def _calls(self) -> DeviceCalls:
        return DeviceCalls(self.model, self.params, self.tokenizer)

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        return [
            list(ids) for ids in self.tokenizer(list(texts), add_special_tokens=False).input_ids
        ]


@functools.partial(jax.jit, static_argnames=("model",))
def _read(
    model: CausalLM, params: Any, tokens: jax.Array, valid: jax.Array, marker: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Score what follows each token `[B, T]`: the next token, the marker, and the marker's rank."""
    context = SelfContext(attention_mask(valid, True, None, None), causal=True)
    positions = positions_of(valid, None)
    hidden = model.apply(params, tokens, positions, context, method=_hidden)
    following = jnp.roll(tokens, -1, axis=1)

    def row(pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        states, targets = pair
        scores = model.apply(params, states[None], method="logits")[0].astype(jnp.float32)
        logprobs = jax.nn.log_softmax(scores)  # [T, V]
        own = jnp.take_along_axis(logprobs, targets[:, None], axis=1)[:, 0]
        marked = logprobs[:, marker]
        return own, marked, (logprobs > marked[:, None]).sum(axis=1)

    return jax.lax.map(row, (hidden, following), batch_size=_ROWS)


def _hidden(
    module: CausalLM, tokens: jax.Array, positions: jax.Array, context: SelfContext
) -> jax.Array:
    return module.hidden(tokens, positions, context, deterministic=True)[0]
