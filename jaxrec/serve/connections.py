"""The connections of a service that ends: none is closed on a request that is on its way.

Three kinds of requests are lost by a server that closes its port and its idle connections at once:

- *Not accepted yet.* The client has connected and sent its request, but the server has not picked
  the connection up. If the server closes its port now, the client gets an error and no answer.
- *Accepted, and silent.* The client has connected and is about to send.
- *Open since an earlier answer.* The client sends over it at the moment at which it is closed.

Clients repeat only requests that change nothing by the rules of HTTP, and no POST. So the port
first takes no more handshakes, everything that waits there is accepted, and a connection is closed
only after it was silent for a while.
"""

import asyncio
import contextlib
import ctypes
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

# Seconds for handshakes that have begun when the port takes no more of them.
SETTLE = 0.1
# Seconds of silence after which a connection is closed: one that has been answered before, and a
# new one, whose client has connected in order to send something.
QUIET, FIRST = 1.0, 5.0
_PAUSE = 0.02

# From asm-generic/socket.h.
_SO_ATTACH_FILTER = 26
# A program of the Berkeley packet filter: load the byte of TCP's flags; if it has SYN, take no byte
# of the packet, which drops it; else take all.
_DROP_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


def take_no_more(listener: socket.socket) -> bool:
    """Let a listening socket begin no more connections, and keep those that it has.

    A client that connects now is refused at its next attempt, when the socket is closed. This holds
    for all processes that share the socket.

    Args:
      listener: a socket that listens.

    Returns:
      Whether the system can do this; Linux can.

    Example:
      >>> with socket.create_server(("127.0.0.1", 0)) as listener:
      ...     take_no_more(listener) or sys.platform != "linux"
      True
    """
    if sys.platform != "linux":
        return False
    code = b"".join(struct.pack("HBBI", *line) for line in _DROP_SYN)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HL", len(_DROP_SYN), ctypes.addressof(buffer))
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError:
        # Some sandboxes have no filters. What is left is a moment of microseconds.
        return False
    return True


def take_waiting(listener: socket.socket) -> list[socket.socket]:
    """Accept all connections that wait at a port, and close it at once.

    Args:
      listener: a socket that listens.

    Example:
      >>> listener = socket.create_server(("127.0.0.1", 0))
      >>> with socket.create_connection(listener.getsockname()) as client:
      ...     (waiting,) = take_waiting(listener)
      ...     client.getsockname() == waiting.getpeername()
      True
      >>> waiting.close()
    """
    taken = []
    with listener:
        listener.setblocking(False)
        while True:
            try:
                taken.append(listener.accept()[0])
            except ConnectionAbortedError:
                continue
            except OSError:
                # There is none left, or the process may not open more files.
                break
    for connection in taken:
        connection.setblocking(False)
    return taken


async def stop_listening(
    servers: Iterable[Any], listeners: Iterable[socket.socket], make: Callable[[], Any], whole: bool
) -> None:
    """Close the port of a service, and accept what waits there.

    Args:
      servers: of the event loop, which accept from the listeners.
      listeners: sockets that listen.
      make: makes the protocol of a connection.
      whole: whether no other process goes on to listen at the port.
    """
    listeners = list(listeners)
    kept = [listener.dup() for listener in listeners] if whole else []
    for listener in kept:
        take_no_more(listener)
    await asyncio.sleep(SETTLE if whole else 0.0)
    for server in servers:
        server.close()
    for listener in listeners:
        listener.close()
    # The event loop closes its own copies in one of its next rounds.
    await asyncio.sleep(_PAUSE)
    loop = asyncio.get_running_loop()
    for listener in kept:
        for connection in take_waiting(listener):
            with contextlib.suppress(OSError):  # its client has gone
                await loop.connect_accepted_socket(make, connection)


async def close_quiet(
    connections: set[Any], seconds: float, stop: Callable[[], bool] = lambda: False
) -> None:
    """Close each connection once it is silent, and wait until all are closed.

    Args:
      connections: uvicorn's, which leave the set when they are closed.
      seconds: most seconds to wait.
      stop: whether to wait no longer.
    """
    began = time.monotonic()
    # When each connection was last seen to do something.
    active: dict[Any, float] = {}
    while connections and not stop() and time.monotonic() - began < seconds:
        now = time.monotonic()
        for connection in list(connections):
            if _busy(connection):
                active[connection] = now
                continue
            silent = now - active.setdefault(connection, now)
            if silent >= (FIRST if connection.cycle is None else QUIET):
                connection.shutdown()
        active = {one: since for one, since in active.items() if one in connections}
        await asyncio.sleep(_PAUSE)


def _busy(connection: Any) -> bool:
    """Whether a connection has a request, or bytes that nobody has read, or closes by itself."""
    if connection.transport.is_closing():
        return True
    if connection.cycle is not None and not connection.cycle.response_complete:
        return True
    poll = select.poll()
    poll.register(connection.transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))
