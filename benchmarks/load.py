"""Senders of order reports, in a process of their own: `python -m benchmarks.load PORT CONNECTIONS COUNT NAME KIND`.

Each connection sends its next report when it has its answer. Prints how many answers came in a second. It is plain
sockets, so that it costs little beside the server: the machine may have two cores.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from collections.abc import Iterator

PATH = "/webhook/order"
HEAD_END = b"\r\n\r\n"
LIMIT = 30.0  # seconds without any answer


def reports(count: int, name: str, kind: str) -> Iterator[bytes]:
    """What a marketplace tells, as the README and lesson 5 send it: unsigned, and each report with a key of its own.

    Of "parcels" that were shipped and delivered no customer is told; for each of the new "orders" goes out an email.
    """
    for n in range(count):
        said: dict[str, object] = {"order_id": f"{name}-{n // 2}", "status": ("shipped", "delivered")[n % 2]}
        if kind == "orders":
            said = {"order_id": f"{name}-{n}", "status": "created", "amount": "49.90"}
        body = json.dumps(said | {"user_id": 100 + n % 900}).encode()
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: marketplace/1\r\nAccept: */*\r\n"
            f"Content-Type: application/json\r\nIdempotency-Key: {name}-{n}\r\nContent-Length: {len(body)}"
        )
        yield head.encode() + HEAD_END + body


class Connection:
    """Sends, and puts together what comes back."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), LIMIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._got = b""

    def send(self, request: bytes) -> None:
        self._got = b""
        self.socket.sendall(request)

    def answered(self) -> bool:
        """Call it when there is something to read. Raises `ConnectionError` for every other answer than 2xx."""
        some = self.socket.recv(65_536)
        self._got += some
        head, end, body = self._got.partition(HEAD_END)
        if not some or (end and not head.startswith(b"HTTP/1.1 2")):
            raise ConnectionError(f"No yes came, but: {self._got.decode() or 'nothing'}")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
        return bool(end) and len(body) == int(length)


def send_all(port: int, connections: int, requests: list[bytes]) -> float:
    """Returns the answers a second."""
    selector = selectors.DefaultSelector()
    for _ in range(min(connections, len(requests))):
        connection = Connection(port)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    waiting = iter(requests)
    began = time.perf_counter()
    for key in list(selector.get_map().values()):
        key.data.send(next(waiting))
    while selector.get_map():
        ready = selector.select(LIMIT)
        if not ready:
            raise TimeoutError(f"No answer came in {LIMIT:g} s.")
        for key, _ in ready:
            if key.data.answered():
                request = next(waiting, None)
                if request is None:
                    selector.unregister(key.data.socket)
                    key.data.socket.close()
                else:
                    key.data.send(request)
    return len(requests) / (time.perf_counter() - began)


if __name__ == "__main__":
    port, connections, count, name, kind = sys.argv[1:]
    sys.stdout.write(f"{send_all(int(port), int(connections), list(reports(int(count), name, kind)))}\n")
