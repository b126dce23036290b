"""How much a client may ask for: the bucket of each client, and the body that is read no further than need be."""

from __future__ import annotations

import math
import socket
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from random import Random
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from hypothesis import example, given
from hypothesis import strategies as st

from ecomlib.clock import SimulatedClock
from ecomlib.errors import BadInput
from ecomlib.web import problems
from ecomlib.web.limits import RateLimit, counted_as, read_body
from ecomlib.web.problems import Problem

SLACK = 1e-6  # tokens: what floats may be off by
rates = st.floats(0.01, 1000)
bursts = st.integers(1, 20)
pauses = st.lists(st.one_of(st.just(0.0), st.floats(0, 0.1), st.floats(0, 100)), min_size=1, max_size=60)


def let_in(limit: RateLimit, client: str) -> bool:
    return refusal(limit, client) is None


def refusal(limit: RateLimit, client: str) -> Problem | None:
    try:
        limit.take(client)
    except Problem as problem:
        return problem
    return None


def seconds_told(problem: Problem) -> int:
    return int(problem.headers["Retry-After"])


def fits(times: list[datetime], burst: float, rate: float) -> bool:
    """Whether in no span of time more were let in than the rule allows."""
    return all(
        last - first + 1 <= burst + rate * (times[last] - times[first]).total_seconds() + SLACK
        for first in range(len(times))
        for last in range(first, len(times))
    )


class TestTheRateLimit:
    def test_lets_a_burst_in_and_then_says_when_to_come_back(self, clock: SimulatedClock) -> None:
        limit = RateLimit(0.5, 3, clock)
        assert [let_in(limit, "192.0.2.1") for _ in range(4)] == [True, True, True, False]
        problem = refusal(limit, "192.0.2.1")
        assert problem is not None
        assert (problem.status, problem.headers) == (429, {"Retry-After": "2"})
        assert problem.detail == (
            "Too many requests: at most 3 at once, and 0.5 a second after that. Send this one again in 2 s."
        )

    def test_counts_each_client_by_itself(self, clock: SimulatedClock) -> None:
        limit = RateLimit(1, 1, clock)
        assert let_in(limit, "192.0.2.1")
        assert let_in(limit, "192.0.2.2")
        assert not let_in(limit, "192.0.2.1")

    @given(rates, bursts, pauses)
    def test_never_lets_in_more_than_the_burst_and_what_time_gave(
        self, rate: float, burst: int, pauses: list[float]
    ) -> None:
        clock = SimulatedClock()
        limit = RateLimit(rate, burst, clock)
        times: list[datetime] = []
        for pause in pauses:
            now = clock.advance(seconds=pause)
            while len(times) < 500 and let_in(limit, "192.0.2.1"):
                times.append(now)
        assert fits(times[:200], burst, rate)

    @given(rates, bursts, pauses, st.integers(0, 5))
    @example(rate=0.1, burst=1, pauses=[0.1, 1.5, 0.1, 0.1, 0], impatience=0)  # where floats fall short
    def test_lets_a_client_in_who_waited_as_long_as_told(
        self, rate: float, burst: int, pauses: list[float], impatience: int
    ) -> None:
        clock = SimulatedClock()
        limit = RateLimit(rate, burst, clock)
        for pause in pauses:
            clock.advance(seconds=pause)
            problem = refusal(limit, "192.0.2.1")
            if problem is None:
                continue
            for _ in range(impatience):  # asking again too early costs nothing
                again = refusal(limit, "192.0.2.1")
                assert again is not None
                assert seconds_told(again) == seconds_told(problem)
            told = seconds_told(problem)
            assert 1 <= told <= math.ceil(1 / rate)
            if told > 1:  # and nobody is told to wait a whole second too long
                clock.advance(seconds=told - 1 - 0.001)
                assert not let_in(limit, "192.0.2.1")
                clock.advance(seconds=1.001)
            else:
                clock.advance(seconds=told)
            assert let_in(limit, "192.0.2.1")

    @given(rates, st.integers(1, 4), st.integers(1, 4), pauses, st.randoms(use_true_random=False))
    def test_has_no_way_round_it_by_many_addresses(
        self, rate: float, burst: int, clients: int, pauses: list[float], random: Random
    ) -> None:
        """Whoever goes round more addresses than it remembers gets no more than those that it remembers."""
        clock = SimulatedClock()
        limit = RateLimit(rate, burst, clock, clients=clients)
        times = []
        for pause in pauses:
            now = clock.advance(seconds=pause)
            for _ in range(10):
                if let_in(limit, f"192.0.2.{random.randrange(20)}"):
                    times.append(now)
        assert fits(times[:200], clients * burst, clients * rate)

    def test_notices_nothing_of_clients_that_went_away_long_ago(self, clock: SimulatedClock) -> None:
        limit = RateLimit(1, 5, clock, clients=2)
        for client in ("192.0.2.1", "192.0.2.2"):
            while let_in(limit, client):
                pass
        assert not let_in(limit, "192.0.2.3")
        clock.advance(seconds=60)
        assert [let_in(limit, "192.0.2.4") for _ in range(6)] == [True] * 5 + [False]

    def test_keeps_those_it_saw_last(self, clock: SimulatedClock) -> None:
        limit = RateLimit(0.01, 2, clock, clients=2)
        assert let_in(limit, "busy")
        assert let_in(limit, "once")
        clock.advance(seconds=60)
        assert let_in(limit, "busy")
        clock.advance(seconds=60)
        assert let_in(limit, "new")  # takes the place of "once"
        assert [let_in(limit, "busy") for _ in range(2)] == [True, False]

    def test_stays_small_however_many_come(self, clock: SimulatedClock) -> None:
        limit = RateLimit(1, 1, clock, clients=100)
        for n in range(200):
            let_in(limit, f"{n} {'x' * 1000}")
        tracemalloc.start()
        try:
            for n in range(5000):
                let_in(limit, f"{n} {'y' * 1000}")
            grown = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert grown < 100_000

    def test_gives_nothing_away_when_the_clock_is_set_back(self) -> None:
        clock = SetClock()
        limit = RateLimit(1, 2, clock)
        assert [let_in(limit, "a") for _ in range(3)] == [True, True, False]
        clock.time -= timedelta(hours=1)
        problem = refusal(limit, "a")
        assert problem is not None
        assert seconds_told(problem) == 1  # and takes nothing for the hour that comes twice
        clock.time += timedelta(seconds=seconds_told(problem))
        assert [let_in(limit, "a") for _ in range(2)] == [True, False]

    @pytest.mark.parametrize(
        ("rate", "burst", "clients"), [(0, 1, 1), (-1, 1, 1), (math.inf, 1, 1), (math.nan, 1, 1), (1, 0, 1), (1, 1, 0)]
    )
    def test_refuses_numbers_that_let_nobody_in(
        self, clock: SimulatedClock, rate: float, burst: int, clients: int
    ) -> None:
        with pytest.raises(BadInput, match="lets nobody in"):
            RateLimit(rate, burst, clock, clients=clients)


class SetClock(SimulatedClock):
    """A machine's clock, which somebody may set back."""

    def __init__(self) -> None:
        super().__init__()
        self.time = super().now()

    def now(self) -> datetime:
        return self.time


class TestAClientIsCounted:
    @pytest.mark.parametrize(
        ("client", "name"),
        [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("::ffff:c000:201", "192.0.2.1"),
            ("2001:db8:0:1::7", "2001:db8:0:1::/64"),
            ("2001:DB8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("::1", "::/64"),
            ("testclient", "testclient"),
            ("", ""),
            ("x" * 1000, "x" * 100),
        ],
    )
    def test_by_this_name(self, client: str, name: str) -> None:
        assert counted_as(client) == name

    @given(st.integers(0, 2**128 - 1), st.integers(0, 127))
    def test_together_with_its_own_prefix_and_nobody_else(self, address: int, bit: int) -> None:
        one, other = IPv6Address(address), IPv6Address(address ^ (1 << bit))
        if one.ipv4_mapped is None and other.ipv4_mapped is None:
            assert (counted_as(str(one)) == counted_as(str(other))) is (bit < 64)

    @given(st.integers(0, 2**32 - 1))
    def test_once_whether_by_ipv4_or_in_its_clothes(self, address: int) -> None:
        plain = IPv4Address(address)
        assert counted_as(f"::ffff:{plain}") == counted_as(str(plain)) == str(plain)


Messages = Iterator[dict[str, Any]]


def read(messages: Messages, limit: int = 10, *, seconds: float = 10.0, **headers: str) -> bytes:
    """Read the body of a request whose bytes arrive in these messages. Nothing arrives after them."""
    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }

    async def receive() -> dict[str, Any]:
        await anyio.lowlevel.checkpoint()
        for message in messages:
            return message
        await anyio.sleep_forever()
        raise AssertionError

    async def run() -> bytes:
        return await read_body(Request(scope, receive), limit, seconds=seconds)

    return anyio.run(run)


def chunk(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def refused(messages: Messages, limit: int = 10, **more: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        read(messages, limit, **more)
    return caught.value


class TestABodyIsRead:
    @given(st.lists(st.binary(max_size=8), max_size=8), st.integers(0, 40))
    def test_whole_or_refused_for_its_size(self, parts: list[bytes], limit: int) -> None:
        messages = iter([*(chunk(part) for part in parts), chunk(b"", more=False)])
        body = b"".join(parts)
        if len(body) <= limit:
            assert read(messages, limit) == body
        else:
            assert refused(messages, limit).status == 413

    def test_no_further_than_the_limit(self) -> None:
        """The sender would go on for ever."""
        taken: list[int] = []

        def endless() -> Messages:
            while True:
                taken.append(4)
                yield chunk(b"four")

        problem = refused(endless(), 10)
        assert problem.status == 413
        assert problem.detail == "The body has more than 10 bytes: send less at once."
        assert sum(taken) == 12

    def test_not_at_all_where_the_header_says_already_that_it_is_too_large(self) -> None:
        taken: list[bytes] = []

        def watched() -> Messages:
            taken.append(b"tiny")
            yield chunk(b"tiny", more=False)

        assert refused(watched(), 10, content_length="11").status == 413
        assert taken == []

    @pytest.mark.parametrize("length", ["3", "0", "-5", "many", "9" * 5000, ""])
    def test_without_belief_in_its_header(self, length: str) -> None:
        eleven = iter([chunk(b"12345678901", more=False)])
        assert refused(eleven, 10, content_length=length).status == 413
        assert read(iter([chunk(b"1234567890", more=False)]), 10, content_length=length) == b"1234567890"

    def test_without_a_traceback_when_the_client_leaves(self) -> None:
        problem = refused(iter([chunk(b"half"), {"type": "http.disconnect"}]))
        assert problem.status == 400
        assert "nothing was taken" in problem.detail
        assert problem.__cause__ is None

    def test_for_so_long_when_nothing_more_comes(self) -> None:
        problem = refused(iter([chunk(b"half")]), seconds=0.05)
        assert problem.status == 408
        assert problem.detail == (
            "The body was not complete after 0.05 s: send the request again, and its body in one go."
        )

    def test_for_so_long_when_it_trickles_for_ever(self) -> None:
        """A sender that always sends something in time must not stay for ever either."""

        def trickle() -> Messages:
            while True:
                yield chunk(b"")

        assert refused(trickle(), seconds=0.05).status == 408


@contextmanager
def served(app: FastAPI, port: int) -> Iterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            except ConnectionRefusedError:
                thread.join(0.05)
        yield
    finally:
        server.should_exit = True
        thread.join(10)


def reading_app(limit: int, seconds: float) -> FastAPI:
    app = FastAPI()
    problems.install(app)

    @app.post("/")
    async def take(request: Request) -> int:
        return len(await read_body(request, limit, seconds=seconds))

    return app


class TestOverARealConnection:
    def test_a_refused_body_ends_the_connection(self, unused_port: int) -> None:
        """Otherwise its rest would be read as the next request."""
        with served(reading_app(1000, 10), unused_port):
            with socket.create_connection(("127.0.0.1", unused_port), timeout=10) as client:
                client.sendall(b"POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n")
                client.sendall(b"7d0\r\n" + b"x" * 2000 + b"\r\n")
                answer = b""
                while part := client.recv(65536):  # until the server closes it
                    answer += part
            assert answer.startswith(b"HTTP/1.1 413 ")
            assert b"connection: close" in answer.lower()
            assert httpx.post(f"http://127.0.0.1:{unused_port}/", content=b"x" * 1000).json() == 1000

    def test_a_slow_body_gets_its_answer(self, unused_port: int) -> None:
        with (
            served(reading_app(1000, 0.2), unused_port),
            socket.create_connection(("127.0.0.1", unused_port), timeout=10) as client,
        ):
            client.sendall(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 100\r\n\r\nhalf")
            answer = b""
            while part := client.recv(65536):
                answer += part
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"connection: close" in answer.lower()
            assert b"application/problem+json" in answer
