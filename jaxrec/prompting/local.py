"""A text model of this library as a `LanguageModel`.

Prompts that begin with the same tokens are read once: the keys and values of what they share are
computed once, and all of them continue from there. So are the continuations of one prompt, and the
samples of one prompt. What was read last stays in a memory for the next call.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError, count_done
from jaxrec.decode import Completion, LanguageModel as DeviceModel, SharedPrefix, prefix_groups
from jaxrec.models import CausalLM, EncoderDecoder, Opened, checksum
from jaxrec.peft import virtual_of
from jaxrec.prompting.device_calls import DeviceCalls, TokenScores, batches, continuation_rows
from jaxrec.prompting.language_model import GenerateOptions, Reply, Score, TextScore, Usage
from jaxrec.prompting.prefix_memory import LEAST, PrefixMemory
from jaxrec.prompting.tokenized import Overflow, TokenRules, check_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Number of tokens that cost as much to read as one more call, and as one more step of a call.
_CALL, _STEP = 128, 4


class LocalModel:
    """A decoder or an encoder-decoder with its tokenizer, as a `LanguageModel`.

    Shapes are rounded up to powers of two, so that repeated calls compile nothing. The draws of a
    continuation depend on the seed, its prompt and its number alone, whatever other prompts stand
    beside it. Equal prompts get equal answers.

    Args:
      model: a decoder, or an encoder-decoder, whose encoder reads the prompts.
      params: its parameters.
      tokenizer: of transformers: byte-level BPE or with SentencePiece's pieces.
      name: see `LanguageModel`; None for the first digits of the parameters' checksum.
      context: most tokens of a prompt and its continuation; None for the model's `max_length`. Of
        an encoder-decoder, most tokens of a prompt.
      overflow: "refuse" rejects prompts that leave too little room in the context; "cut" drops
        their first tokens.
      batch_size: most continuations a call of the device.
      prefixes: number of prefixes that are kept for later calls.

    Raises:
      ConfigError: a model that writes no text, a missing tokenizer, or a value out of range.

    Example:
      >>> from jaxrec.data import train_bpe
      >>> from jaxrec.prompting import GenerateOptions, LocalModel
      >>> from jaxrec.testing import random_params, tiny_model
      >>> tokenizer = train_bpe(["one word"], vocab_size=300)
      >>> model = CausalLM(tiny_model(len(tokenizer)))
      >>> local = LocalModel(model, random_params(model), tokenizer)
      >>> replies = local.generate(["one", "word"], GenerateOptions(max_tokens=4))
      >>> len(replies)
      2
      >>> [score.tokens for score in local.score(["one"], [[" word", " one word"]])[0]]
      [5, 9]
    """

    def __init__(
        self,
        model: DeviceModel,
        params: Any,
        tokenizer: "PreTrainedTokenizerBase",
        *,
        name: str | None = None,
        context: int | None = None,
        overflow: Overflow = "refuse",
        batch_size: int = 32,
        prefixes: int = 2,
    ) -> None:
        _check(model, tokenizer, context, overflow, batch_size, prefixes)
        self.name = f"model-{checksum(params)[:12]}" if name is None else name
        self.context = model.config.max_length if context is None else context
        self._batch_size = batch_size
        self._writes = isinstance(model, EncoderDecoder)
        params = jax.tree.map(jnp.asarray, params)
        self._calls = DeviceCalls(model, params, tokenizer)
        self._rules = TokenRules(
            tokenizer=tokenizer,
            vocab_size=model.config.vocab_size,
            context=self.context - virtual_of(params).read,
            overflow=overflow,
            encoder=self._writes,
        )
        self._memory = (
            PrefixMemory(model, params, prefixes) if isinstance(model, CausalLM) else None
        )

    @classmethod
    def of(cls, opened: Opened, name: str | None = None, **options: Any) -> "LocalModel":
        """Make a language model of an opened one.

        Args:
          opened: from `models.open_model` or `runs.open_any`.
          name: see the class; None for the first digits of the parameters' checksum.
          **options: further arguments of the class.

        Raises:
          ConfigError: the model writes no text, or it has no tokenizer.
        """
        spec = opened.model.spec
        if spec.kind not in ("causal", "encoder_decoder"):
            raise ConfigError(
                f"a model of kind {spec.kind!r} writes no text; open one of kind 'causal' or "
                "'encoder_decoder'"
            )
        return cls(spec.build(), opened.model.params, opened.tokenizer, name=name, **options)

    @classmethod
    def at(cls, opened: Opened, path: Path, name: str | None, **options: Any) -> "LocalModel":
        """Make a language model of what was opened at a path, which names it; see `of`."""
        if name is None:
            name = f"{path.resolve().stem}-{checksum(opened.model.params)[:12]}"
        return cls.of(opened, name, **options)

    def forget(self) -> None:
        """Drop the prefixes that are kept for later calls, and free their memory."""
        if self._memory is not None:
            self._memory.clear()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `LanguageModel`; tokens that the tokenizer puts before a text are counted."""
        return [len(row) for row in self._rules.encode(texts)]

    def generate(self, prompts: Sequence[str], options: GenerateOptions) -> list[Reply]:
        """See `LanguageModel`.

        Raises:
          ConfigError: a prompt that is too long, see `overflow`.

        Cost: one pass over each prompt without what it shares with others, then at most
        `max_tokens` - 1 steps for each `batch_size` continuations.
        """
        rows = self._rules.prompts(prompts, options.max_tokens)
        distinct = dict(zip(prompts, rows, strict=True))
        texts, tokens = list(distinct), list(distinct.values())
        written: dict[str, list[tuple[Completion, int]]] = {}
        reused = dict.fromkeys(texts, 0)
        call_cost = _CALL + _STEP * options.max_tokens
        for shared, length, group in self._shared(tokens, reused, texts, call_cost):
            own, asked = [tokens[row][length:] for row in group], [texts[row] for row in group]
            made = self._calls.write(own, asked, shared, options, batch_size=self._batch_size)
            written |= dict(zip(asked, made, strict=True))
        replies, seen = [], set()
        for prompt, row in zip(prompts, rows, strict=True):
            again = prompt in seen
            seen.add(prompt)
            replies.append(_reply(written[prompt], len(row), reused[prompt], again))
        return replies

    def score(
        self, prompts: Sequence[str], continuations: Sequence[Sequence[str]]
    ) -> list[tuple[Score, ...]]:
        """See `LanguageModel`; texts become tokens by the rules of `TokenRules`.

        Raises:
          ConfigError: a prompt that is too long, see `overflow`; an empty continuation; or rows of
            another number than prompts.

        Cost: one pass over each prompt without what it shares with others, and over each
        continuation.
        """
        if len(prompts) != len(continuations):
            raise ConfigError(
                f"{len(prompts)} prompts need {len(prompts)} rows of continuations, got "
                f"{len(continuations)}"
            )
        tokens, parts = [], []
        for number, (own, wanted) in enumerate(self._rules.pairs(prompts, continuations)):
            # The last token of a continuation is not read.
            longest = max(map(len, wanted), default=1) - 1
            tokens.append(self._rules.fit(own, longest, f"prompt {number}"))
            parts.append(wanted)
        asked = [row for row, wanted in enumerate(parts) if wanted]
        reused = dict.fromkeys(range(len(asked)), 0)
        found = self._scored([tokens[row] for row in asked], [parts[row] for row in asked], reused)
        scores: list[tuple[Score, ...]] = [()] * len(prompts)
        for place, prompt_number in enumerate(asked):
            size = len(tokens[prompt_number])
            scores[prompt_number] = tuple(
                # All continuations but the first share the whole prompt.
                _score(logprobs, greedy, size, size if number else reused[place])
                for number, (logprobs, greedy) in enumerate(found[place])
            )
        return scores

    def score_text(self, texts: Sequence[str]) -> list[TextScore]:
        """See `LanguageModel`; windows are those of `TokenRules.windows`.

        Raises:
          ConfigError: an encoder-decoder, which scores only what follows a prompt.
        """
        if self._writes:
            raise ConfigError(
                f"{self.name} is an encoder-decoder and scores no text without a prompt; call "
                "score with prompts and continuations"
            )
        check_texts(texts)
        windows = [list(self._rules.windows(text)) for text in texts]
        flat = [window for row in windows for window in row]
        contexts, parts = [list(w.context) for w in flat], [[list(w.scored)] for w in flat]
        found = iter(self._scored(contexts, parts, None))
        scores = []
        for row in windows:
            logprobs = [float(value) for _ in row for value in next(found)[0][0]]
            read = sum(len(window.context) - 1 + len(window.scored) for window in row)
            scores.append(
                TextScore(logprobs=tuple(logprobs), usage=Usage(calls=1, prompt_tokens=read))
            )
        return scores

    def _shared(
        self,
        rows: Sequence[list[int]],
        reused: dict[Any, int] | None,
        names: Sequence[Any],
        call: int,
    ) -> Iterator[tuple[SharedPrefix | None, int, list[int]]]:
        """Yield groups of rows: prefix, its length, numbers of the rows; note what is reused."""
        if self._memory is None or reused is None:
            # The virtual tokens of a tuned model stand even before rows that share nothing.
            memory = self._memory if self._memory is not None and self._memory.needed else None
            shared = None if memory is None else memory.read([])[0]
            if rows:
                yield shared, 0, list(range(len(rows)))
            return
        for group in prefix_groups(rows, least=LEAST, call=call):
            if not group.length and not self._memory.needed:
                yield None, 0, list(group.rows)
                continue
            first = group.rows[0]
            prefix, known = self._memory.read(rows[first][: group.length])
            for row in group.rows:
                reused[names[row]] = known if row == first else group.length
            yield prefix, group.length, list(group.rows)

    def _scored(
        self,
        prompts: Sequence[list[int]],
        parts: Sequence[Sequence[list[int]]],
        reused: dict[int, int] | None,
    ) -> list[list[TokenScores]]:
        """Score the tokens of each continuation; without `reused` prompts share nothing."""
        found: list[list[TokenScores]] = [[] for _ in prompts]
        for shared, length, group in self._shared(prompts, reused, range(len(prompts)), _CALL):
            # A row is a prompt's number, and as many of its continuations as fit.
            rows = [(row, part) for row in group for part in continuation_rows(parts[row])]
            sizes = [len(prompts[row]) - length + sum(map(len, part)) for row, part in rows]
            made: list[list[TokenScores]] = [[] for _ in rows]
            for chosen in batches(sizes, self._batch_size):
                batch = [rows[place] for place in chosen]
                scores = self._calls.score(
                    [prompts[row][length:] for row, _ in batch],
                    [prompts[row] for row, _ in batch],
                    [part for _, part in batch],
                    shared,
                )
                for place, score in zip(chosen, scores, strict=True):
                    made[place] = score
                count_done(len(chosen))
            for (row, _), score in zip(rows, made, strict=True):
                found[row] += score
        return found


def _reply(
    written: Sequence[tuple[Completion, int]], tokens: int, reused: int, again: bool
) -> Reply:
    """Make the reply to a prompt of so many tokens; one that is asked again costs nothing."""
    return Reply(
        texts=tuple(completion.text for completion, _ in written),
        truncated=tuple(completion.truncated for completion, _ in written),
        usage=Usage(
            calls=1,
            prompt_tokens=tokens,
            shared_tokens=tokens if again else reused,
            completion_tokens=0 if again else sum(count for _, count in written),
        ),
    )


def _score(logprobs: np.ndarray, greedy: np.ndarray, tokens: int, reused: int) -> Score:
    usage = Usage(calls=1, prompt_tokens=tokens + len(logprobs), shared_tokens=reused)
    total = math.fsum(logprobs.tolist())
    return Score(logprob=total, tokens=len(logprobs), greedy=bool(greedy.all()), usage=usage)


def _check(
    model: Any, tokenizer: Any, context: int | None, overflow: str, batch_size: int, prefixes: int
) -> None:
    if not isinstance(model, CausalLM | EncoderDecoder):
        raise ConfigError(
            f"a {type(model).__name__} writes no text; give a CausalLM or an EncoderDecoder"
        )
    if tokenizer is None:
        raise ConfigError(
            "a language model needs a tokenizer, and this model has none; give the directory of "
            "its tokenizer"
        )
    config = model.config
    if context is not None:
        if context < 1:
            raise ConfigError(f"context must be at least 1 token, or None, got {context}")
        config.check_length(context, "context", "give a smaller context, or None")
    if overflow not in get_args(Overflow):
        raise ConfigError(f"overflow must be one of {get_args(Overflow)}, got {overflow!r}")
    for name, value in (("batch_size", batch_size), ("prefixes", prefixes)):
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name} must be at least 1, a whole number, got {value!r}")
