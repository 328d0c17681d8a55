"""Requests to a service that may be slow, busy or broken: a rate limit, time-outs and retries.

Retries follow the service's own `Retry-After` where it names one. Otherwise the waits double from
one attempt to the next, and each is shortened at random so that many callers do not come back at
the same moment ("full jitter" spreads them the most; half of the wait is kept here).
"""

import dataclasses
import hashlib
import importlib
import json
import threading
import time
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jaxrec.core import (
    ConfigError,
    Count,
    NotNegative,
    Positive,
    ResourceError,
    Whole,
    check_ranges,
)

# Answers that another attempt may turn into a useful one: HTTP's "request timeout", "conflict",
# "too early" and "too many requests". So may all from 500 on.
_AGAIN = (408, 409, 425, 429)
# Codes that a service sends with 429 when waiting does not help.
_FINAL = ("insufficient_quota", "billing_hard_limit_reached")


class ServiceError(ResourceError):
    """A service refuses a request, or does not answer after all attempts.

    Attributes:
      answered: what the service did answer in the same call, by question: a text, or a text with
        its continuation. A `StoredModel` keeps these answers.

    Example:
      >>> from jaxrec.prompting import ServiceError
      >>> str(ServiceError("the service does not answer"))
      'the service does not answer'
    """

    answered: Mapping[Any, Any] = types.MappingProxyType({})


@dataclasses.dataclass(frozen=True, kw_only=True)
class RequestOptions:
    """How requests are sent.

    Attributes:
      timeout: seconds until an attempt without a complete answer is given up.
      retries: further attempts after the first one fails.
      backoff: seconds before the first retry; each further one waits twice as long.
      longest_wait: most seconds between two attempts.
      per_minute: most requests a minute; None for no limit.
      at_once: requests that wait for their answers at the same time.

    Raises:
      ConfigError: a value out of range.

    Example:
      >>> RequestOptions(per_minute=30).retries
      5
    """

    timeout: Positive = 60.0
    retries: Whole = 5
    backoff: NotNegative = 1.0
    longest_wait: Positive = 60.0
    per_minute: Positive | None = None
    at_once: Count = 4

    def __post_init__(self) -> None:
        check_ranges(self, "requests.")


class Requester:
    """Sends requests with the client of `openai`, in any number of threads.

    Args:
      options: how they are sent.
      clock: the time in seconds.
      sleep: waits so many seconds.
    """

    def __init__(
        self,
        options: RequestOptions,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._options, self._clock, self._sleep = options, clock, sleep
        self._lock, self._next = threading.Lock(), clock()

    def send(self, create: Callable[..., Any], request: Mapping[str, Any]) -> Any:
        """Send a request until it is answered.

        Args:
          create: a raw method of the client, such as
            `client.completions.with_raw_response.create`.
          request: its arguments.

        Returns:
          The answer as a JSON value; a string if it is no JSON.

        Raises:
          ConfigError: the prompt is too long for the service's model.
          ServiceError: the service refuses the request, or all attempts fail.
        """
        import openai

        for attempt in range(self._options.retries + 1):
            self._take_turn()
            try:
                text = create(**request).http_response.text
            except openai.APIStatusError as error:
                wait = self._wait_after(error, attempt, request)
                reason: Exception = error
            except openai.APIConnectionError as error:
                wait, reason = self._backoff(attempt, request), error
            else:
                try:
                    return json.loads(text)
                except ValueError:
                    return text
            if attempt < self._options.retries:
                self._sleep(wait)
        address = getattr(getattr(reason, "request", None), "url", "the service")
        raise ServiceError(
            f"no answer from {address} after {self._options.retries + 1} attempts; the last one "
            f"failed with {type(reason).__name__}: {reason}; check the address, try again later, "
            "or raise retries or timeout"
        ) from reason

    def _take_turn(self) -> None:
        """Wait until the rate limit allows another request."""
        if self._options.per_minute is None:
            return
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + 60.0 / self._options.per_minute
        if turn > now:
            self._sleep(turn - now)

    def _wait_after(self, error: Any, attempt: int, request: Mapping[str, Any]) -> float:
        """Return how long to wait before another attempt; raise if none can help."""
        status, code = error.status_code, str(getattr(error, "code", None))
        if code == "context_length_exceeded":
            raise ConfigError(
                f"a prompt is too long for {request['model']}: {error}; shorten it, such as by "
                "fewer demonstrations, or ask for fewer tokens"
            ) from error
        if code in _FINAL or not (status in _AGAIN or status >= 500):
            raise ServiceError(
                f"the service refuses the request with status {status}: {error}; check the "
                "address, the key, the model's name and the options"
            ) from error
        named = _seconds(error.response.headers.get("retry-after"))
        wait = self._backoff(attempt, request) if named is None else named
        return min(wait, self._options.longest_wait)

    def _backoff(self, attempt: int, request: Mapping[str, Any]) -> float:
        wait = min(self._options.backoff * 2.0**attempt, self._options.longest_wait)
        # Drawn from the request, so that no state is shared among threads.
        digest = hashlib.sha256(f"{attempt} {request}".encode(errors="surrogatepass")).digest()
        return wait * (0.5 + digest[0] / 510)


def deadline_hooks(seconds: float) -> dict[str, list[Callable[[Any], None]]]:
    """Hooks of an HTTP client that end an answer which arrives too slowly as a time-out.

    The time-out of the client itself begins anew with every byte, so a service that sends one byte
    now and then would be waited for without end.

    Args:
      seconds: from the request to the end of its answer.

    Returns:
      `event_hooks` of `openai.DefaultHttpxClient`.
    """

    def begin(request: Any) -> None:
        request.extensions["jaxrec_deadline"] = time.monotonic() + seconds

    def limit(response: Any) -> None:
        stream, deadline = response.stream, response.request.extensions["jaxrec_deadline"]
        # Of the library httpx, or of the one that newer versions of openai use.
        library = importlib.import_module(type(response).__module__.partition(".")[0])

        def pieces(_: Any) -> Iterator[bytes]:
            for piece in stream:
                yield piece
                if time.monotonic() > deadline:
                    raise library.ReadTimeout(
                        f"the answer was not complete after {seconds} seconds",
                        request=response.request,
                    )

        kind = type(stream)
        timed: Any = object.__new__(type(kind.__name__, (kind,), {"__iter__": pieces}))
        timed.__dict__.update(stream.__dict__)
        response.stream = timed

    return {"request": [begin], "response": [limit]}


def _seconds(header: str | None) -> float | None:
    """Read `Retry-After` as a number of seconds; None for its other form, a date."""
    try:
        value = float(header or "")
    except ValueError:
        return None
    return value if value >= 0 else None


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Reject a value that is not allowed.

    Raises:
      ConfigError: it is not.
    """
    if value not in allowed:
        raise ConfigError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
