"""Fifty readers of the stream, one of them stalled, while orders come in: nobody misses one, and memory stays.

`ECOMLIB_EVENTS=100000 make test TESTS=tests/endurance/test_webhook_memory.py` is the whole measurement; every run does
a tenth of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
import threading
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from ecomlib.log import FileLog
from ecomlib.shop import TOPIC
from tests.support.webhook import Process, wait_until

EVENTS = int(os.environ.get("ECOMLIB_EVENTS", "10000"))
# Bytes: 50 MB over 100,000 events. Over fewer, what does not depend on their number (buffers, threads) weighs more.
ALLOWED = 50_000_000 if EVENTS >= 100_000 else 500 * EVENTS + 8_000_000
WARM_UP = 6_000  # events: until then Python's and SQLite's caches, the ring and the threads fill
READERS = 50
CLIENTS = 4
LIMIT = 600.0  # seconds
needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc: run on Linux")


def memory(server: Process) -> int:
    """Bytes that are really in use."""
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def connect(server: Process) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port_of(server)), timeout=60)


def port_of(server: Process) -> int:
    return int(server.url.rpartition(":")[2])


def report(server: Process, numbers: range, failed: list[str]) -> None:
    """Three reports an order: created, paid, shipped. With an email and an SMS they make five events."""
    with closing(connect(server)) as connection, connection.makefile("rb") as answers:
        for number in numbers:
            order, stage = divmod(number, 3)
            said = {"order_id": order, "status": ("created", "paid", "shipped")[stage], "amount": "49.90"}
            body = json.dumps({**said, "user_id": 1000 + order % 400}).encode()
            head = (
                f"POST /webhook/order HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                f"Idempotency-Key: delivery-{number}\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            connection.sendall(head.encode() + body)
            status = answers.readline()
            length = 0
            while (line := answers.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            answer = answers.read(length)
            if b" 202 " not in status:
                failed.append(f"{number}: {status!r} {answer!r}")
                return


def send(server: Process, first: int, after: int) -> None:
    failed: list[str] = []
    parts = [range(first + n, after, CLIENTS) for n in range(CLIENTS)]
    threads = [threading.Thread(target=report, args=(server, part, failed)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert failed == []


async def read(server: Process, end: int, ids: list[int]) -> None:
    """Leaves the ids that one reader is given in `ids`, up to `end`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 0\r\n\r\n")
    rest = b""
    while not ids or ids[-1] < end - 1:
        block = await reader.read(1 << 20)
        assert block, f"The stream ended after {len(ids)} events."
        rest += block
        whole = rest.rfind(b"\n") + 1
        ids += map(int, re.findall(rb"^id: (\d+)$", rest[:whole], re.MULTILINE))
        rest = rest[whole:]
    writer.close()


@needs_proc
def test_fifty_readers_one_of_them_stalled_miss_nothing_and_memory_stays(tmp_path: Path) -> None:
    with Process(tmp_path, durability="system") as served:
        measure(served)


def measure(served: Process) -> None:
    requests, warm = EVENTS * 3 // 5 // 3 * 3, WARM_UP * 3 // 5
    send(served, 0, warm)
    end = (warm + requests) * 5 // 3
    stalled = connect(served)
    stalled.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 0\r\n\r\n")  # and it never reads

    found: list[list[int]] = [[] for _ in range(READERS - 1)]

    async def read_all() -> None:
        await asyncio.gather(*(read(served, end, ids) for ids in found))

    readers = threading.Thread(target=lambda: asyncio.run(read_all()))
    readers.start()
    with FileLog(served.log) as log:
        wait_until(lambda: all(len(ids) == log.end(TOPIC) - 1 == warm * 5 // 3 - 1 for ids in found))
        before = memory(served)
        send(served, warm, warm + requests)
        readers.join(LIMIT)
        grown = memory(served) - before
        assert log.end(TOPIC) == end
    assert all(ids == list(range(1, end)) for ids in found)
    with httpx.Client(base_url=served.url) as client:
        wait_until(lambda: "\necomlib_dropped_readers_total 1.0\n" in client.get("/metrics").text)
    stalled.close()
    assert grown < ALLOWED, f"{grown / EVENTS:.0f} bytes an event"
    sys.stdout.write(f"{grown / 1e6:.1f} MB over {EVENTS} events, {memory(served) / 1e6:.0f} MB in all\n")
