"""Calls of a text model on the device: batches of few shapes for `LocalModel`."""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import count_done
from jaxrec.decode import (
    GREEDY,
    Completion,
    Continuations,
    LanguageModel as DeviceModel,
    Prompts,
    Sampling,
    SharedPrefix,
    StopStrings,
    TextOptions,
    bucket,
    completion_of,
    generate,
    score_continuations,
    with_ends,
    written_tokens,
)
from jaxrec.models import EncoderDecoder
from jaxrec.peft import virtual_of
from jaxrec.prompting.language_model import GenerateOptions

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Log-probabilities in nats of the tokens of a continuation, and whether each is the likeliest one.
TokenScores = tuple[np.ndarray, np.ndarray]
# Most tokens that one call reads, most pairs of them that attend to each other in each head, and
# most tokens that the continuations of one row have.
_CELLS, _PAIRS, _ROW = 1 << 15, 1 << 23, 512
# Tables of stop strings that are kept.
_TABLES = 8


class DeviceCalls:
    """A model with its tokenizer, called with tokens.

    Args:
      model: a decoder, or an encoder-decoder, whose encoder reads the prompts.
      params: its parameters, on the device.
      tokenizer: of transformers.
    """

    def __init__(
        self, model: DeviceModel, params: Any, tokenizer: "PreTrainedTokenizerBase"
    ) -> None:
        self._model, self._params, self._tokenizer = model, params, tokenizer
        self._writes = isinstance(model, EncoderDecoder)
        self._stops: dict[tuple[str, ...], StopStrings] = {}

    def write(
        self,
        rows: Sequence[Sequence[int]],
        prompts: Sequence[str],
        shared: SharedPrefix | None,
        options: GenerateOptions,
        *,
        batch_size: int,
        banned: tuple[int, ...] = (),
    ) -> list[list[tuple[Completion, int]]]:
        """Write `options.n` continuations of each prompt.

        The draws of a continuation depend on the seed, its prompt and its number alone.

        Args:
          rows: tokens of each prompt behind the shared prefix, at least one.
          prompts: the texts, which seed the draws.
          shared: what all prompts begin with; None for nothing.
          options: how prompts are continued.
          batch_size: most continuations a call of the device.
          banned: tokens that are never written.

        Returns:
          The continuations of each prompt, each with its number of tokens.
        """
        written: list[list[tuple[Completion, int]]] = [[] for _ in rows]
        calls = -(-options.n // batch_size)
        samples = -(-options.n // calls)
        for chosen in batches([len(row) for row in rows], max(1, batch_size // samples)):
            own, asked = [rows[place] for place in chosen], [prompts[place] for place in chosen]
            for first in range(0, options.n, samples):
                numbers = range(first, first + samples)
                made = self._write(own, asked, shared, options, numbers, banned)
                for place, completions in zip(chosen, made, strict=True):
                    written[place] += completions[: options.n - len(written[place])]
            count_done(len(chosen))
        return written

    def _write(
        self,
        rows: Sequence[Sequence[int]],
        prompts: Sequence[str],
        shared: SharedPrefix | None,
        options: GenerateOptions,
        numbers: range,
        banned: tuple[int, ...],
    ) -> list[list[tuple[Completion, int]]]:
        """Write the continuations with these numbers of each prompt with one call."""
        tokens, valid = padded(rows, left=True)
        stop = self._stop(options.stop)
        # A few sizes for all limits, so that another limit compiles nothing.
        wide = TextOptions(
            max_tokens=bucket(options.max_tokens),
            presence_penalty=options.presence_penalty,
            banned=banned,
        )
        wide = with_ends(wide, self._model, self._tokenizer)
        sampling = _sampling(options)
        key = None if sampling.greedy else _keys(options.seed, prompts, numbers, len(tokens))
        made = generate(
            self._model,
            self._params,
            Prompts(tokens=jnp.asarray(tokens), valid=jnp.asarray(valid)),
            wide,
            sampling=sampling,
            key=key,
            stop=None if stop is None else stop.table,
            shared=shared,
            samples=len(numbers),
            limit=options.max_tokens,
        )
        written, lengths = np.asarray(made.tokens), np.asarray(made.lengths)
        limited = dataclasses.replace(wide, max_tokens=options.max_tokens)

        def read(row: int) -> tuple[Completion, int]:
            ids = written[row, : lengths[row]].tolist()
            text = completion_of(self._tokenizer, ids, limited, stop, whole_text=self._writes)
            return text, len(ids)

        samples = range(len(numbers))
        return [
            [read(place * len(numbers) + sample) for sample in samples]
            for place in range(len(rows))
        ]

    def score(
        self,
        rows: Sequence[Sequence[int]],
        prompts: Sequence[Sequence[int]],
        parts: Sequence[Sequence[Sequence[int]]],
        shared: SharedPrefix | None,
    ) -> list[list[TokenScores]]:
        """Score the continuations of each prompt.

        Args:
          rows: tokens of each prompt behind the shared prefix, at least one; an encoder-decoder
            does not use them.
          prompts: tokens of the whole prompts, which an encoder reads.
          parts: tokens of the continuations of each prompt.
          shared: what all prompts begin with; None for nothing.
        """
        source = None
        if isinstance(self._model, EncoderDecoder):
            start = with_ends(TextOptions(max_tokens=1), self._model, self._tokenizer).start or 0
            first = written_tokens(self._model, virtual_of(self._params), start).tolist()
            rows = [first] * len(prompts)
            tokens, valid = padded(prompts, left=False)
            source = Prompts(tokens=jnp.asarray(tokens), valid=jnp.asarray(valid))
        batch = jax.tree.map(jnp.asarray, Continuations.build(rows, parts, bucket(len(rows), 1)))
        logprobs, greedy = jax.device_get(
            score_continuations(self._model, self._params, batch, shared, source)
        )
        found = []
        for place, row in enumerate(parts):
            ends = np.cumsum([len(part) for part in row])
            cut = (np.split(x[place, : ends[-1]], ends[:-1]) for x in (logprobs, greedy))
            found.append(list(zip(*cut, strict=True)))
        return found

    def _stop(self, strings: tuple[str, ...]) -> StopStrings | None:
        """Return the table of some stop strings."""
        if not strings:
            return None
        if strings not in self._stops:
            if len(self._stops) == _TABLES:
                del self._stops[next(iter(self._stops))]
            self._stops[strings] = StopStrings.build(
                self._tokenizer, strings, self._model.config.vocab_size, few_shapes=True
            )
        return self._stops[strings]


def batches(sizes: Sequence[int], most: int) -> Iterator[list[int]]:
    """Yield the places of the rows of each call: rows of similar size, and not too many tokens.

    Args:
      sizes: number of tokens of each row.
      most: most rows of a call.

    Example:
      >>> list(batches([5, 70, 6, 8000], most=2))
      [[0, 2], [1], [3]]
      >>> [len(rows) for rows in batches([1000] * 20, most=32)]
      [8, 8, 4]
    """
    order = sorted(range(len(sizes)), key=lambda row: sizes[row])
    chosen: list[int] = []
    for row in order:
        width, count = bucket(sizes[row]), len(chosen) + 1
        if count > most or count * width > _CELLS or count * width**2 > _PAIRS:
            if chosen:
                yield chosen
            chosen = []
        chosen.append(row)
    if chosen:
        yield chosen


def continuation_rows(parts: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    """Divide the continuations of a prompt into rows that are not too long."""
    row: list[Sequence[int]] = []
    size = 0
    for part in parts:
        if row and size + len(part) > _ROW:
            yield row
            row, size = [], 0
        row.append(part)
        size += len(part)
    yield row


def padded(rows: Sequence[Sequence[int]], *, left: bool) -> tuple[np.ndarray, np.ndarray]:
    """Pad rows to a power of two, and add empty ones up to a power of two: `[B, T]` each.

    Example:
      >>> tokens, valid = padded([[1, 2, 3], [4]], left=True)
      >>> tokens.shape, valid.sum(axis=1).tolist()
      ((2, 16), [3, 1])
    """
    tokens = np.zeros((bucket(len(rows), 1), bucket(max(map(len, rows)))), np.int32)
    valid = np.zeros(tokens.shape, bool)
    for place, row in enumerate(rows):
        columns = slice(-len(row), None) if left else slice(len(row))
        tokens[place, columns], valid[place, columns] = row, True
    return tokens, valid


def _sampling(options: GenerateOptions) -> Sampling:
    if options.temperature == 0:
        return GREEDY
    top_p = None if options.top_p == 1 else options.top_p
    return Sampling(options.temperature, top_k=options.top_k, top_p=top_p)


def _keys(seed: int, prompts: Sequence[str], numbers: range, rows: int) -> jax.Array:
    """Return a random key for each continuation of each prompt, by its content."""
    data = np.zeros((rows, len(numbers), 2), np.uint32)
    for place, prompt in enumerate(prompts):
        for sample, number in enumerate(numbers):
            data[place, sample] = draw_key(seed, number, prompt)
    return jax.random.wrap_key_data(jnp.asarray(data.reshape(-1, 2)), impl="threefry2x32")


def draw_key(seed: int, number: int, prompt: str) -> tuple[int, int]:
    """Return the two words of the random key of a continuation, by its content.

    Args:
      seed: of the request.
      number: of the continuation among those of the prompt.
      prompt: the text.

    Example:
      >>> draw_key(0, 0, "one") == draw_key(0, 1, "one")
      False
    """
    digest = hashlib.sha256(f"{seed} {number} {prompt}".encode(errors="surrogatepass"))
    first, second = np.frombuffer(digest.digest()[:8], np.uint32)
    return int(first), int(second)
