"""Errors of requests, in the form of OpenAI's service, and bodies of requests as JSON."""

import asyncio
import collections
import functools
import json
from typing import Any

from jaxrec.core import JaxrecError, shown_value

# Bodies of fewer bytes are parsed at once.
_SMALL = 1 << 16


class RequestError(JaxrecError):
    """A request that cannot be answered.

    Attributes:
      status: of HTTP.
      param: which parameter is wrong; None if it is none.
      code: a word for programs, such as "context_length_exceeded"; None for none.
      headers: of the answer.

    Example:
      >>> RequestError("n must be at least 1, got 0", param="n").body()["error"]["param"]
      'n'
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """Return the body of the answer."""
        kinds = {401: "authentication_error", 429: "rate_limit_error"}
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {
            "error": {
                "message": str(self),
                "type": kinds.get(self.status, kind),
                "param": self.param,
                "code": self.code,
            }
        }


def to_body(content: Any) -> bytes:
    r"""Write JSON in ASCII: a text may hold half a character, which UTF-8 cannot encode.

    Example:
      >>> to_body({"text": "é"})
      b'{"text":"\\u00e9"}'
    """
    return json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()


async def read_body(request: Any, most: int, seconds: float) -> dict[str, Any]:
    """Read the JSON object in the body of a request.

    Args:
      request: of Starlette.
      most: most bytes.
      seconds: most seconds until the body has arrived.

    Raises:
      RequestError: another type of content, too many bytes, a client that is too slow, or no JSON
        object; the message says which.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    # A form of another site can send text to a service of this machine, but not JSON.
    if kind != "application/json":
        raise RequestError(
            f"the content type must be application/json, got {shown_value(kind)}; set the header "
            "Content-Type",
            status=415,
        )
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity":
        raise RequestError(
            f"the body must not be compressed, got Content-Encoding {shown_value(coding)}",
            status=415,
        )
    too_long = RequestError(
        f"the body of a request has at most {most} bytes; send fewer or shorter prompts",
        status=413,
        code="body_too_large",
    )
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length[:20]) > most:
        raise too_long
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                body += part
                if len(body) > most:
                    raise too_long
    except TimeoutError as error:
        raise RequestError(
            f"the body did not arrive within {seconds:g} seconds", status=408
        ) from error
    if len(body) < _SMALL:
        return parse_body(bytes(body))
    # Other requests go on meanwhile.
    return await asyncio.to_thread(parse_body, bytes(body))


def parse_body(body: bytes, what: str = "the body") -> dict[str, Any]:
    """Parse a JSON object strictly: no NaN, no infinity, no name twice.

    Args:
      body: in UTF-8.
      what: what messages call it.

    Raises:
      RequestError: what is wrong, without a part of the body.

    Example:
      >>> parse_body(b'{"n": 1}')
      {'n': 1}
    """
    try:
        value = json.loads(
            body.decode(),
            parse_constant=functools.partial(_no_constant, what),
            object_pairs_hook=functools.partial(_object, what),
        )
    except RecursionError as error:
        raise RequestError(f"{what} is JSON of too many levels; send a flatter one") from error
    except json.JSONDecodeError as error:
        raise RequestError(
            f"{what} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except UnicodeDecodeError as error:
        raise RequestError(f"{what} is not UTF-8: {error.reason} at byte {error.start}") from error
    except ValueError as error:
        # A whole number of thousands of digits; Python's message advises how to allow it.
        raise RequestError(f"{what} has a number with too many digits") from error
    if not isinstance(value, dict):
        raise RequestError(f"{what} must be a JSON object, got {type(value).__name__}")
    return value


def _no_constant(what: str, name: str) -> Any:
    raise RequestError(f"{what} has the number {name}, which JSON does not have")


def _object(what: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        counts = collections.Counter(name for name, _ in pairs)
        twice = counts.most_common(1)[0][0]
        raise RequestError(f"{what} has the name {shown_value(twice)} twice in one object")
    return made
