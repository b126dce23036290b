"""What every log promises (`ecomlib.ports.Log`), whatever engine is behind it. An engine's tests define `log`."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from ecomlib.errors import BadInput, LogError
from ecomlib.events import Event
from ecomlib.ports import Log, Position

LIMIT = 20.0  # seconds


def brewed(number: int, **more: Any) -> Event:
    return Event("coffee.brewed", {"number": number, **more})


def events_in(log: Log, start: int = 0, end: int | None = None, topic: str = "shop") -> list[Event]:
    return [record.event for record in log.read(topic, start, end=end)]


class LogContract:
    @pytest.fixture
    def log(self) -> Log:
        raise NotImplementedError("an engine's tests say how to make it")

    def test_what_was_appended_is_read_again_in_order(self, log: Log) -> None:
        events = [brewed(n, note='ünïcode \u2028 \n and \\ " too') for n in range(20)]
        for event in events:
            log.append("shop", event)
        assert events_in(log) == events

    def test_offsets_count_the_events_from_0(self, log: Log) -> None:
        first = log.append("shop", brewed(0))
        more = log.append("shop", brewed(1), brewed(2))
        assert (*first, *more) == (Position("shop", 0, 0), Position("shop", 0, 1), Position("shop", 0, 2))
        assert [record.position for record in log.read("shop")] == [*first, *more]
        assert log.end("shop") == 3

    def test_appending_nothing_changes_nothing(self, log: Log) -> None:
        log.append("shop", brewed(0))
        assert log.append("shop") == ()
        assert log.end("shop") == 1

    @pytest.mark.parametrize(
        ("start", "end", "found"),
        [
            (0, None, [0, 1, 2, 3, 4]),
            (3, None, [3, 4]),
            (1, 3, [1, 2]),
            (0, 0, []),
            (4, 99, [4]),
            (5, None, []),
            (9, None, []),
        ],
    )
    def test_reading_begins_and_ends_where_it_is_told_to(
        self, log: Log, start: int, end: int | None, found: list[int]
    ) -> None:
        log.append("shop", *[brewed(n) for n in range(5)])
        assert [event.data.number for event in events_in(log, start, end)] == found

    def test_reading_may_go_on_later_from_where_it_ended(self, log: Log) -> None:
        log.append("shop", brewed(0))
        assert len(events_in(log)) == 1
        log.append("shop", brewed(1))
        assert [event.data.number for event in events_in(log, 1)] == [1]

    def test_topics_are_apart(self, log: Log) -> None:
        shop, audit = brewed(1), brewed(2)
        log.append("shop", shop)
        log.append("audit", audit)
        assert events_in(log, topic="shop") == [shop]
        assert events_in(log, topic="audit") == [audit]
        assert log.topics() == {"audit": 1, "shop": 1}

    def test_a_topic_that_is_not_there_is_an_error_that_names_those_that_are(self, log: Log) -> None:
        log.append("shop", brewed(1))
        for ask in (lambda: list(log.read("shpo")), lambda: log.end("shpo")):
            with pytest.raises(LogError, match=r"'shpo'.*It has: shop") as missing:
                ask()
            assert "\n" not in str(missing.value)
        assert log.topics() == {"shop": 1}  # asking made none

    def test_a_partition_that_is_not_there_is_an_error(self, log: Log) -> None:
        log.append("shop", brewed(1))
        with pytest.raises(LogError, match="partition 7"):
            list(log.read("shop", partition=7))

    @pytest.mark.parametrize(
        "topic", ["", ".", "..", "../shop", "/tmp/shop", "a/b", "a\\b", "Shop", "sh op", "c:x", "x" * 101]
    )
    def test_a_name_that_is_no_topics_is_refused(self, log: Log, topic: str) -> None:
        log.append("shop", brewed(1))
        for ask in (lambda: log.append(topic, brewed(2)), lambda: list(log.read(topic)), lambda: log.end(topic)):
            with pytest.raises(LogError, match="is no topic's name"):
                ask()
        assert log.topics() == {"shop": 1}

    def test_offsets_before_the_first_are_refused(self, log: Log) -> None:
        log.append("shop", brewed(1))
        with pytest.raises(LogError, match="Offsets count from 0"):
            list(log.read("shop", -1))

    def test_many_threads_may_append_and_read_at_once(self, log: Log) -> None:
        log.append("shop", brewed(-1))
        errors: list[BaseException] = []

        def work(name: int) -> None:
            try:
                for n in range(25):
                    (position,) = log.append("shop", brewed(n, name=name))
                    (mine,) = events_in(log, position.offset, position.offset + 1)
                    assert (mine.data.number, mine.data.name) == (n, name)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT)
        assert errors == []
        records = list(log.read("shop", 1))
        assert [record.position.offset for record in records] == list(range(1, 201))
        for name in range(8):
            assert [r.event.data.number for r in records if r.event.data.name == name] == list(range(25))

    # --- partitions -----------------------------------------------------------------------------------------

    def test_a_topic_has_the_partitions_that_it_was_made_with(self, log: Log) -> None:
        log.create("orders", 3)
        log.append("shop", brewed(1))
        assert log.topics() == {"orders": 3, "shop": 1}
        assert [log.end("orders", n) for n in range(3)] == [0, 0, 0]
        with pytest.raises(
            LogError, match=r"no topic 'orders' with a partition 3\. It has: orders \(partitions: 3\), shop"
        ):
            log.end("orders", 3)

    def test_making_a_topic_again_changes_nothing(self, log: Log) -> None:
        log.create("orders", 3)
        log.append("orders", brewed(1))
        log.create("orders", 3)
        assert sum(log.end("orders", n) for n in range(3)) == 1

    @pytest.mark.parametrize("partitions", [1, 2, 4])
    def test_the_number_of_partitions_is_for_good(self, log: Log, partitions: int) -> None:
        log.create("orders", 3)
        with pytest.raises(BadInput, match=rf"'orders' has 3 partitions for good, not {partitions}"):
            log.create("orders", partitions)
        assert log.topics() == {"orders": 3}

    @pytest.mark.parametrize("partitions", [0, -1, 1001, True, 1.0, "3", None])
    def test_a_number_that_no_topic_has_is_refused(self, log: Log, partitions: int) -> None:
        with pytest.raises(BadInput, match="A topic has 1 to 1000 partitions, not"):
            log.create("orders", partitions)

    def test_a_key_keeps_to_one_partition_and_its_events_keep_their_order(self, log: Log) -> None:
        log.create("orders", 4)
        for n in range(0, 200, 10):
            log.append("orders", *[Event("coffee.brewed", {"n": k}, subject=f"cup {k % 7}") for k in range(n, n + 10)])
        found: dict[str, list[tuple[int, int]]] = {}
        for partition in range(4):
            for record in log.read("orders", partition=partition):
                found.setdefault(record.event.key, []).append((partition, record.event.data.n))
        assert len(found) == 7
        assert len({partition for events in found.values() for partition, _ in events}) > 1
        for key, events in found.items():
            assert len({partition for partition, _ in events}) == 1
            assert [n for _, n in events] == [n for n in range(200) if f"cup {n % 7}" == key]

    def test_positions_come_in_the_order_of_the_events(self, log: Log) -> None:
        log.create("orders", 4)
        events = [Event("coffee.brewed", {"n": n}, subject=f"cup {n % 7}") for n in range(50)]
        positions = log.append("orders", *events)
        assert len(set(positions)) == 50
        for (topic, partition, offset), event in zip(positions, events, strict=True):
            (record,) = log.read(topic, offset, partition=partition, end=offset + 1)
            assert record.event == event
