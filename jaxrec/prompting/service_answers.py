"""What an OpenAI-compatible service answers, read with care: services and proxies vary.

An answer that lacks what was asked for does not end a study. It becomes a `Reply` without text
whose `failure` says what was wrong, and `failure_counts` counts such replies.
"""

import collections
import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from jaxrec.core import ConfigError, NotNegative, check_ranges
from jaxrec.prompting.language_model import GenerateOptions, Reply, Score, TextScore, Usage


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prices:
    """What a service charges for a million tokens, in any currency.

    Attributes:
      prompt: of prompts.
      completion: of completions.
      stored: of prompts that the service found in its own cache; None for the price of prompts.

    Raises:
      ConfigError: a negative price.

    Example:
      >>> Prices(prompt=2.0, completion=8.0).cost(500_000, 1_000, 0)
      1.008
    """

    prompt: NotNegative = 0.0
    completion: NotNegative = 0.0
    stored: NotNegative | None = None

    def __post_init__(self) -> None:
        check_ranges(self, "prices.")

    def cost(self, prompt: int, completion: int, stored: int) -> float:
        """Return the price of so many tokens; `stored` of the prompt's tokens were stored."""
        rate = self.prompt if self.stored is None else self.stored
        fresh = (prompt - stored) * self.prompt
        return (fresh + stored * rate + completion * self.completion) / 1e6


def failure_counts(replies: Iterable[Reply]) -> dict[str, int]:
    """Count what was wrong with the replies of a study, most frequent first.

    Example:
      >>> replies = [Reply(texts=("",), failure="it is no JSON"), Reply(texts=("4",))]
      >>> failure_counts(replies)
      {'it is no JSON': 1}
    """
    reasons = [reply.failure for reply in replies if reply.failure is not None]
    return dict(collections.Counter(reasons).most_common())


def read_reply(body: Any, options: GenerateOptions, prices: Prices, *, chat: bool) -> Reply:
    """Read the continuations of one prompt.

    Args:
      body: the JSON value of the answer, or a string that is no JSON.
      options: what was asked for.
      prices: what tokens cost.
      chat: whether the answer is a chat completion.
    """
    usage = read_usage(body, prices)
    try:
        texts, truncated = [], []
        for choice in _choices(body, options.n):
            text = choice.get("message", {}).get("content") if chat else choice.get("text")
            if choice.get("finish_reason") == "content_filter":
                raise _Unusable("the service's filter withheld a text")
            if not isinstance(text, str):
                raise _Unusable("a choice has no text")
            whole, text = text, _cut(text, options.stop)
            texts.append(text)
            truncated.append(choice.get("finish_reason") == "length" and whole == text)
    except (_Unusable, AttributeError) as error:
        reason = str(error) if isinstance(error, _Unusable) else "its parts have wrong types"
        return Reply(
            texts=("",) * options.n, truncated=(False,) * options.n, usage=usage, failure=reason
        )
    return Reply(texts=tuple(texts), truncated=tuple(truncated), usage=usage)


def read_usage(body: Any, prices: Prices) -> Usage:
    """Read what an answer says that it cost; zeros where it says nothing."""
    said = body.get("usage") if isinstance(body, dict) else None
    said = said if isinstance(said, dict) else {}
    details = said.get("prompt_tokens_details")
    stored = _count(details if isinstance(details, dict) else {}, "cached_tokens")
    prompt, completion = _count(said, "prompt_tokens"), _count(said, "completion_tokens")
    return Usage(
        calls=1,
        prompt_tokens=prompt,
        shared_tokens=min(stored, prompt),
        completion_tokens=completion,
        cost=prices.cost(prompt, completion, min(stored, prompt)),
    )


def read_score(body: Any, prompt: str, continuation: str, prices: Prices) -> Score:
    """Read the score of a continuation from the echo of prompt and continuation.

    Raises:
      ConfigError: the service did not send the log-probabilities of the echo.
    """
    # Spaces at the end of a prompt belong to the continuation, as in `TokenRules`.
    tokens = _echo(body, prompt + continuation, len(prompt.rstrip()))
    if not tokens or any(token.logprob is None for token in tokens):
        raise _without_logprobs("it has none for a continuation")
    return Score(
        logprob=math.fsum(token.logprob or 0.0 for token in tokens),
        tokens=len(tokens),
        greedy=all(token.greedy for token in tokens),
        usage=read_usage(body, prices),
    )


def read_text_score(body: Any, text: str, prices: Prices) -> TextScore:
    """Read the scores of a text's tokens from its echo; the first token has none.

    Raises:
      ConfigError: the service did not send the log-probabilities of the echo.
    """
    tokens = _echo(body, text, 0)
    values = tuple(token.logprob for token in tokens if token.logprob is not None)
    if len(values) < len(tokens) - 1:
        raise _without_logprobs("it lacks some")
    return TextScore(logprobs=values, usage=read_usage(body, prices))


@dataclasses.dataclass(frozen=True)
class _Token:
    """A token of an echo: its log-probability, None for the first one; and whether it is best."""

    logprob: float | None
    greedy: bool


class _Unusable(Exception):
    """What was wrong with an answer."""


def _choices(body: Any, count: int) -> list[dict[str, Any]]:
    if not isinstance(body, dict):
        raise _Unusable("it is no JSON object")
    choices = body.get("choices")
    if not isinstance(choices, list):
        raise _Unusable("it has no choices")
    if len(choices) != count:
        raise _Unusable(f"it has {len(choices)} choices instead of {count}")
    if not all(isinstance(choice, dict) for choice in choices):
        raise _Unusable("a choice is no JSON object")
    return choices


def _echo(body: Any, text: str, start: int) -> list[_Token]:
    """Return the tokens of an echo that end after character `start` of the text."""
    try:
        (choice,) = _choices(body, 1)
        said = choice.get("logprobs")
        if not isinstance(said, dict):
            raise _Unusable("its logprobs are missing or empty")
        columns: list[Any] = [
            said.get(name) for name in ("tokens", "token_logprobs", "text_offset")
        ]
        if not all(isinstance(column, list) for column in columns):
            raise _Unusable("its logprobs lack tokens, token_logprobs or text_offset")
        best = said.get("top_logprobs") or [None] * len(columns[0])
        found = []
        for token, logprob, offset, top in zip(*columns, best, strict=True):
            # The token that the service had to write itself begins after the text.
            if start < offset + len(token) and offset < len(text):
                if logprob is not None and not float(logprob) < math.inf:
                    raise _Unusable(f"the log-probability {logprob} of a token is no number")
                likeliest = max(top, key=top.get) if top else None
                found.append(
                    _Token(None if logprob is None else float(logprob), token == likeliest)
                )
    except _Unusable as error:
        raise _without_logprobs(str(error)) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise _without_logprobs("the parts of its logprobs have wrong types or lengths") from error
    return found


def _without_logprobs(why: str) -> ConfigError:
    return ConfigError(
        "the service's answer has no log-probabilities of an echoed prompt, which scores need "
        f"({why}); use a service that sends them (such as vLLM's or llama.cpp's completions), or a "
        "model of this library"
    )


def _count(values: dict[str, Any], name: str) -> int:
    value = values.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def _cut(text: str, stop: tuple[str, ...]) -> str:
    """Cut a text at its first stop string; services take few of them, and some keep them."""
    places = [place for place in map(text.find, stop) if place >= 0]
    return text[: min(places)] if places else text
