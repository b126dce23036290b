"""The webhook: what it takes, once each, what it refuses, and what the server says of itself. By HTTP throughout."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from cloudevents.core.bindings.http import HTTPMessage, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families
from starlette.datastructures import Headers

from ecomlib import webhook
from ecomlib.catalogue import Data
from ecomlib.clock import SimulatedClock
from ecomlib.errors import BadInput
from ecomlib.events import Event
from ecomlib.log import FileLog
from ecomlib.ports import Position, Record
from ecomlib.services.analytics import Analytics
from ecomlib.services.senders import Message, RecordingSender
from ecomlib.shop import TOPIC, Shop, open_shop, replayed
from ecomlib.web import reports
from ecomlib.web.connections import Joining
from ecomlib.web.following import Following
from ecomlib.web.owed import Owed
from ecomlib.web.problems import Problem
from ecomlib.web.reports import Report, read_report
from ecomlib.web.server import Server
from ecomlib.webhook import Rules, Webhook
from tests.support.disks import FailingFile, FullFile, One
from tests.support.webhook import (
    FREE,
    GUARDED,
    LIMIT,
    MANY,
    PATH,
    PLAIN,
    SECRET,
    STRUCTURED,
    TOKEN,
    Client,
    Process,
    cloudevent,
    logged,
    on_disk,
    refused,
    served,
    taken,
    wait_until,
)

CREATED = {"order_id": 5, "status": "created", "amount": "49.90", "user_id": 7}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with served(tmp_path / "log") as client:
        yield client


# --- the original's request ---------------------------------------------------------------------------------------


def test_the_originals_curl_line_gives_the_originals_keys(tmp_path: Path, unused_port: int) -> None:
    address = f"http://localhost:{unused_port}{PATH}"  # as printed, it is port 8000
    data = ["-H", "Content-Type: application/json", "-d", '{"order_id": 123, "status": "paid"}']
    with Process(tmp_path, port=unused_port) as server:
        assert server.url.endswith(f":{unused_port}")
        if curl := shutil.which("curl"):
            line = [curl, "-sS", "--noproxy", "*", "-w", "\n%{http_code}", "-X", "POST", address, *data]
            said, code = subprocess.check_output(line, text=True, timeout=LIMIT).rsplit("\n", 1)
        else:
            with Client(server.url) as client:
                answer = client.post(data[3].encode())
                said, code = answer.text, str(answer.status_code)
        out = server.stop()
    answered = json.loads(said)
    assert code == "202"
    assert answered.keys() == {"status", "event_name", "message", "event_id"}
    assert (answered["status"], answered["event_name"]) == ("success", "order.paid")
    assert "nobody is told" in answered["message"]
    assert [(event.id, event.data.order_id) for event in taken(server.log)] == [(answered["event_id"], "123")]
    assert re.search(r"paid +1\b", out)


def test_emails_and_sms_and_totals_follow(client: Client) -> None:
    assert client.post(CREATED).status_code == 202
    assert client.post({**CREATED, "status": "paid"}).status_code == 202
    wait_until(lambda: (client.totals()["emails"], client.totals()["sms"]) == (1, 1))
    assert client.totals() == {
        "events": 4, "users": 1, "orders": 1, "paid": 1, "shipped": 0, "delivered": 0, "cancelled": 0,
        "revenue": "49.90", "emails": 1, "sms": 1, "failed": 0,
    }  # fmt: skip


def test_the_customer_gets_one_email_and_one_sms_with_the_order_in_it(tmp_path: Path) -> None:
    sender = RecordingSender()
    with served(open_shop(tmp_path, sender=sender)) as client:
        for status in ("created", "paid"):
            client.post({**CREATED, "status": status})
    assert [(sent.channel, sent.recipient) for sent in sender.sent] == [("email", "7"), ("sms", "7")]
    assert "We have your order 5 for 49.90" in sender.sent[0].text


def test_who_has_no_user_gets_no_email_and_that_is_said(client: Client) -> None:
    for status in ("created", "paid"):
        assert "names no user, so nobody is told" in client.post({"order_id": 1, "status": status}).json()["message"]
    assert "nobody" not in client.post(CREATED).json()["message"]
    assert "nobody" not in client.post({"order_id": 1, "status": "shipped"}).json()["message"]  # tells nobody anyway
    wait_until(lambda: client.totals()["emails"] == 1)
    assert client.totals()["failed"] == 2  # a customer who can't be told is a fact too


@pytest.mark.parametrize("status", ["created", "paid", "shipped", "delivered", "cancelled"])
def test_each_status_is_an_event_and_further_fields_are_carried_along(
    client: Client, tmp_path: Path, status: str
) -> None:
    answer = client.post({**CREATED, "status": status, "carrier": {"name": "Rapid", "stops": [1, 2]}})
    assert answer.json()["event_name"] == f"order.{status}"
    (event,) = taken(tmp_path / "log")
    assert (event.type, event.id) == (f"order.{status}", answer.json()["event_id"])
    assert event.data.to_dict() == {
        "order_id": "5", "amount": "49.90", "user_id": "7", "carrier": {"name": "Rapid", "stops": [1, 2]},
    }  # fmt: skip


def test_the_answer_comes_once_the_event_is_in_the_log(client: Client, tmp_path: Path) -> None:
    for n in range(20):
        answered = client.post({"order_id": n, "status": "shipped"}).json()["event_id"]
        assert taken(tmp_path / "log")[-1].id == answered


@pytest.mark.parametrize("order", [*permutations(("created", "paid", "shipped"))])
def test_facts_are_taken_in_any_order(client: Client, order: tuple[str, ...]) -> None:
    for status in order:
        assert client.post({**CREATED, "status": status}).status_code == 202
    wait_until(lambda: client.totals()["shipped"] == 1)
    wait_until(lambda: client.totals()["revenue"] == "49.90")


def test_an_order_is_never_refused_for_its_history(client: Client, tmp_path: Path) -> None:
    history = ("shipped", "paid", "paid", "cancelled", "created", "delivered", "created")
    assert {client.post({**CREATED, "status": status}).status_code for status in history} == {202}
    assert [event.type for event in taken(tmp_path / "log")] == [f"order.{status}" for status in history]
    wait_until(lambda: client.totals()["delivered"] == 1)
    assert (client.totals()["orders"], client.totals()["paid"], client.totals()["revenue"]) == (1, 1, "49.90")


# --- CloudEvents --------------------------------------------------------------------------------------------------


def theirs(**attributes: Any) -> CloudEvent:
    """An event as the official package makes it."""
    moment = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
    said = {"type": "order.created", "source": "https://partner.example/orders", "id": "17", "time": moment}
    data = {"order_id": "9", "amount": "3.00", "user_id": "7", "note": "grün"}
    return CloudEvent({**said, "datacontenttype": "application/json", **attributes}, data)


def deliver(client: Client, message: HTTPMessage) -> Any:
    return client.post(message.body, kind=None, headers=message.headers)


@pytest.mark.parametrize("modes", [(to_structured_event, to_binary_event), (to_binary_event, to_structured_event)])
@pytest.mark.parametrize(
    "more", [{}, {"subject": "größer 9%"}, {"correlationid": "a", "priority": 5}, {"dataversion": 1}]
)
def test_both_content_modes_of_the_official_package_are_the_same_delivery(
    client: Client, tmp_path: Path, modes: tuple[Callable[..., HTTPMessage], ...], more: dict[str, Any]
) -> None:
    answers = [deliver(client, to(theirs(**more))) for to in modes]
    assert [answer.status_code for answer in answers] == [202, 202], answers[-1].text
    assert ["idempotent-replayed" in answer.headers for answer in answers] == [False, True]
    assert answers[0].content == answers[1].content
    (event,) = taken(tmp_path / "log")
    assert (event.source, event.extensions["originid"]) == ("https://partner.example/orders", "17")
    assert (event.time, event.data.note) == (datetime(2026, 1, 5, 9, 0, tzinfo=UTC), "grün")
    assert event.subject == more.get("subject", "9")


def test_in_a_header_true_is_text_and_the_delivery_is_the_same(client: Client, tmp_path: Path) -> None:
    """As the specification writes it; the official package writes True."""
    event = cloudevent(express=True, weight=-3)
    first = client.post(event, kind=STRUCTURED)
    headers = {f"ce-{name}": str(value) for name, value in event.items() if name != "data"}
    second = client.post(event["data"], headers={**headers, "ce-express": "true"})
    assert (second.status_code, second.content) == (202, first.content)
    assert len(taken(tmp_path / "log")) == 1


def test_the_same_id_from_two_sources_is_two_events(client: Client, tmp_path: Path) -> None:
    sources = ("https://a.example", "https://b.example")
    answers = [deliver(client, to_binary_event(theirs(source=source))) for source in sources]
    assert len({answer.json()["event_id"] for answer in answers}) == 2
    assert [event.source for event in taken(tmp_path / "log")] == [*sources]
    wait_until(lambda: client.totals()["emails"] == 2)


def test_a_source_and_an_id_that_read_the_same_side_by_side_are_not_confused(client: Client, tmp_path: Path) -> None:
    for source, id in (("a", "bc"), ("ab", "c"), ("a b", "c"), ("a", "b c")):
        assert "idempotent-replayed" not in client.post(cloudevent(source=source, id=id), kind=STRUCTURED).headers
    assert len({event.id for event in taken(tmp_path / "log")}) == 4


def test_a_cloudevent_without_a_time_is_the_same_delivery_when_it_comes_later(client: Client, tmp_path: Path) -> None:
    first, second = (client.post(cloudevent(), kind=STRUCTURED) for _ in range(2))
    assert (second.status_code, second.content) == (202, first.content)
    assert len(taken(tmp_path / "log")) == 1


def test_a_cloudevent_with_the_same_source_and_id_and_other_data_is_refused(client: Client, tmp_path: Path) -> None:
    client.post(cloudevent(), kind=STRUCTURED)
    refused(client.post(cloudevent(data={"order_id": "10"}), kind=STRUCTURED), 409)
    refused(client.post(cloudevent(type="order.cancelled"), kind=STRUCTURED), 409)
    assert len(taken(tmp_path / "log")) == 1


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"type": "order.lost"}, "type"),
        ({"type": "user.deleted"}, "type"),
        ({"source": "/shop"}, "source"),
        ({"source": "/checkout/7"}, "source"),
        ({"data": {"amount": 1}}, "data.order_id"),
        ({"data": {"order_id": 1, "amount": "-1"}}, "data.amount"),
        ({"signed": "1.x"}, "signed"),
        ({"originid": "x"}, "originid"),
        ({"requesthash": "x"}, "requesthash"),
        ({"offset": 1}, "offset"),
        ({"id": None}, "id"),
        ({"source": None}, "source"),
        ({"type": None}, "type"),
        ({"id": 5}, "id"),
        ({"id": "a\nb"}, "id"),
        ({"time": "yesterday"}, "time"),
        ({"dataversion": 2**31}, "dataversion"),
        ({"Not_An_Extension": "x"}, "Not_An_Extension"),
        ({"specversion": "0.3"}, "specversion"),
        ({"datacontenttype": "text/plain"}, "datacontenttype"),
    ],
    ids=str,
)
def test_a_wrong_cloudevent_is_refused_with_the_field_that_is_wrong(
    client: Client, tmp_path: Path, wrong: dict[str, Any], field: str
) -> None:
    problem = refused(client.post(cloudevent(**wrong), kind=STRUCTURED), 422)
    assert field in [error["field"] for error in problem["errors"]], problem
    assert all(error["reason"] for error in problem["errors"])
    assert logged(tmp_path / "log") == []


# --- the same delivery twice --------------------------------------------------------------------------------------


def test_the_same_key_twice_has_one_effect_and_one_answer(client: Client, tmp_path: Path) -> None:
    first, second = client.post(CREATED, "a"), client.post(CREATED, "a")
    assert (second.status_code, second.content) == (202, first.content)
    assert [answer.headers.get("idempotent-replayed") for answer in (first, second)] == [None, "true"]
    wait_until(lambda: client.totals()["emails"] == 1)
    assert [event.type for event in logged(tmp_path / "log")] == ["order.created", "notification.sent"]
    assert taken(tmp_path / "log")[0].extensions["idempotencykey"] == "a"  # one write holds both


@pytest.mark.parametrize(
    "again",
    [
        b'{"status":"created","user_id":7,"amount":49.9,"order_id":5}',
        b'{\n  "order_id": "5",\n  "amount": "49.90",  "user_id": "7", "status": "cr\\u0065ated"}',
        b'{"order_id": 5, "status": "created", "amount": 4.99e1, "user_id": 7}',
    ],
)
def test_the_same_said_in_other_json_is_the_same(client: Client, tmp_path: Path, again: bytes) -> None:
    first = client.post(CREATED, "a")
    second = client.post(again, "a", kind="application/json; charset=UTF-8")
    assert (second.status_code, second.content) == (202, first.content)
    assert len(taken(tmp_path / "log")) == 1


@pytest.mark.parametrize(
    "other", [{"order_id": 6}, {"status": "paid"}, {"amount": "49.91"}, {"user_id": None}, {"note": "new"}], ids=str
)
def test_the_same_key_with_another_body_is_refused(client: Client, tmp_path: Path, other: dict[str, Any]) -> None:
    first = client.post(CREATED, "a")
    assert "another request" in refused(client.post({**CREATED, **other}, "a"), 409)["detail"]
    assert client.post(CREATED, "a").content == first.content
    assert len(taken(tmp_path / "log")) == 1


def test_without_a_key_every_delivery_is_a_new_one(client: Client, tmp_path: Path) -> None:
    assert len({client.post(CREATED).json()["event_id"] for _ in range(3)}) == 3
    assert len({event.id for event in taken(tmp_path / "log")}) == 3


def test_twenty_at_once_with_one_key_are_one_event_and_get_one_answer(client: Client, tmp_path: Path) -> None:
    together = threading.Barrier(20)

    def send(_: int) -> tuple[int, bytes, bool]:
        with Client(str(client.http.base_url)) as one:
            one.get("/health")  # so that the connection is there
            together.wait(LIMIT)
            answer = one.post(CREATED, "the-key")
            return answer.status_code, answer.content, "idempotent-replayed" in answer.headers

    with ThreadPoolExecutor(20) as pool:
        answers = [*pool.map(send, range(20))]
    assert {(status, content) for status, content, _ in answers} == {(202, answers[0][1])}
    assert sum(not again for *_, again in answers) == 1
    assert len(taken(tmp_path / "log")) == 1
    wait_until(lambda: client.totals()["emails"] == 1)


def test_after_a_restart_the_same_key_still_gets_the_first_answer(tmp_path: Path) -> None:
    event = cloudevent()
    with served(tmp_path) as client:
        first = client.post(CREATED, "a"), client.post(event, kind=STRUCTURED)
    with served(tmp_path) as client:
        second = client.post(CREATED, "a"), client.post(event, kind=STRUCTURED)
        assert [answer.content for answer in second] == [answer.content for answer in first]
        assert {answer.headers["idempotent-replayed"] for answer in second} == {"true"}
        refused(client.post({**CREATED, "amount": "1.00"}, "a"), 409)
        assert client.totals()["emails"] == 2
    assert len(taken(tmp_path)) == 2


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "more"),
    [
        (400, b"", {}),
        (400, b"{nope", {}),
        (400, b'{"order_id": 1, "status": "paid"', {}),
        (400, b'{"order_id": NaN, "status": "paid"}', {}),
        (400, b'{"order_id": "\xff", "status": "paid"}', {}),
        (400, CREATED, {"Idempotency-Key": "x" * 201}),
        (400, CREATED, {"Idempotency-Key": ""}),
        (413, b" " * 65_537, {}),
        (415, CREATED, {"Content-Type": "text/plain"}),
        (415, CREATED, {"Content-Type": ""}),
        (415, CREATED, {"Content-Type": "application/json; charset=latin-1"}),
        (415, CREATED, {"Content-Type": "application/json; charset*=a%00b''utf-8"}),
        (415, CREATED, {"Content-Encoding": "gzip"}),
        (421, CREATED, {"Host": "shop.example"}),
        (421, CREATED, {"Host": "shop.example:99999"}),
        (421, CREATED, {"Host": "user@shop.example"}),
        (421, CREATED, {"Host": "shop.example/"}),
        (422, [CREATED], {}),
        (422, {}, {}),
        (422, {**CREATED, "status": "lost"}, {}),
        (422, {**CREATED, "order_id": ""}, {}),
        (422, {**CREATED, "order_id": True}, {}),
        (422, {**CREATED, "amount": "-0.01"}, {}),
        (422, {**CREATED, "amount": 1.005}, {}),
        (422, {**CREATED, "user_id": ["7"]}, {}),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_refusal_is_a_problem_and_leaves_nothing(
    client: Client, tmp_path: Path, status: int, body: Any, more: dict[str, str]
) -> None:
    refused(client.post(body, headers=more), status)
    assert logged(tmp_path / "log") == []
    if "Idempotency-Key" not in more:  # what was refused has not used its key
        refused(client.post(body, "a", headers=more), status)
        assert "idempotent-replayed" not in client.post(CREATED, "a").headers
    else:
        client.post(CREATED)
    wait_until(lambda: client.totals()["emails"] == 1)
    assert len(logged(tmp_path / "log")) == 2


def test_a_refusal_names_every_field_that_is_wrong_and_why(client: Client) -> None:
    problem = refused(client.post({"status": "lost", "amount": -1}), 422)
    reasons = {error["field"]: error["reason"] for error in problem["errors"]}
    assert reasons.keys() == {"order_id", "status", "amount"}
    assert reasons["order_id"] == "is missing"
    assert reasons["amount"] == "the amount -1 is negative"
    assert "'shipped'" in reasons["status"]
    assert all(reason in problem["detail"] for reason in reasons.values())


def talk(client: Client, *sent: bytes, end: bool = False) -> bytes:
    """What comes back on a connection on which these bytes are sent, up to its end."""
    address = urlsplit(str(client.http.base_url))
    with socket.create_connection((str(address.hostname), int(address.port or 0)), LIMIT) as connection:
        for each in sent:
            connection.sendall(each)
        if end:
            connection.shutdown(socket.SHUT_WR)
        found = b""
        try:
            while some := connection.recv(65_536):
                found += some
        except ConnectionResetError:
            pass  # what we sent and nobody wanted to read: the answer came before
        return found


HEAD = b"POST /webhook/order HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def test_a_body_that_is_sent_in_chunks_is_counted_while_it_is_read(client: Client, tmp_path: Path) -> None:
    def body(many: int) -> Iterator[bytes]:
        yield b'{"order_id": 5, "status": "created", "note": "'
        yield from (b"x" * 1000 for _ in range(many))
        yield b'"}'

    answer = client.http.post(PATH, content=body(10), headers={"Content-Type": PLAIN})
    assert "content-length" not in answer.request.headers
    assert answer.status_code == 202
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
    said = talk(client, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk * 65)  # and it never ends
    assert said.startswith(b"HTTP/1.1 413 "), said
    assert b"application/problem+json" in said
    assert len(taken(tmp_path / "log")) == 1


def test_a_content_length_over_the_limit_is_refused_before_the_body_is_there(client: Client) -> None:
    said = talk(client, HEAD + b"Content-Length: 65537\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 413 "), said
    assert b"application/problem+json" in said


def test_a_content_length_that_promises_more_than_comes_is_no_event(client: Client, tmp_path: Path) -> None:
    talk(client, HEAD + b"Content-Length: 500\r\n\r\n" + json.dumps(CREATED).encode(), end=True)
    assert client.post({"order_id": 1, "status": "shipped"}).status_code == 202
    assert len(taken(tmp_path / "log")) == 1


def test_a_content_length_that_promises_less_than_comes_cuts_the_body_off(client: Client, tmp_path: Path) -> None:
    body = json.dumps(CREATED).encode()
    said = talk(client, HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % (len(body) - 1) + body)
    assert said.startswith(b"HTTP/1.1 400 "), said
    assert logged(tmp_path / "log") == []


def test_the_limit_of_the_size_is_the_servers_and_exact(tmp_path: Path) -> None:
    body = json.dumps(CREATED).encode()
    with served(tmp_path, Rules(size=len(body), **MANY)) as client:
        assert client.post(body).status_code == 202
        refused(client.post(body + b" "), 413)


def test_who_asks_too_often_waits_as_long_as_told(tmp_path: Path, clock: SimulatedClock) -> None:
    with served(open_shop(tmp_path, clock=clock), Rules(rate=0.5, burst=3)) as client:
        assert [client.post(CREATED, str(n)).status_code for n in range(3)] == [202] * 3
        answer = client.post(CREATED, "3")
        assert "Too many requests" in refused(answer, 429)["detail"]
        assert answer.headers["retry-after"] == "2"
        assert len(taken(tmp_path)) == 3
        clock.advance(seconds=2)
        assert "idempotent-replayed" not in client.post(CREATED, "3").headers
        refused(client.post(CREATED, "4"), 429)
        assert client.get("/health").status_code == 200  # it is only the webhook that counts


@contextmanager
def a_full_bus(folder: Path) -> Iterator[tuple[Client, threading.Event]]:
    """The email service hangs, and its queue takes two. When the event is set it goes on."""
    began, hang = threading.Event(), threading.Event()

    class Slow(RecordingSender):
        def send(self, message: Message) -> None:
            began.set()
            assert hang.wait(LIMIT)
            super().send(message)

    shop = open_shop(folder, sender=Slow())
    shop.bus.limit = 2
    try:
        with served(shop) as client:
            email = next(s for s in shop.bus.subscriptions if s.name == "email")
            client.post(CREATED)
            wait_until(began.is_set)
            for _ in range(2):
                assert client.post(CREATED).status_code == 202
                wait_until(lambda: all(s is email or not s.queue for s in shop.bus.subscriptions))
            yield client, hang
            hang.set()
    finally:
        hang.set()


def test_a_full_bus_refuses_for_the_moment_and_nothing_is_half_done(tmp_path: Path) -> None:
    with a_full_bus(tmp_path) as (client, hang):
        problem = refused(client.post(CREATED, "a"), 503)
        assert "Too much is waiting" in problem["detail"]
        assert len(taken(tmp_path)) == 3
        assert client.post({"order_id": 5, "status": "shipped"}).status_code == 202  # no email: there is room
        hang.set()
        wait_until(lambda: client.totals()["emails"] == 3)
        assert "idempotent-replayed" not in client.post(CREATED, "a").headers
        wait_until(lambda: client.totals()["emails"] == 4)
    assert len({event.id for event in taken(tmp_path)}) == 5


def test_a_full_disk_refuses_for_the_moment_and_nothing_is_half_done(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = One(FullFile)
    with on_disk(tmp_path, disk) as client:
        first = client.post({"order_id": 1, "status": "shipped"}, "a")
        assert isinstance(disk.file, FullFile)
        disk.file.full = True
        problem = refused(client.post({"order_id": 2, "status": "shipped"}, "b"), 503)
        assert "send it again, with the same key" in problem["detail"]
        assert str(tmp_path) not in str(problem)  # whose disk that is, and where, is no partner's concern
        assert "No space left on device" in caplog.text
        assert client.post({"order_id": 1, "status": "shipped"}, "a").content == first.content  # the log can be read
        assert len(logged(tmp_path)) == 1
        disk.file.full = False
        assert "idempotent-replayed" not in client.post({"order_id": 2, "status": "shipped"}, "b").headers
    assert [event.data.order_id for event in taken(tmp_path)] == ["1", "2"]


def test_an_fsync_that_fails_is_no_success_and_its_retry_has_one_effect(tmp_path: Path) -> None:
    disk = One(FailingFile)
    with on_disk(tmp_path, disk) as client:
        client.post({"order_id": 1, "status": "shipped"})
        assert isinstance(disk.file, FailingFile)
        disk.file.failures = 1
        refused(client.post({**CREATED}, "b"), 503)
        answer = client.post({**CREATED}, "b")
        assert answer.status_code == 202
        wait_until(lambda: client.totals()["emails"] == 1)
        assert client.totals()["orders"] == 1
    events = taken(tmp_path)
    assert {event.id for event in events if event.type == "order.created"} == {answer.json()["event_id"]}
    assert sum(event.type == "notification.sent" for event in logged(tmp_path)) == 1


@contextmanager
def log_is_gone(log: Path) -> Iterator[None]:
    """As root one may write everywhere: so the folder is moved away, and a file lies in its place."""
    log.rename(log.with_name("moved"))
    log.write_text("no folder", encoding="utf-8")
    yield
    log.unlink()
    log.with_name("moved").rename(log)


def test_a_log_that_cannot_be_written_refuses_for_the_moment(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with served(log) as client:
        client.post(CREATED, "a")
        wait_until(lambda: client.totals()["emails"] == 1)
        with log_is_gone(log):
            assert "The log can't be written" in refused(client.post(CREATED, "b"), 503)["detail"]
            refused(client.post(CREATED), 503)
            assert client.get("/health").status_code == 200
        assert len(taken(log)) == 1
        assert "idempotent-replayed" not in client.post(CREATED, "b").headers
        assert len(taken(log)) == 2
        wait_until(lambda: client.totals()["emails"] == 2)


# --- what the server says of itself -------------------------------------------------------------------------------


def test_it_is_alive_and_ready(client: Client) -> None:
    assert client.get("/health").json() == {"status": "alive"}
    assert client.get("/ready").json() == {"status": "ready"}


def test_it_is_not_ready_when_the_log_cannot_be_written(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with served(log) as client, log_is_gone(log):
        assert "The log can't be written: its files are missing" in refused(client.get("/ready"), 503)["detail"]
        assert client.get("/health").status_code == 200


def test_it_is_not_ready_when_a_worker_thread_is_dead(tmp_path: Path) -> None:
    shop = open_shop(tmp_path)
    with served(shop) as client:
        shop.bus.stop()
        assert "worker threads" in refused(client.get("/ready"), 503)["detail"]
        shop.bus.start()


def test_it_leaves_no_trace_in_the_log_when_it_is_asked_whether_it_is_ready(client: Client, tmp_path: Path) -> None:
    client.post({"order_id": 1, "status": "shipped"})
    before = sorted(path.name for path in (tmp_path / "log").iterdir())
    assert client.get("/ready").status_code == 200
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == before
    assert len(logged(tmp_path / "log")) == 1


def numbers(client: Client) -> dict[tuple[str, ...], float]:
    text = client.get("/metrics").text
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_metrics_count_what_was_accepted_replayed_and_refused(client: Client) -> None:
    for body, key in ((CREATED, "a"), (CREATED, "a"), ({}, "b"), ({**CREATED, "order_id": 9}, "a"), (CREATED, "c")):
        client.post(body, key)
    wait_until(lambda: client.totals()["emails"] == 2)
    wait_until(lambda: numbers(client).get(("ecomlib_delivery_attempts_total", "handled", "email")) == 2)
    found = numbers(client)
    answers = {labels[1:]: value for labels, value in found.items() if labels[0] == "ecomlib_webhook_answers_total"}
    assert answers == {("accepted", "202"): 2, ("replayed", "202"): 1, ("refused", "422"): 1, ("refused", "409"): 1}
    assert found["ecomlib_http_requests_total", "POST", PATH, "202"] == 3
    assert found["ecomlib_worker_threads",] == 4
    assert found["ecomlib_dead_letters", "email"] == 0


def test_the_documentation_needs_no_network(client: Client) -> None:
    page = client.get("/docs").text
    named = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)["']""", page)
    assert any(name.endswith(".js") for name in named)
    assert any(name.endswith(".css") for name in named)
    for name in named:
        assert name.startswith("/"), f"{name} is not this server's"
        assert client.get(name).status_code == 200, name
    assert not re.search(r"https?://", page)


def test_the_openapi_document_is_valid_and_its_examples_are_taken(client: Client) -> None:
    document = client.get("/openapi.json").json()
    validate(document)
    content = document["paths"][PATH]["post"]["requestBody"]["content"]
    tried = [
        client.post(example["value"], kind=kind).status_code
        for kind, said in content.items()
        for example in said["examples"].values()
    ]
    assert tried == [202, 202, 202]


def test_the_openapi_document_of_a_server_with_a_secret_says_who_needs_what(tmp_path: Path) -> None:
    with served(tmp_path, GUARDED) as client:
        document = client.get("/openapi.json").json()
    validate(document)
    security = {path: next(iter(methods.values())).get("security") for path, methods in document["paths"].items()}
    assert security[PATH] == [{"signature": []}]
    for path in ("/health", "/ready", "/asyncapi.json"):
        assert security[path] == []
    for path in ("/analytics", "/metrics", "/events", "/"):
        assert security[path] == [{"token": []}]


@pytest.mark.parametrize("path", ["/analytics", "/metrics", "/events", "/"])
def test_who_reads_from_a_server_with_a_secret_needs_the_token(tmp_path: Path, path: str) -> None:
    with served(tmp_path, GUARDED) as client:
        refused(client.get(path), 401)
        refused(client.get(path, token=TOKEN + "x"), 401)
        refused(client.get(path, token=SECRET), 401)
        refused(client.http.get(path, headers={"Authorization": f"Basic {TOKEN}"}), 401)
        with client.http.stream("GET", path, headers={"Authorization": f"bearer {TOKEN}"}) as answer:
            assert answer.status_code == 200
        for open_to_all in ("/health", "/ready"):
            assert client.get(open_to_all).status_code == 200


def test_the_token_in_the_address_becomes_a_cookie_and_is_seen_no_more(tmp_path: Path) -> None:
    with served(tmp_path, GUARDED) as client:
        refused(client.get("/?token=wrong"), 401)
        answer = client.get(f"/?token={TOKEN}")
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert client.get("/").status_code == 200  # the client keeps cookies, as a browser does
        assert client.get("/analytics").status_code == 200
        refused(client.http.post(PATH, json=CREATED), 401)  # it opens what is read, not what is said


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", PATH, 405), ("DELETE", PATH, 405), ("POST", "/", 405), ("GET", "/nope", 404)]
)
def test_what_is_not_there_is_a_problem_too(client: Client, method: str, path: str, status: int) -> None:
    assert "GET /docs lists what can" in refused(client.http.request(method, path), status)["detail"]


def test_what_nobody_foresaw_is_a_503_without_half_an_effect(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(reports, "_hash", lambda told: 1 / 0)
        problem = refused(client.post(CREATED, "a"), 503)
    assert "ZeroDivisionError" not in problem["detail"]
    assert "ZeroDivisionError" in caplog.text
    assert logged(tmp_path / "log") == []
    assert "idempotent-replayed" not in client.post(CREATED, "a").headers


# --- the verb -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_stopped_finishes_what_it_took_and_refuses_what_is_new(
    tmp_path: Path, by: signal.Signals
) -> None:
    answered: list[str] = []
    asked = threading.Semaphore(0)

    def send(url: str, number: int) -> None:
        with Client(url) as client:
            for n in range(10_000):
                asked.release()
                try:
                    answer = client.post({"order_id": f"{number}.{n}", "status": "created", "user_id": number})
                except httpx.TransportError:  # refused, or the connection was idle and has ended
                    return
                assert answer.status_code == 202, answer.text
                answered.append(answer.json()["event_id"])

    with Process(tmp_path, "--json") as server:
        url = server.url
        with ThreadPoolExecutor(6) as pool:
            senders = [pool.submit(send, url, number) for number in range(6)]
            for _ in range(60):
                assert asked.acquire(timeout=LIMIT)
            server.tell(by)
            for sender in senders:
                sender.result(LIMIT)
        code, out = server.end()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((str(urlsplit(url).hostname), int(urlsplit(url).port or 0)), LIMIT)
    assert code == 0, server.said
    assert "Traceback" not in server.said
    ids = [event.id for event in taken(server.log)]
    assert set(answered) <= set(ids)
    assert len(ids) == len(set(ids)) <= len(answered) + 6
    assert out.count("\n") == 1
    totals = json.loads(out)
    assert (totals["url"], totals["orders"], totals["emails"]) == (url, len(ids), len(ids))


def test_a_request_that_has_begun_is_finished_before_the_server_ends(tmp_path: Path) -> None:
    body = json.dumps(CREATED).encode()
    with Process(tmp_path) as server:
        address = urlsplit(server.url)
        with socket.create_connection((str(address.hostname), int(address.port or 0)), LIMIT) as connection:
            connection.sendall(HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:10])
            with Client(server.url) as client:
                assert client.get("/health").status_code == 200  # so the head has been read, before us on the loop
            server.tell(signal.SIGTERM)
            wait_until(lambda: "Stopping" in server.said)
            connection.sendall(body[10:])
            said = b""
            while some := connection.recv(65_536):
                said += some
        assert said.startswith(b"HTTP/1.1 202 "), said
        assert server.end()[0] == 0
    assert [event.data.order_id for event in taken(server.log)] == ["5"]


def test_what_waits_in_the_queues_is_delivered_before_the_server_has_stopped(tmp_path: Path) -> None:
    class Late(RecordingSender):
        """Sends nothing as long as requests are taken."""

        def send(self, message: Message) -> None:
            assert server.wait(LIMIT)
            super().send(message)

    sender = Late()
    server = Server(open_shop(tmp_path, sender=sender), FREE)
    with server, Client(server.url) as client:
        for n in range(100):
            assert client.post({**CREATED, "order_id": n}).status_code == 202
        assert sender.sent == []
    assert len(sender.sent) == 100
    assert sum(event.type == "notification.sent" for event in logged(tmp_path)) == 100


def test_without_json_the_totals_are_a_table_on_standard_output(tmp_path: Path) -> None:
    with Process(tmp_path) as server, Client(server.url) as client:
        client.post(CREATED)
        out = server.stop(signal.SIGINT)
    assert re.search(r"^ +orders  1$", out, re.MULTILINE)
    assert "Stopping: what was taken is finished." in server.said
    assert "No secret is set, so only this machine is served" in server.said


def test_a_log_has_one_server(tmp_path: Path) -> None:
    with Process(tmp_path) as first:
        assert first.url
        with Process(tmp_path) as second:
            assert second.end() == (1, "")
            assert "Another server has the log" in second.said
            assert "Traceback" not in second.said
        with Client(first.url) as client:
            assert client.post(CREATED).status_code == 202
        first.stop()
    with Process(tmp_path) as third, Client(third.url) as client:  # the first has let go
        assert client.totals()["orders"] == 1


def test_a_port_that_is_in_use_is_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with Process(tmp_path, port=port) as server:
            assert server.end() == (2, "")
            assert f"127.0.0.1:{port} can't be used" in server.said
            assert "Traceback" not in server.said


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_without_a_secret_it_listens_for_nobody_else(tmp_path: Path, host: str) -> None:
    with Process(tmp_path, "--host", host) as server:
        assert server.end() == (2, "")
        assert "Set ECOMLIB_WEBHOOK_SECRET" in server.said
        assert not server.log.exists()


def test_with_a_secret_it_serves_all_and_prints_an_address_with_the_token(tmp_path: Path) -> None:
    with Process(tmp_path, "--host", "0.0.0.0", webhook_secret=SECRET) as server:
        port = urlsplit(server.url).port
        found = re.search(r"live page is at \S+/\?token=(\S+?)[. ]", server.said)
        assert found, server.said
        with Client(f"http://127.0.0.1:{port}", secret=SECRET) as client:
            assert client.post(CREATED).status_code == 202
            client.secret = None
            refused(client.post(CREATED), 401)
            refused(client.get("/analytics"), 401)
            wait_until(lambda: client.get("/analytics", token=found[1]).json()["orders"] == 1)
            assert client.get(f"/?token={found[1]}").status_code == 303
        assert SECRET not in server.said + server.stop()


def test_a_token_of_ones_own_is_not_printed(tmp_path: Path) -> None:
    with Process(tmp_path, webhook_secret=SECRET, token=TOKEN) as server, Client(server.url) as client:
        assert client.get("/analytics", token=TOKEN).status_code == 200
        assert TOKEN not in server.said + server.stop()


def test_a_secret_that_can_be_guessed_is_refused(tmp_path: Path) -> None:
    with Process(tmp_path, webhook_secret="short") as server:
        assert server.end() == (2, "")
        assert "16 characters or more" in server.said
        assert "Traceback" not in server.said


def test_without_a_log_the_events_are_gone_at_the_end_and_that_is_said(tmp_path: Path) -> None:
    with Process(tmp_path, "--json", log=False) as server, Client(server.url) as client:
        client.post(CREATED)
        assert "temporary log" in server.said
        assert json.loads(server.stop())["orders"] == 1
    assert not server.log.exists()


# --- what a crash left undone -------------------------------------------------------------------------------------


def test_what_was_accepted_before_a_crash_and_not_sent_goes_out_at_the_next_start_and_nothing_twice(
    tmp_path: Path,
) -> None:
    """The first server dies with three emails unsent: as its memory would, its queues go with it."""
    began, hang, first = threading.Event(), threading.Event(), RecordingSender()

    class Hangs(RecordingSender):
        def send(self, message: Message) -> None:
            if len(first.sent) == 2:
                began.set()
                hang.wait()  # for ever: this thread ends with the process
            first.send(message)

    server = Server(open_shop(tmp_path, sender=Hangs()), FREE).start()
    with Client(server.url) as client:
        for n in range(5):
            assert client.post({**CREATED, "order_id": n}, str(n)).status_code == 202
        assert client.post({**CREATED, "status": "shipped"}).status_code == 202
        assert began.wait(LIMIT)
    server._uvicorn.should_exit = True  # no more than a kill would leave: neither drained nor closed
    server.wait(LIMIT)
    assert server._lock
    server._lock.abandon()

    second = RecordingSender()
    with served(open_shop(tmp_path, sender=second)) as client:
        wait_until(lambda: client.totals()["emails"] == 5)
        assert client.post({**CREATED, "order_id": 4}, "4").headers["idempotent-replayed"] == "true"
    sent = [message.id for message in (*first.sent, *second.sent)]
    assert len(first.sent) == 2
    assert sorted(sent) == sorted({f"{event.id}.email@shop.example" for event in taken(tmp_path)[:5]})
    third = RecordingSender()
    with served(open_shop(tmp_path, sender=third)):
        pass
    assert third.sent == []
    facts = [event.causationid for event in logged(tmp_path) if event.type == "notification.sent"]
    assert len(facts) == len(set(facts)) == 5


def test_a_start_that_is_interrupted_leaves_no_worker_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would go on with databases that are closed next, which ends the whole process."""

    def interrupted(owed: Owed, shop: Shop) -> int:
        raise KeyboardInterrupt

    shop = open_shop(tmp_path)
    server = Server(shop)
    with monkeypatch.context() as signals:
        signals.setattr(Owed, "deliver", interrupted)
        with pytest.raises(KeyboardInterrupt):
            server.start()
    workers = shop.bus.workers
    if workers:  # so that this test ends well even where it fails
        shop.bus.stop()
    server.stop()
    assert workers == 0
    with served(tmp_path) as client:  # it has let go of the log
        assert client.get("/ready").status_code == 200


def test_a_server_that_is_stopped_while_it_starts_ends_cleanly_and_owes_what_is_left(tmp_path: Path) -> None:
    """Stopped when its worker threads send what it owes already, and requests are not taken yet."""
    many = 800
    open_shop(tmp_path / "log").close()
    with FileLog(tmp_path / "log", durability="system") as log:
        accepted = {"requesthash": "x"}
        log.append(
            TOPIC, *(Event("order.created", {"order_id": n, "user_id": 7}, extensions=accepted) for n in range(many))
        )
    file = tmp_path / "log" / TOPIC / "0.log"
    before = file.stat().st_size
    with Process(tmp_path) as server:
        wait_until(lambda: file.stat().st_size > before)
        server.tell(signal.SIGTERM)
        code, _ = server.end()
        assert code in (0, 1), f"{code}: {server.said}"
        assert "Traceback" not in server.said
    sender = RecordingSender()
    with served(open_shop(tmp_path / "log", sender=sender)) as client:
        wait_until(lambda: client.totals()["emails"] == many)
    told = [event.causationid for event in logged(tmp_path / "log") if event.type == "notification.sent"]
    assert len(told) == len(set(told)) == many
    assert len(sender.sent) < many


def test_facts_of_others_in_the_log_are_owed_nothing(tmp_path: Path) -> None:
    """Only what the webhook accepted is taken up again: an imported day of the shop must not be mailed anew."""
    with FileLog(tmp_path) as log:
        log.append(TOPIC, Event("order.created", {"order_id": 1, "amount": 5, "user_id": 7}))
    sender = RecordingSender()
    with served(open_shop(tmp_path, sender=sender)) as client:
        assert client.totals()["orders"] == 1
    assert sender.sent == []


@pytest.mark.parametrize("source", ["/shopify/orders", "/webhooks", "/checkout-eu", "https://partner.example/shop"])
def test_a_source_that_only_begins_like_ours_is_a_partner(tmp_path: Path, source: str) -> None:
    with served(tmp_path / "log") as client:
        assert client.post(cloudevent(source=source), kind=STRUCTURED).status_code == 202
        for ours in ("/shop", "/shop/2", "/webhook/order"):
            problem = refused(client.post(cloudevent(source=ours), kind=STRUCTURED), 422)
            assert [error["field"] for error in problem["errors"]] == ["source"]


@pytest.mark.parametrize("time", ["1969-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_time_that_no_order_can_have_is_a_mistake(tmp_path: Path, time: str) -> None:
    """It would stop every simulated clock, and every chart, of whoever opens the log."""
    with served(tmp_path / "log") as client:
        problem = refused(client.post(cloudevent(time=time), kind=STRUCTURED), 422)
    assert [error["field"] for error in problem["errors"]] == ["time"]


def test_the_totals_know_what_another_process_appends(tmp_path: Path) -> None:
    with served(tmp_path / "log") as client, FileLog(tmp_path / "log") as other:
        client.post(CREATED)
        other.append(TOPIC, *(Event("order.created", {"order_id": 100 + n, "amount": 1}) for n in range(50)))
        wait_until(lambda: client.totals()["orders"] == 51)
        wait_until(lambda: client.totals()["events"] == other.end(TOPIC))


def test_a_log_that_was_replaced_under_the_server_is_not_written(tmp_path: Path) -> None:
    with served(tmp_path / "log") as client:
        client.post(CREATED, "a")
        wait_until(lambda: client.totals()["emails"] == 1)
        (tmp_path / "log").rename(tmp_path / "away")
        FileLog(tmp_path / "log").create(TOPIC, 1)
        refused(client.post(CREATED, "b"), 503)
        refused(client.post(CREATED, "a"), 503)
        assert "its files are missing or were replaced" in refused(client.get("/ready"), 503)["detail"]
        assert client.get("/health").status_code == 200
    assert len(taken(tmp_path / "away")) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"webhook_secret": "tiny-1"}, "A webhook's secret is text of 16 characters or more"),
        ({"webhook_secret": " " * 20}, "A webhook's secret is text of 16 characters or more"),
        ({"webhook_secret": SECRET, "webhook_old_secret": "tiny-1"}, "ECOMLIB_WEBHOOK_OLD_SECRET"),
        ({"webhook_secret": SECRET, "token": "tiny-1"}, "A token has 16 or more letters"),
        ({"webhook_secret": SECRET, "token": "with spaces and; semicolons"}, "A token has 16 or more letters"),
        ({"trusted_proxies": "10.0.0.1, nonsense"}, "'nonsense' is none of them"),
        ({"rate": "0"}, "ECOMLIB_RATE"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    with Process(tmp_path, **settings) as server:  # type: ignore[arg-type]
        assert server.end() == (2, "")
        assert said in server.said
        assert "Traceback" not in server.said
        assert "tiny-1" not in server.said  # no secret is shown


def test_a_secret_that_is_no_text_is_refused() -> None:
    with pytest.raises(BadInput, match="A webhook's secret is text"):
        Rules(secrets=("\udcff" * 20,), token=TOKEN)


def test_an_empty_host_is_not_every_address(tmp_path: Path) -> None:
    with Process(tmp_path, "--host", "", webhook_secret=SECRET) as server:
        assert server.end() == (2, "")
        assert "it is empty: name an address" in server.said


def test_a_record_that_nobody_can_read_stops_neither_totals_nor_stream(tmp_path: Path) -> None:
    """As a newer version of the library may write one."""
    with served(tmp_path / "log") as client, FileLog(tmp_path / "log") as other:
        client.post(CREATED)
        wait_until(lambda: client.totals()["emails"] == 1)
        strange = Event("order.brewed", {"order_id": 5})
        object.__setattr__(strange, "type", "order.created")
        object.__setattr__(strange, "data", Data.model_validate({"order_id": 5, "amount": "much"}))
        other.append(TOPIC, strange)
        client.post({"order_id": 6, "status": "created", "user_id": 7})
        wait_until(lambda: (client.totals()["orders"], client.totals()["emails"]) == (2, 2))


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3), st.integers(0, 99)), min_size=1, max_size=12))
@settings(max_examples=10)
def test_the_totals_are_those_of_a_replay_however_many_write(said: list[tuple[bool, int, int]]) -> None:
    """The last amount counts, so the order does."""
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder, "log")) as client,
        FileLog(Path(folder, "log")) as other,
    ):
        for here, order, amount in [(True, 1, 5), *said]:
            data = {"order_id": order, "amount": amount}
            if here:
                client.post(cloudevent(type="order.updated", id=str(uuid4()), data=data), kind=STRUCTURED)
                client.post({"order_id": order, "status": "paid"})
            else:
                other.append(TOPIC, Event("order.updated", data))
        wait_until(lambda: client.totals()["events"] == other.end(TOPIC))
        assert client.totals() == replayed(other).totals()


def test_a_slow_disk_lets_a_server_answer_what_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And of the reports so many wait as is stated; the others hear at once that they have to come again."""
    monkeypatch.setattr(webhook, "WAITING", 24)
    go_on = threading.Event()
    shop = open_shop(tmp_path / "log")
    with served(shop) as client:
        assert isinstance(shop.log, FileLog)
        append = shop.log.append

        def slow(topic: str, *events: Event) -> tuple[Position, ...]:
            assert go_on.wait(LIMIT)
            return append(topic, *events)

        monkeypatch.setattr(shop.log, "append", slow)
        many = 24 + 20
        with ThreadPoolExecutor(many) as pool:
            answers = [pool.submit(client.post, {"order_id": n, "status": "shipped"}) for n in range(many)]
            wait_until(lambda: sum(each.done() for each in answers) >= 10)
            assert client.get("/ready").status_code == 200
            assert client.totals()["orders"] == 0
            go_on.set()
        statuses = Counter(each.result().status_code for each in answers)
        assert 24 <= statuses[202] <= 34
        assert statuses[503] == many - statuses[202]


def test_of_what_is_taken_together_each_has_its_own_answer(tmp_path: Path) -> None:
    """The same key twice, the same key with another report, none, and a signature that was used already."""

    def report(number: int, key: str | None, signed: str | None = None) -> Report:
        headers = Headers({"Content-Type": PLAIN, **({"Idempotency-Key": key} if key else {})})
        return read_report(headers, b'{"order_id": %d, "status": "shipped"}' % number, shop.new_event, signed)

    shop = open_shop(tmp_path)
    webhook = Webhook(shop, FREE)
    reports = [report(1, "a"), report(1, "a"), report(2, "a"), report(3, None), report(4, None, "1.x")]
    first, again, reused, keyless, once, copied = webhook.accept_all([*reports, report(4, None, "1.x")])
    assert first == (reports[0].event, False)
    assert again == (reports[0].event, True)
    assert isinstance(reused, Problem)
    assert isinstance(copied, Problem)
    assert (reused.status, copied.status) == (409, 401)
    assert keyless == (reports[3].event, False)
    assert once == (reports[4].event, False)
    assert [event.data.order_id for event in taken(tmp_path)] == ["1", "3", "4"]
    assert webhook.accept_all([reports[0]]) == [(reports[0].event, True)]
    shop.close()


def test_an_interruption_leaves_no_key_in_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl+C in a notebook that calls `accept` itself. Whoever comes next with the key must not wait for ever."""

    def interrupted(events: object) -> None:
        raise KeyboardInterrupt

    headers = Headers({"Content-Type": PLAIN, "Idempotency-Key": "a"})
    shop = open_shop(tmp_path)
    webhook = Webhook(shop, FREE)
    report = read_report(headers, b'{"order_id": 1, "status": "shipped"}', shop.new_event)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(shop.bus, "publish_all", interrupted)
        with pytest.raises(KeyboardInterrupt):
            webhook.accept(report)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(webhook.accept, report).result(30) == (report.event, False)
    shop.close()


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_who_watches_may_ask_by_head(tmp_path: Path, path: str) -> None:
    with served(tmp_path / "log") as client:
        answer = client.http.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


def test_no_foreign_page_may_frame_anything(tmp_path: Path) -> None:
    with served(tmp_path / "log") as client:
        for path in ("/", "/docs", "/openapi.json", "/nothing", "/webhook/order"):
            assert client.get(path).headers["X-Frame-Options"] == "DENY"


def test_a_port_that_is_taken_leaves_no_folder_behind(tmp_path: Path, unused_port: int) -> None:
    with socket.create_server(("127.0.0.1", unused_port)), Process(tmp_path, port=unused_port) as server:
        assert server.end() == (2, "")
        assert not server.log.exists()


# --- what the server spares itself ------------------------------------------------------------------------


class NotesReads(FileLog):
    reads = 0

    def read(self, *where: Any, **more: Any) -> Iterator[Record]:
        self.reads += 1
        return super().read(*where, **more)


class NotesIds(Analytics):
    def __init__(self) -> None:
        self.ids: list[str] = []

    def apply(self, event: Event) -> None:
        self.ids.append(event.id)


@contextmanager
def followed() -> Iterator[tuple[NotesReads, list[str], deque[Record], Following]]:
    with tempfile.TemporaryDirectory() as folder, NotesReads(folder, durability="system") as log:
        projection, appended = NotesIds(), deque[Record](maxlen=3)
        log.create(TOPIC, 1)
        yield log, projection.ids, appended, Following(log, TOPIC, projection, 0, appended)


@settings(max_examples=50)
@given(st.lists(st.sampled_from(["append", "hand over", "keep back", "catch up"]), max_size=20))
def test_totals_are_folded_in_the_logs_order_once_whoever_appended(steps: list[str]) -> None:
    with followed() as (log, ids, appended, following):
        there: list[str] = []
        late = deque[Record]()
        for step in [*steps, "catch up"]:
            if step == "append":
                event = Event("coffee.spilled")
                there.append(event.id)
                late.extend(Record(position, event) for position in log.append(TOPIC, event))
            elif step == "catch up":
                following.catch_up()
                assert ids == there
            elif late:
                record = late.popleft()
                appended.extend([record] if step == "hand over" else [])


def test_the_totals_need_not_read_what_the_server_itself_appended() -> None:
    with followed() as (log, ids, appended, following):
        mine = [Event("coffee.spilled") for _ in range(4)]
        for event in mine[:3]:
            appended.extend(Record(position, event) for position in log.append(TOPIC, event))
        following.catch_up()
        assert (ids, log.reads) == ([event.id for event in mine[:3]], 0)
        log.append(TOPIC, mine[3])
        following.catch_up()
        assert (ids, log.reads) == ([event.id for event in mine], 1)


def test_the_server_hands_over_what_it_appended(tmp_path: Path) -> None:
    with open_shop(tmp_path, durability="system") as shop:
        webhook = Webhook(shop, Rules())
        accepted = [
            webhook.accept(read_report(Headers({"content-type": PLAIN}), json.dumps(CREATED).encode(), shop.new_event))[
                0
            ]
        ]
        assert shop.log is not None
        assert list(webhook.appended) == [Record(Position(TOPIC, 0, 0), accepted[0])]
        assert [record.event for record in shop.log.read(TOPIC, end=1)] == accepted


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes | bytearray | memoryview | str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent.append(data)

    def close(self) -> None:
        self.sent.append("closed")

    def abort(self) -> None:
        self.sent.append("aborted")


def test_the_head_of_an_answer_and_its_body_are_sent_at_once_and_nothing_waits_for_more() -> None:
    async def answers() -> None:
        wire = Wire()
        joining = Joining(wire, asyncio.get_running_loop())
        for data in (b"head", b"body", b""):
            joining.write(data)
        assert wire.sent == [b"headbody"]
        joining.write(b"alone")
        await asyncio.sleep(0)
        assert wire.sent[1:] == [b"alone"]
        joining.write(b"last")
        joining.close()
        assert wire.sent[2:] == [b"last", "closed"]
        joining.abort()
        assert wire.sent[4:] == ["aborted"]

    asyncio.run(answers())


def test_trouble_with_the_log_is_told_once_and_again_when_it_comes_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = One(FullFile)
    with on_disk(tmp_path, disk) as client:
        client.post({"order_id": 1, "status": "shipped"})
        assert isinstance(disk.file, FullFile)
        for _ in range(2):
            disk.file.full = True
            for _ in range(3):
                refused(client.post({"order_id": 2, "status": "shipped"}), 503)
            disk.file.full = False
            assert client.post({"order_id": 2, "status": "shipped"}).status_code == 202
    assert sum("answered with 503" in record.message for record in caplog.records) == 2
