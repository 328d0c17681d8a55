"""Many clients of a service in a process of their own: `http_load.py URL CLIENTS SECONDS MOST`.

Each client sends its next request as soon as it has its answer, over a connection that stays open.
Bodies come on standard input, one a line; client number c sends lines c, c + CLIENTS and so on, in
a circle. The answer on standard output is one JSON line: the seconds of each request, the number of
the line of each, the version and the items of each answer, the errors of requests that got no
answer, and when connections were refused, by the monotonic clock of the machine.

A client whose service closes the connection after an answer connects again, and ends when it is
refused. A request is lost if its connection was made and no whole answer came over it. A refused
connection has carried no request, so it is no loss, provided that the service had ended by then.
"""

import asyncio
import json
import sys
import time
import urllib.parse


async def client(host, port, lines, number, clients, until, most, found, refused):
    """Send requests until the time is over, enough were sent, or nobody listens."""
    place, writer = number, None
    while time.monotonic() < until and len(found) < most:
        if writer is None:
            try:
                reader, writer = await asyncio.open_connection(host, port, limit=1 << 24)
            except ConnectionRefusedError:
                refused.append(time.monotonic())
                return
        body = lines[place % len(lines)]
        head = (
            f"POST /v1/recommend HTTP/1.1\r\nHost: {host}:{port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        began = time.monotonic()
        writer.write(head.encode() + body)
        headers = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        length = next(int(x.split(b":")[1]) for x in headers if x.startswith(b"content-length"))
        answer = json.loads(await reader.readexactly(length))
        seconds = time.monotonic() - began
        lists = [[[one["item"], one["score"]] for one in row["items"]] for row in answer["lists"]]
        found.append((seconds, place % len(lines), answer["catalogue"], lists))
        place += clients
        if b"connection: close" in headers:
            writer.close()
            writer = None
    if writer is not None:
        writer.close()


async def main(url, clients, seconds, most):
    """Run all clients, and print what they found."""
    address = urllib.parse.urlsplit(url)
    lines = sys.stdin.buffer.read().splitlines()
    found, refused = [], []
    began = time.monotonic()
    until = began + seconds
    tasks = [
        client(address.hostname, address.port, lines, number, clients, until, most, found, refused)
        for number in range(clients)
    ]
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    lost = [repr(error)[:200] for error in ended if error is not None]
    record = {"seconds": time.monotonic() - began, "found": found, "lost": lost}
    print(json.dumps(record | {"refused": refused}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
