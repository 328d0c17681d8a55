"""OpenAI's `/v1/completions` and `/v1/chat/completions` for a text model.

    POST /v1/completions        continues prompts
    POST /v1/chat/completions   answers a chat, in the chat template of the tokenizer
    GET  /v1/models             the model's name

A request becomes one row for each of its choices, in the queue of a `Batcher`. Streamed or not, the
rows are the same and so is the text.
"""

import asyncio
import contextlib
import dataclasses
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from jaxrec.core import ConfigError, Count, DataError, JaxrecError, check_ranges, shown_value
from jaxrec.decode import RowSetting
from jaxrec.prompting import draw_key
from jaxrec.serve.app import ServiceState, as_request_error
from jaxrec.serve.batching import Batcher
from jaxrec.serve.gate import describe
from jaxrec.serve.openai_answers import Frame
from jaxrec.serve.openai_requests import Asked, read_chat, read_completion
from jaxrec.serve.request_errors import RequestError, to_body
from jaxrec.serve.text_engine import Piece, TextEngine, TextRow
from jaxrec.serve.written_text import TextWriter
from jaxrec.texts import Message, chat_prompt

Heard = tuple[int, Piece | Exception | None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextService:
    """A text model that is served.

    Attributes:
      engine: the model on the device.
      batcher: its queue.
      state: of the whole service.
      names: names under which clients may ask for the model; the first one is listed.
      most_choices: most answers to all prompts of a request together.

    Raises:
      ConfigError: no name, or a number out of range.
    """

    engine: TextEngine
    batcher: Batcher[TextRow]
    state: ServiceState
    names: tuple[str, ...]
    most_choices: Count = 128

    def __post_init__(self) -> None:
        check_ranges(self, "completions.")
        if not self.names or not all(self.names):
            raise ConfigError("a served model needs a name that is not empty; give one")


def completions_router(service: TextService) -> APIRouter:
    """Make the routes of a text model, for `make_service`.

    Args:
      service: the model, its queue and its names.

    Example:
      >>> from jaxrec.data import train_bpe
      >>> from jaxrec.models import ModelSpec, Opened, Pretrained
      >>> from jaxrec.testing import random_params, tiny_model
      >>> tokenizer = train_bpe(["one word"], vocab_size=300)
      >>> spec = ModelSpec("causal", tiny_model(len(tokenizer)))
      >>> model = Pretrained(spec=spec, params=random_params(spec.build()))
      >>> engine = TextEngine(Opened(model=model, tokenizer=tokenizer))
      >>> batcher = Batcher(engine)
      >>> state = ServiceState(lambda: batcher.ready)
      >>> names = ("tiny",)
      >>> service = TextService(engine=engine, batcher=batcher, state=state, names=names)
      >>> [route.path for route in completions_router(service).routes][:2]
      ['/v1/completions', '/v1/chat/completions']
    """
    router = APIRouter()
    created = int(time.time())
    # Tokenizers are not made for several threads at once, and must not block the loop of events.
    tokenizing = ThreadPoolExecutor(1, thread_name_prefix="tokenizer")

    async def answer(request: Request, read: Callable[[Any], Asked], prefix: str) -> Response:
        began = time.monotonic()
        body = await service.state.body(request)

        def prepare() -> "_Answering":
            return _Answering(service, read(body), request, prefix, began)

        answering = await asyncio.get_running_loop().run_in_executor(tokenizing, prepare)
        return await answering.respond()

    @router.post("/v1/completions")
    async def completions(request: Request) -> Response:
        return await answer(request, read_completion, "cmpl")

    @router.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        return await answer(request, read_chat, "chatcmpl")

    def card(name: str) -> dict[str, Any]:
        return {
            "id": name,
            "object": "model",
            "created": created,
            "owned_by": "jaxrec",
            "max_model_len": service.engine.context,
        }

    @router.get("/v1/models")
    async def models() -> Response:
        cards = {"object": "list", "data": [card(service.names[0])]}
        return Response(to_body(cards), media_type="application/json")

    @router.get("/v1/models/{name:path}")
    async def model(name: str) -> Response:
        _check_model(name, service.names)
        return Response(to_body(card(service.names[0])), media_type="application/json")

    return router


class _Answering:
    """One request on its way. Made in the thread of the tokenizer."""

    def __init__(
        self, service: TextService, asked: Asked, request: Request, prefix: str, began: float
    ) -> None:
        self._service, self._asked, self._request = service, asked, request
        self._began = began
        self._facts: dict[str, Any] = request.scope["state"]["facts"]
        self._heard: asyncio.Queue[Heard] = asyncio.Queue()
        _check_model(asked.model, service.names)
        tokens, texts = _tokens_of(service.engine, asked, service.most_choices)
        self._frame = Frame(
            asked=asked,
            texts=service.engine.texts,
            answer_id=f"{prefix}-{request.scope['state']['request_id']}",
            prompt_texts=texts,
            prompt_tokens=[len(row) for row in tokens],
        )
        self._rows = self._make_rows(tokens, texts)
        self._written = [0] * len(self._rows)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def respond(self) -> Response:
        """Run the rows and return the answer."""
        self._loop = asyncio.get_running_loop()
        self._service.batcher.submit(self._rows)
        watching = asyncio.create_task(self._watch())
        streams = False
        try:
            first = await self._next()
            self._service.state.metrics.first_token(time.monotonic() - self._began)
            if self._asked.stream:
                streams = True
                return _EventStream(self._events(first), self._end)
            pieces: list[list[Piece]] = [[] for _ in self._rows]
            async for index, piece in self._pieces(first):
                pieces[index].append(piece)
            body = to_body(self._frame.whole(pieces))
            return Response(body, media_type="application/json")
        except _ClientGone:
            return Response(status_code=499)
        finally:
            watching.cancel()
            # A stream ends itself.
            if not streams:
                self._end()

    def _make_rows(self, tokens: Sequence[list[int]], texts: Sequence[str]) -> list[TextRow]:
        asked, engine = self._asked, self._service.engine
        seed = secrets.randbits(63) if asked.seed is None else asked.seed
        rows: list[TextRow] = []
        for place, prompt in enumerate(tokens):
            limit = _limit(engine, asked, len(prompt))
            scored = asked.echo and asked.logprobs is not None
            bucket = engine.bucket_of(len(prompt), limit, scored=scored)
            for number in range(asked.n):
                setting = RowSetting(
                    key=draw_key(seed, number, texts[place]),
                    limit=limit,
                    temperature=asked.temperature,
                    top_k=asked.top_k,
                    top_p=asked.top_p,
                    presence_penalty=asked.presence_penalty,
                    frequency_penalty=asked.frequency_penalty,
                    alternatives=asked.logprobs or 0,
                )
                row = TextRow(
                    tokens=prompt,
                    setting=setting,
                    bucket=bucket,
                    deliver=self._deliverer(len(rows)),
                    stop=asked.stop,
                    scored=scored,
                    trim=asked.chat or not engine.reads_prompts,
                )
                rows.append(row)
        return rows

    def _deliverer(self, index: int) -> Callable[[Piece | Exception], None]:
        def deliver(heard: Piece | Exception) -> None:
            assert self._loop is not None
            # The loop is closed if the process ends before its requests do.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._heard.put_nowait, (index, heard))

        return deliver

    async def _watch(self) -> None:
        """Notice that the client has gone."""
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self._heard.put_nowait((-1, None))

    async def _next(self) -> tuple[int, Piece]:
        index, heard = await self._heard.get()
        if heard is None:
            raise _ClientGone
        if isinstance(heard, Exception):
            raise heard
        self._written[index] = heard.written
        return index, heard

    async def _pieces(self, first: tuple[int, Piece]) -> AsyncIterator[tuple[int, Piece]]:
        """Yield pieces until all choices have ended."""
        left, found = len(self._rows), first
        while True:
            yield found
            left -= found[1].finish is not None
            if not left:
                return
            found = await self._next()

    async def _events(self, first: tuple[int, Piece]) -> AsyncIterator[bytes]:
        """Yield the events of a stream."""
        begun: set[int] = set()
        try:
            async for index, piece in self._pieces(first):
                before = None if index in begun else self._frame.first(index)
                begun.add(index)
                if before is not None:
                    yield _event(before)
                yield _event(self._frame.part(index, piece))
            if self._asked.include_usage:
                yield _event(self._frame.last(self._written))
        except Exception as error:
            # The status was sent long ago.
            self._facts["error"] = describe(error)
            yield _event(as_request_error(error).body())
        yield b"data: [DONE]\n\n"

    def _end(self) -> None:
        """Stop rows that nobody waits for, and note what was used."""
        self._service.batcher.cancel(self._rows)
        prompt, completion = sum(self._frame.prompt_tokens), sum(self._written)
        self._service.state.metrics.tokens(prompt, completion)
        self._facts.update(
            choices=len(self._rows),
            prompt_tokens=prompt,
            completion_tokens=completion,
            stream=self._asked.stream,
        )


class _ClientGone(Exception):
    """Nobody waits for the answer."""


class _EventStream(StreamingResponse):
    """Server-sent events, with something to do at their end, whatever ends them."""

    def __init__(self, events: AsyncIterator[bytes], end: Callable[[], None]) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._end = end

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._end()


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + to_body(content) + b"\n\n"


def _check_model(name: str, names: Sequence[str]) -> None:
    if name not in names:
        raise RequestError(
            f"there is no model {shown_value(name)} here; ask for {names[0]!r}",
            status=404,
            param="model",
            code="model_not_found",
        )


def _tokens_of(engine: TextEngine, asked: Asked, most: int) -> tuple[list[list[int]], list[str]]:
    """Return the tokens and the text of each prompt.

    Raises:
      RequestError: too many choices, a prompt that is too long, or one that no tokenizer reads.
    """
    count = max(1, len(asked.prompts)) * asked.n
    if count > most:
        raise RequestError(
            f"{len(asked.prompts)} prompts with n {asked.n} are {count} choices, and a request "
            f"has at most {most}; send several requests",
            param="n" if asked.n > 1 else "prompt",
        )
    if asked.echo and asked.logprobs is not None and not engine.reads_prompts:
        raise RequestError(
            "this model is an encoder-decoder and does not score prompts; leave out echo or "
            "logprobs",
            param="echo",
        )
    try:
        prompts = [_chat_text(engine, asked)] if asked.chat else list(asked.prompts)
        rows = [
            _row(engine, prompt, "the chat" if asked.chat else f"prompt {place}")
            for place, prompt in enumerate(prompts)
        ]
    except RequestError:
        raise
    except JaxrecError as error:
        raise RequestError(str(error), param="messages" if asked.chat else "prompt") from error
    texts = [
        prompt if isinstance(prompt, str) else _text(engine, row)
        for prompt, row in zip(prompts, rows, strict=True)
    ]
    return rows, texts


def _row(engine: TextEngine, prompt: str | tuple[int, ...], what: str) -> list[int]:
    if not isinstance(prompt, str):
        wrong = [token for token in prompt if not 0 <= token < engine.vocab_size]
        if wrong:
            raise RequestError(
                f"{what} has the token {shown_value(wrong[0])}, and the model has tokens from 0 to "
                f"{engine.vocab_size - 1}",
                param="prompt",
            )
        row = list(prompt)
    else:
        if len(prompt) > engine.texts.longest * engine.context:
            # Not worth the time of the tokenizer.
            raise _too_long(engine, f"{what} has {len(prompt)} characters")
        row = engine.rules.encode([prompt])[0]
        if not row and engine.rules.start is None:
            raise RequestError(
                f"{what} is empty, and the model has no token to begin with; give it some text",
                param="prompt",
            )
        row = row or [engine.rules.start or 0]
    if len(row) > engine.most_prompt:
        raise _too_long(engine, f"{what} has {len(row)} tokens")
    return row


def _too_long(engine: TextEngine, what: str) -> RequestError:
    return RequestError(
        f"{what}, and a prompt has at most {engine.most_prompt} tokens here; shorten it",
        param="messages" if what.startswith("the chat") else "prompt",
        code="context_length_exceeded",
    )


def _limit(engine: TextEngine, asked: Asked, tokens: int) -> int:
    """Return the most tokens of an answer to a prompt of so many tokens."""
    # An encoder's prompt takes no room of what the decoder writes.
    room = engine.rules.context - tokens if engine.reads_prompts else engine.rules.context
    wanted, most = asked.max_tokens, engine.most_tokens
    if not asked.given_limit:
        wanted = min(most, room, most if wanted is None else wanted)
        # A full context leaves room for nothing, which the client did not choose.
        if wanted < 1:
            raise RequestError(
                f"a prompt of {tokens} tokens leaves no room for an answer in the context of "
                f"{engine.rules.context} tokens; shorten it",
                param="messages" if asked.chat else "prompt",
                code="context_length_exceeded",
            )
    assert wanted is not None
    if wanted > most:
        raise RequestError(
            f"max_tokens must be at most {most} here, got {wanted}; lower it", param="max_tokens"
        )
    if wanted > room:
        raise RequestError(
            f"a prompt of {tokens} tokens and max_tokens {wanted} are more than the context of "
            f"{engine.rules.context} tokens; shorten the prompt or lower max_tokens",
            param="max_tokens",
            code="context_length_exceeded",
        )
    return wanted


def _chat_text(engine: TextEngine, asked: Asked) -> str:
    messages = [Message(role, content) for role, content in asked.messages or ()]
    try:
        return chat_prompt(engine.tokenizer, messages)
    except ConfigError as error:
        raise RequestError(
            "this model has no chat template; use /v1/completions",
            param="messages",
            code="no_chat_template",
        ) from error
    except DataError as error:
        raise RequestError(f"the chat template rejects the messages: {error}") from error


def _text(engine: TextEngine, row: Sequence[int]) -> str:
    writer = TextWriter(engine.texts, trim=True)
    for token in row:
        writer.add(token)
    return writer.release(final=True)[0]
