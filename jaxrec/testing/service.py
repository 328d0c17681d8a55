"""A small HTTP server in place of a service, which answers, fails and lies as a test wants."""

import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def scripted_service(
    answer: Callable[[Any, int], Any],
) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Serve JSON on a free port of this machine until the block ends.

    Args:
      answer: maps the body of a request and its number, from 0, to a body, (status, body) or
        (status, body, headers). A body is a JSON value, or a string that is sent as it is. None
        closes the connection without an answer.

    Yields:
      The address, such as "http://127.0.0.1:5000/v1", and the list of the requests so far: path and
      body of each.

    Example:
      >>> import urllib.request
      >>> echo = scripted_service(lambda body, number: {"said": body, "number": number})
      >>> with echo as (url, asked):
      ...     request = urllib.request.Request(url + "/chat", data=b'{"a": 1}')
      ...     with urllib.request.urlopen(request) as reply:
      ...         print(reply.read().decode(), asked)
      {"said": {"a": 1}, "number": 0} [('/v1/chat', {'a': 1})]
    """
    asked: list[tuple[str, Any]] = []
    lock = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                asked.append((self.path, request))
                number = len(asked) - 1
            made = answer(request, number)
            if made is None:
                return
            status, body, *headers = made if isinstance(made, tuple) else (200, made)
            text = (body if isinstance(body, str) else json.dumps(body)).encode()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.send_response(status)
                for name, value in (headers[0] if headers else {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
