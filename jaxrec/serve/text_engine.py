"""Batches of texts on the device: programs of a few shapes, all compiled before the first request.

A batch has the shape of its bucket: so many tokens of prompts, and so much room for answers. Its
number of rows is rounded up to one of a few as well. Everything else about a request is an array.
"""

import dataclasses
import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError, Count, DataError, check_ranges
from jaxrec.decode import (
    MOST_ALTERNATIVES,
    Prompts,
    RowSetting,
    RowSettings,
    StepOptions,
    TextOptions,
    WrittenChunk,
    advance_rows,
    score_prompts,
    start_rows,
    with_ends,
)
from jaxrec.models import EncoderDecoder, Opened
from jaxrec.peft import virtual_of
from jaxrec.prompting import TokenRules
from jaxrec.serve.written_text import TextWriter, TokenTexts, WrittenToken

# Most programs that are compiled at the same time.
_COMPILERS = 4

Finish = Literal["stop", "length"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextShapes:
    """The shapes that are compiled.

    Attributes:
      prompt_lengths: tokens of prompts; a prompt is padded to the next one. () for 64, 256, 1024,
        and so on, up to the context.
      answer_lengths: room for the tokens of an answer. The largest one is the most that a request
        may ask for.
      batch_sizes: number of rows of a batch.
      chunk: most tokens that are written between two looks of the host.
      context: most tokens of a prompt and its answer; None for the model's own limit.

    Raises:
      ConfigError: no lengths or sizes, or one out of range.

    Example:
      >>> TextShapes().widths(1000)
      (64, 256, 1000)
      >>> TextShapes(answer_lengths=(16, 128)).rooms(100)
      (16, 100)
    """

    prompt_lengths: tuple[Count, ...] = ()
    answer_lengths: tuple[Count, ...] = (256,)
    batch_sizes: tuple[Count, ...] = (1, 8)
    chunk: Count = 8
    context: Count | None = None

    def __post_init__(self) -> None:
        check_ranges(self, "shapes.")
        for name in ("answer_lengths", "batch_sizes"):
            if not getattr(self, name):
                raise ConfigError(f"shapes.{name} is empty; give at least one number")

    def widths(self, context: int) -> tuple[int, ...]:
        """Return the lengths of prompts for a model with such a context."""
        lengths = self.prompt_lengths or tuple(64 * 4**n for n in range(12))
        return tuple(sorted({min(length, context) for length in lengths}))

    def rooms(self, context: int) -> tuple[int, ...]:
        """Return the room for answers for a model with such a context."""
        return tuple(sorted({min(length, context) for length in self.answer_lengths}))


class Bucket(NamedTuple):
    """What the rows of a batch share.

    Attributes:
      width: number of tokens of prompts.
      room: number of tokens of answers; 0 for prompts that are scored and continued by one token at
        most.
    """

    width: int
    room: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of the answer for one row.

    Attributes:
      text: that is new.
      tokens: that are new, with scores.
      prompt: tokens of the prompt with scores; only in the first piece of a row that asks for them.
      written: number of tokens written so far, including one that ended the text.
      finish: why the text has ended; None if there is more to come.
    """

    text: str = ""
    tokens: tuple[WrittenToken, ...] = ()
    prompt: tuple[WrittenToken, ...] = ()
    written: int = 0
    finish: Finish | None = None


@dataclasses.dataclass(kw_only=True, eq=False)
class TextRow:
    """One continuation of one prompt, as a job of a `Batcher`.

    Attributes:
      tokens: of the prompt.
      setting: how it is continued.
      bucket: from `TextEngine.bucket_of`.
      deliver: receives pieces, or the error instead of them; called in the thread of the device.
      stop: strings that end the text.
      scored: whether the tokens of the prompt are scored.
      trim: whether the text begins a turn, without SentencePiece's space.
      cancelled: see `Job`.
    """

    tokens: Sequence[int]
    setting: RowSetting
    bucket: Bucket
    deliver: Callable[[Piece | Exception], None]
    stop: tuple[str, ...] = ()
    scored: bool = False
    trim: bool = False
    cancelled: bool = False

    def fail(self, error: Exception) -> None:
        """See `Job`."""
        self.deliver(error)


class TextEngine:
    """A text model as an engine of a `Batcher`.

    Args:
      opened: a model that writes text, with its tokenizer.
      shapes: what is compiled.

    Raises:
      ConfigError: a model that writes no text, one without a tokenizer, or a context beyond the
        positions that the model was trained on.

    Example:
      >>> from jaxrec.data import train_bpe
      >>> from jaxrec.models import ModelSpec, Pretrained
      >>> from jaxrec.testing import random_params, tiny_model
      >>> tokenizer = train_bpe(["one word"], vocab_size=300)
      >>> spec = ModelSpec("causal", tiny_model(len(tokenizer)))
      >>> model = Pretrained(spec=spec, params=random_params(spec.build()))
      >>> shapes = TextShapes(answer_lengths=(32, 128))
      >>> engine = TextEngine(Opened(model=model, tokenizer=tokenizer), shapes)
      >>> engine.bucket_of(tokens=5, limit=20, scored=False)
      Bucket(width=64, room=32)
    """

    def __init__(self, opened: Opened, shapes: TextShapes = TextShapes()) -> None:
        spec = opened.model.spec
        if spec.kind not in ("causal", "encoder_decoder"):
            raise ConfigError(
                f"a model of kind {spec.kind!r} writes no text and cannot be served; give one of "
                "kind 'causal' or 'encoder_decoder'"
            )
        if opened.tokenizer is None:
            raise ConfigError(
                "a model is served with its tokenizer, and this one has none; put the tokenizer's "
                "files beside the model"
            )
        longest = spec.config.max_length
        if shapes.context is not None and shapes.context > longest:
            raise ConfigError(
                f"context {shapes.context} is larger than the model's own, which is {longest} "
                f"tokens; give at most {longest}, or leave it out"
            )
        self.tokenizer: Any = opened.tokenizer
        self.texts = TokenTexts(opened.tokenizer)
        self.context = longest if shapes.context is None else shapes.context
        self._model, self._shapes = spec.build(), shapes
        self._params = jax.tree.map(jnp.asarray, opened.model.params)
        self.reads_prompts = not isinstance(self._model, EncoderDecoder)
        self.rules = TokenRules(
            tokenizer=opened.tokenizer,
            vocab_size=spec.config.vocab_size,
            context=self.context - virtual_of(self._params).read,
            encoder=not self.reads_prompts,
        )
        self._widths = shapes.widths(self.rules.context)
        self._rooms = shapes.rooms(self.rules.context)
        ends = with_ends(TextOptions(max_tokens=1), self._model, opened.tokenizer)
        self._ends, self._start = ends.ends, ends.start or 0

    @property
    def most_tokens(self) -> int:
        """Most tokens that a request may ask for."""
        return self._rooms[-1]

    @property
    def most_prompt(self) -> int:
        """Most tokens of a prompt."""
        return self._widths[-1]

    @property
    def vocab_size(self) -> int:
        """V of the model."""
        return self.rules.vocab_size

    def bucket_of(self, tokens: int, limit: int, *, scored: bool) -> Bucket:
        """Return the bucket of a prompt of so many tokens that is continued by up to `limit`."""
        width = next(width for width in self._widths if width >= tokens)
        if scored and limit <= 1:
            return Bucket(width, 0)
        return Bucket(width, next(room for room in self._rooms if room >= limit))

    def most(self, bucket: Any) -> int:
        """See `Engine`."""
        return max(self._shapes.batch_sizes)

    def count(self, bucket: Any, waiting: int) -> int:
        """Return how many of the rows that wait share a batch; see `batching.Engine`."""
        return min(waiting, self.most(bucket))

    def saving(self, bucket: Any, waiting: int) -> float:
        """Return infinity, as a step costs nearly the same for any rows; see `batching.Engine`."""
        return math.inf

    def warm_up(self) -> None:
        """Compile the programs of all buckets and batch sizes, see `Engine`."""
        rooms = (0, *self._rooms) if self.reads_prompts else self._rooms
        buckets = [Bucket(width, room) for width in self._widths for room in rooms]

        def compile_one(case: tuple[int, Bucket]) -> None:
            rows, bucket = case
            arrays = self._arrays([], bucket.width, rows)
            if not bucket.room:
                jax.block_until_ready(self._score(bucket, *arrays))
                return
            state, _ = self._begin(bucket, *arrays)
            jax.block_until_ready(self._advance(bucket, state, np.zeros(rows, bool)))

        # Programs are compiled side by side where there are cores for it.
        workers = max(1, min(_COMPILERS, (os.cpu_count() or 1) // 2))
        with ThreadPoolExecutor(workers, thread_name_prefix="compiler") as pool:
            list(pool.map(compile_one, itertools.product(self._shapes.batch_sizes, buckets)))

    def run(self, bucket: Any, jobs: Sequence[TextRow]) -> Iterator[None]:
        """Write the texts of a batch and deliver them piece by piece, see `Engine`."""
        size = next(n for n in sorted(self._shapes.batch_sizes) if n >= len(jobs))
        arrays = self._arrays(jobs, bucket.width, size)
        rows = [_Row(job, self.texts, self._ends) for job in jobs]
        best = any(job.setting.alternatives for job in jobs)
        if any(job.scored for job in jobs):
            read, new = self._score(bucket, *arrays)
            for row, at in zip(rows, _host(read, best), strict=False):
                row.score_prompt(at)
            if not bucket.room:
                for row, at in zip(rows, _host(new, best), strict=False):
                    row.write(at)
                return
            yield
        state, made = self._begin(bucket, *arrays)
        while True:
            for row, at in zip(rows, _host(made, best), strict=False):
                row.write(at)
            if all(row.ended for row in rows):
                return
            yield
            ended = np.ones(size, bool)
            ended[: len(rows)] = [row.ended or row.job.cancelled for row in rows]
            if ended.all():
                return
            state, made = self._advance(bucket, state, ended)

    def _arrays(
        self, jobs: Sequence[TextRow], width: int, size: int
    ) -> tuple[Prompts, RowSettings]:
        """Pad a batch on the left; rows beyond the jobs have no token."""
        tokens: Any = np.zeros((size, width), np.int32)
        valid: Any = np.zeros((size, width), bool)
        for place, job in enumerate(jobs):
            tokens[place, width - len(job.tokens) :] = job.tokens
            valid[place, width - len(job.tokens) :] = True
        prompts = Prompts(tokens=tokens, valid=valid)
        return prompts, RowSettings.build([job.setting for job in jobs], size)

    def _options(self, bucket: Bucket) -> StepOptions:
        return StepOptions(
            capacity=bucket.room, chunk=self._shapes.chunk, ends=self._ends, start=self._start
        )

    def _begin(self, bucket: Bucket, prompts: Prompts, settings: RowSettings) -> Any:
        options = self._options(bucket)
        return start_rows(self._model, self._params, prompts, settings, options=options)

    def _advance(self, bucket: Bucket, state: Any, ended: Any) -> Any:
        options = self._options(bucket)
        return advance_rows(self._model, self._params, state, ended, options=options)

    def _score(self, bucket: Bucket, prompts: Prompts, settings: RowSettings) -> Any:
        # One program for all rooms.
        options = self._options(Bucket(bucket.width, 0))
        return score_prompts(self._model, self._params, prompts, settings, options=options)


class _Row:
    """The state of a job while its batch runs."""

    def __init__(self, job: TextRow, texts: TokenTexts, ends: tuple[int, ...]) -> None:
        self.job, self._ends, self._texts = job, ends, texts
        self._writer = TextWriter(texts, job.stop, trim=job.trim)
        self._prompt: tuple[WrittenToken, ...] = ()
        self._written = 0
        self.ended = False

    def score_prompt(self, at: "_Places") -> None:
        """Keep the scores of the prompt, which are delivered with the first piece."""
        if not self.job.scored:
            return
        writer = TextWriter(self._texts, trim=True)
        # Prompts stand at the right end of their rows.
        first = at.width - at.length
        for number, place in enumerate(range(first, at.width)):
            token, logprob, best = at.token(place, self.job.setting.alternatives)
            if number and math.isnan(logprob):
                self._fail()
                return
            writer.add(token, *((logprob, best) if number else (None, ())))
        self._prompt = writer.release(final=True)[1]

    def _fail(self) -> None:
        self.ended = True
        self.job.fail(
            DataError(
                "the log-probability of a token is not a number; check the weights of the model"
            )
        )

    def write(self, at: "_Places") -> None:
        """Append the tokens of a chunk, and deliver what is certain."""
        if self.ended or self.job.cancelled:
            self.ended = True
            return
        finish: Finish | None = None
        for place in range(at.length):
            token, logprob, best = at.token(place, self.job.setting.alternatives)
            if math.isnan(logprob):
                self._fail()
                return
            self._written += 1
            if token in self._ends:
                self._writer.add_end(token, logprob, best)
                finish = "stop"
                break
            self._writer.add(token, logprob, best)
            if self._writer.stopped:
                finish = "stop"
                break
        if finish is None and at.done:
            finish = "length"
        text, tokens = self._writer.release(final=finish is not None)
        if self._writer.stopped:
            # The end of the bytes of a text may complete a stop string.
            finish = "stop"
        self.ended = finish is not None
        prompt, self._prompt = self._prompt, ()
        if text or tokens or prompt or finish:
            self.job.deliver(
                Piece(text=text, tokens=tokens, prompt=prompt, written=self._written, finish=finish)
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Places:
    """One row of a chunk, on the host."""

    tokens: np.ndarray
    logprobs: np.ndarray
    best: np.ndarray | None
    best_logprobs: np.ndarray | None
    length: int
    done: bool

    @property
    def width(self) -> int:
        return len(self.tokens)

    def token(self, place: int, alternatives: int) -> Any:
        """Return a token, its log-probability, and its likeliest alternatives."""
        best: tuple[tuple[int, float], ...] = ()
        if alternatives and self.best is not None and self.best_logprobs is not None:
            count = min(alternatives, MOST_ALTERNATIVES)
            ids, values = self.best[place, :count], self.best_logprobs[place, :count]
            best = tuple(zip(ids.tolist(), values.tolist(), strict=True))
        return int(self.tokens[place]), float(self.logprobs[place]), best


def _host(chunk: WrittenChunk, best: bool) -> list[_Places]:
    """Read a chunk with one transfer, and divide it into rows."""
    fields = {field.name: getattr(chunk, field.name) for field in dataclasses.fields(chunk)}
    if not best:
        fields = {name: x for name, x in fields.items() if not name.startswith("best")}
    read = jax.device_get(fields)
    none = [None] * len(read["lengths"])
    return [
        _Places(
            tokens=read["tokens"][row],
            logprobs=read["logprobs"][row],
            best=read.get("best", none)[row],
            best_logprobs=read.get("best_logprobs", none)[row],
            length=int(read["lengths"][row]),
            done=bool(read["done"][row]),
        )
        for row in range(len(none))
    ]
