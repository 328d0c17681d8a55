"""The process of a service: it listens, and it ends without losing a request.

After SIGTERM or Ctrl-C the service is not ready any more, so that no new clients are sent to it. It
answers what still comes for a moment and closes each connection after its answer. Then it stops
listening, answers what has arrived until all connections are silent, see `connections`, and ends
with exit code 0. A second signal ends it at once.
"""

import dataclasses
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import uvicorn

from jaxrec.core import NotNegative, Positive, check_ranges
from jaxrec.serve.app import ServiceState
from jaxrec.serve.connections import close_quiet, stop_listening
from jaxrec.serve.gate import describe


@dataclasses.dataclass(frozen=True)
class DrainOptions:
    """How a service ends.

    Attributes:
      delay: seconds between the signal and the end of listening.
      seconds: most seconds that requests may take to finish after that.

    Raises:
      ConfigError: a number out of range.

    Example:
      >>> DrainOptions(seconds=10.0).delay
      0.5
    """

    delay: NotNegative = 0.5
    seconds: Positive = 60.0

    def __post_init__(self) -> None:
        check_ranges(self, "drain.")


class JsonFormatter(logging.Formatter):
    """Writes what uvicorn logs as JSON lines, like those of requests.

    Example:
      >>> record = logging.LogRecord("uvicorn", logging.WARNING, "", 0, "no %s", ("way",), None)
      >>> json.loads(JsonFormatter().format(record))["message"]
      'no way'
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; of an exception only its type and place, as it may quote a prompt."""
        line = {"time": round(record.created, 3), "event": record.levelname.lower()}
        line["message"] = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = describe(record.exc_info[1])
        return json.dumps(line)


_LOGS: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": f"{__name__}.{JsonFormatter.__name__}"}},
    "handlers": {"json": {"class": "logging.StreamHandler", "formatter": "json"}},
    "loggers": {"uvicorn": {"handlers": ["json"], "level": "WARNING", "propagate": False}},
}


class ServiceServer(uvicorn.Server):
    """A uvicorn server that drains.

    Args:
      app: the ASGI application.
      state: of the service.
      drain: how it ends.
      whole: says, when it ends, whether no other process goes on to listen at its port.

    Example:
      >>> from jaxrec.serve import ServiceState, make_service
      >>> state = ServiceState(lambda: True)
      >>> server = ServiceServer(make_service([], state), state)
      >>> server.end()
      >>> state.ready
      False
    """

    def __init__(
        self,
        app: Any,
        state: ServiceState,
        drain: DrainOptions = DrainOptions(),
        whole: Callable[[], bool] = lambda: True,
    ) -> None:
        config = uvicorn.Config(
            app,
            log_config=_LOGS,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            lifespan="off",
            timeout_keep_alive=30,
        )
        super().__init__(config)
        self._state, self._drain, self._whole = state, drain, whole

    def end(self) -> None:
        """Begin to end; the second call ends at once."""
        if self._state.ending:
            self.should_exit = self.force_exit = True
            return
        self._state.ending = True
        timer = threading.Timer(self._drain.delay, self._stop_listening)
        timer.daemon = True
        timer.start()

    def _stop_listening(self) -> None:
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Say whether to end; a service that can never answer ends by itself."""
        return bool(await super().on_tick(counter)) or self._state.failed

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and answer everything that has arrived."""
        began, config = time.monotonic(), self.config

        def make() -> Any:
            protocol: Any = config.http_protocol_class
            return protocol(
                config=config, server_state=self.server_state, app_state=self.lifespan.state
            )

        whole = self._state.ending and self._whole()
        await stop_listening(self.servers, sockets or [], make, whole)
        await close_quiet(
            self.server_state.connections, self._drain.seconds, lambda: self.force_exit
        )
        left = self._drain.seconds - (time.monotonic() - began)
        # It is a whole number there; a fraction of a second may be added.
        config.timeout_graceful_shutdown = max(1, round(left))
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Answer a signal; uvicorn would raise it again at the end, and the exit code be its."""
        self.end()


def run_service(
    app: Any,
    state: ServiceState,
    listener: socket.socket,
    drain: DrainOptions = DrainOptions(),
    whole: Callable[[], bool] = lambda: True,
) -> None:
    """Serve until a signal comes.

    Args:
      app: from `make_service`.
      state: of the service.
      listener: a socket that listens, from `listen`.
      drain: how it ends.
      whole: see `ServiceServer`.
    """
    server = ServiceServer(app, state, drain, whole)
    with listener:
        server.run(sockets=[listener])
