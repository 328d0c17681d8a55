"""What every language model is to a prompting method: it continues texts and scores them.

A method such as chain of thought takes any object with these three calls: a model of this library,
a service, a script in a test, or a recording of an earlier study. Calls take many prompts at once,
so that a model can batch them.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from jaxrec.core import ConfigError, DataError, Seed, check_types


@dataclasses.dataclass(frozen=True, kw_only=True)
class Usage:
    """What calls have cost; usages add up.

    Attributes:
      calls: number of prompts and texts that were asked.
      prompt_tokens: tokens of the prompts.
      shared_tokens: tokens of the prompts that were not read anew, because another prompt begins
        alike or because the answer was stored.
      completion_tokens: tokens that were written.
      cost: in the currency of the model's price list; 0 without one.

    Example:
      >>> (Usage(calls=1, prompt_tokens=3) + Usage(calls=1, cost=0.5)).calls
      2
    """

    calls: int = 0
    prompt_tokens: int = 0
    shared_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            **{
                field.name: getattr(self, field.name) + getattr(other, field.name)
                for field in dataclasses.fields(Usage)
            }
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    r"""How a prompt is continued.

    Attributes:
      max_tokens: most tokens of a continuation.
      stop: strings that end a continuation and are not part of it.
      n: number of independent continuations of each prompt.
      temperature: 0 takes the likeliest token each time.
      top_k: number of likeliest tokens to draw from; None for all.
      top_p: share of the probability to draw from.
      seed: seed of the draws. They depend on the seed, the prompt and the number of the
        continuation alone, so equal prompts get equal continuations.
      presence_penalty: what the logits of tokens that the continuation already has are lowered by,
        against repetition.

    Raises:
      ConfigError: a value of another type or out of range, or several continuations at temperature
        0, which would all be equal.

    Example:
      >>> GenerateOptions(max_tokens=5, stop=("\n",)).n
      1
    """

    max_tokens: int = 128
    stop: tuple[str, ...] = ()
    n: int = 1
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0
    seed: Seed = 0
    presence_penalty: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.stop, str):
            raise ConfigError(f"stop must be a tuple of strings, got one: ({self.stop!r},)")
        if isinstance(self.stop, list):
            object.__setattr__(self, "stop", tuple(self.stop))
        for field in dataclasses.fields(self):
            # NumPy's numbers are Python's from here on, so that they can be stored as JSON.
            if isinstance(value := getattr(self, field.name), np.generic):
                object.__setattr__(self, field.name, value.item())
        check_types(self, "")
        if not all(self.stop):
            raise ConfigError('stop contains "", which would end every text at once; remove it')
        for name, least in (("max_tokens", 1), ("n", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not math.isfinite(self.temperature) or self.temperature < 0:
            raise ConfigError(f"temperature must be a number from 0 on, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"top_k must be at least 1, or None for all, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p must lie in (0, 1], got {self.top_p}")
        if not math.isfinite(self.presence_penalty):
            raise ConfigError(
                f"presence_penalty must be a finite number, got {self.presence_penalty}"
            )
        if self.n > 1 and self.temperature == 0:
            raise ConfigError(
                f"n={self.n} continuations at temperature 0 would all be equal; set a temperature "
                "such as 0.7, or n=1"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reply:
    """The continuations of one prompt.

    Attributes:
      texts: `n` continuations, without the string that stopped them.
      truncated: for each of them, whether it stopped at `max_tokens`.
      usage: what the prompt cost.
      failure: what was wrong with the answer of a service that could not be read; `texts` are then
        empty strings. None for every other answer.
    """

    texts: tuple[str, ...]
    truncated: tuple[bool, ...] = (False,)
    usage: Usage = Usage()
    failure: str | None = None

    @property
    def text(self) -> str:
        """The first continuation."""
        return self.texts[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """How likely a continuation is after a prompt.

    Attributes:
      logprob: sum of the log-probabilities of its tokens in nats.
      tokens: number of its tokens.
      greedy: whether each of its tokens is the model's likeliest one.
      usage: what the question cost.
    """

    logprob: float
    tokens: int = 1
    greedy: bool = False
    usage: Usage = Usage()


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextScore:
    """How likely a whole text is, every token of it scored once.

    Attributes:
      logprobs: log-probability of each token in nats.
      usage: what the text cost.
    """

    logprobs: tuple[float, ...]
    usage: Usage = Usage()

    @property
    def logprob(self) -> float:
        """Log-probability of the text in nats."""
        return math.fsum(self.logprobs)


def check_logprobs(scores: Sequence[Sequence[Score]], prompts: Sequence[str]) -> None:
    """Reject log-probabilities that are not numbers, which would win or lose every comparison.

    Args:
      scores: a row for each prompt.
      prompts: what was asked, for the message.

    Raises:
      DataError: the message names the prompt and the place of the continuation.

    Example:
      >>> check_logprobs([[Score(logprob=-1.0)]], ["2 + 2 ="])
    """
    for prompt, row in zip(prompts, scores, strict=True):
        for place, score in enumerate(row):
            if math.isnan(score.logprob):
                raise DataError(
                    f"the log-probability of continuation {place} after the prompt that ends with "
                    f"{prompt[-60:]!r} is not a number; check the weights of the model"
                )


class LanguageModel(Protocol):
    """A model that continues and scores texts."""

    @property
    def name(self) -> str:
        """What reports and stored answers call the model; other weights need another name."""
        ...

    @property
    def context(self) -> int | None:
        """Most tokens of a prompt and its continuation together; None if that is not known."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text."""
        ...

    def generate(self, prompts: Sequence[str], options: GenerateOptions) -> list[Reply]:
        """Continue each prompt.

        Raises:
          ConfigError: a prompt that is longer than the context leaves room for.
        """
        ...

    def score(
        self, prompts: Sequence[str], continuations: Sequence[Sequence[str]]
    ) -> list[tuple[Score, ...]]:
        """Score the continuations of each prompt: one row of continuations for each prompt.

        Raises:
          ConfigError: a prompt that is longer than the context leaves room for, or rows of another
            number than prompts.
        """
        ...

    def score_text(self, texts: Sequence[str]) -> list[TextScore]:
        """Score whole texts; those that are longer than the context in several windows."""
        ...
