"""Replay: the past again, up to any moment, and from any snapshot to the same end."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomlib.errors import BadInput, DamagedRecord, LogError
from ecomlib.events import Event
from ecomlib.log import FileLog
from ecomlib.replay import Snapshot, replay

NINE = datetime(2026, 1, 5, 9, tzinfo=UTC)


class Tally:
    """A projection that depends on what happened and in which order."""

    def __init__(self) -> None:
        self.count = 0
        self.chain = 0
        self.latest: dict[str, int] = {}

    def apply(self, event: Event) -> None:
        self.count += 1
        self.chain = (self.chain * 31 + event.data.number) % 1_000_003
        self.latest[event.data.cup] = event.data.number

    def state(self) -> dict[str, Any]:
        return {"count": self.count, "chain": self.chain, "latest": dict(self.latest)}

    def restore(self, state: dict[str, Any]) -> None:
        self.count, self.chain, self.latest = state["count"], state["chain"], dict(state["latest"])


def brewed(number: int, *, minutes: int = 0) -> Event:
    time = NINE + timedelta(minutes=minutes)
    return Event("coffee.brewed", {"number": number, "cup": f"cup {number % 3}"}, time=time)


@pytest.fixture
def log(tmp_path: Path) -> FileLog:
    log = FileLog(tmp_path / "log", durability="system")
    log.append("shop", *[brewed(n, minutes=n) for n in range(10)])
    return log


def folded(numbers: list[int]) -> dict[str, Any]:
    tally = Tally()
    for number in numbers:
        tally.apply(brewed(number))
    return tally.state()


def test_a_replay_folds_all_events_and_says_which_offset_comes_next(log: FileLog) -> None:
    tally = Tally()
    assert replay(log, "shop", tally) == 10
    assert tally.state() == folded(list(range(10)))
    assert replay(log, "shop", tally, start=10) == 10  # nothing new
    assert tally.count == 10


def test_a_replay_stops_at_any_offset(log: FileLog) -> None:
    for end in range(12):
        tally = Tally()
        assert replay(log, "shop", tally, end=end) == min(end, 10)
        assert tally.state() == folded(list(range(min(end, 10))))


def test_a_replay_stops_at_any_time_and_takes_the_events_of_that_moment_along(log: FileLog) -> None:
    for minutes in range(12):
        tally = Tally()
        replay(log, "shop", tally, until=NINE + timedelta(minutes=minutes))
        assert tally.count == min(minutes + 1, 10)
    tally = Tally()
    replay(log, "shop", tally, until=NINE - timedelta(seconds=1))
    assert tally.count == 0


def test_what_arrived_late_counts_from_when_it_happened(log: FileLog) -> None:
    log.append("shop", brewed(10, minutes=2))
    tally = Tally()
    assert replay(log, "shop", tally, until=NINE + timedelta(minutes=2)) == 11
    assert tally.state() == folded([0, 1, 2, 10])


def test_a_time_without_a_zone_is_refused(log: FileLog) -> None:
    with pytest.raises(BadInput, match="has no time zone: write it like"):
        replay(log, "shop", Tally(), until=datetime(2026, 1, 5))


def test_a_replay_of_a_damaged_log_says_so_and_keeps_what_came_before(log: FileLog) -> None:
    log.close()
    file = log.folder / "shop" / "0.log"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:4], b"rust\n", *lines[5:]]))
    tally = Tally()
    with pytest.raises(DamagedRecord) as damage:
        replay(log, "shop", tally)
    assert tally.state() == folded([0, 1, 2, 3])
    assert replay(log, "shop", tally, start=damage.value.resume) == 10
    assert tally.state() == folded([0, 1, 2, 3, 5, 6, 7, 8, 9])


def test_a_replay_reads_one_partition_and_never_the_first_of_several_in_silence(log: FileLog) -> None:
    log.create("orders", 2)
    log.append("orders", *[brewed(n) for n in range(10)])
    tally = Tally()
    with pytest.raises(
        LogError, match=r"'orders' has 2 partitions, and a replay reads one: name it \(partition=0\), or"
    ):
        replay(log, "orders", tally)
    assert tally.count == 0
    ends = [replay(log, "orders", tally, partition=n) for n in range(2)]
    assert ends == [log.end("orders", n) for n in range(2)]
    assert tally.count == sum(ends) == 10
    assert replay(log, "shop", Tally(), partition=0) == 10


def test_a_replay_of_no_log_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="There is no log"):
        replay(FileLog(tmp_path / "nothing"), "shop", Tally())


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30), st.data())
def test_from_any_snapshot_a_replay_ends_where_the_full_replay_ends(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("log")
    with FileLog(folder / "log", durability="system") as log:
        log.append("shop", *[brewed(number) for number in numbers])
    full = Tally()
    replay(log, "shop", full)
    cut = data.draw(st.integers(0, len(numbers)))
    Snapshot.take(log, "shop", Tally(), end=cut).save(folder / "snapshot.json")
    later, snapshot = Tally(), Snapshot.load(folder / "snapshot.json")
    assert (snapshot.topic, snapshot.offset) == ("shop", cut)
    assert snapshot.restore(later) == cut
    assert later.state() == folded(numbers[:cut])
    assert replay(log, "shop", later, start=snapshot.offset) == len(numbers)
    assert later.state() == full.state() == folded(numbers)


def test_a_snapshot_may_be_taken_from_another(log: FileLog) -> None:
    tally = Tally()
    first = Snapshot.take(log, "shop", tally, end=4)
    second = Snapshot.take(log, "shop", tally, start=first.offset)
    assert second.offset == 10
    assert second.state == folded(list(range(10)))
    assert first.state == folded(list(range(4)))


def test_a_snapshot_replaces_the_one_before_and_leaves_nothing_beside_it(log: FileLog, tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    for end in (3, 7):
        Snapshot.take(log, "shop", Tally(), end=end).save(path)
        assert Snapshot.load(path).offset == end
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log", "snapshot.json"]


def test_when_a_snapshot_cant_be_saved_the_old_one_stays(
    log: FileLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "snapshot.json"
    old = Snapshot.take(log, "shop", Tally(), end=3)
    old.save(path)

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadInput, match=r"can't be saved as .*snapshot\.json: No space left on device"):
        Snapshot.take(log, "shop", Tally()).save(path)
    assert Snapshot.load(path) == old
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log", "snapshot.json"]


def test_a_snapshot_in_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing" / "s.json", Path(__file__) / "s.json"):
        with pytest.raises(BadInput, match="A snapshot can't be saved as"):
            Snapshot("shop", 1, {}).save(path)


def test_a_state_that_is_no_json_spoils_no_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    Snapshot("shop", 1, {}).save(path)
    with pytest.raises(TypeError):
        Snapshot("shop", 2, {"when": NINE}).save(path)
    assert Snapshot.load(path).offset == 1
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"[]",
        b"null",
        b'"shop"',
        b"{}",
        b'{"topic": "shop", "offset": 3}',
        b'{"topic": "shop", "offset": -1, "state": {}}',
        b'{"topic": "shop", "offset": 1.5, "state": {}}',
        b'{"topic": "shop", "offset": 1e999, "state": {}}',
        b'{"topic": "shop", "offset": true, "state": {}}',
        b'{"topic": "shop", "offset": 3, "state": []}',
        b'{"topic": 5, "offset": 3, "state": {}}',
    ],
)
def test_a_file_that_is_no_snapshot_is_refused_by_a_sentence(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "snapshot.json"
    path.write_bytes(text)
    with pytest.raises(BadInput, match=r"snapshot\.json is no snapshot .*Replay from the start and save a new one"):
        Snapshot.load(path)


def test_a_missing_snapshot_is_refused_by_a_sentence(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.json", tmp_path):
        with pytest.raises(BadInput, match="is no snapshot"):
            Snapshot.load(path)


def test_a_snapshot_is_a_json_file_that_anyone_can_read(tmp_path: Path) -> None:
    Snapshot("shop", 3, {"orders": 2}).save(tmp_path / "s.json")
    said = json.loads((tmp_path / "s.json").read_text())
    assert said == {"topic": "shop", "offset": 3, "state": {"orders": 2}}
