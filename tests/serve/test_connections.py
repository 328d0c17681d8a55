"""A service that ends answers every request that has reached it, and closes what is silent."""

import asyncio
import errno
import select
import socket
import sys
import threading

import pytest

pytest.importorskip("uvicorn", reason="needs the extra serve")
pytest.importorskip("prometheus_client", reason="needs the extra serve")

from jaxrec.serve import (
    DrainOptions,
    ServiceServer,
    ServiceState,
    connections,
    listen,
    make_service,
)

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def loops():
    found = [asyncio.new_event_loop]
    try:
        import uvloop
    except ImportError:
        return found
    return [*found, uvloop.new_event_loop]


@pytest.fixture(params=loops(), ids=lambda make: make.__module__.split(".")[0])
def ended(request, monkeypatch):
    """Return what runs a scene with a server and its listener, in one event loop."""
    monkeypatch.setattr(connections, "QUIET", 0.4)
    monkeypatch.setattr(connections, "FIRST", 0.4)

    def run(scene):
        async def main():
            state = ServiceState(lambda: True)
            server = ServiceServer(make_service([], state), state, DrainOptions(0.0, 20.0))
            server.config.load()
            server.lifespan = server.config.lifespan_class(server.config)
            with listen("127.0.0.1", 0) as listener:
                await server.startup([listener])
                state.ending = True
                address = listener.getsockname()
                await scene(server, listener)
                await server.shutdown([listener])
            # Whoever comes later is refused at once.
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address, timeout=10)

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main())

    return run


def connect(listener):
    """Connect without the event loop, which therefore does not accept."""
    return socket.create_connection(listener.getsockname(), timeout=20)


def answer(client):
    """Read until the server closes the connection; b"" if it does so without an answer."""
    found = b""
    with client:
        while part := client.recv(1 << 16):
            found += part
    return found


def answered(client):
    found = answer(client)
    head, _, body = found.partition(b"\r\n\r\n")
    return b" 200 OK" in head and b"connection: close" in head and body == b'{"status":"ok"}'


def test_what_waits_at_the_port_is_answered(ended):
    clients = []

    async def scene(server, listener):
        # Nothing is awaited from here to the shutdown, so that nobody accepts.
        for _ in range(40):
            clients.append(connect(listener))
            clients[-1].sendall(REQUEST)

    ended(scene)
    assert [answered(client) for client in clients] == [True] * 40


def test_a_client_that_has_connected_may_send_a_moment_later(ended):
    clients = []

    async def scene(server, listener):
        clients.append(connect(listener))
        while not server.server_state.connections:
            await asyncio.sleep(0)
        clients.append(connect(listener))  # waits at the port
        for client in clients:
            asyncio.get_running_loop().call_later(0.2, client.sendall, REQUEST)

    ended(scene)
    assert [answered(client) for client in clients] == [True] * 2


def test_a_request_over_an_open_connection_is_answered(ended):
    clients = []

    async def scene(server, listener):
        server._state.ending = False
        for _ in range(2):
            clients.append(connect(listener))
            clients[-1].sendall(REQUEST)
        for client in clients:
            first = await asyncio.to_thread(client.recv, 1 << 16)
            assert b" 200 OK" in first and b"connection: close" not in first
        server._state.ending = True
        # One has been sent and not read, the other comes after the port is closed.
        clients[0].sendall(REQUEST)
        asyncio.get_running_loop().call_later(0.3, clients[1].sendall, REQUEST)

    ended(scene)
    assert [answered(client) for client in clients] == [True] * 2


def test_silent_connections_are_closed(ended):
    clients = []

    async def scene(server, listener):
        clients.extend(connect(listener) for _ in range(3))
        clients[0].sendall(b"GET /heal")  # and no more
        clients[1].close()

    ended(scene)
    assert answer(clients[0]) == answer(clients[2]) == b""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's filters")
def test_a_port_that_takes_no_more_keeps_what_it_has():
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    with socket.create_connection(address) as early, socket.socket() as late:
        assert connections.take_no_more(listener)
        late.setblocking(False)
        with pytest.raises(BlockingIOError):
            late.connect(address)
        (kept,) = connections.take_waiting(listener)
        with kept:
            early.sendall(b"x")
            kept.setblocking(True)
            assert kept.recv(1) == b"x"
        # Its handshake begins again after a second, and nobody listens.
        _, (known,), _ = select.select([], [late], [], 30)
        assert known.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


def test_one_of_several_processes_ends_alone():
    shared = socket.create_server(("127.0.0.1", 0))

    async def main():
        own = shared.dup()
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, sock=own)
        await connections.stop_listening([server], [own], asyncio.Protocol, whole=False)

    asyncio.run(main())
    shared.setblocking(True)  # the event loop has changed this for all copies
    # The others still take connections.
    thread = threading.Thread(target=lambda: shared.accept()[0].close())
    thread.start()
    with shared, socket.create_connection(shared.getsockname(), timeout=20) as client:
        assert client.recv(1) == b""
        thread.join()
