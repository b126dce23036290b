"""Many events into the bus at once: as if one had been published after the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecomlib.bus import EventBus
from ecomlib.errors import BusFull, LogError
from ecomlib.events import Event
from ecomlib.log import FileLog
from ecomlib.ports import Position, Receipt
from tests.support.disks import FullFile, One


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
