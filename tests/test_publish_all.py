"""Many events into the bus at once: as if one had been published after the other."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ecomlib.bus import EventBus
from ecomlib.errors import BusFull, LogError
from ecomlib.events import Event
from ecomlib.log import FileLog
from ecomlib.ports import Position, Receipt
from tests.support.disks import FullFile, One
from tests.support.webhook import LIMIT


def events(*numbers: int, verb: str = "shipped") -> list[Event]:
    return [Event(f"order.{verb}", {"order_id": n}) for n in numbers]


def test_it_does_what_publishing_one_after_the_other_does(tmp_path: Path) -> None:
    many = [*events(1, 2), *events(3, verb="delivered")]
    found = []
    for name in ("together", "singly"):
        with FileLog(tmp_path / name) as log:
            bus, handled = EventBus(log=log, topic="shop"), list[Event]()
            bus.subscribe("order.shipped", handler=handled.append, name="shipped")
            bus.subscribe("order.*", handler=lambda event: None, name="all")
            receipts = bus.publish_all(many) if name == "together" else [bus.publish(event) for event in many]
            bus.drain()
            logged = [record.event for record in log.read("shop")]
            found.append((receipts, handled, bus.history, logged, sorted(map(str, bus.attempts))))
    together, singly = found
    assert together[:4] == singly[:4]
    assert len(together[4]) == len(singly[4]) == 5
    assert [receipt.position for receipt in together[0] if isinstance(receipt, Receipt)] == [
        Position("shop", 0, offset) for offset in range(3)
    ]


def test_without_a_log_there_is_no_position() -> None:
    assert EventBus().publish_all(many := events(1, 2)) == [Receipt(event, ()) for event in many]
    assert EventBus().publish_all([]) == []


def test_only_those_that_have_room_are_published(tmp_path: Path) -> None:
    """Room is what the queue has, less what the events before take of it."""
    with FileLog(tmp_path) as log:
        bus = EventBus(log=log, topic="shop", limit=3)
        bus.subscribe("order.shipped", handler=lambda event: None, name="slow")
        bus.publish(events(0)[0])
        many = [*events(1, 2, 3), *events(4, verb="delivered")]
        results = bus.publish_all(many)
        assert [type(result) for result in results] == [Receipt, Receipt, BusFull, Receipt]
        assert "'slow' is full" in str(results[2])
        assert [record.event.data.order_id for record in log.read("shop")] == ["0", "1", "2", "4"]
        assert len(bus.history) == 4


def test_where_the_log_cannot_be_written_nobody_gets_anything(tmp_path: Path) -> None:
    disk = One(FullFile)
    with FileLog(tmp_path, files=disk) as log:
        bus, handled = EventBus(log=log, topic="shop"), list[Event]()
        bus.subscribe("order.*", handler=handled.append)
        bus.publish_all(events(1))
        assert isinstance(disk.file, FullFile)
        disk.file.full = True
        with pytest.raises(LogError, match="No space left"):
            bus.publish_all(events(2, 3))
        bus.drain()
        assert [event.data.order_id for event in handled] == ["1"]
        assert log.end("shop") == 1


def test_an_event_that_is_refused_takes_no_room_from_the_next() -> None:
    bus = EventBus(limit=1)
    bus.subscribe("order.shipped", handler=lambda event: None, name="full")
    bus.publish(events(0)[0])
    bus.subscribe("order.*", handler=lambda event: None, name="roomy")
    results = bus.publish_all([*events(1), *events(2, verb="delivered")])
    assert [type(result) for result in results] == [BusFull, Receipt]


def test_nobody_elses_event_comes_between_and_every_queue_has_the_order_of_the_log(tmp_path: Path) -> None:
    """Whoever comes while the log is written is queued behind what was written."""

    class Busy(FileLog):
        def append(self, topic: str, *events: Event) -> tuple[Position, ...]:
            places = super().append(topic, *events)
            if len(events) == 2:
                other.start()
                other.join(0.1)  # it may try as long as it likes
            return places

    with Busy(tmp_path, durability="system") as log:
        bus, handled = EventBus(log=log, topic="shop"), list[Event]()
        bus.subscribe("#", handler=handled.append)
        other = threading.Thread(target=lambda: bus.publish(*events(3)))
        bus.publish_all(events(1, 2))
        other.join(LIMIT)
        bus.drain(LIMIT)
        assert [event.data.order_id for event in handled] == ["1", "2", "3"]
        assert handled == [record.event for record in log.read("shop")] == list(bus.history)


def test_where_nothing_is_taken_the_log_is_left_alone(tmp_path: Path) -> None:
    bus = EventBus(log=FileLog(tmp_path / "log"), topic="shop", limit=1)
    assert bus.publish_all([]) == []
    assert not (tmp_path / "log").exists()
