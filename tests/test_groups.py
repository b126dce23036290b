"""Consumer groups on the log in files: the contract, and what becomes of a group when files and processes go wrong."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ecomlib.clock import SimulatedClock
from ecomlib.errors import AlreadySubscribed, BadInput, BadOffset, DamagedRecord, LogError, NotALog, StaleCommit
from ecomlib.groups import GroupConsumer
from ecomlib.log import FileLog
from ecomlib.membership import GroupState, Member, describe, groups, lags
from ecomlib.partition import Partition
from ecomlib.ports import Consumer, Lag, Log, Record, Start
from ecomlib.services.analytics import Analytics
from ecomlib.shop import Shop
from ecomlib.traffic import run, simulate
from tests.contracts.consumer import LIMIT, ConsumerContract, Die, Join, brewed, numbers
from tests.support import worker


class TestAConsumerOfTheLogInFiles(ConsumerContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Log:
        return FileLog(tmp_path / "log", durability="system")

    @pytest.fixture
    def join(self, log: FileLog) -> Iterator[Join]:
        made: list[GroupConsumer] = []

        def join(group: str, *topics: str, start: Start = "beginning") -> Consumer:
            made.append(log.consumer(group, *topics, start=start))
            return made[-1]

        yield join
        for consumer in made:
            consumer.close()

    @pytest.fixture
    def die(self) -> Die:
        def die(consumer: Consumer) -> None:
            assert isinstance(consumer, GroupConsumer)
            consumer.abandon()

        return die


@pytest.fixture
def log(tmp_path: Path) -> FileLog:
    """A topic of three partitions: five records in the first, four in the second, none in the third."""
    log = FileLog(tmp_path / "log", durability="system")
    log.create("orders", 3)
    log.append("orders", *[brewed(n, "a") for n in range(5)], *[brewed(n, "g") for n in range(10, 14)])
    assert [log.end("orders", n) for n in range(3)] == [5, 4, 0]
    return log


@pytest.fixture
def folder(log: FileLog) -> Path:
    return log.folder / "_groups" / "email"


def committed(log: FileLog) -> dict[tuple[str, int], int | None]:
    return {(lag.topic, lag.partition): lag.committed for lag in lags(log, "email")}


def test_a_group_that_is_replayed_from_the_beginning_ends_in_the_projections_totals(tmp_path: Path) -> None:
    with Shop(tmp_path / "shop", durability="system") as shop:
        run(shop.orders, shop.clock, simulate(60, seed=4), settle=shop.run)
        totals = shop.totals()
        events = [record.event for record in FileLog(tmp_path / "shop").read("shop")]
    log = FileLog(tmp_path / "log", durability="system")
    log.create("facts", 4)
    log.append("facts", *events)

    def fold(analytics: Analytics, *members: GroupConsumer) -> dict[str, int | str]:
        while records := [record for member in members for record in member.poll(7)]:
            for record in records:
                analytics.apply(record.event)
            for member in members:
                member.commit()
        return analytics.totals()

    live = Analytics()
    first, second = log.consumer("analytics", "facts"), log.consumer("analytics", "facts")
    assert fold(live, first, second) == totals
    first.seek("beginning")
    second.seek("beginning")
    assert fold(Analytics(), first, second) == totals  # as in a replay
    first.seek("beginning")
    assert fold(live, first, second) == totals  # what comes twice counts once


# --- a member -------------------------------------------------------------------------------------------------


def test_a_member_has_partitions_and_positions_as_soon_as_it_is_made(log: FileLog) -> None:
    consumer = log.consumer("email", "orders")
    assert (consumer.name, consumer.generation) == ("consumer-1", 1)
    assert consumer.assigned == (("orders", 0), ("orders", 1), ("orders", 2))
    assert consumer.positions == {("orders", 0): 0, ("orders", 1): 0, ("orders", 2): 0}
    assert repr(consumer) == "<consumer-1 of email: orders/0, orders/1, orders/2>"
    assert repr(log.consumer("email", "orders")) == "<consumer-2 of email: no partition>"


def test_what_comes_after_a_member_that_starts_at_the_end_was_made_is_given_to_it(log: FileLog) -> None:
    consumer = log.consumer("email", "orders", start="end")
    log.append("orders", brewed(5, "a"))
    assert numbers(consumer.poll()) == [5]


def test_a_seek_before_the_first_poll_counts(log: FileLog) -> None:
    consumer = log.consumer("email", "orders")
    consumer.seek(3, "orders", 0)
    consumer.seek("end", "orders", 1)
    assert numbers(consumer.poll()) == [3, 4]


def test_polls_are_fair_to_the_partitions(log: FileLog) -> None:
    consumer = log.consumer("email", "orders")
    assert [numbers(consumer.poll(2)) for _ in range(6)] == [[0, 1], [10, 11], [2, 3], [4, 12], [13], []]


def test_a_poll_that_is_interrupted_has_given_nothing(log: FileLog, monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = log.consumer("email", "orders")
    real = log.read

    def interrupted(topic: str, start: int, *, partition: int, end: int | None) -> Iterator[Record]:
        yield from real(topic, start, partition=partition, end=start + 2)
        raise KeyboardInterrupt

    monkeypatch.setattr(log, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        consumer.poll()
    monkeypatch.undo()
    consumer.commit()
    assert sorted(numbers(consumer.poll())) == [0, 1, 2, 3, 4, 10, 11, 12, 13]


def test_names_are_the_first_that_are_free(log: FileLog) -> None:
    first, second = log.consumer("email", "orders"), log.consumer("email", "orders")
    third = log.consumer("email", "orders", name="printer")
    first.close()
    assert [second.name, third.name, log.consumer("email", "orders").name] == ["consumer-2", "printer", "consumer-1"]
    assert log.consumer("analytics", "orders").name == "consumer-1"


def test_a_name_that_a_living_member_has_is_refused(log: FileLog) -> None:
    first = log.consumer("email", "orders", name="printer")
    with pytest.raises(AlreadySubscribed, match="'email' has a living member 'printer': choose another name, or close"):
        log.consumer("email", "orders", name="printer")
    first.abandon()
    assert len(log.consumer("email", "orders", name="printer").assigned) == 3


@pytest.mark.parametrize("group", ["", ".", "..", "../email", "a/b", "/tmp/x", "Email", "e mail", "x" * 101])
def test_a_name_that_can_be_no_folder_is_refused(log: FileLog, group: str) -> None:
    with pytest.raises(BadInput, match="is no name here: use lower-case letters"):
        log.consumer(group, "orders")
    with pytest.raises(BadInput, match="is no name here: use lower-case letters"):
        log.consumer("email", "orders", name=group)
    assert groups(log) == ()


def test_what_makes_no_consumer_is_refused(log: FileLog) -> None:
    with pytest.raises(BadInput, match="What should 'email' read"):
        log.consumer("email")
    with pytest.raises(BadInput, match="patience of more than 0 seconds, not -1"):
        log.consumer("email", "orders", patience=-1)
    with pytest.raises(BadInput, match="starts at the 'beginning' or at the 'end', not at 'middle'"):
        log.consumer("email", "orders", start="middle")  # type: ignore[arg-type]
    with log.consumer("email", "orders") as consumer, pytest.raises(BadInput, match="1 record at least, not 0"):
        consumer.poll(0)


def test_a_missing_log_gets_no_group(tmp_path: Path) -> None:
    with pytest.raises(NotALog, match="There is no log"):
        FileLog(tmp_path / "nothing").consumer("email", "orders")
    assert not (tmp_path / "nothing").exists()


def test_a_group_is_no_topic(log: FileLog) -> None:
    log.consumer("email", "orders")
    assert log.topics() == {"orders": 3}
    assert groups(log) == ("email",)


def test_a_consumer_leaves_at_the_end_of_its_block_and_commits_nothing(log: FileLog, folder: Path) -> None:
    with log.consumer("email", "orders") as consumer:
        consumer.poll()
    assert describe(log, "email") == GroupState(2, ())
    assert not (folder / "offsets.json").exists()
    assert list((folder / "members").iterdir()) == []


# --- rebalance ------------------------------------------------------------------------------------------------


def test_a_member_gives_up_at_its_own_poll_what_a_new_one_should_have(log: FileLog) -> None:
    first = log.consumer("email", "orders")
    second = log.consumer("email", "orders")
    assert (second.poll(), second.assigned) == ([], ())  # the first may still be at work on all of them
    first.poll()
    assert first.assigned == (("orders", 0), ("orders", 1))
    second.poll()
    assert second.assigned == (("orders", 2),)
    assert first.generation == second.generation == 2


def test_what_a_dead_member_held_is_taken_at_the_next_poll_and_given_again_from_the_commit(log: FileLog) -> None:
    first = log.consumer("email", "orders")
    first.commit(*first.poll(2))
    first.poll()
    second = log.consumer("email", "orders")
    first.abandon()
    assert numbers(second.poll()) == [2, 3, 4, 10, 11, 12, 13]
    assert second.generation == 3


def test_a_member_that_does_not_poll_is_expelled_and_finds_out(log: FileLog, clock: SimulatedClock) -> None:
    slow = log.consumer("email", "orders", clock=clock)
    records = slow.poll()
    quick = log.consumer("email", "orders", clock=clock)
    clock.advance(seconds=300)
    assert quick.poll() == []  # five minutes are still in order
    clock.advance(seconds=0.5)
    quick.poll()
    clock.advance(seconds=299.9)
    assert numbers(quick.poll()) == []
    assert len(quick.assigned) == 3
    with pytest.raises(StaleCommit, match="consumer-1 does not hold partition 0 of 'orders' any more"):
        slow.commit()
    with pytest.raises(StaleCommit):
        slow.commit(*records)
    quick.commit()
    assert slow.poll() == []
    assert (slow.name, slow.assigned, slow.generation) == ("consumer-1", (), 4)
    quick.poll()
    slow.poll()
    assert len(slow.assigned) == 1


def test_a_member_that_no_one_has_expelled_may_commit_late(log: FileLog, clock: SimulatedClock) -> None:
    slow = log.consumer("email", "orders", clock=clock)
    slow.poll()
    clock.advance(hours=1)
    slow.commit()
    assert committed(log) == {("orders", 0): 5, ("orders", 1): 4, ("orders", 2): 0}
    assert slow.generation == 1


def test_an_expelled_member_whose_name_is_taken_gets_another(log: FileLog, clock: SimulatedClock) -> None:
    slow, named = log.consumer("email", "orders", clock=clock), log.consumer("email", "orders", name="a", clock=clock)
    clock.advance(minutes=6)
    heir = log.consumer("email", "orders", clock=clock)
    assert heir.name == "consumer-1"
    again = log.consumer("email", "orders", name="a", clock=clock)
    slow.poll()
    assert slow.name == "consumer-2"
    with pytest.raises(AlreadySubscribed, match="'a'"):
        named.poll()
    again.close()
    named.poll()
    assert named.name == "a"


def test_a_partition_that_came_back_is_read_from_the_commit_and_old_records_cant_be_committed(
    log: FileLog, clock: SimulatedClock
) -> None:
    slow, quick = log.consumer("email", "orders", clock=clock), log.consumer("email", "orders", clock=clock)
    old = slow.poll()
    clock.advance(minutes=6)
    quick.poll(1)
    quick.poll(1)
    quick.commit()
    quick.close()
    assert numbers(slow.poll(1)) == [11]
    assert slow.positions == {("orders", 0): 1, ("orders", 1): 2, ("orders", 2): 0}
    with pytest.raises(StaleCommit, match="has not been polled here since the partition was taken"):
        slow.commit(*old)
    assert sum(offset or 0 for offset in committed(log).values()) == 2


# --- offsets --------------------------------------------------------------------------------------------------


def test_a_missing_file_of_offsets_means_that_nothing_was_committed(log: FileLog, folder: Path) -> None:
    with log.consumer("email", "orders") as consumer:
        consumer.poll()
        consumer.commit()
        assert numbers(consumer.poll()) == []
    (folder / "offsets.json").unlink()
    with log.consumer("email", "orders") as consumer:
        assert len(consumer.poll()) == 9
    with log.consumer("email", "orders", start="end") as consumer:
        assert consumer.poll() == []


def test_a_partition_that_the_file_does_not_name_is_read_from_the_start(log: FileLog, folder: Path) -> None:
    with log.consumer("email", "orders") as consumer:
        consumer.commit(*consumer.poll(2))
    assert json.loads((folder / "offsets.json").read_text()) == {"orders": {"0": 2}}
    assert numbers(log.consumer("email", "orders").poll()) == [2, 3, 4, 10, 11, 12, 13]


def test_a_commit_that_changes_nothing_writes_nothing(log: FileLog, folder: Path) -> None:
    consumer = log.consumer("email", "orders")
    consumer.poll()
    consumer.commit()
    written = (folder / "offsets.json").stat().st_mtime_ns, (folder / "offsets.json").stat().st_ino
    consumer.commit()
    assert written == ((folder / "offsets.json").stat().st_mtime_ns, (folder / "offsets.json").stat().st_ino)


def test_offsets_cut_at_any_byte_are_refused_and_never_a_restart_in_silence(log: FileLog, folder: Path) -> None:
    with log.consumer("email", "orders") as consumer:
        consumer.poll()
        consumer.commit()
    whole = (folder / "offsets.json").read_bytes()
    for cut in range(len(whole) - 1):  # the last byte only ends the line
        (folder / "offsets.json").write_bytes(whole[:cut])
        with log.consumer("email", "orders") as consumer:
            for ask in (consumer.poll, consumer.poll, consumer.lag, lambda: lags(log, "email")):
                with pytest.raises(
                    BadOffset, match=r"offsets\.json is damaged.*Nothing was changed\. Say where to go on"
                ):
                    ask()
        assert (folder / "offsets.json").read_bytes() == whole[:cut]


@pytest.mark.parametrize(
    "text",
    [
        b"null",
        b"[]",
        b"5",
        b'{"orders": 3}',
        b'{"orders": {"0": -1}}',
        b'{"orders": {"0": "3"}}',
        b'{"orders": {"0": 1.5}}',
        b'{"orders": {"0": true}}',
        b'{"orders": {"first": 1}}',
        b'{"orders": {"0": [1]}}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_offsets_that_make_no_sense_are_refused(log: FileLog, folder: Path, text: bytes) -> None:
    log.consumer("email", "orders").close()
    (folder / "offsets.json").write_bytes(text)
    with pytest.raises(BadOffset, match=r"offsets\.json is damaged"):
        log.consumer("email", "orders").poll()


def test_damaged_offsets_are_mended_by_seek_and_commit_and_the_others_are_not_forgotten(
    log: FileLog, folder: Path
) -> None:
    log.append("payments", brewed(100))
    with log.consumer("email", "orders", "payments") as consumer:
        consumer.poll()
        consumer.commit()
    (folder / "offsets.json").write_bytes(b'{"orders": {"0": 5, "1')
    consumer = log.consumer("email", "orders", "payments")
    consumer.seek(4, "orders", 0)
    assert numbers(consumer.poll()) == [4]  # the others are held up by no one, but they have something to say
    with pytest.raises(BadOffset):
        consumer.poll()
    consumer.commit()
    assert (folder / "offsets.damaged.json").read_bytes() == b'{"orders": {"0": 5, "1'
    consumer.close()
    consumer = log.consumer("email", "orders", "payments")
    assert consumer.positions == {("orders", 0): 5}
    for _ in range(3):
        with pytest.raises(BadOffset, match=r"topic '\w+', partition \d: the offset was lost with a damaged offsets"):
            consumer.poll()
    with pytest.raises(BadOffset, match="was lost"):
        lags(log, "email")
    consumer.seek("end")
    consumer.commit()
    assert consumer.poll() == []
    assert all(lag.lag == 0 for lag in lags(log, "email"))


def test_a_file_of_offsets_that_was_put_right_is_believed_by_who_had_met_it_damaged(log: FileLog, folder: Path) -> None:
    with log.consumer("email", "orders") as consumer:
        consumer.commit(*consumer.poll())
    whole = (folder / "offsets.json").read_bytes()
    (folder / "offsets.json").write_bytes(whole[:9])
    consumer = log.consumer("email", "orders")
    with pytest.raises(BadOffset):
        consumer.poll()
    (folder / "offsets.json").write_bytes(whole)
    log.append("orders", brewed(20, "a"))
    assert numbers(consumer.poll()) == [20]


def test_an_offset_behind_the_end_is_refused_with_both_offsets_and_mended(log: FileLog, folder: Path) -> None:
    log.consumer("email", "orders").close()
    (folder / "offsets.json").write_text('{"orders": {"1": 7}}')
    consumer = log.consumer("email", "orders")
    assert numbers(consumer.poll()) == [0, 1, 2, 3, 4]
    says = (
        r"Group 'email', topic 'orders', partition 1: offset 7 is committed, and the log ends at 4\. "
        r"Say where to go on with seek\(offset, 'orders', 1\), then commit\(\)\."
    )
    for ask in (consumer.poll, consumer.poll, consumer.lag, lambda: lags(log, "email")):
        with pytest.raises(BadOffset, match=says):
            ask()
    consumer.commit()
    assert json.loads((folder / "offsets.json").read_text()) == {"orders": {"0": 5, "1": 7, "2": 0}}
    consumer.seek(2, "orders", 1)
    assert numbers(consumer.poll()) == [12, 13]
    consumer.commit()
    assert [lag.committed for lag in consumer.lag()] == [5, 4, 0]


# --- damaged records ------------------------------------------------------------------------------------------


def test_a_damaged_record_is_said_after_what_comes_before_it_and_holds_up_no_other_partition(log: FileLog) -> None:
    file = log.folder / "orders" / "0.log"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:2], b"rust\n", *lines[3:]]))
    consumer = log.consumer("email", "orders")
    assert numbers(consumer.poll()) == [0, 1, 10, 11, 12, 13]
    with pytest.raises(DamagedRecord) as damage:
        consumer.poll()
    log.append("orders", brewed(14, "g"))
    assert numbers(consumer.poll()) == [14]
    with pytest.raises(DamagedRecord):
        consumer.poll()
    consumer.commit()
    assert committed(log)["orders", 0] == 2
    consumer.seek(damage.value.resume, damage.value.topic, damage.value.partition)
    assert numbers(consumer.poll()) == [3, 4]
    assert consumer.poll() == []


# --- the members' file ----------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here: use Linux or macOS")
def test_a_forked_child_is_no_second_copy_of_a_member(log: FileLog) -> None:
    """In a process of its own, for this one has threads."""
    program = (
        "import os, sys\n"
        "from ecomlib.errors import LogError\n"
        "from ecomlib.log import FileLog\n"
        "consumer = FileLog(sys.argv[1]).consumer('email', 'orders')\n"
        "if os.fork() == 0:\n"
        "    try:\n"
        "        consumer.poll()\n"
        "    except LogError as error:\n"
        "        print(error, flush=True)\n"
        "    consumer.close()\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "print(len(consumer.poll()))\n"
    )
    said = subprocess.run([sys.executable, "-c", program, log.folder], capture_output=True, text=True, timeout=60)
    assert said.stdout.splitlines() == [
        "consumer-1 stayed in the process that this one was forked from: make a new consumer.", "9",
    ], said.stderr  # fmt: skip


def test_a_member_that_hangs_counts_as_dead_also_after_the_clock_was_put_back(log: FileLog) -> None:
    hangs = log.consumer("email", "orders", clock=SimulatedClock(datetime(2026, 1, 5, 12, tzinfo=UTC)))
    other = log.consumer("email", "orders", clock=SimulatedClock(datetime(2026, 1, 5, 11, tzinfo=UTC)))
    other.poll()
    assert len(other.assigned) == 3
    with pytest.raises(StaleCommit):
        hangs.commit()


def test_an_idle_poll_does_not_read_the_partitions_again(log: FileLog, monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = log.consumer("email", "orders")
    consumer.poll()
    read: list[object] = []
    monkeypatch.setattr(Partition, "_bytes", lambda *asked: read.append(asked))
    monkeypatch.setattr(Partition, "read", lambda *asked: read.append(asked))
    assert consumer.poll() == []
    assert read == []


@pytest.mark.parametrize(
    "text",
    [
        None,
        b"",
        b'{"generation": 2, "mem',
        b"[]",
        b'{"generation": "x", "members": {}, "held": {}}',
        b'{"generation": 1, "members": {"a.1": 5}, "held": {}}',
        b'{"generation": 1e999, "members": {}, "held": {}}',
        b'{"generation": 1, "members": {}, "held": {"orders": {"0": ["a"]}}}',
    ],
)
def test_when_the_list_of_members_is_lost_no_partition_is_worked_on_twice_and_the_group_forms_again(
    log: FileLog, folder: Path, text: bytes | None
) -> None:
    first = log.consumer("email", "orders")
    records = first.poll()
    if text is None:
        (folder / "members.json").unlink()
    else:
        (folder / "members.json").write_bytes(text)
    second = log.consumer("email", "orders")
    assert (second.name, second.poll(), second.assigned) == ("consumer-2", [], ())  # the first may be at work
    with pytest.raises(StaleCommit):
        first.commit(*records)
    first.poll()
    second.poll()
    first.poll()
    assert sorted([*first.assigned, *second.assigned]) == [("orders", 0), ("orders", 1), ("orders", 2)]
    assert [member.name for member in describe(log, "email").members] == ["consumer-2", "consumer-1"]
    first.close()
    assert len(second.poll() + second.poll()) >= 4
    assert len(second.assigned) == 3


def test_a_member_whose_file_was_taken_away_joins_again(log: FileLog, folder: Path) -> None:
    first = log.consumer("email", "orders")
    next((folder / "members").iterdir()).unlink()
    second = log.consumer("email", "orders")
    assert len(second.assigned) == 3
    with pytest.raises(StaleCommit):
        first.commit()
    assert first.poll() == []
    second.poll()
    first.poll()
    assert len(first.assigned) == 1


# --- looking at a group ---------------------------------------------------------------------------------------


def test_a_group_can_be_looked_at_without_joining_and_nothing_is_changed(log: FileLog, folder: Path) -> None:
    first = log.consumer("email", "orders")
    second = log.consumer("email", "orders", name="printer")
    first.poll()
    second.poll()
    first.commit()
    before = {path: path.stat().st_mtime_ns for path in log.folder.rglob("*")}
    look = FileLog(log.folder)
    assert groups(look) == ("email",)
    assert describe(look, "email") == GroupState(
        2,
        (
            Member("consumer-1", ("orders",), (("orders", 0), ("orders", 1))),
            Member("printer", ("orders",), (("orders", 2),)),
        ),
    )
    assert lags(look, "email") == (
        Lag("orders", 0, 5, 5),
        Lag("orders", 1, 4, 4),
        Lag("orders", 2, None, 0),
    )
    assert before == {path: path.stat().st_mtime_ns for path in log.folder.rglob("*")}


def test_a_group_without_members_still_has_its_lag(log: FileLog) -> None:
    with log.consumer("email", "orders") as consumer:
        consumer.commit(*consumer.poll(2))
    assert lags(log, "email") == (Lag("orders", 0, 2, 5),)


def test_a_group_that_was_never_there_is_an_error_that_names_those_that_were(log: FileLog) -> None:
    log.consumer("email", "orders").close()
    ask: Callable[[FileLog, str], object]
    for ask in (describe, lags):
        with pytest.raises(NotALog, match=r"No group 'emial' has read the log at .*: email has\."):
            ask(log, "emial")
    with pytest.raises(LogError, match="There is no log"):
        groups(FileLog(log.folder / "nothing"))


# --- threads --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_members_in_many_threads_come_go_and_die_and_never_two_work_on_one_partition(tmp_path: Path, seed: int) -> None:
    log = FileLog(tmp_path / "log", durability="system")
    log.create("orders", 5)
    log.append("orders", *[brewed(n) for n in range(300)])
    guard = threading.Lock()
    workers: dict[tuple[str, int], str] = {}  # who works on a partition, from a poll to the same member's next call
    handled: set[tuple[int, int]] = set()
    errors: list[BaseException] = []

    def live(consumer: GroupConsumer, me: str, chance: random.Random) -> None:
        for _ in range(chance.randrange(1, 8)):
            records = consumer.poll(chance.randrange(1, 10), timeout=0.005)
            with guard:
                for place in consumer.assigned:
                    assert place not in workers, f"{me} and {workers[place]} both work on {place}"
                    workers[place] = me
                assert {record.position[:2] for record in records} <= set(consumer.assigned)
                handled.update(record.position[1:] for record in records)
            if chance.random() < 0.8:
                consumer.commit()
            with guard:
                for place in consumer.assigned:
                    del workers[place]

    def work(number: int) -> None:
        chance = random.Random(f"{seed}/{number}")
        try:
            for life in range(10):
                consumer = log.consumer("email", "orders", name=f"worker-{number}-{life}")
                live(consumer, consumer.name, chance)
                consumer.abandon() if chance.random() < 0.4 else consumer.close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT * 3)
    assert errors == []
    last = log.consumer("email", "orders")
    for _, partition, offset, _ in last.lag():
        assert {(partition, n) for n in range(offset or 0)} <= handled  # nothing is committed that was not handled
    while records := last.poll():
        handled.update(record.position[1:] for record in records)
    assert handled == {(partition, n) for partition in range(5) for n in range(log.end("orders", partition))}


# --- processes ------------------------------------------------------------------------------------------------


class Workers:
    """Members of the group `email`, each in a process of its own, and the store that they write into."""

    def __init__(self, folder: Path) -> None:
        self.log = FileLog(folder / "log")
        self.file, self.stop = folder / "store.db", folder / "stop"
        self.store = worker.open_store(self.file)
        self.store.executescript(worker.TABLES)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *, dies_at: int = 0) -> None:
        command = [sys.executable, worker.__file__, str(self.log.folder), str(self.file), name, str(self.stop)]
        self.processes[name] = subprocess.Popen([*command, str(dies_at)])

    def hands(self) -> list[int]:
        """How many partitions each member holds."""
        there = "email" in groups(self.log)
        return [len(member.assigned) for member in describe(self.log, "email").members] if there else []

    def rows(self, query: str) -> list[Any]:
        return self.store.execute(query).fetchall()

    def wait_until(self, done: Callable[[], bool]) -> None:
        end = time.monotonic() + LIMIT * 3
        while not done():
            assert time.monotonic() < end
            assert all(p.poll() in (None, -signal.SIGKILL) for p in self.processes.values())
            threading.Event().wait(0.01)

    def end(self) -> dict[str, int]:
        self.stop.touch()
        for process in self.processes.values():
            process.communicate(timeout=LIMIT)
        return {name: process.returncode for name, process in self.processes.items()}


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(tmp_path)
    yield workers
    workers.store.close()
    for process in workers.processes.values():
        if process.poll() is None:
            process.kill()
            process.communicate(timeout=LIMIT)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_of_three_processes_one_is_killed_in_mid_work_and_another_joins(workers: Workers) -> None:
    log = workers.log
    log.create("orders", 6)
    workers.start("consumer-1")
    workers.start("victim", dies_at=23)
    workers.start("consumer-3")
    workers.wait_until(lambda: workers.hands() == [2, 2, 2])
    orphans = next(member.assigned for member in describe(log, "email").members if member.name == "victim")
    log.append("orders", *[brewed(n, f"cup {n % 40}") for n in range(200)])

    assert workers.processes["victim"].wait(LIMIT) == -signal.SIGKILL
    died = time.time()
    log.append("orders", *[brewed(n, f"cup {n % 40}") for n in range(200, 400)])  # something in every partition
    workers.start("consumer-4")
    log.append("orders", *[brewed(n, f"cup {n % 40}") for n in range(400, 600)])
    workers.wait_until(lambda: sum(lag.lag for lag in lags(log, "email")) == 0)
    workers.wait_until(lambda: workers.hands() == [2, 2, 2])
    assert workers.end() == {"consumer-1": 0, "victim": -signal.SIGKILL, "consumer-3": 0, "consumer-4": 0}

    events = [record.event for partition in range(6) for record in log.read("orders", partition=partition)]
    rows = workers.rows("SELECT event, key, number, part, member, batch, time FROM handled ORDER BY nth")
    times = Counter(event for event, *_ in rows)
    assert times.keys() == {event.id for event in events}  # each at least once
    assert len(events) == 600

    for _, partition in orphans:  # the dead one's partitions are served again
        again = min(when for _, _, _, part, who, _, when in rows if part == partition and who != "victim")
        assert again - died < 10

    assert dict(workers.rows("SELECT key, filled FROM cups")) == {f"cup {n}": 15 for n in range(40)}  # once in effect

    # What came twice is what the victim had in hand: all else was committed before its partition passed on.
    victims = [(batch, event) for event, _, _, _, who, batch, _ in rows if who == "victim"]
    assert len(victims) == 23
    in_hand = {event for batch, event in victims if batch == victims[-1][0]}
    assert {event for event, count in times.items() if count > 1} == in_hand
    assert all(times[event] == 2 for event in in_hand)

    # So a key's events come in order, but for those in hand: the next holder begins with them, before any new one.
    for key in {event.key for event in events}:
        ordered = [event.data.number for event in events if event.key == key]
        again = [event.data.number for event in events if event.key == key and event.id in in_hand]
        cut = ordered.index(again[-1]) + 1 if again else 0
        assert [number for _, k, number, *_ in rows if k == key] == ordered[:cut] + again + ordered[cut:]
