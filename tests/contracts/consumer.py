"""What every consumer promises (`ecomlib.ports.Consumer`), whatever engine is behind it.

An engine's tests define `log`, `join` and `die`. A rebalance may take an engine several polls of every member, so a
test polls all that live, in turn, until what it waits for has come.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Protocol

import pytest

from ecomlib.errors import BadInput, LogError, StaleCommit
from ecomlib.events import Event
from ecomlib.ports import Consumer, Log, Position, Record, Start

LIMIT = 20.0  # seconds
KEYS = tuple(f"cup {n}" for n in range(12))


class Join(Protocol):
    def __call__(self, group: str, *topics: str, start: Start = "beginning") -> Consumer:
        """A new member of the group, which ends with the test."""


Die = Callable[[Consumer], None]


def brewed(number: int, key: str | None = None) -> Event:
    return Event("coffee.brewed", {"number": number}, subject=key or KEYS[number % len(KEYS)])


def numbers(records: Iterable[Record]) -> list[int]:
    return [record.event.data.number for record in records]


def poll_until(done: Callable[[list[Record]], bool], *consumers: Consumer, limit: int = 500) -> list[Record]:
    """What they get, all together, when each polls in turn."""
    got: list[Record] = []
    end = time.monotonic() + LIMIT
    while not done(got):
        assert time.monotonic() < end, f"after {LIMIT} seconds only {got}"
        for consumer in consumers:
            got += consumer.poll(limit, timeout=0.01)
    return got


def take(count: int, *consumers: Consumer) -> list[Record]:
    """The next so many records, and a look that no more come."""
    got = poll_until(lambda got: len(got) >= count, *consumers)
    for consumer in consumers:
        got += consumer.poll()
    assert len(got) == count
    return got


class ConsumerContract:
    @pytest.fixture
    def log(self) -> Log:
        raise NotImplementedError("an engine's tests say how to make it")

    @pytest.fixture
    def join(self, log: Log) -> Join:
        raise NotImplementedError("an engine's tests say how to make it")

    @pytest.fixture
    def die(self) -> Die:
        """Make the consumer go without a word, as one whose process was killed."""
        raise NotImplementedError("an engine's tests say how to do it")

    @pytest.fixture
    def orders(self, log: Log) -> str:
        """A topic of four partitions with forty events."""
        log.create("orders", 4)
        log.append("orders", *[brewed(n) for n in range(40)])
        return "orders"

    # --- reading --------------------------------------------------------------------------------------------

    def test_one_member_gets_every_record_of_every_partition_once(self, log: Log, orders: str, join: Join) -> None:
        records = take(40, join("email", orders))
        assert sorted(numbers(records)) == list(range(40))
        assert len({record.position for record in records}) == 40
        assert {record.position.partition for record in records} <= set(range(4))

    def test_within_a_partition_records_come_in_order_and_so_do_those_of_a_key(self, orders: str, join: Join) -> None:
        consumer = join("email", orders)
        got = poll_until(lambda got: len(got) == 40, consumer, limit=3)
        offsets, keys = defaultdict[int, list[int]](list), defaultdict[str, list[int]](list)
        for (_, partition, offset), event in got:
            offsets[partition].append(offset)
            keys[event.key].append(event.data.number)
        assert all(found == list(range(len(found))) for found in offsets.values())
        assert all(found == sorted(found) for found in keys.values())

    def test_a_poll_gives_no_more_than_was_asked_for_and_none_when_there_is_none(self, orders: str, join: Join) -> None:
        consumer = join("email", orders)
        assert 1 <= len(poll_until(bool, consumer, limit=7)) <= 7
        poll_until(lambda got: not consumer.poll(), consumer)
        assert consumer.poll(timeout=0.05) == []

    def test_a_poll_waits_for_what_is_appended_meanwhile(self, log: Log, orders: str, join: Join) -> None:
        consumer = join("email", orders)
        take(40, consumer)
        (position,) = log.append(orders, brewed(40))
        assert [record.position for record in consumer.poll(timeout=LIMIT)] == [position]

    def test_a_consumer_may_read_several_topics(self, log: Log, orders: str, join: Join) -> None:
        log.append("payments", brewed(100), brewed(101))
        got = take(42, join("email", orders, "payments"))
        assert Counter(record.position.topic for record in got) == {"orders": 40, "payments": 2}

    def test_members_of_a_group_may_have_different_topics(self, log: Log, orders: str, join: Join) -> None:
        log.append("payments", brewed(100), brewed(101))
        both, one = join("email", orders, "payments"), join("email", orders)
        take(42, both, one)
        both.commit()
        one.commit()
        log.append("payments", brewed(102))
        assert numbers(poll_until(bool, both)) == [102]
        assert one.poll() == []

    def test_two_groups_read_at_their_own_pace(self, orders: str, join: Join) -> None:
        email, analytics = join("email", orders), join("analytics", orders)
        early = poll_until(bool, email, limit=3)
        assert len(take(40, analytics)) == 40
        assert len(take(40 - len(early), email)) == 40 - len(early)

    def test_a_topic_that_is_not_there_is_an_error(self, orders: str, join: Join) -> None:
        with pytest.raises(LogError, match=r"no topic 'ordres'.*It has: orders"):
            join("email", "ordres")

    # --- commit ---------------------------------------------------------------------------------------------

    def test_a_restarted_consumer_goes_on_at_the_commit(self, orders: str, join: Join) -> None:
        consumer = join("email", orders)
        done = poll_until(lambda got: len(got) >= 15, consumer, limit=5)
        consumer.commit()
        poll_until(bool, consumer, limit=5)  # and this is not committed
        consumer.close()
        rest = take(40 - len(done), join("email", orders))
        assert sorted(numbers(done) + numbers(rest)) == list(range(40))

    def test_what_was_not_committed_is_given_again_after_a_death(self, orders: str, join: Join, die: Die) -> None:
        consumer = join("email", orders)
        assert len(take(40, consumer)) == 40
        die(consumer)
        assert sorted(numbers(take(40, join("email", orders)))) == list(range(40))

    def test_a_commit_may_name_the_records_that_are_done(self, orders: str, join: Join, die: Die) -> None:
        consumer = join("email", orders)
        records = take(40, consumer)
        done = [record for record in records if record.position.offset < 3]
        consumer.commit(*reversed(done))
        die(consumer)
        again = take(40 - len(done), join("email", orders))
        assert sorted(numbers(done) + numbers(again)) == list(range(40))

    def test_a_later_commit_of_an_earlier_record_takes_nothing_back(self, log: Log, join: Join) -> None:
        log.append("orders", *[brewed(n) for n in range(5)])
        consumer = join("email", "orders")
        records = take(5, consumer)
        consumer.commit(records[3])
        consumer.commit(records[1])
        assert [(lag.committed, lag.lag) for lag in consumer.lag()] == [(4, 1)]

    def test_a_record_that_was_not_given_cant_be_committed(self, log: Log, join: Join) -> None:
        log.append("orders", *[brewed(n) for n in range(5)])
        consumer = join("email", "orders")
        (record,) = poll_until(bool, consumer, limit=1)
        later = Record(Position("orders", 0, 3), record.event)
        with pytest.raises(StaleCommit, match="Offset 3 of orders/0 has not been polled here"):
            consumer.commit(record, later)
        assert [lag.committed for lag in consumer.lag()] == [None]

    # --- seek and lag ---------------------------------------------------------------------------------------

    def test_seek_goes_to_the_beginning_to_the_end_and_to_any_offset(self, log: Log, join: Join) -> None:
        log.append("orders", *[brewed(n) for n in range(5)])
        consumer = join("email", "orders")
        take(5, consumer)
        consumer.seek("beginning")
        assert numbers(take(5, consumer)) == [0, 1, 2, 3, 4]
        consumer.seek(3)
        assert numbers(take(2, consumer)) == [3, 4]
        consumer.seek(1, "orders", 0)
        consumer.seek("end")
        assert consumer.poll() == []
        log.append("orders", brewed(5))
        assert numbers(take(1, consumer)) == [5]

    def test_seek_touches_only_the_partition_that_is_named(self, orders: str, log: Log, join: Join) -> None:
        consumer = join("email", orders)
        take(40, consumer)
        busy = next(n for n in range(4) if log.end(orders, n) > 2)
        consumer.seek(log.end(orders, busy) - 2, orders, busy)
        assert {record.position.partition for record in take(2, consumer)} == {busy}

    def test_a_group_begins_at_the_end_if_it_is_told_to(self, log: Log, orders: str, join: Join) -> None:
        consumer = join("email", orders, start="end")
        assert consumer.poll() == []
        log.append(orders, brewed(40))
        assert numbers(take(1, consumer)) == [40]

    def test_where_a_commit_is_the_start_does_not_count(self, log: Log, orders: str, join: Join) -> None:
        first = join("email", orders)
        first.poll(1)
        first.commit()
        first.close()
        assert len(take(39, join("email", orders, start="end"))) == 39

    @pytest.mark.parametrize("offset", [-1, 6, True, 1.5, "middle"])
    def test_a_place_that_the_log_does_not_have_is_refused(self, log: Log, join: Join, offset: int) -> None:
        log.append("orders", *[brewed(n) for n in range(5)])
        consumer = join("email", "orders")
        assert numbers(poll_until(bool, consumer, limit=2)) == [0, 1]
        with pytest.raises(BadInput, match="is no offset of orders/0: take 0 to 5, 'beginning' or 'end'"):
            consumer.seek(offset)
        assert numbers(take(3, consumer)) == [2, 3, 4]

    def test_a_partition_that_is_not_held_or_an_offset_for_several_is_refused(self, orders: str, join: Join) -> None:
        consumer = join("email", orders)
        take(40, consumer)
        places: list[tuple[int | Start, str | None, int | None]] = [
            (1, None, None),
            (1, orders, None),
            ("end", "payments", None),
            ("end", orders, 4),
        ]
        for place in places:
            with pytest.raises(BadInput, match="needs a partition that is held here, an offset only one"):
                consumer.seek(*place)
        assert consumer.poll() == []

    def test_lag_says_what_waits_since_the_commit(self, log: Log, orders: str, join: Join) -> None:
        consumer = join("email", orders)
        take(40, consumer)
        assert {lag.committed for lag in consumer.lag()} == {None}
        assert sum(lag.lag for lag in consumer.lag()) == 40
        consumer.commit()
        assert [(lag.topic, lag.partition) for lag in consumer.lag()] == [(orders, n) for n in range(4)]
        assert all(lag.committed == lag.end == log.end(orders, lag.partition) for lag in consumer.lag())
        log.append(orders, brewed(40), brewed(41))
        assert sum(lag.lag for lag in consumer.lag()) == 2

    # --- rebalance ------------------------------------------------------------------------------------------

    def test_members_share_the_partitions_when_one_joins(self, log: Log, orders: str, join: Join) -> None:
        first = join("email", orders)
        take(40, first)
        first.commit()
        second = join("email", orders)
        poll_until(lambda _: len(first.lag()) == len(second.lag()) == 2, first, second)
        log.append(orders, *[brewed(n) for n in range(40, 80)])
        assert sorted(numbers(take(40, first, second))) == list(range(40, 80))
        mine, others = ({lag.partition for lag in consumer.lag()} for consumer in (first, second))
        assert mine | others == set(range(4))

    def test_who_leaves_or_dies_is_replaced(self, log: Log, orders: str, join: Join, die: Die) -> None:
        members = [join("email", orders) for _ in range(4)]
        poll_until(lambda _: all(len(member.lag()) == 1 for member in members), *members)
        members.pop().close()
        die(members.pop())
        poll_until(lambda _: all(len(member.lag()) == 2 for member in members), *members)

    def test_a_member_too_many_waits_until_it_is_needed(self, log: Log, join: Join) -> None:
        log.append("orders", brewed(0))
        first, second = join("email", "orders"), join("email", "orders")
        take(1, first, second)
        assert second.lag() == ()
        first.close()
        assert numbers(take(1, second)) == [0]

    def test_a_commit_for_a_partition_that_was_given_up_is_refused(self, log: Log, orders: str, join: Join) -> None:
        first = join("email", orders)
        records = take(40, first)
        second = join("email", orders)
        poll_until(lambda _: len(second.lag()) == 2, first, second)
        with pytest.raises(
            StaleCommit, match=r"does not hold partition \d of 'orders' any more: nothing was committed"
        ):
            first.commit(*records)
        assert {lag.committed for lag in (*first.lag(), *second.lag())} == {None}

    def test_who_has_left_can_neither_poll_nor_commit(self, orders: str, join: Join) -> None:
        consumer = join("email", orders)
        records = take(40, consumer)
        consumer.close()
        consumer.close()
        with pytest.raises(LogError, match=r"has left the group 'email': make a new consumer to go on\."):
            consumer.poll()
        for done in ([], records):
            with pytest.raises(StaleCommit, match="has left the group"):
                consumer.commit(*done)

    def test_order_within_a_key_holds_while_members_come_and_go(self, log: Log, join: Join, die: Die) -> None:
        """Each member commits what it has handled; the dying one has always committed, so nothing comes twice."""
        log.create("orders", 6)
        handled: list[Record] = []
        members, sent = [join("email", "orders")], 0
        for round in range(12):
            log.append("orders", *[brewed(n) for n in range(sent, sent + 30)])
            sent += 30
            for member in members:
                records = member.poll(7, timeout=0.01)
                handled += records
                member.commit(*records)
            if round % 3 == 0:
                members.append(join("email", "orders"))
            elif round % 3 == 2:
                die(members.pop(0))
        end = time.monotonic() + LIMIT
        while len(handled) < sent:
            assert time.monotonic() < end
            for member in members:
                records = member.poll(timeout=0.01)
                handled += records
                member.commit(*records)
        for key in KEYS:
            mine = [record.event.data.number for record in handled if record.event.key == key]
            assert mine == [n for n in range(sent) if KEYS[n % len(KEYS)] == key]
