"""The stream of events as its readers see it, by HTTP, from a server in a thread or in a process of its own."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any
from zlib import crc32

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request

from ecomlib import live
from ecomlib.errors import NotALog
from ecomlib.events import Event
from ecomlib.log import FileLog
from ecomlib.ports import Record
from ecomlib.services.analytics import Analytics
from ecomlib.shop import TOPIC, Shop, replayed
from ecomlib.web import problems
from ecomlib.web.feed import Feed
from ecomlib.web.problems import Problem

LIMIT = 30.0  # seconds, for a machine that is busy with something else
SOON = 5.0  # seconds, the same: what is meant is two, and what went wrong would take ten or sixty
Frame = dict[str, str]


def app_for(log: FileLog, feed: Feed) -> FastAPI:
    """No more of the server than a live page needs."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        following = asyncio.create_task(feed.run())
        yield
        feed.close()
        await following

    def allowed(request: Request) -> None:
        if "wrong" in (request.headers.get("authorization", ""), request.cookies.get("token")):
            raise Problem(401, "The token is wrong.")

    app = FastAPI(lifespan=lifespan)
    problems.install(app)
    app.include_router(live.router(feed, allowed))

    @app.get("/analytics")
    def totals() -> dict[str, int | str]:
        try:
            return replayed(log).totals()
        except NotALog:  # not yet: the first event makes it, and its folder is there before its topic is
            return Analytics().totals()

    return app


class Server:
    """A feed of a log, served in a thread. What uvicorn says on its way is in `said`."""

    def __init__(self, log: FileLog, **limits: Any) -> None:
        self.log, self.feed = log, Feed(log, TOPIC, **limits)
        config = uvicorn.Config(app_for(log, self.feed), port=0, log_config=None, timeout_graceful_shutdown=20)
        self._uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._uvicorn.run)

    def __enter__(self) -> Server:
        self._thread.start()
        wait_until(lambda: self._uvicorn.started)
        self.port = self._uvicorn.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> float:
        """How many seconds it took."""
        began = time.monotonic()
        self.feed.close()
        self._uvicorn.should_exit = True
        self._thread.join(LIMIT)
        assert not self._thread.is_alive()
        return time.monotonic() - began

    def untaken(self) -> int:
        """Bytes that readers have not taken, beside those that the system keeps for them."""
        return sum(
            connection.transport.get_write_buffer_size() for connection in self._uvicorn.server_state.connections
        )

    @contextmanager
    def reading(self, query: str = "", **headers: str) -> Iterator[Iterator[Frame]]:
        with httpx.stream("GET", f"{self.url}/events{query}", headers=headers, timeout=LIMIT) as answer:
            assert answer.status_code == 200, answer.read()
            yield frames(answer.iter_lines())

    def read(self, many: int, query: str = "", **headers: str) -> list[Frame]:
        with self.reading(query, **headers) as found:
            return [*islice(found, many)]

    def stalled(self, query: str = "") -> socket.socket:
        """A reader that asks, and never takes what it is sent."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", self.port))
        connection.sendall(f"GET /events{query} HTTP/1.1\r\nHost: shop\r\n\r\n".encode())
        return connection


def frames(lines: Iterable[str]) -> Iterator[Frame]:
    """The events of a stream; a comment or the time to wait is none."""
    frame: Frame = {}
    deadline = time.monotonic() + LIMIT
    for line in lines:
        assert time.monotonic() < deadline, "the stream says nothing but that it is alive"
        name, _, value = line.partition(": ")
        if name in ("id", "id:", "event", "data"):
            frame[name.rstrip(":")] = value
        elif not line and frame:
            yield frame
            frame = {}


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, "it has not come to pass"
        threading.Event().wait(0.005)


def happened(first: int, many: int, *, padding: int = 0) -> list[Event]:
    return [Event("order.shipped", {"order_id": n, "note": "x" * padding}) for n in range(first, first + many)]


def ids(found: Iterable[Frame]) -> list[int]:
    return [int(frame["id"]) for frame in found]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[FileLog]:
    with FileLog(tmp_path / "log", durability="system") as log:
        yield log


@pytest.fixture
def server(log: FileLog) -> Iterator[Server]:
    with Server(log) as server:
        yield server


@pytest.fixture
def unheard(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a test does to the readers, uvicorn and asyncio find nothing to complain of."""
    yield
    assert not [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.WARNING]


def test_a_frame_is_the_logs_offset_and_the_event_on_one_line(log: FileLog, server: Server) -> None:
    event = Event("coffee.spilled", {"text": "one\ntwo\r\nüß \u2028 <b>"})
    with httpx.stream("GET", f"{server.url}/events", timeout=LIMIT) as answer:
        log.append(TOPIC, event)
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-accel-buffering"] == "no"
        text = b""
        for piece in answer.iter_raw():
            text += piece
            if text.endswith(b"}\n\n"):
                break
    assert text == b"retry: 1000\n\nid: 0\ndata: " + event.to_json().encode() + b"\n\n"
    assert Event.from_json(text.partition(b"data: ")[2]) == event


def test_a_shops_events_arrive_whoever_else_has_the_log_open(log: FileLog, server: Server) -> None:
    with server.reading() as found:  # there is no log at all yet
        wait_until(lambda: server.feed.readers)
        with Shop(log.folder) as shop:
            shop.story()
        types = [json.loads(frame["data"])["type"] for frame in islice(found, 6)]
    assert types == [record.event.type for record in log.read(TOPIC)]


@pytest.mark.parametrize(
    ("query", "headers", "first"),
    [
        ("", {"Last-Event-ID": "6"}, 7),
        ("?after=4", {}, 5),
        ("?after=1&last=3", {"Last-Event-ID": "6"}, 7),  # the header is the browser's: it knows best
        ("?after=1&last=3", {}, 2),
        ("?last=3", {}, 7),
        ("?last=1000", {}, 0),
        ("?last=0", {}, 10),
        ("", {}, 10),
        ("", {"Last-Event-ID": "9"}, 10),
    ],
)
def test_a_reader_begins_where_it_asks_to(query: str, headers: dict[str, str], first: int, log: FileLog) -> None:
    log.append(TOPIC, *happened(0, 10))
    with Server(log) as server, server.reading(query, **headers) as found:
        wait_until(lambda: server.feed.readers and server.feed.log_end == 10)
        log.append(TOPIC, *happened(10, 2))
        assert ids(islice(found, 12 - first)) == [*range(first, 12)]


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "", " 1", "٣", "1" * 19])
def test_an_offset_that_is_none_is_refused(text: str, server: Server) -> None:
    given: list[dict[str, Any]] = [{"params": {"after": text}}, {"params": {"last": text}}]
    if text.isascii() and text:  # an empty header means none, as the specification of event streams has it
        given.append({"headers": {"Last-Event-ID": text}} if text.strip() == text else {"params": {"last": "1001"}})
    for asked in given:
        answer = httpx.get(f"{server.url}/events", timeout=LIMIT, **asked)
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"
        detail = answer.json()["detail"]
        assert re.fullmatch(r"(Last-Event-ID|after|last) is a whole number from 0 to \d+, not .*\.", detail)


def test_an_id_beyond_the_log_means_that_it_is_another_log(log: FileLog, server: Server) -> None:
    log.append(TOPIC, *happened(0, 5))
    first, *others = server.read(6, **{"Last-Event-ID": "5"})
    assert first["event"] == "reset"
    assert first["id"] == ""  # so that a browser forgets the old one
    assert ids(others) == [0, 1, 2, 3, 4]
    first, *others = server.read(3, "?last=2&after=100")
    assert first["event"] == "reset"
    assert ids(others) == [3, 4]


def test_a_log_that_is_replaced_while_readers_listen(log: FileLog, server: Server) -> None:
    log.append(TOPIC, *happened(0, 5))
    with server.reading("?last=1") as found:
        assert ids(islice(found, 1)) == [4]
        with FileLog(log.folder.parent / "other", durability="system") as other:
            other.append(TOPIC, *happened(100, 2))
        os.replace(log.folder.parent / "other" / TOPIC / "0.log", log.folder / TOPIC / "0.log")
        reset, last = islice(found, 2)
        assert reset["event"] == "reset"
        assert json.loads(last["data"])["subject"] == "101"


def test_a_reader_that_is_further_back_than_the_ring_reads_from_the_log(log: FileLog) -> None:
    with Server(log, keep=5) as server:
        wait_until(lambda: server.feed.log_end == 0)
        for first in range(0, 3000, 500):
            log.append(TOPIC, *happened(first, 500))
        with server.reading("?after=0") as found:
            assert ids(islice(found, 2999)) == [*range(1, 3000)]
            log.append(TOPIC, *happened(3000, 20))  # more than the ring holds
            assert ids(islice(found, 20)) == [*range(3000, 3020)]


class Listener:
    """Makes a feed believe that somebody reads."""

    def hurry(self) -> None:
        pass


def test_where_nobody_listens_no_event_is_read_and_who_comes_has_all(log: FileLog, monkeypatch: Any) -> None:
    read = log.read
    starts: list[int] = []

    def counted(topic: str, start: int = 0, **more: Any) -> Iterator[Record]:
        starts.append(start)
        return read(topic, start, **more)

    monkeypatch.setattr(log, "read", counted)
    with Server(log) as server:
        wait_until(lambda: server.feed.log_end == 0)
        log.append(TOPIC, *happened(0, 20))
        wait_until(lambda: server.feed.log_end == 20)
        assert starts == []
        with server.reading("?last=5") as found:
            assert ids(islice(found, 5)) == [*range(15, 20)]
            log.append(TOPIC, *happened(20, 3))
            assert ids(islice(found, 3)) == [20, 21, 22]
        assert min(starts) >= 15


@pytest.mark.parametrize(("keep", "limit"), [(100, 3), (10_000, 10)])
def test_the_feed_keeps_no_more_than_its_ring(keep: int, limit: int, log: FileLog) -> None:
    async def follow_all() -> float:
        feed = Feed(log, TOPIC, keep=keep)
        feed.join(Listener())
        await feed.look()
        tracemalloc.start()
        for first in range(0, 3000, 100):  # 30 MB
            log.append(TOPIC, *happened(first, 100, padding=10_000))
            while await feed.look():
                pass
        held, _ = tracemalloc.get_traced_memory()
        assert (await feed.take(2999))[1] == 3000
        return held / 1e6

    try:
        assert 1 < asyncio.run(follow_all()) < limit
    finally:
        tracemalloc.stop()


def test_no_more_readers_than_there_may_be(log: FileLog) -> None:
    with Server(log, readers=2) as server, server.reading(), server.reading():
        answer = httpx.get(f"{server.url}/events", timeout=LIMIT)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["detail"].startswith("2 readers are listening")


def test_a_reader_that_has_gone_is_forgotten_at_once(log: FileLog, server: Server, unheard: None) -> None:
    with server.reading(), server.reading():
        wait_until(lambda: server.feed.readers == 2)
    began = time.monotonic()
    wait_until(lambda: server.feed.readers == 0)
    assert time.monotonic() - began < SOON  # long before the next comment would find nobody there
    assert server.feed.dropped == 0


def test_a_reader_that_takes_nothing_is_dropped_and_may_come_back(log: FileLog, unheard: None) -> None:
    with Server(log, patience=0.3) as server, server.stalled() as stalled:
        wait_until(lambda: server.feed.readers)
        for first in range(0, 2000, 100):  # 20 MB: more than the system's own buffers take
            log.append(TOPIC, *happened(first, 100, padding=10_000))
        wait_until(lambda: server.feed.dropped == 1)
        wait_until(lambda: server.feed.readers == 0)
        taken = b""
        with suppress(ConnectionResetError):
            while piece := stalled.recv(1 << 16):
                taken += piece
        last = int(re.findall(rb"\nid: (\d+)\ndata: [^\n]+\n", taken)[-1])
        assert last < 1999
        assert ids(server.read(3, **{"Last-Event-ID": str(last)})) == [last + 1, last + 2, last + 3]
        assert server.feed.dropped == 1


def test_closing_the_feed_ends_every_answer_and_the_server(log: FileLog, unheard: None) -> None:
    had: list[list[int]] = [[], []]
    ended: list[list[int]] = []

    def listen(found: Iterator[Frame], to: list[int]) -> None:
        to.extend(int(frame["id"]) for frame in found)
        ended.append(to)

    with (
        Server(log, patience=60) as server,
        server.stalled(),
        server.reading() as one,
        server.reading("?last=1") as two,
    ):
        wait_until(lambda: server.feed.readers == 3)
        readers = [threading.Thread(target=listen, args=given) for given in zip((one, two), had, strict=True)]
        for reader in readers:
            reader.start()
        for first in range(0, 2000, 100):
            log.append(TOPIC, *happened(first, 100, padding=10_000))
        wait_until(lambda: [len(ids) for ids in had] == [2000, 2000])
        assert server.stop() < SOON
        for reader in readers:
            reader.join(LIMIT)
    assert ended == [[*range(2000)]] * 2  # and no error: the answers are whole


def test_a_reader_that_leaves_a_little_does_not_hold_up_the_end(log: FileLog, unheard: None) -> None:
    """What it has not taken fits into the server's buffer, so that no `send` waits for it."""
    with Server(log, patience=60) as server, server.stalled() as _:
        wait_until(lambda: server.feed.readers == 1)
        first = 0
        while not server.untaken():
            log.append(TOPIC, *happened(first, 45, padding=1000))
            first += 45
            wait_until(lambda: server.feed.log_end == log.end(TOPIC))
        assert server.untaken() < 1 << 16
        assert server.stop() < SOON


def test_an_end_before_the_beginning() -> None:
    feed = Feed(FileLog("nowhere"), TOPIC)
    feed.close()
    asyncio.run(asyncio.wait_for(feed.run(), LIMIT))


def test_who_comes_when_the_feed_is_closed_is_told_to_come_back(server: Server) -> None:
    server.feed.close()
    assert httpx.get(f"{server.url}/events", timeout=LIMIT).status_code == 503


def test_a_silent_stream_says_that_it_is_alive(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT", 0.02)
    with httpx.stream("GET", f"{server.url}/events", timeout=LIMIT) as answer:
        assert [*islice(answer.iter_lines(), 5)] == ["retry: 1000", "", ":", "", ":"]


def test_a_damaged_record_is_told_and_the_stream_goes_on_behind_it(log: FileLog, server: Server) -> None:
    path = log.folder / TOPIC / "0.log"
    log.append(TOPIC, *happened(0, 4))
    path.write_bytes(path.read_bytes().replace(b'"subject":"2"', b'"subject":"7"'))
    for found in (server.read(4, "?last=4"), server.read(2, **{"Last-Event-ID": "1"})):
        damage = found[-2]
        assert damage["event"] == "trouble"
        assert "Offset 2 can't be read" in damage["data"]
        assert [frame["id"] for frame in found[-2:]] == ["2", "3"]
    with server.reading() as live_:  # and where it comes by the ring
        wait_until(lambda: server.feed.readers)
        size = path.stat().st_size
        lines = path.read_bytes()
        with FileLog(log.folder.parent / "other", durability="system") as other:
            other.append(TOPIC, *happened(0, 7))
            more = (other.folder / TOPIC / "0.log").read_bytes().splitlines(keepends=True)[4:]
        assert len(lines) == size
        with path.open("ab") as file:
            file.write(more[0] + more[1].replace(b'"subject":"5"', b'"subject":"9"') + more[2])
        assert [(frame["id"], frame.get("event")) for frame in islice(live_, 3)] == [
            ("4", None),
            ("5", "trouble"),
            ("6", None),
        ]


def test_a_record_that_is_no_event_is_told_and_passed_over(log: FileLog, server: Server) -> None:
    log.append(TOPIC, *happened(0, 1))
    body = b'{"specversion":"1.0","id":"1","source":"/shop","type":"order.created","data":{},"offset":1'
    with (log.folder / TOPIC / "0.log").open("ab") as file:
        file.write(body + b',"checksum":"%08x"}\n' % crc32(body))
    log.append(TOPIC, *happened(2, 1))
    found = server.read(3, "?last=3")
    assert ids(found) == [0, 1, 2]
    assert found[1]["event"] == "trouble"
    assert "order_id is missing" in found[1]["data"]


def test_a_log_that_cant_be_read_is_told_and_tried_again(log: FileLog, server: Server) -> None:
    path = log.folder / TOPIC / "0.log"
    log.append(TOPIC, *happened(0, 2))
    with server.reading("?last=2") as found:
        assert ids(islice(found, 2)) == [0, 1]
        path.rename(path.with_suffix(".away"))
        trouble = next(found)
        assert trouble["event"] == "trouble"
        assert "can't be read or written: No such file" in trouble["data"]
        assert "id" not in trouble
        assert server.read(1)[0]["event"] == "trouble"  # who comes now hears it too
        path.with_suffix(".away").rename(path)
        log.append(TOPIC, *happened(2, 1))
        assert next(found)["event"] == "mended"
        assert ids(islice(found, 1)) == [2]


def test_a_log_that_fails_in_a_way_that_nobody_foresaw_ends_no_stream(log: FileLog, server: Server) -> None:
    with server.reading() as found:
        wait_until(lambda: server.feed.readers)
        log.end = lambda topic, partition=0: 1 // 0  # type: ignore[method-assign]
        assert "ZeroDivisionError" in next(found)["data"]
        del log.end
        assert next(found)["event"] == "mended"
        log.append(TOPIC, *happened(0, 1))
        assert ids(islice(found, 1)) == [0]


def test_a_topic_in_several_partitions_is_no_stream(log: FileLog, server: Server) -> None:
    wait_until(lambda: server.feed.log_end == 0)
    log.create(TOPIC, 3)
    log.append(TOPIC, *happened(0, 3))
    assert "has 3 partitions" in server.read(1)[0]["data"]
    with Server(log) as another:
        answer = httpx.get(f"{another.url}/events", timeout=LIMIT)
    assert answer.status_code == 503
    assert "has 3 partitions" in answer.json()["detail"]


def test_who_may_not_read_gets_neither_stream_nor_page(server: Server) -> None:
    for path in ("/", "/events", "/events?last=x"):
        assert httpx.get(f"{server.url}{path}", headers={"Authorization": "wrong"}).status_code == 401


def test_the_page_may_run_its_own_script_and_nothing_else(server: Server) -> None:
    answer = httpx.get(server.url)
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    for tag in ("script", "style"):
        (inner,) = re.findall(f"<{tag}[^>]*>(.*?)</{tag}>", answer.text, re.DOTALL)
        assert policy[f"{tag}-src"] == f"'sha256-{b64encode(sha256(inner.encode()).digest()).decode()}'"
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", answer.text)
    assert {*re.findall(r"https?://[^\s'\"]+", answer.text)} == {"http://www.w3.org/2000/svg"}  # a name, not a place


def test_the_stream_is_documented(server: Server) -> None:
    document = httpx.get(f"{server.url}/openapi.json").json()
    told = document["paths"]["/events"]["get"]
    assert {"200", "400", "401", "503"} <= told["responses"].keys()
    assert [*told["responses"]["200"]["content"]] == ["text/event-stream"]
    assert {p["name"] for p in told["parameters"]} == {"Last-Event-ID", "after", "last"}
    assert [*document["paths"]["/"]["get"]["responses"]["200"]["content"]] == ["text/html"]


# --- many readers, of a server in a process of its own ---------------------------------------------------------------


@contextmanager
def served(folder: Path, port: int, **limits: float) -> Iterator[subprocess.Popen[str]]:
    """The server as a process, which takes requests once this returns."""
    arguments = [sys.executable, "-m", "tests.test_live", str(folder), str(port), json.dumps(limits)]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: process.poll() is not None or _answers(port))
            assert process.poll() is None, process.stderr and process.stderr.read()
            yield process
        finally:
            process.kill()


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def memory(process: subprocess.Popen[str]) -> float:
    """In MB."""
    told = subprocess.run(["ps", "-o", "rss=", "-p", str(process.pid)], stdout=subprocess.PIPE, check=True, timeout=10)
    return int(told.stdout) / 1024


async def follow(port: int, upto: int) -> tuple[int, bytes]:
    """Reads until it has had that many events, each once and in order. Says how many it had, and what came instead."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /events?after=0 HTTP/1.1\r\nHost: shop\r\n\r\n")
    expected, rest = 1, b""
    while expected < upto and (piece := await reader.read(1 << 17)):
        whole, _, rest = (rest + piece).rpartition(b"\n\n")
        for offset in re.findall(rb"^id: (\d+)$", whole, re.MULTILINE):
            if int(offset) != expected:
                return expected, whole
            expected += 1
    writer.close()
    return expected, b""


@pytest.mark.skipif(sys.platform == "win32", reason="the memory is asked of ps, which Windows does not have")
def test_of_fifty_readers_one_stalls_and_the_others_miss_nothing(tmp_path: Path, unused_port: int) -> None:
    many = 20_000  # fewer would fit into the buffers of the system, and nobody would stall

    async def listen(log: FileLog) -> list[tuple[int, bytes]]:
        readers = [asyncio.create_task(follow(unused_port, many)) for _ in range(49)]
        async with asyncio.timeout(LIMIT + many / 500):
            for first in range(1000, many, 1000):
                await asyncio.to_thread(log.append, TOPIC, *happened(first, 1000))
            return await asyncio.gather(*readers)

    with (
        FileLog(tmp_path / "log", durability="system") as log,
        served(tmp_path / "log", unused_port, patience=10) as process,
        socket.socket() as stalled,
    ):
        log.append(TOPIC, *happened(0, 1000))
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(("127.0.0.1", unused_port))
        stalled.sendall(b"GET /events?after=0 HTTP/1.1\r\nHost: shop\r\n\r\n")
        before = memory(process)
        assert asyncio.run(listen(log)) == [(many, b"")] * 49
        url = f"http://127.0.0.1:{unused_port}"
        wait_until(lambda: httpx.get(f"{url}/feed", timeout=LIMIT).json() == {"readers": 0, "dropped": 1})
        grown = memory(process) - before
        assert grown < 40, f"{grown:.0f} MB"
        process.terminate()
        assert process.stderr is not None
        assert process.stderr.read() == ""


def main() -> None:
    folder, port, limits = sys.argv[1:]
    log = FileLog(folder)
    feed = Feed(log, TOPIC, **json.loads(limits))
    app = app_for(log, feed)

    @app.get("/feed")
    async def state() -> dict[str, int]:
        return {"readers": feed.readers, "dropped": feed.dropped}

    uvicorn.run(app, port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
