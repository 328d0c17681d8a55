"""What every request passes, whatever it asks for: IDs, keys, logs, counters, unread bodies.

A pure ASGI application around another one. Its log has one JSON line a request and never a prompt:
neither bodies nor query strings are written.
"""

import asyncio
import hashlib
import json
import re
import sys
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from jaxrec.core import printable
from jaxrec.serve.metrics import Metrics
from jaxrec.serve.request_errors import RequestError, to_body

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

# Answered without a key: what a supervisor asks, and the page, which holds no data.
OPEN = ("/healthz", "/readyz", "/")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# An answer that comes before the whole body was sent is lost by most clients, which see a broken
# connection. So much of a body is read and dropped first.
_MOST_DROPPED, _LONGEST_DROPPED = 1 << 28, 20.0


def log_line(record: dict[str, Any]) -> None:
    """Write one JSON line to standard error."""
    print(json.dumps(record, ensure_ascii=True), file=sys.stderr, flush=True)


def log_ready(seconds: float) -> None:
    """Write the line that says that everything is compiled."""
    log_line({"time": round(time.time(), 3), "event": "ready", "seconds": round(seconds, 1)})


def describe(error: BaseException) -> str:
    """Name an error and its place for a log, without its message, which may quote a prompt.

    Example:
      >>> describe(ValueError("secret"))
      'ValueError'
    """
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return type(error).__name__ + place


class Gate:
    """The outermost application of a service.

    Args:
      app: the application that answers.
      keys: SHA-256 digests of the keys, one of which each request must send; none for an open
        service.
      hosts: names under which the service is reached; () for any. A page of another site could
        otherwise reach a service of this machine by a name of its own.
      metrics: counts requests.
      ending: whether the service is ending, so that connections are closed after their answers.
      log: receives a record for each request.
    """

    def __init__(
        self,
        app: Callable[[dict[str, Any], Receive, Send], Awaitable[None]],
        *,
        keys: tuple[bytes, ...],
        hosts: tuple[str, ...],
        metrics: Metrics,
        ending: Callable[[], bool],
        log: Callable[[dict[str, Any]], None] = log_line,
    ) -> None:
        self._app, self._keys, self._hosts = app, frozenset(keys), hosts
        self._metrics, self._ending, self._log = metrics, ending, log

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._ending)
        self._metrics.begin()
        try:
            self._check(exchange)
            await self._app(scope, exchange.receive, exchange.send)
        except RequestError as error:
            await exchange.refuse(error)
        except asyncio.CancelledError:
            exchange.facts["error"] = "cancelled"
            raise
        except Exception as error:
            exchange.facts["error"] = describe(error)
            await exchange.refuse(
                RequestError("the service failed; its log has the request's ID", status=500)
            )
        finally:
            self._metrics.end()
            self._note(exchange)

    def _check(self, exchange: "_Exchange") -> None:
        host = exchange.header(b"host")
        host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        if self._hosts and host.lower() not in self._hosts:
            raise RequestError(
                "this service is not reached under that name in the header Host; use "
                f"{self._hosts[0]}, or start it with --host"
            )
        if not self._keys or exchange.path in OPEN:
            return
        word, _, key = exchange.header(b"authorization").partition(" ")
        digest = hashlib.sha256(key.strip().encode("latin-1")).digest()
        # Digests are compared, so the time of the comparison says nothing about a key.
        if word.lower() != "bearer" or digest not in self._keys:
            raise RequestError(
                "the key of the service is missing or wrong; send the header Authorization: "
                "Bearer KEY",
                status=401,
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )
        exchange.scope["state"]["client"] = digest

    def _note(self, exchange: "_Exchange") -> None:
        seconds = time.monotonic() - exchange.began
        route = exchange.route
        # 499: the client has gone before the answer began.
        status = exchange.status or 499
        self._metrics.request(route, status, seconds)
        if route in OPEN:
            return
        self._log(
            {
                "time": round(time.time(), 3),
                "request": exchange.request_id,
                "method": printable(exchange.scope["method"])[:20],
                "route": route,
                "status": status,
                "seconds": round(seconds, 4),
                **exchange.facts,
            }
        )


class _Exchange:
    """A request and its answer."""

    def __init__(
        self, scope: dict[str, Any], receive: Receive, send: Send, ending: Callable[[], bool]
    ) -> None:
        self.scope, self._receive, self._send, self._ending = scope, receive, send, ending
        self.path = scope["path"]
        self.began = time.monotonic()
        self.status: int | None = None
        # What handlers add to the log line.
        self.facts: dict[str, Any] = {}
        given = self.header(b"x-request-id")
        self.request_id = given if _ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {}).update(
            # The digest of the key of the request; every client of an open service is the same.
            facts=self.facts,
            request_id=self.request_id,
            client=b"",
        )
        length = self.header(b"content-length")
        self._unread = bool(self.header(b"transfer-encoding")) or length not in ("", "0")
        # Such a client sends its body only after it is told to.
        self._asks = self.header(b"expect").lower() == "100-continue"

    @property
    def route(self) -> str:
        """The path of the route, which is one of few; never what a client made up."""
        found = self.scope.get("route")
        return str(getattr(found, "path", "other"))

    def header(self, name: bytes) -> str:
        """Return a header of the request; "" if there is none."""
        headers = self.scope["headers"]
        return next((value.decode("latin-1") for key, value in headers if key == name), "")

    async def receive(self) -> dict[str, Any]:
        """Receive a part of the body."""
        message = await self._receive()
        self._asks = False
        if message["type"] != "http.request" or not message.get("more_body"):
            self._unread = False
        return message

    async def send(self, message: dict[str, Any]) -> None:
        """Send a part of the answer; the first one gets the headers of all answers."""
        if message["type"] == "http.response.start":
            # Whoever is told to have been too slow has nothing more to send.
            if message["status"] != 408:
                await self._drop_body()
            self.status = message["status"]
            more = [
                (b"x-request-id", self.request_id.encode()),
                (b"x-content-type-options", b"nosniff"),
                (b"cache-control", b"no-store"),
            ]
            if self._ending() or self._unread:
                more.append((b"connection", b"close"))
            message = message | {"headers": [*message.get("headers", ()), *more]}
        await self._send(message)

    async def _drop_body(self) -> None:
        dropped = 0
        if self._asks:
            return
        try:
            async with asyncio.timeout(_LONGEST_DROPPED):
                while self._unread and dropped < _MOST_DROPPED:
                    dropped += len((await self.receive()).get("body", b""))
        except TimeoutError:
            return

    async def refuse(self, error: RequestError) -> None:
        """Answer with an error, unless an answer has begun."""
        if self.status is not None:
            return
        body = to_body(error.body())
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *((name.encode(), value.encode()) for name, value in error.headers.items()),
        ]
        start = {"type": "http.response.start", "status": error.status, "headers": headers}
        await self.send(start)
        await self.send({"type": "http.response.body", "body": body})
