"""Connections that send nothing, or never enough: they are closed, and the others are served."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from ecomlib.shop import open_shop
from ecomlib.web import connections, server
from ecomlib.web.server import Server
from tests.support.webhook import FREE, LIMIT, Client

HEAD = b"POST /webhook/order HTTP/1.1\r\nHost: localhost\r\n"
WHOLE = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(connections, "HEADERS_WITHIN", 0.3)
    with Server(open_shop(tmp_path / "log"), FREE) as running:
        yield running


def connect(to: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", to.port), timeout=LIMIT)


def ask(connection: socket.socket) -> bytes:
    """The first line of the answer."""
    connection.sendall(WHOLE)
    answer = b""
    while not answer.endswith(b"}"):
        answer += (piece := connection.recv(65_536))
        assert piece, "the server has closed this one"
    return answer.splitlines(keepends=True)[0]


def ended(connection: socket.socket) -> bool:
    """Waits for the server's end of it."""
    try:
        while connection.recv(65_536):
            pass
    except ConnectionResetError:
        pass
    return True


@pytest.mark.parametrize("sent", [b"", HEAD, WHOLE + HEAD], ids=["nothing", "half a head", "half a second request"])
def test_who_does_not_come_to_the_end_of_the_headers_is_cut_off(sent: bytes, served: Server) -> None:
    with closing(connect(served)) as connection:
        connection.sendall(sent)
        assert ended(connection)


def test_a_drop_now_and_then_does_not_help(served: Server) -> None:
    with closing(connect(served)) as connection:
        connection.settimeout(0.05)
        for _ in range(int(LIMIT / 0.05)):
            try:
                connection.sendall(b"P")
                if not connection.recv(1):
                    return
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                return
    pytest.fail("the server waits for ever")


def test_who_is_served_has_all_the_time_that_it_takes(served: Server) -> None:
    """The stream of events stays, and so does a client that asks again and again on one connection."""
    with Client(served.url) as client, client.http.stream("GET", "/events") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry")
        for number in range(8):
            assert client.post({"order_id": number, "status": "shipped"}).status_code == 202
            assert any(f'"order_id":"{number}"' in line for line in lines)


def test_one_connection_too_many_is_closed_and_the_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One address may have half of them."""
    monkeypatch.setattr(server, "room", lambda: 10)
    with Server(open_shop(tmp_path / "log"), FREE) as running, ExitStack() as stack:
        five = [stack.enter_context(closing(connect(running))) for _ in range(5)]
        for each in (*five, five[0]):
            assert ask(each) == b"HTTP/1.1 200 OK\r\n"
        assert ended(stack.enter_context(closing(connect(running))))
        assert ask(five[0]) == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_there_are_fewer_connections_than_files_that_may_be_open() -> None:
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert connections.room() <= max(soft - 100, 10) or soft == resource.RLIM_INFINITY
