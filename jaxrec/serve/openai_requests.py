"""Requests of OpenAI's completions and chats, checked: what is not supported is refused by name.

A parameter that would change the answer is never ignored. Those that say something about the
client only (`user`, `metadata`) may be sent, and so may neutral values, such as `best_of` 1.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import pydantic

from jaxrec.core import shown_value
from jaxrec.serve.request_errors import RequestError

# What changes no answer.
_IGNORED = ("user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention")
# Values that say what is done anyway.
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "suffix": ("",),
    "logit_bias": ({},),
    "store": (False,),
    "service_tier": ("auto", "default"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "parallel_tool_calls": (True, False),
}
_UNSUPPORTED = (
    *_NEUTRAL,
    *("audio", "prediction", "reasoning_effort", "verbosity", "web_search_options", "min_p"),
    *("repetition_penalty", "min_tokens", "ignore_eos", "use_beam_search", "length_penalty"),
    *("guided_json", "guided_regex", "guided_choice", "structured_outputs", "moderation"),
)
_MOST_STOPS, _LONGEST_STOP = 4, 256
_DEFAULT_TOKENS = 16
_COLDEST = 1e-4
# Roles of OpenAI's chats, and what templates call them.
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}

_Seed = Annotated[int, pydantic.Field(ge=-(2**63), le=2**63 - 1)]
_Penalty = Annotated[float, pydantic.Field(ge=-2, le=2)]


class _StreamOptions(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, extra="forbid")

    include_usage: bool = False
    include_obfuscation: bool = False


class _Request(pydantic.BaseModel):
    """What completions and chats share."""

    model_config = pydantic.ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    model: str
    n: Annotated[int, pydantic.Field(ge=1, le=128)] = 1
    temperature: Annotated[float, pydantic.Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, pydantic.Field(ge=0, le=1)] = 1.0
    top_k: Annotated[int, pydantic.Field(ge=-1, le=2**31 - 1)] = 0
    presence_penalty: _Penalty = 0.0
    frequency_penalty: _Penalty = 0.0
    seed: _Seed | None = None
    stop: Any = None
    stream: bool = False
    stream_options: _StreamOptions | None = None


_R = TypeVar("_R", bound=_Request)


class _CompletionRequest(_Request):
    prompt: Any = ""
    max_tokens: Annotated[int, pydantic.Field(ge=0, le=2**31 - 1)] = _DEFAULT_TOKENS
    echo: bool = False
    logprobs: Annotated[int, pydantic.Field(ge=0, le=5)] | None = None


class _ChatRequest(_Request):
    messages: Any
    max_tokens: Annotated[int, pydantic.Field(ge=1, le=2**31 - 1)] | None = None
    max_completion_tokens: Annotated[int, pydantic.Field(ge=1, le=2**31 - 1)] | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, pydantic.Field(ge=0, le=20)] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """A checked request.

    Attributes:
      model: name of the model.
      prompts: texts, or tokens.
      messages: of a chat, as pairs of role and content; None for a completion.
      n: number of answers to each prompt.
      max_tokens: most tokens of an answer; None for as many as there is room for.
      given_limit: whether the client has said so, so that the limit must not be lowered.
      temperature: of the draws; 0 for none.
      top_p: see `Sampling`.
      top_k: see `Sampling`; 0 for all tokens.
      presence_penalty: see `RowSetting`.
      frequency_penalty: see `RowSetting`.
      seed: of the draws; None for one that nobody knows.
      stop: strings that end an answer.
      echo: whether an answer begins with its prompt.
      logprobs: number of alternatives to report for each token; None for no log-probabilities.
      stream: whether the answer comes in pieces.
      include_usage: whether the last piece of a stream has the counts of tokens.
    """

    model: str
    prompts: tuple[str | tuple[int, ...], ...] = ()
    messages: tuple[tuple[str, str], ...] | None = None
    n: int = 1
    max_tokens: int | None = None
    given_limit: bool = True
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    echo: bool = False
    logprobs: int | None = None
    stream: bool = False
    include_usage: bool = False

    @property
    def chat(self) -> bool:
        """Whether it is a chat."""
        return self.messages is not None


def read_completion(body: Mapping[str, Any]) -> Asked:
    """Check the body of a request for completions.

    Raises:
      RequestError: what is wrong, by the name of the parameter.

    Example:
      >>> read_completion({"model": "tiny", "prompt": ["a", "b"]}).prompts
      ('a', 'b')
      >>> read_completion({"model": "tiny", "prompt": "a", "suffix": "b"})
      Traceback (most recent call last):
      jaxrec.serve.request_errors.RequestError: suffix is not supported here; leave it out
    """
    request = _validate(_CompletionRequest, body)
    return Asked(
        prompts=_prompts(request.prompt),
        max_tokens=request.max_tokens,
        given_limit=body.get("max_tokens") is not None,
        echo=request.echo,
        logprobs=request.logprobs,
        **_common(request),
    )


def read_chat(body: Mapping[str, Any]) -> Asked:
    """Check the body of a request for an answer in a chat.

    Raises:
      RequestError: what is wrong, by the name of the parameter.

    Example:
      >>> chat = [{"role": "user", "content": [{"type": "text", "text": "Hi."}]}]
      >>> read_chat({"model": "tiny", "messages": chat}).messages
      (('user', 'Hi.'),)
    """
    request = _validate(_ChatRequest, body)
    limits = [x for x in (request.max_completion_tokens, request.max_tokens) if x is not None]
    if len(set(limits)) > 1:
        raise RequestError(
            f"max_tokens {limits[1]} and max_completion_tokens {limits[0]} differ; leave out "
            "max_tokens",
            param="max_tokens",
        )
    if request.top_logprobs is not None and not request.logprobs:
        raise RequestError(
            "top_logprobs needs logprobs true; set it, or leave top_logprobs out",
            param="top_logprobs",
        )
    return Asked(
        messages=_messages(request.messages),
        max_tokens=limits[0] if limits else None,
        given_limit=bool(limits),
        logprobs=(request.top_logprobs or 0) if request.logprobs else None,
        **_common(request),
    )


def _common(request: _Request) -> dict[str, Any]:
    if request.stream_options is not None and not request.stream:
        raise RequestError(
            "stream_options needs stream true; set it, or leave stream_options out",
            param="stream_options",
        )
    _check_text(request.model, "model")
    names = ("model", "n", "temperature", "top_p", "presence_penalty", "frequency_penalty")
    # The quotient of logits and such a temperature may have no number in float32.
    if request.temperature < _COLDEST:
        request.temperature = 0.0
    return {
        **{name: getattr(request, name) for name in (*names, "seed", "stream")},
        "top_k": max(request.top_k, 0),
        "stop": _stops(request.stop),
        "include_usage": request.stream_options is not None
        and request.stream_options.include_usage,
    }


def _validate(kind: type[_R], body: Mapping[str, Any]) -> _R:
    given = {}
    for name, value in body.items():
        # A null means that the parameter was left out.
        if value is None or name in _IGNORED or _is_neutral(name, value):
            continue
        if name in _UNSUPPORTED:
            raise RequestError(
                f"{name} is not supported here; leave it out", param=name, code="unsupported"
            )
        given[name] = value
    try:
        return kind.model_validate(given)
    except pydantic.ValidationError as error:
        found = error.errors(include_url=False, include_context=False)[0]
        name = shown_value(".".join(map(str, found["loc"])) or "the body").strip("'")
        if found["type"] == "extra_forbidden":
            message = f"there is no parameter {name}; leave it out"
        elif found["type"] == "missing":
            message = f"{name} is missing; give it"
        else:
            message = f"{name}: {found['msg']}, got {shown_value(found['input'])}"
        raise RequestError(message, param=name) from error


def _is_neutral(name: str, value: Any) -> bool:
    # 1 is True in Python; JSON knows the difference.
    return any(
        value == neutral and type(value) is type(neutral) for neutral in _NEUTRAL.get(name, ())
    )


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise RequestError(
            f"stop must be a string or a list of strings, got {shown_value(value)}", param="stop"
        )
    if len(stops) > _MOST_STOPS:
        raise RequestError(
            f"stop has {len(stops)} strings; give at most {_MOST_STOPS}", param="stop"
        )
    for stop in stops:
        _check_text(stop, "stop")
        if not 0 < len(stop) <= _LONGEST_STOP:
            raise RequestError(
                f"a stop string must have 1 to {_LONGEST_STOP} characters, got {len(stop)}",
                param="stop",
            )
    return tuple(stops)


def _prompts(value: Any) -> tuple[str | tuple[int, ...], ...]:
    kinds = "a string, a list of strings, a list of tokens or a list of lists of tokens"
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value:
        raise RequestError(f"prompt must be {kinds}, got {shown_value(value)}", param="prompt")
    if type(value[0]) is int:
        value = [value]
    prompts: list[str | tuple[int, ...]] = []
    for number, prompt in enumerate(value):
        tokens = isinstance(prompt, list) and bool(prompt)
        if tokens and all(type(token) is int for token in prompt):
            prompts.append(tuple(prompt))
        elif isinstance(prompt, str):
            _check_text(prompt, "prompt")
            prompts.append(prompt)
        else:
            raise RequestError(
                f"prompt must be {kinds}, and its part {number} is {shown_value(prompt)}",
                param="prompt",
            )
    return tuple(prompts)


def _messages(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list) or not value:
        raise RequestError(
            f"messages must be a list of at least one message, got {shown_value(value)}",
            param="messages",
        )
    return tuple(_message(number, message) for number, message in enumerate(value))


def _message(number: int, message: Any) -> tuple[str, str]:
    where = f"messages[{number}]"
    if not isinstance(message, dict):
        raise RequestError(
            f"{where} must be an object with role and content, got {shown_value(message)}",
            param=where,
        )
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or role not in _ROLES:
        raise RequestError(
            f"{where}.role must be one of {', '.join(_ROLES)}, got {shown_value(role)}",
            param=f"{where}.role",
        )
    # The name of an author would change a prompt.
    for name, other in message.items():
        if name not in ("role", "content") and other not in (None, []):
            raise RequestError(
                f"{where} has {shown_value(name)}, which is not supported here; leave it out",
                param=where,
            )
    if isinstance(content, list):
        for part in content:
            kind = part.get("type") if isinstance(part, dict) else None
            if kind != "text" or not isinstance(part.get("text"), str):
                raise RequestError(
                    f"{where}.content has a part of the type {shown_value(kind)}; only text is "
                    "supported",
                    param=f"{where}.content",
                )
        content = "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise RequestError(
            f"{where}.content must be a text, got {shown_value(content)}", param=f"{where}.content"
        )
    _check_text(content, f"{where}.content")
    return _ROLES[role], content


def _check_text(text: str, name: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(
            f"{name} has half a character at place {error.start}, which no tokenizer reads; "
            "remove it",
            param=name,
        ) from error
