"""An OpenAI-compatible service as a `LanguageModel`: hosted ones, vLLM, llama.cpp and others.

Needs the package `openai`: `pip install jaxrec[openai]`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, Self, TypeVar, get_args

from jaxrec.core import ConfigError, Count, check_ranges, count_done
from jaxrec.prompting.language_model import GenerateOptions, Reply, Score, TextScore
from jaxrec.prompting.service_answers import Prices, read_reply, read_score, read_text_score
from jaxrec.prompting.service_requests import (
    Requester,
    RequestOptions,
    ServiceError,
    deadline_hooks,
    one_of,
)

Kind = Literal["chat", "completions"]
LimitName = Literal["max_tokens", "max_completion_tokens"]
Question = TypeVar("Question")
Answer = TypeVar("Answer")

# Most stop strings that the protocol takes; texts are cut at the others here.
_STOPS = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class EndpointOptions:
    """How a service is asked.

    Attributes:
      kind: "chat" sends each prompt as a message of the user; "completions" as a text to continue,
        which scores need.
      system: message of the system before each prompt of a chat; "" for none.
      context: most tokens of a prompt and its continuation, if known.
      limit_name: the service's name for the limit of a continuation's tokens. OpenAI's reasoning
        models take only "max_completion_tokens".
      requests: rate limit, time-outs and retries.
      prices: what tokens cost.

    Raises:
      ConfigError: a value out of range, or a message of the system without a chat.

    Example:
      >>> EndpointOptions(kind="completions").system
      ''
    """

    kind: Kind = "chat"
    system: str = ""
    context: Count | None = None
    limit_name: LimitName = "max_tokens"
    requests: RequestOptions = RequestOptions()
    prices: Prices = Prices()

    def __post_init__(self) -> None:
        check_ranges(self, "endpoint.")
        one_of("endpoint.kind", self.kind, get_args(Kind))
        one_of("endpoint.limit_name", self.limit_name, get_args(LimitName))
        if self.system and self.kind != "chat":
            raise ConfigError(
                f"endpoint.system {self.system[:30]!r} needs a chat: set endpoint.kind='chat', or "
                "write it at the beginning of the prompts"
            )


class EndpointModel:
    """A model behind an OpenAI-compatible service.

    Requests are sent at the same time in threads, with a rate limit, time-outs and retries. An
    answer that cannot be used becomes a `Reply` whose `failure` says why; `failure_counts` counts
    them. A service that refuses requests or does not answer raises `ServiceError`; a `StoredModel`
    around this one keeps what was answered before.

    Args:
      model: the service's name of the model.
      base_url: address of the service, such as "http://localhost:8000/v1"; None for OpenAI's.
      api_key: key of the service; None to read the environment variable OPENAI_API_KEY.
      name: see `LanguageModel`; None for the service's name of the model.
      options: how the service is asked.
      count: counts the tokens of texts, such as `LocalModel.count_tokens` of a model with the same
        tokenizer; None if nobody asks for counts.
      requester: sends requests; tests replace its clock. None to make one of the options.

    Raises:
      ConfigError: the package `openai` or a key is missing, or the address is none.

    Example:
      A model that vLLM serves on this machine; making it asks nothing:

      >>> from jaxrec.prompting import EndpointModel
      >>> local = "http://localhost:8000/v1"
      >>> EndpointModel("qwen", base_url=local, api_key="none").name
      'qwen'
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        name: str | None = None,
        options: EndpointOptions = EndpointOptions(),
        count: Callable[[Sequence[str]], list[int]] | None = None,
        requester: Requester | None = None,
    ) -> None:
        if base_url is not None and not base_url.startswith(("http://", "https://")):
            raise ConfigError(
                f"the address of the service must begin with http:// or https://, got "
                f"{base_url!r}; give one such as http://localhost:8000/v1"
            )
        try:
            import openai
        except ImportError as error:
            raise ConfigError(
                "a model behind a service needs the package openai: pip install jaxrec[openai]"
            ) from error
        try:
            self._client = openai.OpenAI(
                base_url=base_url,
                api_key=api_key,
                timeout=options.requests.timeout,
                http_client=openai.DefaultHttpxClient(
                    timeout=options.requests.timeout,
                    event_hooks=deadline_hooks(options.requests.timeout),
                ),
                # Retries are ours: they know the rate limit.
                max_retries=0,
            )
        except openai.OpenAIError as error:
            raise ConfigError(
                f"the client of the service cannot be made: {error}; give api_key, or set the "
                "environment variable OPENAI_API_KEY (any text, such as none, for a service "
                "without keys)"
            ) from error
        self.name = model if name is None else name
        self.context = options.context
        self._model, self._options, self._count = model, options, count
        self._requester = Requester(options.requests) if requester is None else requester

    def close(self) -> None:
        """Close the connections to the service; a `with` block does so at its end."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `LanguageModel`.

        Raises:
          ConfigError: the model was made without `count`.
        """
        if self._count is None:
            raise ConfigError(
                f"the tokenizer of {self.name} is unknown, so its tokens cannot be counted; give "
                "EndpointModel a function: count=..."
            )
        return self._count(texts)

    def generate(self, prompts: Sequence[str], options: GenerateOptions) -> list[Reply]:
        """See `LanguageModel`.

        The service draws as it likes: many ignore the seed. `top_k` is not part of OpenAI's
        protocol; it is sent only if it is set.

        Raises:
          ConfigError: a prompt that is longer than the service's context.
          ServiceError: the service refuses a request, or does not answer.
        """
        chat = self._options.kind == "chat"
        api = self._client.chat.completions if chat else self._client.completions
        given = self._request(options)

        def ask(prompt: str) -> Reply:
            request = given | ({"messages": self._messages(prompt)} if chat else {"prompt": prompt})
            body = self._requester.send(api.with_raw_response.create, request)
            return read_reply(body, options, self._options.prices, chat=chat)

        return self._at_once(ask, prompts)

    def score(
        self, prompts: Sequence[str], continuations: Sequence[Sequence[str]]
    ) -> list[tuple[Score, ...]]:
        """See `LanguageModel`; each continuation is a request of its own.

        Raises:
          ConfigError: a chat, or a service that sends no log-probabilities of an echoed prompt.
          ServiceError: the service refuses a request, or does not answer.
        """
        if len(prompts) != len(continuations):
            raise ConfigError(
                f"{len(prompts)} prompts need {len(prompts)} rows of continuations, got "
                f"{len(continuations)}"
            )
        pairs = [
            (prompt, text)
            for prompt, row in zip(prompts, continuations, strict=True)
            for text in row
        ]
        if any(not text for _, text in pairs):
            raise ConfigError("an empty continuation has no tokens to score; leave it out")

        def ask(pair: tuple[str, str]) -> Score:
            return read_score(self._echo("".join(pair)), *pair, self._options.prices)

        found = iter(self._at_once(ask, pairs))
        return [tuple(next(found) for _ in row) for row in continuations]

    def score_text(self, texts: Sequence[str]) -> list[TextScore]:
        """See `LanguageModel`; the first token of a text has no score here.

        Raises:
          ConfigError: a chat, or a service that sends no log-probabilities of an echoed text.
          ServiceError: the service refuses a request, or does not answer.
        """

        def ask(text: str) -> TextScore:
            return read_text_score(self._echo(text), text, self._options.prices)

        return self._at_once(ask, texts)

    def _echo(self, text: str) -> Any:
        """Ask for a text and the log-probabilities of its tokens."""
        if self._options.kind != "completions":
            raise ConfigError(
                "a chat has no log-probabilities of a prompt, which scores need; set "
                "EndpointOptions(kind='completions') or --endpoint-kind completions if the service "
                "offers completions"
            )
        request = {"model": self._model, "prompt": text, "echo": True, "logprobs": 1}
        # Many services refuse to write no token at all.
        request |= {"max_tokens": 1, "temperature": 0}
        try:
            return self._requester.send(self._client.completions.with_raw_response.create, request)
        except ServiceError as error:
            raise ServiceError(
                f"{error}; not every service echoes prompts with log-probabilities"
            ) from error

    def _messages(self, prompt: str) -> list[dict[str, str]]:
        system = self._options.system
        before = [{"role": "system", "content": system}] if system else []
        return [*before, {"role": "user", "content": prompt}]

    def _request(self, options: GenerateOptions) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self._model,
            self._options.limit_name: options.max_tokens,
            "n": options.n,
            "temperature": options.temperature,
            "top_p": options.top_p,
            "seed": options.seed,
        }
        if options.stop:
            request["stop"] = list(options.stop[:_STOPS])
        if options.presence_penalty:
            request["presence_penalty"] = options.presence_penalty
        if options.top_k is not None:
            request["extra_body"] = {"top_k": options.top_k}
        return request

    def _at_once(
        self, ask: Callable[[Question], Answer], questions: Sequence[Question]
    ) -> list[Answer]:
        """Ask all questions, some at the same time; the first error ends the call.

        Raises:
          ServiceError: of the first question that failed, with the answers to others.
        """
        if isinstance(questions, str):
            raise ConfigError(f"expected a list of texts, got one text: [{questions[:20]!r}]")
        answers: list[Answer] = []
        with ThreadPoolExecutor(self._options.requests.at_once) as pool:
            waiting = [pool.submit(ask, question) for question in questions]
            try:
                for future in waiting:
                    answers.append(future.result())
                    count_done(1)
            except ServiceError as error:
                # Those that were not sent yet cost nothing. Those that were sent are paid.
                pool.shutdown(wait=True, cancel_futures=True)
                error.answered = {
                    question: future.result()
                    for question, future in zip(questions, waiting, strict=True)
                    if not future.cancelled() and future.exception() is None
                }
                raise
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return answers
