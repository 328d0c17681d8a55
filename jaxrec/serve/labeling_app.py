"""The labeling page over HTTP: one HTML file, and two calls that it makes.

    GET  /                       the page
    GET  /api/next?labeler=NAME  what to show next
    POST /api/answer             what the labeler said; the reply comes when it is on the disk

The service listens on this machine alone unless it is told otherwise. It has no passwords: whoever
reaches it can answer under any expected name.
"""

import errno
import json
import socket
from importlib import resources
from typing import Any

from jaxrec.core import ConfigError, DataError, ResourceError, quoted, unique_keys
from jaxrec.serve.labeling import Labeling

_LARGEST = 1 << 20
_ALL = ("0.0.0.0", "::")
_LOCAL = ("localhost", "127.0.0.1", "[::1]", "::1")
# Nothing is loaded from elsewhere, and the page cannot be put into a frame of another one.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def make_app(study: Labeling, host: str = "127.0.0.1") -> Any:
    """Make the ASGI application of a study.

    Args:
      study: what is asked.
      host: address at which the service listens. Requests to other names are refused, so that a
        page of another site cannot reach a service of this machine by a name of its own; an address
        such as 0.0.0.0 accepts all names.

    Raises:
      ConfigError: FastAPI is not installed.
    """
    try:
        from fastapi import FastAPI, Request
        from fastapi.responses import HTMLResponse, Response
        from starlette.middleware.trustedhost import TrustedHostMiddleware
    except ImportError as error:
        raise ConfigError(_missing(error)) from error
    page = resources.files(__package__).joinpath("labeling.html").read_text("utf-8")
    # The pages with which FastAPI documents itself load scripts from elsewhere.
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    names = ["*"] if host in _ALL else [*_LOCAL, host]
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=names, www_redirect=False)

    def reply(content: Any, status: int = 200) -> Response:
        # In ASCII: a text may hold half a character, which UTF-8 cannot encode.
        body = json.dumps(content, ensure_ascii=True)
        return Response(body, status, headers=_HEADERS, media_type="application/json")

    @app.get("/")
    async def show() -> HTMLResponse:
        return HTMLResponse(page, headers=_HEADERS)

    @app.get("/api/next")
    async def show_next(labeler: str = "") -> Response:
        try:
            return reply(study.next_task(labeler))
        except DataError as error:
            return reply({"error": str(error)}, 400)

    # Answers are taken one after the other: this function does not wait between check and write.
    @app.post("/api/answer")
    async def take(request: Request) -> Response:
        kind = request.headers.get("content-type", "").split(";")[0].strip()
        # A form of another site can send text, but not JSON.
        if kind != "application/json":
            return reply({"error": f"expected application/json, got {kind or 'nothing'}"}, 415)
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _LARGEST:
                return reply({"error": f"an answer has at most {_LARGEST} bytes"}, 413)
        try:
            study.save(_parse(body))
        except DataError as error:
            return reply({"error": str(error)}, 400)
        except ResourceError as error:
            return reply({"error": str(error)}, 507)
        return reply({"saved": True})

    return app


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the answer is not JSON ({error})") from error


def _missing(error: ImportError) -> str:
    return (
        f"the labeling page needs FastAPI and uvicorn ({error}); install them: pip install "
        "'jaxrec[serve]'"
    )


def serve(study: Labeling, host: str, port: int) -> None:
    """Serve a study until the process is interrupted.

    Args:
      study: what is asked.
      host: address at which to listen.
      port: at which to listen; 0 for any free one.

    Raises:
      ConfigError: FastAPI or uvicorn is not installed, or the address cannot be used.
    """
    app = make_app(study, host)
    try:
        import uvicorn
    except ImportError as error:
        raise ConfigError(_missing(error)) from error
    listener = listen(host, port)
    with listener:
        number = listener.getsockname()[1]
        name = "127.0.0.1" if host in _ALL else f"[{host}]" if ":" in host else host
        print(f"prompts: {len(study.tasks)}; feedback goes to {quoted(study.path)}")
        if host in _ALL:
            print("everybody who reaches this machine can answer, under its name in the address")
        print(f"open http://{name}:{number}/ (end with Ctrl-C)", flush=True)
        config = uvicorn.Config(app, log_level="warning", ws="none", lifespan="off")
        uvicorn.Server(config).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Open a socket that listens.

    Raises:
      ConfigError: the port is in use or not allowed, or the address is not of this machine.

    Example:
      >>> with listen("127.0.0.1", 0) as listener:
      ...     listener.getsockname()[0]
      '127.0.0.1'
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen()
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"cannot listen at --host {host} --port {port}: {error}; {_advice(error)}"
        ) from error
    return listener


def _advice(error: Exception) -> str:
    if isinstance(error, socket.gaierror) or getattr(error, "errno", 0) == errno.EADDRNOTAVAIL:
        return "give a --host of this machine, such as 127.0.0.1"
    return "choose another port, or 0 for any free one"
