"""The application that all services share; routers say what it answers.

GET /healthz   whether the process runs
GET /readyz    whether it takes requests: not before everything is compiled, nor while it ends
GET /metrics   counters for Prometheus
"""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from jaxrec.core import ConfigError, Count, DataError, JaxrecError, Positive, check_ranges
from jaxrec.serve.batching import Closed, QueueFull
from jaxrec.serve.gate import Gate, describe, log_line
from jaxrec.serve.metrics import Metrics
from jaxrec.serve.request_errors import RequestError, read_body, to_body

_ALL = ("0.0.0.0", "::", "")
_LOCAL = ("127.0.0.1", "localhost", "::1")
_SHORTEST_KEY = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServiceOptions:
    """What holds for all requests.

    Attributes:
      host: address at which the service listens. Requests to other names are refused, unless it is
        one such as 0.0.0.0.
      keys: SHA-256 digests of the accepted keys, see `read_keys`; none for an open service.
      max_body: most bytes of the body of a request.
      body_seconds: most seconds until the body of a request has arrived.

    Raises:
      ConfigError: a number out of range.

    Example:
      >>> ServiceOptions(max_body=1000).keys
      ()
    """

    host: str = "127.0.0.1"
    keys: tuple[bytes, ...] = ()
    max_body: Count = 4 << 20
    body_seconds: Positive = 60.0

    def __post_init__(self) -> None:
        check_ranges(self, "service.")


class ServiceState:
    """What routers, health checks and the process share.

    Args:
      ready: whether requests are taken.
      options: of the service.
      metrics: of the service.
      failed: whether the service can never answer, so that the process should end.

    Attributes:
      ending: whether the service finishes its requests and then ends.

    Example:
      >>> state = ServiceState(lambda: True)
      >>> state.ready, state.ending
      (True, False)
    """

    def __init__(
        self,
        ready: Callable[[], bool],
        options: ServiceOptions = ServiceOptions(),
        metrics: Metrics | None = None,
        failed: Callable[[], bool] = lambda: False,
    ) -> None:
        self.options, self.ending = options, False
        self.metrics = Metrics() if metrics is None else metrics
        self._ready, self._failed = ready, failed

    @property
    def failed(self) -> bool:
        """Whether the service can never answer."""
        return self._failed()

    @property
    def ready(self) -> bool:
        """Whether new requests should come here."""
        return self._ready() and not self.ending

    async def body(self, request: Request) -> dict[str, Any]:
        """Read the JSON object in the body of a request.

        Raises:
          RequestError: see `read_body`.
        """
        return await read_body(request, self.options.max_body, self.options.body_seconds)


def make_service(
    routers: Sequence[APIRouter],
    state: ServiceState,
    *,
    log: Callable[[dict[str, Any]], None] = log_line,
) -> Any:
    """Make the ASGI application of a service.

    Args:
      routers: what it answers besides health checks and metrics.
      state: of the service.
      log: receives one record for each request, without prompts.

    Example:
      >>> app = make_service([], ServiceState(lambda: True))
      >>> callable(app)
      True
    """
    # The pages with which FastAPI documents itself load scripts from elsewhere.
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)

    @app.get("/healthz")
    async def healthz() -> Response:
        return Response(b'{"status":"ok"}', media_type="application/json")

    @app.get("/readyz")
    async def readyz() -> Response:
        word = "ending" if state.ending else "ready" if state.ready else "starting"
        status = 200 if state.ready else 503
        return Response(to_body({"status": word}), status, media_type="application/json")

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(state.metrics.text(), media_type="text/plain; version=0.0.4")

    for router in routers:
        app.include_router(router)
    for kind in (HTTPException, JaxrecError, Exception):
        app.add_exception_handler(kind, _answer_error)
    options = state.options
    return Gate(
        app,
        keys=options.keys,
        hosts=() if options.host in _ALL else (*_LOCAL, options.host.lower()),
        metrics=state.metrics,
        ending=lambda: state.ending,
        log=log,
    )


async def _answer_error(request: Request, error: Exception) -> Response:
    found = as_request_error(error)
    if found.status >= 500:
        request.scope["state"]["facts"]["error"] = describe(error)
    return Response(
        to_body(found.body()), found.status, headers=found.headers, media_type="application/json"
    )


def as_request_error(error: Exception) -> RequestError:
    """Return any error as one that a client may see.

    Example:
      >>> as_request_error(QueueFull("8 requests wait")).status
      429
      >>> str(as_request_error(KeyError("secret")))
      "the service failed; its log has the request's ID"
    """
    if isinstance(error, RequestError):
        return error
    if isinstance(error, QueueFull):
        return RequestError(
            str(error), status=429, code="rate_limit_exceeded", headers={"retry-after": "1"}
        )
    if isinstance(error, Closed):
        return RequestError(str(error), status=503, headers={"retry-after": "1"})
    if isinstance(error, HTTPException):
        reasons = {
            404: "there is nothing at this path; see the documentation for the routes",
            405: "this path does not take this method of HTTP",
        }
        reason = reasons.get(error.status_code, str(error.detail))
        return RequestError(reason, status=error.status_code, headers=dict(error.headers or {}))
    return RequestError("the service failed; its log has the request's ID", status=500)


def read_keys(path: Path) -> tuple[bytes, ...]:
    """Read the keys of a service, one a line, as SHA-256 digests.

    Args:
      path: of the file; empty lines and lines that begin with # do not count.

    Raises:
      DataError: the file cannot be read, or it has no key.
      ConfigError: a key that is too short to be a secret, or that no header can hold.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "keys"
      >>> _ = path.write_text("correct-horse-battery")
      >>> len(read_keys(path))
      1
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the file of keys cannot be read: {error}") from error
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not keys:
        raise DataError(f"{path} has no key; write one a line")
    for number, key in enumerate(keys, start=1):
        if len(key) < _SHORTEST_KEY or not key.isascii() or " " in key:
            raise ConfigError(
                f"{path}: key {number} must have at least {_SHORTEST_KEY} characters of ASCII "
                "without a space; make one by python -c 'import secrets; "
                "print(secrets.token_urlsafe())'"
            )
    return tuple(hashlib.sha256(key.encode()).digest() for key in keys)
