"""Who holds which partition: the deal as a rule, and programs of members that come, work, sleep, go and die."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from ecomlib.assignment import Place, deal
from ecomlib.clock import SimulatedClock
from ecomlib.errors import BadOffset, LogError, StaleCommit
from ecomlib.groups import GroupConsumer
from ecomlib.log import FileLog
from ecomlib.membership import Membership
from ecomlib.offsets import Offsets, replace
from tests.contracts.consumer import brewed

# --- the deal -------------------------------------------------------------------------------------------------

SIZES = {"orders": 6, "payments": 3, "audit": 1}
IDS = tuple(f"consumer-{n}.{n}" for n in range(1, 7))

subscriptions = st.sets(st.sampled_from(sorted(SIZES)), min_size=1).map(
    lambda names: {name: SIZES[name] for name in names}
)
groups = st.dictionaries(st.sampled_from(IDS), subscriptions, max_size=6)
places = [(topic, n) for topic, size in SIZES.items() for n in range(size)]
hands = st.dictionaries(st.sampled_from(places), st.sampled_from([*IDS, "nobody.9"]))


def equal_group(count: int, partitions: int) -> dict[str, dict[str, int]]:
    return {id: {"orders": partitions} for id in IDS[:count]}


def sizes(dealt: dict[Place, str], members: dict[str, Any]) -> list[int]:
    count = Counter(dealt.values())
    return [count[id] for id in members]


@given(groups, hands)
def test_every_partition_that_someone_subscribes_to_is_dealt_to_one_who_does(
    members: dict[str, dict[str, int]], held: dict[Place, str]
) -> None:
    dealt = deal(members, held)
    wanted = {topic for topics in members.values() for topic in topics}
    assert set(dealt) == {place for place in places if place[0] in wanted}
    assert all(topic in members[id] for (topic, _), id in dealt.items())


@given(groups, hands)
def test_no_partition_could_move_to_a_member_that_has_two_fewer(
    members: dict[str, dict[str, int]], held: dict[Place, str]
) -> None:
    dealt = deal(members, held)
    count = Counter(dealt.values())
    for (topic, _), id in dealt.items():
        for other, topics in members.items():
            assert topic not in topics or count[id] - count[other] <= 1
    for one, topics in members.items():
        for other, others in members.items():
            assert topics != others or abs(count[one] - count[other]) <= 1


@given(groups, hands)
def test_a_deal_that_is_in_force_is_not_changed(members: dict[str, dict[str, int]], held: dict[Place, str]) -> None:
    dealt = deal(members, held)
    assert deal(members, dealt) == dealt
    assert deal(dict(members), dict(held)) == dealt


@given(groups, hands)
def test_a_handover_ends_whoever_polls_first(members: dict[str, dict[str, int]], held: dict[Place, str]) -> None:
    """Each gives up and takes by a deal of its own, from what is in all hands at that moment."""
    held = {place: id for place, id in held.items() if place[0] in members.get(id, {})}
    for _ in range(3):
        for me in reversed(members):
            mine = {place for place, id in deal(members, held).items() if id == me}
            held = {place: id for place, id in held.items() if id != me or place in mine}
            held |= dict.fromkeys(mine - held.keys(), me)
    assert deal(members, held) == held


@given(st.integers(2, 6), st.integers(1, 20), st.data())
def test_a_death_moves_only_what_the_dead_one_held(count: int, partitions: int, data: st.DataObject) -> None:
    members = equal_group(count, partitions)
    before = deal(members, {})
    dead = data.draw(st.sampled_from(list(members)))
    members.pop(dead)
    after = deal(members, {place: id for place, id in before.items() if id != dead})
    assert {place for place in before if after[place] != before[place]} == {
        place for place, id in before.items() if id == dead
    }


@given(st.integers(1, 5), st.integers(1, 20))
def test_one_who_joins_takes_its_share_and_no_more(count: int, partitions: int) -> None:
    before = deal(equal_group(count, partitions), {})
    after = deal(equal_group(count + 1, partitions), before)
    moved = {place for place in before if after[place] != before[place]}
    assert {after[place] for place in moved} <= {IDS[count]}
    assert len(moved) == partitions // (count + 1)


@given(st.integers(1, 6), st.integers(0, 20))
def test_equal_members_get_equal_hands(count: int, partitions: int) -> None:
    found = sizes(deal(equal_group(count, partitions), {}), equal_group(count, partitions))
    assert sum(found) == partitions
    assert max(found) - min(found) <= 1


def test_the_last_partitions_go_to_the_one_who_joins() -> None:
    held = deal(equal_group(1, 6), {})
    assert [id for _, id in sorted(deal(equal_group(2, 6), held).items())] == [IDS[0]] * 3 + [IDS[1]] * 3


def test_no_members_no_deal() -> None:
    assert deal({}, {("orders", 0): IDS[0]}) == {}


# --- one file instead of another ------------------------------------------------------------------------------


def test_a_file_is_replaced_at_once_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    for text in (b"one", b"two"):
        replace(tmp_path / "offsets.json", text, durable=True)
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [text]


def test_when_a_commit_cant_be_written_the_old_offsets_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offsets = Offsets(tmp_path, durable=True)
    offsets.write({("orders", 0): 3}, dict)

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(LogError, match=r"offsets\.json can't be read or written: No space left on device"):
        offsets.write({("orders", 0): 4}, dict)
    assert offsets.read() == {("orders", 0): 3}


def test_a_crash_between_the_two_files_of_a_repair_leaves_the_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing file would mean that nothing was committed: it is never missing while it is repaired."""
    (tmp_path / "offsets.json").write_bytes(b'{"ord')
    offsets = Offsets(tmp_path, durable=False)

    def crash() -> dict[str, int]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        offsets.write({("orders", 0): 4}, crash)
    with pytest.raises(BadOffset, match="is damaged"):
        offsets.read()
    offsets.write({("orders", 0): 4}, lambda: {"orders": 2})
    assert offsets.read() == {("orders", 0): 4, ("orders", 1): None}
    assert json.loads(offsets.path.read_text()) == {"orders": {"0": 4, "1": None}}


# --- membership -----------------------------------------------------------------------------------------------


def member(folder: Path, clock: SimulatedClock, name: str | None = None) -> Membership:
    return Membership(folder, "email", {"orders": 4}, name, clock, 300)


def test_an_id_is_never_used_again_while_anyone_may_still_have_it(tmp_path: Path, clock: SimulatedClock) -> None:
    sleeper = member(tmp_path, clock)
    sleeper.sync()
    clock.advance(minutes=6)
    heir = member(tmp_path, clock)
    heir.sync()
    heir.leave()
    (heir.folder / "members.json").unlink()  # now no one knows which ids there have been
    clock.advance(minutes=6)
    new = member(tmp_path, clock)
    new.sync()
    assert (sleeper.id, heir.id, new.id) == ("consumer-1.1", "consumer-1.2", "consumer-1.2")
    assert len(new.held) == 4
    with pytest.raises(StaleCommit), sleeper.holding([("orders", 0)]):
        pytest.fail("it holds nothing any more")


def test_the_generation_rises_when_a_member_comes_goes_or_dies_and_not_otherwise(
    tmp_path: Path, clock: SimulatedClock
) -> None:
    one, two, three = (member(tmp_path, clock) for _ in range(3))
    for there in (one, two, three):
        there.sync()
    assert three.generation == 3
    for there in (one, two, three, one, two, three):
        there.sync()
    assert one.generation == two.generation == three.generation == 3
    two.leave()
    three.abandon()
    one.sync()
    assert one.generation == 5


def test_what_a_sync_returns_was_held_without_a_break(tmp_path: Path, clock: SimulatedClock) -> None:
    one, two = member(tmp_path, clock), member(tmp_path, clock)
    assert one.sync() == frozenset()
    assert one.sync() == one.held == {("orders", n) for n in range(4)}
    two.sync()
    assert one.sync() == one.held == {("orders", 0), ("orders", 1)}
    clock.advance(minutes=6)
    two.sync()
    two.leave()
    assert one.sync() == frozenset()  # it was expelled in between, and has joined anew
    assert len(one.held) == 4


# --- programs -------------------------------------------------------------------------------------------------

PATIENCE = 300


class Programs(RuleBasedStateMachine):
    """What must be true however members come, poll, commit, fall asleep, go and die.

    No two members that are awake hold one partition. Whoever takes a partition reads it on from the commit, without a
    gap. An offset never goes back, and never past what was handled. Who has lost a partition can't commit.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.clock = SimulatedClock()
        self.log = FileLog(Path(self.folder.name) / "log", durability="system")
        self.members: list[GroupConsumer] = []
        self.polled: dict[GroupConsumer, Any] = {}  # when
        self.next: dict[tuple[GroupConsumer, Place], int] = {}
        self.handled: dict[Place, int] = {}  # how far each partition was handled
        self.committed: dict[Place, int] = {}
        self.appended = 0

    @initialize(partitions=st.integers(1, 4), events=st.integers(0, 20))
    def begin(self, partitions: int, events: int) -> None:
        self.log.create("orders", partitions)
        self.log.create("payments", 2)
        self.append(events)

    @rule(count=st.integers(1, 10))
    def append(self, count: int) -> None:
        for topic in ("orders", "payments"):
            self.log.append(topic, *[brewed(n) for n in range(self.appended, self.appended + count)])
        self.appended += count

    @precondition(lambda self: len(self.members) < 5)
    @rule(topics=st.sampled_from([("orders",), ("payments",), ("orders", "payments")]))
    def join(self, topics: tuple[str, ...]) -> None:
        self.members.append(self.log.consumer("email", *topics, clock=self.clock, patience=PATIENCE))
        self.polled[self.members[-1]] = self.clock.now()
        self.check()

    @precondition(lambda self: self.members)
    @rule(data=st.data(), limit=st.integers(1, 12))
    def poll(self, data: st.DataObject, limit: int) -> None:
        consumer = data.draw(st.sampled_from(self.members))
        before, id = set(consumer.assigned), consumer._member.id
        records = consumer.poll(limit)
        self.polled[consumer] = self.clock.now()
        self.check()
        kept = before & set(consumer.assigned) if consumer._member.id == id else set()
        for place in set(self.handled) - kept:
            self.next.pop((consumer, place), None)
        for (topic, number, offset), _ in records:
            place = topic, number
            assert place in consumer.assigned
            assert offset == self.next.get((consumer, place), self.committed.get(place, 0))
            assert offset <= self.handled.get(place, 0)  # nothing is left out
            self.handled[place] = max(self.handled.get(place, 0), offset + 1)
            self.next[consumer, place] = offset + 1

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        consumer = data.draw(st.sampled_from(self.members))
        held = {place for place in consumer.assigned if self.holder(place) is consumer}
        if held == set(consumer.assigned):
            consumer.commit()
            self.check()
        else:
            with pytest.raises(StaleCommit):
                consumer.commit()
            assert self.offsets() == self.committed

    def holder(self, place: Place) -> GroupConsumer | None:
        """By the list of members, and the id that only its owner has."""
        roll = json.loads((self.log.folder / "_groups" / "email" / "members.json").read_text())
        id = roll["held"].get(place[0], {}).get(str(place[1]))
        return next((member for member in self.members if member._member.id == id), None)

    @precondition(lambda self: self.members)
    @rule(data=st.data(), killed=st.booleans())
    def go(self, data: st.DataObject, killed: bool) -> None:
        consumer = data.draw(st.sampled_from(self.members))
        self.members.remove(consumer)
        consumer.abandon() if killed else consumer.close()
        self.check()

    @rule(seconds=st.sampled_from([100, PATIENCE + 1]))
    def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds=seconds)

    def awake(self) -> list[GroupConsumer]:
        now = self.clock.now()
        return [member for member in self.members if (now - self.polled[member]).total_seconds() <= PATIENCE]

    def offsets(self) -> dict[Place, int]:
        read = Offsets(self.log.folder / "_groups" / "email", durable=False).read()
        return {place: offset for place, offset in read.items() if offset is not None}

    def check(self) -> None:
        hands = Counter(place for member in self.awake() for place in member.assigned)
        assert all(count == 1 for count in hands.values()), "two members hold one partition"
        found = self.offsets()
        for place, offset in found.items():
            assert self.committed.get(place, 0) <= offset <= self.handled.get(place, 0)
        self.committed = found

    def teardown(self) -> None:
        try:
            for consumer in self.members:
                consumer.abandon()
            if self.log.folder.exists() and self.log.topics():
                last = self.log.consumer("email", "orders", "payments", clock=self.clock)
                found = self.handled | last.positions
                assert all(offset <= self.handled.get(place, 0) for place, offset in last.positions.items())
                while records := last.poll():
                    for (topic, number, offset), _ in records:
                        assert offset == found[topic, number]
                        found[topic, number] += 1
                assert found == {place: self.log.end(*place) for place in found}
                assert len(last.assigned) == sum(self.log.topics().values())
        finally:
            self.folder.cleanup()


def test_however_members_come_and_go_no_partition_is_worked_on_twice_and_no_record_is_left_out() -> None:
    run_state_machine_as_test(
        Programs,
        settings=settings(
            max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
