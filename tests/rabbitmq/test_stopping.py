"""Bad moments: a bus on RabbitMQ ends within its limits, comes back, and gives back what it has not done."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

from ecomlib.amqp import channel_to
from ecomlib.broker import PrivateNode
from ecomlib.errors import BrokerAway, BrokerError
from ecomlib.events import Event
from ecomlib.ports import Retry
from ecomlib.rabbitmq import RabbitBus
from ecomlib.topology import Topology
from tests.support.rabbit_day import Day
from tests.support.webhook import wait_until

GUEST = ("guest", "guest")
ANALYTICS = Topology().queue("analytics")


class Make(Protocol):
    def __call__(self, **more: Any) -> RabbitBus: ...


@pytest.fixture
def make(rabbitmq: PrivateNode) -> Iterator[Make]:
    exchange = f"test.{uuid.uuid4().hex[:8]}"
    with ExitStack() as started:
        yield lambda **more: started.enter_context(RabbitBus(rabbitmq.url, exchange=exchange, **more))


@contextmanager
def frozen(node: PrivateNode) -> Iterator[None]:
    """A broker that keeps its connections and answers nothing, as one on a machine that swaps."""
    pid = int((node.folder / "node.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def created(order_id: int = 1) -> Event:
    return Event("order.created", {"order_id": order_id})


def test_a_frozen_broker_holds_up_nobody_who_stops(make: Make, rabbitmq: PrivateNode) -> None:
    bus = make()
    for name in ("email", "sms", "analytics"):
        bus.subscribe("#", handler=lambda event: None, name=name)
    with frozen(rabbitmq):
        began = time.monotonic()
        bus.stop(timeout=1)
        assert time.monotonic() - began < 10


def test_a_frozen_broker_is_a_sentence_to_a_publisher_and_then_goes_on(
    make: Make, rabbitmq: PrivateNode, recorder: list[Any]
) -> None:
    bus, event = make(patience=0.5), created()
    bus.subscribe("#", handler=recorder.append)
    with frozen(rabbitmq), pytest.raises(BrokerAway, match=r"within 0\.5 s.*Publish it again"):
        wait_until(lambda: bus.publish(event) is None)  # it takes some moments until it stands still
    bus.patience = 30
    bus.publish(event)
    bus.drain(30)
    assert set(recorder) == {event}


def test_who_begins_with_a_frozen_broker_gets_a_sentence(
    make: Make, rabbitmq: PrivateNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecomlib.amqp.SECONDS", 0.5)
    with (
        frozen(rabbitmq),
        pytest.raises(BrokerError, match=r"is silent for 0\.5 s\. Is it another program, or"),
    ):
        make()


def test_who_stops_gives_back_a_delivery_whose_dead_letter_nobody_takes(make: Make, rabbitmq: PrivateNode) -> None:
    bus, attempts = make(), list[Event]()

    def fail(event: Event) -> None:
        attempts.append(event)
        raise ValueError("not today")

    bus.subscribe("order.#", handler=fail, name="broken", retry=Retry(attempts=1))
    queue, dead = bus.topology.queue("broken"), bus.topology.dead
    with channel_to(rabbitmq.url) as channel:
        full = channel.queue_declare("", arguments={"x-max-length": 1, "x-overflow": "reject-publish"}).method.queue
        channel.queue_bind(full, dead, "#")
        channel.confirm_delivery()
        channel.basic_publish(dead, "any", b"it is full with this")
        bus.publish(created())
        wait_until(lambda: attempts)
        began = time.monotonic()
        bus.stop(timeout=20)
        assert time.monotonic() - began < 10
        wait_until(lambda: channel.queue_declare(queue, passive=True).method.message_count == 1)
        channel.queue_delete(full)


def test_after_a_mistake_in_its_own_thread_it_connects_again_and_loses_nothing(
    make: Make, recorder: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    bus, hold = make(), threading.Event()

    def slow(event: Event) -> None:
        hold.wait(30)
        recorder.append(event)

    bus.subscribe("#", handler=slow, name="all")
    sent = {bus.publish(created(number)).event for number in range(30)}  # ten of them are in hand
    bus.link.call(lambda: 1 / 0)
    wait_until(lambda: told and bus.link.connected)
    hold.set()
    wait_until(lambda: set(recorder) == sent)
    assert told[0].exc_type is ZeroDivisionError


def test_where_the_broker_is_gone_handlers_that_publish_do_not_hold_up_who_stops(rabbitmq: PrivateNode) -> None:
    """What they have in hand it took back when it lost them. A virtual host that is deleted lets nobody in again."""
    host = f"{rabbitmq.management_url}/api/vhosts/gone"
    httpx.put(host, auth=GUEST).raise_for_status()
    bus, begun, errors = RabbitBus(f"{rabbitmq.url}gone"), threading.Event(), list[BaseException]()

    def answer(event: Event) -> None:
        begun.set()
        wait_until(lambda: not bus.link.connected)
        try:
            bus.publish(created(2))
        except BrokerAway as error:
            errors.append(error)
            raise

    with bus:
        bus.subscribe("order.#", handler=answer, name="one")
        bus.subscribe("order.#", handler=answer, name="two")
        bus.publish(created())
        assert begun.wait(30)
        httpx.delete(host, auth=GUEST).raise_for_status()
        wait_until(lambda: not bus.link.connected)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert len(errors) == 2
    assert "not confirmed before the bus stopped" in str(errors[0])


def test_a_worker_that_is_told_twice_ends_at_once_and_its_work_is_done_by_another(
    rabbitmq: PrivateNode, tmp_path: Path
) -> None:
    with Day(tmp_path / "day", rabbitmq.url) as day:
        worker = day.worker("analytics", "--work", "60")
        worker.ready()
        sent = day.produce(2, 1).result()["events"]
        wait_until(lambda: not day.left().get(ANALYTICS))  # it has them in hand
        worker.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "Stopping" in worker.said)
        wait_until(lambda: day.left().get(ANALYTICS) == sent - 1)  # what it has not begun with is given back
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(15) == 1
        wait_until(lambda: day.left().get(ANALYTICS) == sent)
        assert day.totals()["events"] == 0
    assert "Traceback" not in worker.said
