"""The doors to RabbitMQ: what `produce` publishes, what the workers make of it, and what a person reads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from ecomlib.amqp import channel_to
from ecomlib.broker import PrivateNode
from ecomlib.events import Event
from ecomlib.log import FileLog
from ecomlib.services.shared_analytics import SharedAnalytics
from ecomlib.topology import SERVICES, Topology
from tests.conftest import ROOT
from tests.support.webhook import wait_until
from tests.test_cli import Door
from tests.test_cli import door as door
from tests.test_notifications import Inbox

LIMIT = 60.0  # seconds
ATTEMPT = {"time", "service", "event", "type", "attempt", "outcome", "ms"}


@pytest.fixture
def url(rabbitmq: PrivateNode) -> str:
    """Of a RabbitMQ whose queues are there, and empty."""
    with channel_to(rabbitmq.url) as channel:
        Topology().declare(channel)
        for name in (*SERVICES, "dead"):
            channel.queue_purge(f"shop.{name}")
    return rabbitmq.url


def waiting(url: str, service: str) -> list[Event]:
    """Takes all that waits in a service's queue."""
    with channel_to(url) as channel:
        found = []
        while (got := channel.basic_get(f"shop.{service}", auto_ack=True))[0] is not None:
            found.append(Event.from_json(got[2]))
        return found


def depth(url: str, service: str) -> int:
    with channel_to(url) as channel:
        return int(channel.queue_declare(f"shop.{service}", passive=True).method.message_count)


def logged(folder: Path) -> list[Event]:
    with FileLog(folder) as log:
        return [record.event for record in log.read("shop")]


@contextmanager
def verb(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A verb in a process of its own, which is ended at the latest with the block."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ECOMLIB_")}
    command = [sys.executable, "-m", "ecomlib", *map(str, arguments), "--json"]
    process = subprocess.Popen(
        command, env={**clean, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def stopped(process: subprocess.Popen[str], how: signal.Signals = signal.SIGTERM) -> tuple[dict[str, Any], str]:
    """What it found, and what it said."""
    process.send_signal(how)
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert isinstance(found, dict)
    return found, err


def attempts(said: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


# --- produce ----------------------------------------------------------------------------------------------


def test_two_users_register_and_at_the_second_time_they_are_the_same(door: Door, url: str) -> None:
    for _ in range(2):
        assert door("produce", "--url", url, "--json").json == {"events": 2, "confirmed": 2, "unrouted": 0}
        assert "The same seed sends the same events again" in door.err
    events = waiting(url, "analytics")
    assert [event.type for event in events] == ["user.registered"] * 4
    assert events[:2] == events[2:]
    assert len({event.id for event in events}) == 2
    assert len(waiting(url, "email")) == 4
    assert waiting(url, "sms") == []


def test_a_day_on_rabbitmq_is_the_day_of_the_demo(door: Door, url: str, tmp_path: Path) -> None:
    door("demo", "--orders", "30", "--seed", "3", "--log", tmp_path / "log")
    orders = [event for event in logged(tmp_path / "log") if event.type.startswith("order.")]
    sent = door("produce", "--orders", "30", "--seed", "3", "--url", url, "--json").json
    assert sent == {"events": len(orders), "confirmed": len(orders), "unrouted": 0}
    assert [event.to_json() for event in waiting(url, "analytics")] == [event.to_json() for event in orders]


def test_a_log_goes_out_as_it_is(door: Door, url: str, tmp_path: Path) -> None:
    door("demo", "--log", tmp_path / "log")
    assert door("produce", "--log", tmp_path / "log", "--url", url, "--json").json["confirmed"] == 6
    assert waiting(url, "analytics") == logged(tmp_path / "log")


def test_who_breaks_off_is_told_how_far_it_came(url: str) -> None:
    with verb("produce", "--orders", "50000", "--url", url) as process:
        wait_until(lambda: depth(url, "analytics") > 1_100)  # more than may be unconfirmed at a time
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, out) == (1, "")
    confirmed, of, sent = err.split(" events were confirmed")[0].split()
    assert of == "of"
    assert 0 < int(confirmed) <= int(sent)
    assert "Traceback" not in err


# --- the workers ------------------------------------------------------------------------------------------


def test_three_doors_make_the_day_of_the_demo(door: Door, url: str, tmp_path: Path, unused_port: int) -> None:
    expected = door("demo", "--orders", "60", "--seed", "3", "--json").json
    inbox, store = Inbox(), tmp_path / "analytics.sqlite3"
    server = Controller(inbox, hostname="127.0.0.1", port=unused_port)
    server.start()
    places = ("--url", url, "--store")
    email = ("worker", "email", *places, tmp_path / "email.sqlite3", "--smtp", f"127.0.0.1:{unused_port}")
    analytics = ("worker", "analytics", *places, store)
    try:
        with verb(*email) as one, verb(*analytics) as two, verb(*analytics) as three:
            assert door("produce", "--orders", "60", "--seed", "3", "--url", url).code == 0
            with SharedAnalytics(store) as kept:
                wait_until(lambda: kept.totals() == expected, LIMIT)
            told, email_said = stopped(one)
            totals, said = stopped(two)
            others, others_said = stopped(three, signal.SIGINT)
    finally:
        server.stop()
    assert totals == others == expected
    assert told == {name: expected[name] for name in ("emails", "sms", "failed")}
    assert len({mail["Message-ID"] for mail in inbox.mails}) == len(inbox.mails) == told["emails"] + told["sms"]
    lines = attempts(said) + attempts(others_said)
    assert all(set(line) == ATTEMPT and line["outcome"] == "handled" for line in lines)
    assert len({line["event"] for line in lines}) == expected["events"]
    assert {line["service"] for line in attempts(email_said)} == {"email", "sms"}
    assert f"by the mail server at 127.0.0.1:{unused_port}" in email_said
    assert f"its store is {store}" in said


def test_a_worker_that_is_stopped_finishes_what_it_has_in_hand_and_gives_back_the_rest(
    url: str, door: Door, tmp_path: Path
) -> None:
    door("produce", "--orders", "20", "--url", url)
    published, store = depth(url, "analytics"), tmp_path / "analytics.sqlite3"
    with verb("worker", "analytics", "--url", url, "--store", store, "--work", "0.2", "--prefetch", "5") as process:
        with SharedAnalytics(store) as kept:
            wait_until(lambda: kept.totals()["events"], LIMIT)
        totals, said = stopped(process)
    assert "what is in hand is finished, and the rest is given back" in said
    assert 0 < totals["events"] < published
    wait_until(lambda: depth(url, "analytics") == published - totals["events"])


def test_without_a_mail_server_emails_are_recorded_and_who_bounces_is_a_fact(
    url: str, door: Door, tmp_path: Path
) -> None:
    door("demo", "--log", tmp_path / "log")
    with verb("worker", "email", "--url", url, "--store", tmp_path / "email.sqlite3") as process:
        door("produce", "--log", tmp_path / "log", "--url", url)
        wait_until(lambda: depth(url, "analytics") == 9, LIMIT)  # six facts of the log, and three of this worker
        told, said = stopped(process)
    assert told == {"emails": 1, "sms": 1, "failed": 1}
    assert "No mail server is set, so emails and SMS are only recorded. --smtp HOST:PORT names one." in said
    (failed,) = [line for line in attempts(said) if line["outcome"] == "dead"]
    assert "the message bounced" in failed["error"]
    history = waiting(url, "analytics")
    assert {event.id for event in history[6:]} == {event.id for event in history if "notification" in event.type}


def test_a_worker_whose_log_nobody_reads_any_more_stops(url: str, door: Door, tmp_path: Path) -> None:
    with verb("worker", "analytics", "--url", url, "--store", tmp_path / "analytics.sqlite3") as process:
        assert process.stderr is not None
        assert "counts every event" in process.stderr.readline()
        assert "It serves RabbitMQ at" in process.stderr.readline()
        process.stderr.close()
        door("produce", "--url", url)
        assert process.wait(LIMIT) == 0
        assert process.stdout is not None
        assert json.loads(process.stdout.read())["events"] > 0


# --- what can't be done -----------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("produce",), ("worker", "email"), ("worker", "analytics")])
def test_without_a_broker_there_is_a_sentence(door: Door, unused_port: int, arguments: tuple[str, ...]) -> None:
    assert door(*arguments, "--url", f"amqp://guest:guest@127.0.0.1:{unused_port}/").code == 1
    assert f"No RabbitMQ answers at 127.0.0.1:{unused_port}" in door.err
    assert "Traceback" not in door.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("produce", "--log", "nothing here"), "nothing here is no log of a shop: it has no topic 'shop'"),
        (("produce", "--log", "x", "--orders", "3"), "not allowed with"),
        (("produce", "--url", ""), "it is empty"),
        (("worker", "email", "--smtp", "mail"), "'mail' is no mail server"),
        (("worker", "email", "--prefetch", "0"), "'0' is not a whole number from 1 to 65535"),
        (("worker", "analytics", "--work", "long"), "'long' is no number of seconds from 0 to 3600"),
        (("worker", "analytics", "--smtp", "a:1"), "unrecognized arguments"),
        (("worker",), "SERVICE"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_done(
    door: Door, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    assert door(*arguments).code == 2
    assert sentence in door.err
    assert list(tmp_path.iterdir()) == []
