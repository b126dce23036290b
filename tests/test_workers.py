"""Workers on a bus of this process: what they say is what the whole shop says of the same day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from ecomlib import traffic
from ecomlib.broker import PrivateNode
from ecomlib.bus import EventBus
from ecomlib.clock import SimulatedClock
from ecomlib.errors import AlreadySubscribed
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.ports import Retry
from ecomlib.rabbitmq import RabbitBus
from ecomlib.services.orders import OrderService
from ecomlib.services.senders import Message, RecordingSender, Sender, SendFailed
from ecomlib.services.shared_analytics import SharedAnalytics
from ecomlib.shop import Shop
from ecomlib.workers import AnalyticsWorker, EmailWorker
from tests.support.webhook import wait_until

DAY = datetime(2026, 1, 5)
BOUNCING = ("3", "7")  # users whom no mail reaches
CREATED = Event("order.created", {"order_id": 1, "user_id": 100, "amount": 50}, id="created-1")


class Workers:
    """Both workers on one bus, each with a store of its own in a folder."""

    def __init__(self, folder: Path, sender: Sender, *, work: float = 0.0) -> None:
        self.clock = SimulatedClock()
        self.bus = EventBus(clock=self.clock)
        self.new_event = EventFactory("/shop", self.clock)
        self.email = EmailWorker(self.bus, sender, self.new_event, store=folder / "email.sqlite3", work=work)
        self.analytics = AnalyticsWorker(
            self.bus, store=folder / "analytics.sqlite3", clock=self.clock, durability="system", work=work
        )

    def close(self) -> None:
        self.email.close()
        self.analytics.close()


@pytest.fixture
def sender() -> RecordingSender:
    return RecordingSender(BOUNCING)


@pytest.fixture
def workers(tmp_path: Path, sender: RecordingSender) -> Iterator[Workers]:
    workers = Workers(tmp_path, sender)
    yield workers
    workers.close()


def test_two_workers_count_and_tell_what_the_whole_shop_does(workers: Workers) -> None:
    orders = traffic.simulate(200, 3, DAY, days=1)
    with Shop(clock=SimulatedClock(orders[0].created), seed=3, sender=RecordingSender(BOUNCING), threads=0) as shop:
        traffic.run(shop.orders, shop.clock, orders, settle=shop.run)
        expected = shop.totals()
    traffic.run(OrderService(workers.bus, workers.new_event), workers.clock, orders, settle=workers.bus.run_until_idle)
    assert workers.analytics.totals() == expected
    assert workers.email.totals() == {name: expected[name] for name in ("emails", "sms", "failed")}
    assert int(expected["failed"]) > 0


def test_an_event_that_comes_again_is_told_once_and_counts_once(workers: Workers, sender: RecordingSender) -> None:
    for _ in range(2):
        workers.bus.publish(CREATED)
        workers.bus.run_until_idle()
    assert len(sender.sent) == 1
    assert workers.analytics.totals()["events"] == 2  # the order, and the notice


def test_whom_no_mail_reaches_for_now_delays_nobody_and_is_told_later(tmp_path: Path) -> None:
    class Busy(RecordingSender):
        left = 8  # more refusals than a hasty worker would live through

        def send(self, message: Message) -> None:
            if message.recipient == "100" and self.left:
                self.left -= 1
                raise SendFailed("Try again later.")
            super().send(message)

    sender = Busy()
    workers = Workers(tmp_path, sender)
    workers.bus.publish(CREATED)
    workers.bus.publish(Event("order.created", {"order_id": 2, "user_id": 200, "amount": 5}))
    workers.bus.run_until_idle()
    assert [message.recipient for message in sender.sent] == ["200", "100"]
    assert workers.email.totals() == {"emails": 2, "sms": 0, "failed": 0}
    workers.close()


def test_work_that_takes_long_takes_the_clocks_time(tmp_path: Path, sender: RecordingSender) -> None:
    workers = Workers(tmp_path, sender, work=2.0)
    began = workers.clock.now()
    workers.bus.publish(CREATED)
    workers.bus.run_until_idle()
    # An email, its order and its notice counted.
    assert (workers.clock.now() - began).total_seconds() == 6.0
    workers.close()


def test_a_store_that_cannot_be_written_for_minutes_costs_no_event(workers: Workers) -> None:
    connection = workers.analytics._service.store._connection
    connection.execute("PRAGMA query_only = ON")
    workers.bus.publish(Event("order.shipped", {"order_id": 1}))
    for _ in range(20):  # attempts
        assert workers.bus.deliver_one()
    assert workers.bus.dead_letters == ()
    connection.execute("PRAGMA query_only = OFF")
    workers.bus.run_until_idle()
    assert workers.analytics.totals()["shipped"] == 1


def test_an_event_that_cannot_be_counted_is_a_dead_letter_and_holds_up_no_other(workers: Workers) -> None:
    connection = workers.analytics._service.store._connection
    connection.execute("INSERT INTO stories VALUES ('1', 'no story')")
    workers.bus.publish(Event("order.shipped", {"order_id": 1}))
    workers.bus.publish(Event("order.shipped", {"order_id": 2}))
    workers.bus.run_until_idle()
    (letter,) = workers.bus.dead_letters
    assert (letter.subscription, letter.event.data.order_id, letter.attempts) == ("analytics", "1", 1)
    assert "can't be counted" in letter.error
    assert workers.analytics.totals()["shipped"] == 1


def test_the_next_worker_goes_on_with_the_store(tmp_path: Path, sender: RecordingSender) -> None:
    for _ in range(2):
        workers = Workers(tmp_path, sender)
        workers.bus.publish(CREATED)
        workers.bus.run_until_idle()
        workers.close()
    assert len(sender.sent) == 1
    with SharedAnalytics(tmp_path / "analytics.sqlite3") as kept:
        assert kept.totals()["emails"] == 1


def test_one_bus_takes_one_worker_of_a_kind(tmp_path: Path, workers: Workers, sender: RecordingSender) -> None:
    with pytest.raises(AlreadySubscribed, match="analytics"):
        AnalyticsWorker(workers.bus, store=tmp_path / "other.sqlite3")
    with pytest.raises(AlreadySubscribed, match="failures"):
        EmailWorker(workers.bus, sender, workers.new_event)


def test_on_rabbitmq_our_own_trouble_ends_well_for_the_customer(
    rabbitmq: PrivateNode, tmp_path: Path, sender: RecordingSender, recorder: list[Event]
) -> None:
    new_event = EventFactory("/shop", SimulatedClock())
    with RabbitBus(rabbitmq.url, exchange="troubled") as bus:
        worker = EmailWorker(bus, sender, new_event, store=tmp_path / "email.sqlite3", retry=Retry(attempts=1))
        bus.subscribe("notification.*", handler=recorder.append)
        connection = worker._service._store._connection
        connection.execute("PRAGMA query_only = ON")
        bus.publish(CREATED)
        wait_until(lambda: [a.outcome for a in bus.attempts if a.subscription == "email"][1:])
        connection.execute("PRAGMA query_only = OFF")
        wait_until(lambda: worker.totals()["emails"])
        bus.drain()
    assert {event.id for event in recorder} == {"created-1.email.sent"}  # perhaps more than once: a reader counts once
    assert worker.totals() == {"emails": 1, "sms": 0, "failed": 0}
    assert len(sender.sent) == 1
    worker.close()
