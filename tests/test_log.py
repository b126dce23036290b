"""The log in files: the log's contract, and what becomes of it when bytes, disks, processes and folders go wrong."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ecomlib.files
import ecomlib.partition
import ecomlib.records
from ecomlib.errors import DamagedRecord, LogError
from ecomlib.events import Event
from ecomlib.files import LogFile
from ecomlib.log import FileLog
from ecomlib.ports import Durability, Log
from tests.contracts.log import LIMIT, LogContract, brewed, events_in
from tests.support.disks import FailingFile, ForgetfulDisk, ForgetfulFile, FullFile, One

DURABILITIES: tuple[Durability, ...] = ("each", "batch", "system")


class TestTheLogInFiles(LogContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[Log]:
        with FileLog(tmp_path / "log") as log:
            yield log


class TestTheLogInFilesWithAnFsyncEach(LogContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[Log]:
        with FileLog(tmp_path / "log", durability="each") as log:
            yield log


@pytest.fixture
def log(tmp_path: Path) -> FileLog:
    return FileLog(tmp_path / "log", durability="system")


@pytest.fixture
def file(log: FileLog) -> Path:
    """The file of a log of five records, no two of the same length."""
    log.append("shop", *[brewed(n, note="x" * n) for n in range(5)])
    log.close()
    return log.folder / "shop" / "0.log"


def again(file: Path) -> FileLog:
    """The log as another process finds it."""
    return FileLog(file.parent.parent, durability="system")


def salvage(log: FileLog, start: int = 0) -> tuple[list[Event], list[DamagedRecord]]:
    """All that can be read, and what was said about the rest."""
    events: list[Event] = []
    damage: list[DamagedRecord] = []
    while found := until_damage(log, start, events):
        assert found.resume > start  # it always gets on
        start = found.resume
        damage.append(found)
    return events, damage


def until_damage(log: FileLog, start: int, events: list[Event]) -> DamagedRecord | None:
    try:
        for record in log.read("shop", start):
            events.append(record.event)
    except DamagedRecord as found:
        return found
    return None


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


# --- records ----------------------------------------------------------------------------------------------


def test_a_record_is_a_cloudevent_on_one_line_with_its_offset_and_a_checksum(file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    assert len(lines) == 5
    for n, line in enumerate(lines):
        said = json.loads(line)
        assert (said["specversion"], said["type"], said["offset"]) == ("1.0", "coffee.brewed", n)
        checked = line[: line.rindex(b',"checksum"')]
        assert said["checksum"] == f"{zlib.crc32(checked):08x}"
        assert Event.from_json(line).extensions == {"offset": n, "checksum": said["checksum"]}


def test_an_event_whose_data_looks_like_the_end_of_a_record_is_read_whole(log: FileLog) -> None:
    sly = Event("coffee.brewed", {"a": 1, "offset": 0, "checksum": "00000000"})
    before = sly.to_json().partition(',"checksum"')[0].encode()
    sly = Event.from_json(sly.to_json().replace("00000000", f"{zlib.crc32(before):08x}"))
    log.append("shop", sly, brewed(1))
    assert events_in(log) == [sly, *events_in(log, 1)]
    assert log.end("shop") == again(log.folder / "shop" / "0.log").end("shop") == 2


def test_an_event_may_carry_an_event_and_extensions_of_the_same_names(log: FileLog) -> None:
    inner = brewed(1)
    outer = Event("coffee.lost", {"event": json.loads(inner.to_json())}, extensions={"offset": 7, "checksum": "no"})
    log.append("shop", outer)
    (found,) = events_in(log)
    assert found.data == outer.data


# --- torn tails -------------------------------------------------------------------------------------------


def test_a_log_cut_at_every_byte_of_its_last_record_loses_no_other(file: Path) -> None:
    whole = file.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    events = events_in(again(file))
    for cut in range(last, len(whole) + 1):
        file.write_bytes(whole[:cut])
        left = 5 if cut >= len(whole) - 1 else 4  # the last byte only ends the line
        before = snapshot(file.parent.parent)
        reader = again(file)
        assert events_in(reader) == events[:left], f"cut at byte {cut}"
        assert reader.end("shop") == left
        assert snapshot(file.parent.parent) == before  # a reader changes nothing
        writer, new = again(file), brewed(99)
        assert writer.append("shop", new)[0].offset == left
        writer.close()
        assert events_in(again(file)) == [*events[:left], new]
        assert file.read_bytes().startswith(whole[: len(whole) if left == 5 else last])


def test_a_log_whose_only_record_is_torn_begins_anew(file: Path) -> None:
    first = file.read_bytes().splitlines()[0]
    for cut in range(len(first)):
        file.write_bytes(first[:cut])
        assert events_in(again(file)) == []
        log = again(file)
        assert log.append("shop", brewed(99))[0].offset == 0
        log.close()
        assert [event.data.number for event in events_in(again(file))] == [99]


def test_a_reader_that_meets_a_record_being_written_stops_before_it_and_finds_it_later(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = file.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    file.write_bytes(whole[: last + 10])
    real = ecomlib.records.unfinished

    def meanwhile(line: bytes, position: int) -> Any:
        file.write_bytes(whole)  # the writer goes on just when the reader has met the first half
        return real(line, position)

    monkeypatch.setattr(ecomlib.partition, "unfinished", meanwhile)
    log = again(file)
    assert [record.position.offset for record in log.read("shop")] == [0, 1, 2, 3]  # the second half alone is no damage
    assert [record.position.offset for record in log.read("shop", 4)] == [4]


def test_the_last_line_may_hold_two_whole_records_and_lack_its_end(file: Path) -> None:
    whole = file.read_bytes()
    last = whole.rindex(b"\n", 0, -1)
    file.write_bytes(whole[:last] + b"\0" + whole[last + 1 : -1])
    events, damage = salvage(again(file))
    assert [event.data.number for event in events] == [0, 1, 2, 3, 4]
    assert [found.position for found in damage] == [last]
    log = again(file)
    assert log.append("shop", brewed(99))[0].offset == 5
    assert [event.data.number for event in salvage(log)[0]] == [0, 1, 2, 3, 4, 99]


# --- damage -----------------------------------------------------------------------------------------------


def test_whatever_bits_flip_no_other_record_is_lost_and_the_damage_is_named_with_its_place(file: Path) -> None:
    whole = file.read_bytes()
    ends = [n for n, byte in enumerate(whole) if byte == ord("\n")]
    starts = [0, *(end + 1 for end in ends[:-1])]
    originals = events_in(again(file))
    for at in range(len(whole)):
        hit = next(n for n, end in enumerate(ends) if at <= end)
        for flipped in {whole[at] ^ 0x01, whole[at] ^ 0x80, whole[at] ^ 0xFF, ord("\n"), ord("{")} - {whole[at]}:
            file.write_bytes(whole[:at] + bytes([flipped]) + whole[at + 1 :])
            log = again(file)
            events, damage = salvage(log)
            case = f"byte {at} became {flipped:#x}"
            if at == ends[-1]:
                assert (events, damage) == (originals, []), case  # no more than a torn end
            elif at in ends:
                assert events == originals, case
                assert [found.position for found in damage] == [at], case
            else:
                assert events == originals[:hit] + originals[hit + 1 :], case
                assert damage, case
                assert (damage[0].offset, damage[0].topic, damage[0].partition) == (hit, "shop", 0), case
                assert damage[0].position == starts[hit], case
                assert f"{file} is damaged at byte {starts[hit]}. Offset" in str(damage[0]), case
            if flipped != whole[at] ^ 0x80:
                continue  # to append after each would take long, and differ in nothing
            (new,) = log.append("shop", brewed(99))
            assert new.offset == 5, case  # no offset is used twice
            log.close()
            assert salvage(again(file))[0] == [*events, *events_in(again(file), 5)], case


@given(
    st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=40), st.integers(0, 40)), min_size=1, max_size=3),
    st.sampled_from([1, 5, 12]),
)
@settings(max_examples=100)
def test_wherever_bytes_are_put_changed_or_taken_away_every_untouched_record_is_read(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[float, bytes, int]], count: int
) -> None:
    file = tmp_path_factory.mktemp("log") / "log" / "shop" / "0.log"
    log = again(file)
    log.append("shop", *[brewed(n) for n in range(count)])
    log.close()
    marks = [[b] for b in file.read_bytes()]  # each original byte, and what has become of it
    for place, put, taken in changes:
        at = int(place * len(marks))
        for n in range(at, min(at + taken, len(marks))):
            marks[n] = []
        if at < len(marks):
            marks[at] = [*put, *marks[at]]
    lines = file.read_bytes().splitlines(keepends=True)
    untouched, begin = [], 0
    for line in lines:
        if all(mark == [byte] for mark, byte in zip(marks[begin : begin + len(line) - 1], line, strict=False)):
            untouched.append(Event.from_json(line).data.number)
        begin += len(line)
    file.write_bytes(b"".join(bytes(mark) for mark in marks))
    events: list[Event] = []
    said = ""
    try:
        events, _ = salvage(again(file))
    except LogError as nothing:
        said = str(nothing)
    assert not said or "holds no record" in said
    numbers = [event.data.number for event in events]
    assert numbers == sorted(set(numbers))
    assert set(untouched) <= set(numbers) <= set(range(count))


def test_a_line_that_was_taken_away_is_named(file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:2] + lines[3:]))
    events, damage = salvage(again(file))
    assert [event.data.number for event in events] == [0, 1, 3, 4]
    assert [(found.offset, found.resume) for found in damage] == [(2, 3)]
    assert "Offset 2 can't be read" in str(damage[0])


def test_a_line_that_is_there_twice_is_named_and_read_once(file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    for n in range(5):
        file.write_bytes(b"".join([*lines[: n + 1], *lines[n:]]))
        events, damage = salvage(again(file))
        assert [event.data.number for event in events] == [0, 1, 2, 3, 4]
        assert [found.position for found in damage] == [sum(map(len, lines[: n + 1]))]
        assert again(file).append("shop", brewed(99))[0].offset == 5


def test_two_lines_that_lost_the_newline_between_them_are_both_read(file: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"\n", b"", 2))
    assert [event.data.number for event in salvage(again(file))[0]] == [0, 1, 2, 3, 4]


def test_reading_before_and_behind_damage_needs_no_salvage(file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:2], b"rust\n", *lines[3:]]))
    log = again(file)
    assert [event.data.number for event in events_in(log, 0, 2)] == [0, 1]
    assert [event.data.number for event in events_in(log, 3)] == [3, 4]
    with pytest.raises(DamagedRecord) as found:
        events_in(log, 2, 3)
    assert found.value.resume == 3


def test_an_event_that_breaks_todays_rules_is_named_with_its_offset(log: FileLog) -> None:
    log.append("shop", brewed(0), brewed(1))
    log.close()
    file = log.folder / "shop" / "0.log"
    body = brewed(0).to_json().replace("coffee.brewed", "order.created").encode()[:-1] + b',"offset":0'
    line = body + b',"checksum":"%08x"}\n' % zlib.crc32(body)
    file.write_bytes(line + file.read_bytes().splitlines(keepends=True)[1])
    with pytest.raises(LogError, match=r"offset 0: the record is whole, but order\.created: order_id is missing"):
        events_in(again(file))
    assert [event.data.number for event in events_in(again(file), 1)] == [1]


# --- what is no log ---------------------------------------------------------------------------------------

NOISE = {
    "noise": random.Random(1).randbytes(10_000_000),
    "zeros": bytes(10_000_000),
    "text": b"All work and no play makes Jack a dull boy.\n" * 25_000,
    "one line": b"x" * 10_000_000,
    "json": b'{"specversion":"1.0","offset":1,"checksum":"00000000"}\n' * 20_000,
    "blank lines": b"\n" * 10_000,
}


@pytest.mark.parametrize("kind", NOISE)
def test_noise_in_the_place_of_a_log_is_refused_by_a_sentence_and_left_as_it_is(file: Path, kind: str) -> None:
    file.write_bytes(NOISE[kind])
    began = time.monotonic()
    for ask in (
        lambda: events_in(again(file)),
        lambda: again(file).append("shop", brewed(1)),
        lambda: again(file).end("shop"),
    ):
        if kind in ("zeros", "one line") and "events_in" in ask.__code__.co_names:
            assert ask() == []  # a line that has no end yet: nothing to be read
            continue
        with pytest.raises(
            LogError, match="holds no record: it is not a log's file, or damaged all through"
        ) as refused:
            ask()
        assert "\n" not in str(refused.value)
    assert time.monotonic() - began < 10
    assert file.read_bytes() == NOISE[kind]


def test_a_good_log_with_much_noise_behind_it_still_takes_events(file: Path) -> None:
    file.write_bytes(file.read_bytes() + NOISE["noise"] + b"\n")
    log = again(file)
    (new,) = log.append("shop", brewed(99))
    assert [event.data.number for event in salvage(log)[0]] == [0, 1, 2, 3, 4, 99]
    assert new.offset > 5


def test_a_missing_folder_is_no_log(tmp_path: Path) -> None:
    log = FileLog(tmp_path / "nothing")
    for ask in (lambda: list(log.read("shop")), lambda: log.end("shop"), log.topics):
        with pytest.raises(LogError, match=r"There is no log at .*nothing: the folder does not exist"):
            ask()
    assert not log.folder.exists()


def test_a_folder_of_something_else_is_refused_and_left_untouched(tmp_path: Path) -> None:
    folder = tmp_path / "holidays"
    (folder / "shop").mkdir(parents=True)
    (folder / "shop" / "0.log").write_text("Monday: rain\n")
    before = snapshot(folder)
    log = FileLog(folder)
    for ask in (lambda: log.append("shop", brewed(1)), lambda: list(log.read("shop")), log.topics):
        with pytest.raises(LogError, match=r"holidays is not an event log: it has no log\.json"):
            ask()
    assert snapshot(folder) == before


def test_a_file_is_no_log(tmp_path: Path) -> None:
    path = tmp_path / "events.log"
    path.write_text("hello\n")
    log = FileLog(path)
    for ask in (lambda: log.append("shop", brewed(1)), lambda: list(log.read("shop")), log.topics):
        with pytest.raises(LogError, match="is not an event log"):
            ask()
    with pytest.raises(LogError, match="Not a directory"):
        FileLog(path / "below").append("shop", brewed(1))
    assert path.read_text() == "hello\n"


def test_an_empty_folder_becomes_a_log_and_folders_above_are_made(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "a" / "b"):
        with FileLog(folder) as log:
            log.append("shop", brewed(1))
        assert len(events_in(FileLog(folder))) == 1


@pytest.mark.parametrize("torn", [False, True])
def test_a_log_in_a_read_only_folder_can_be_read_for_reading_writes_nothing(file: Path, torn: bool) -> None:
    if torn:
        file.write_bytes(file.read_bytes()[:-10])
    folder = file.parent.parent
    places = [file, *file.parent.glob("*.lock"), file.parent, folder]
    for place in places:
        place.chmod(0o555 if place.is_dir() else 0o444)
    before = snapshot(folder)
    log = again(file)
    assert len(events_in(log)) == log.end("shop") == (4 if torn else 5)
    assert log.topics() == {"shop": 1}
    assert snapshot(folder) == before
    for place in places:
        place.chmod(0o755)


def test_appending_where_nothing_may_be_written_is_refused_by_a_sentence(file: Path) -> None:
    def refuse(path: Path) -> LogFile:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(LogError, match=r"0\.log can't be read or written: Permission denied"):
        FileLog(file.parent.parent, files=refuse).append("shop", brewed(1))


def test_a_log_that_disappears_is_an_error_in_a_sentence(file: Path) -> None:
    log = again(file)
    log.end("shop")
    file.unlink()
    for ask in (lambda: events_in(log), lambda: log.end("shop")):
        with pytest.raises(LogError, match="No such file"):
            ask()


# --- durability -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", DURABILITIES)
def test_what_was_acknowledged_survives_a_crash_of_the_machine_unless_system_was_chosen(
    tmp_path: Path, durability: Durability
) -> None:
    disk = ForgetfulDisk()
    log = FileLog(tmp_path / "log", durability=durability, files=disk)
    for n in range(5):
        log.append("shop", brewed(n), brewed(n))
    disk.crash()
    kept = [event.data.number for event in events_in(FileLog(tmp_path / "log"))]
    assert kept == ([] if durability == "system" else [0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    assert disk.syncs == (0 if durability == "system" else 5)


@pytest.mark.parametrize("durability", ["each", "batch"])
def test_at_every_moment_all_that_was_acknowledged_is_safe_however_many_append(
    tmp_path: Path, durability: Durability
) -> None:
    disk = ForgetfulDisk()
    log = FileLog(tmp_path / "log", durability=durability, files=disk)
    safe: list[tuple[int, int]] = []  # the offset that was acknowledged, and how much was safe at that moment

    def work(name: int) -> None:
        for n in range(10):
            (position,) = log.append("shop", brewed(n, name=name))
            safe.append((position.offset, disk.files[0].safe))

    run_at_once(8, work)
    ends, size = [], 0
    for line in (tmp_path / "log" / "shop" / "0.log").read_bytes().splitlines(keepends=True):
        size += len(line)
        ends.append(size)
    assert sorted(offset for offset, _ in safe) == list(range(80))
    assert all(size >= ends[offset] for offset, size in safe)
    assert disk.syncs == 80 or durability == "batch"


def run_at_once(count: int, work: Any) -> None:
    threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()


def test_in_batch_those_who_append_at_once_share_an_fsync(tmp_path: Path) -> None:
    """The first fsync lasts until all the others wait; they then need one between them."""
    disk = One(FailingFile)
    log = FileLog(tmp_path / "log", durability="batch", files=disk)
    log.append("shop", brewed(0))
    file = disk.file
    assert isinstance(file, FailingFile)
    file.syncs, file.wait_for = 0, threading.Event()
    threads = [threading.Thread(target=lambda n=n: log.append("shop", brewed(n))) for n in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: file.syncs == 1 and waiting(log) == 7)
    file.wait_for.set()
    for thread in threads:
        thread.join(LIMIT)
    assert file.syncs == 2
    assert log.end("shop") == 9
    assert sorted(event.data.number for event in events_in(log, 1)) == list(range(8))


def waiting(log: FileLog) -> int:
    """How many threads wait for a shared fsync."""
    return len(log._partitions["shop"][0]._shared._waiting)


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        threading.Event().wait(0.002)


class NeverNamed(ForgetfulFile):
    """As a log file would be whose writer forgot that a file's name is in a folder, which is on the disk too."""

    def sync_folder(self, folder: Path) -> None:
        pass


def test_without_a_sync_of_its_folder_even_a_synced_file_would_be_gone(tmp_path: Path) -> None:
    """It shows that the double would find it; with the real file the test above passes."""
    disk = ForgetfulDisk(NeverNamed)
    FileLog(tmp_path / "log", durability="each", files=disk).append("shop", brewed(1))
    disk.crash()
    assert not (tmp_path / "log" / "shop" / "0.log").exists()


def test_every_folder_that_a_log_makes_is_synced_into_the_one_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    real = ecomlib.files.sync_folder

    def noted(folder: Path) -> None:
        synced.append(folder)
        real(folder)

    monkeypatch.setattr(ecomlib.files, "sync_folder", noted)
    FileLog(tmp_path / "a" / "b" / "log", durability="each").append("shop", brewed(1))
    made = [tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "log"]
    assert {*(folder.parent for folder in made), made[-1], made[-1] / "shop"} <= set(synced)


@pytest.mark.parametrize("durability", DURABILITIES)
def test_a_full_disk_leaves_no_torn_line_and_when_there_is_room_again_the_log_goes_on(
    tmp_path: Path, durability: Durability
) -> None:
    disk, path = One(FullFile), tmp_path / "log" / "shop" / "0.log"
    log = FileLog(tmp_path / "log", durability=durability, files=disk)
    log.append("shop", brewed(0))
    before = path.read_bytes()
    assert isinstance(disk.file, FullFile)
    disk.file.full = True
    with pytest.raises(LogError, match=r"can't be written: No space left on device\. Nothing was appended"):
        log.append("shop", brewed(1), brewed(2), brewed(3))
    assert path.read_bytes() == before
    disk.file.full = False
    assert log.append("shop", brewed(4))[0].offset == 1
    assert [event.data.number for event in events_in(again(path))] == [0, 4]


def test_an_fsync_that_fails_is_an_error_and_nothing_was_appended(tmp_path: Path) -> None:
    disk = One(FailingFile)
    log = FileLog(tmp_path / "log", durability="each", files=disk)
    log.append("shop", brewed(0))
    assert isinstance(disk.file, FailingFile)
    disk.file.failures = 1
    with pytest.raises(LogError, match=r"can't be written: Input/output error\. Nothing was appended"):
        log.append("shop", brewed(1))
    assert log.append("shop", brewed(2))[0].offset == 1
    assert [event.data.number for event in events_in(log)] == [0, 2]


def test_a_shared_fsync_that_fails_fails_for_all_whom_it_was_to_serve_and_their_events_stay(tmp_path: Path) -> None:
    """A second fsync would succeed and prove nothing: the system has given up the bytes that it could not write.

    But readers have seen the events, and may have gone on behind them: nobody else's may come to their offsets.
    """
    disk, path = One(FailingFile), tmp_path / "log" / "shop" / "0.log"
    log = FileLog(tmp_path / "log", durability="batch", files=disk)
    log.append("shop", brewed(0))
    file = disk.file
    assert isinstance(file, FailingFile)
    file.syncs, file.wait_for = 0, threading.Event()
    failed: list[str] = []

    def work(name: int) -> None:
        try:
            log.append("shop", brewed(name))
        except LogError as error:
            failed.append(str(error))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
    threads[0].start()
    wait_until(lambda: file.syncs == 1)
    for thread in threads[1:]:
        thread.start()
    wait_until(lambda: waiting(log) == 3)
    file.failing.add(2)
    file.wait_for.set()
    for thread in threads:
        thread.join(LIMIT)
    assert failed == [f"{path} can't be synced: Input/output error. What was appended last may be lost."] * 3
    assert log.append("shop", brewed(9))[0].offset == 5  # what comes later is safe again
    assert [event.data.number for event in events_in(log)][:2] == [0, 1]
    assert sorted(event.data.number for event in events_in(log)) == [0, 1, 2, 3, 4, 9]


# --- several processes ------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here: use Linux or macOS")
def test_children_that_were_forked_append_one_at_a_time_too(tmp_path: Path) -> None:
    """In a process of its own, for this one has threads."""
    program = (
        "import os, sys\n"
        "from ecomlib.events import Event\n"
        "from ecomlib.log import FileLog\n"
        "log = FileLog(sys.argv[1], durability='system')\n"
        "log.append('shop', Event('coffee.brewed', {'number': 0}))\n"
        "children = [os.fork() for _ in range(2)]  # and one of a child: four processes\n"
        "for number in range(200):\n"
        "    log.append('shop', Event('coffee.brewed', {'number': number}))\n"
        "for child in filter(None, children):\n"
        "    os.waitpid(child, 0)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "log")], check=True, timeout=LIMIT * 3)
    assert len(events_in(FileLog(tmp_path / "log"))) == 1 + 4 * 200


APPENDER = """
import sys
from ecomlib.events import Event
from ecomlib.log import FileLog
folder, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
log = FileLog(folder, durability="system")
print("ready", flush=True)
sys.stdin.readline()
for n in range(count):
    log.append("shop", Event("coffee.brewed", {"number": n, "name": name}))
    if n == 100:
        print("under way", flush=True)
"""


def appender(folder: Path, name: str, count: int) -> subprocess.Popen[str]:
    """A process that appends when it is told to."""
    process = subprocess.Popen(
        [sys.executable, "-c", APPENDER, str(folder), name, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def begin(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_two_processes_that_append_ten_thousand_events_each_make_twenty_thousand_whole_records(tmp_path: Path) -> None:
    processes = [appender(tmp_path / "log", name, 10_000) for name in ("a", "b")]
    for process in processes:
        begin(process)
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    records = list(FileLog(tmp_path / "log").read("shop"))
    assert [record.position.offset for record in records] == list(range(20_000))
    for name in ("a", "b"):
        assert [r.event.data.number for r in records if r.event.data.name == name] == list(range(10_000))


def test_a_process_that_is_killed_while_it_appends_locks_nobody_out_and_harms_nothing(tmp_path: Path) -> None:
    victim = appender(tmp_path / "log", "victim", 10**9)
    begin(victim)
    assert victim.stdout is not None
    assert victim.stdout.readline() == "under way\n"
    victim.kill()
    victim.communicate(timeout=LIMIT)
    with FileLog(tmp_path / "log") as log:
        (position,) = log.append("shop", brewed(99))
        events = events_in(log)
    assert position.offset == len(events) - 1 > 100
    assert [event.data.number for event in events] == [*range(len(events) - 1), 99]


def test_two_logs_over_one_folder_see_what_the_other_appends(tmp_path: Path) -> None:
    one, other = FileLog(tmp_path / "log"), FileLog(tmp_path / "log")
    for n in range(0, 10, 2):
        one.append("shop", brewed(n))
        other.append("shop", brewed(n + 1))
    assert [event.data.number for event in events_in(one)] == list(range(10))
    assert one.end("shop") == other.end("shop") == 10


# --- long logs --------------------------------------------------------------------------------------------


def test_reading_from_an_offset_in_a_long_log_does_not_read_from_the_beginning(
    log: FileLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(0, 20_000, 1000):
        log.append("shop", *[brewed(k) for k in range(n, n + 1000)])
    log.close()
    real, looked_at = ecomlib.records.pieces, list[int]()

    def counted(line: bytes, position: int) -> Any:
        looked_at.append(position)
        return real(line, position)

    monkeypatch.setattr(ecomlib.partition, "pieces", counted)
    for start in (0, 1, 9_999, 10_000, 19_999):
        looked_at.clear()
        fresh = again(log.folder / "shop" / "0.log")
        assert next(fresh.read("shop", start)).event.data.number == start
        assert len(looked_at) < 400, f"{len(looked_at)} of 20,000 lines looked at to find offset {start}"
    looked_at.clear()
    assert events_in(fresh, 20_000) == []
    assert len(looked_at) < 400


@given(damaged=st.sets(st.integers(0, 999), max_size=30), start=st.integers(0, 1000))
@settings(max_examples=25)
def test_reading_from_any_offset_of_a_long_and_damaged_log_gives_what_reading_from_the_beginning_gives(
    tmp_path_factory: pytest.TempPathFactory, damaged: set[int], start: int
) -> None:
    file = tmp_path_factory.mktemp("log") / "log" / "shop" / "0.log"
    log = again(file)
    log.append("shop", *[brewed(n) for n in range(1000)])
    log.close()
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(b"rust\n" if n in damaged else line for n, line in enumerate(lines)))
    events, damage = salvage(log, start)
    assert [event.data.number for event in events] == [n for n in range(start, 1000) if n not in damaged]
    assert {found.offset for found in damage} <= damaged


def test_a_file_that_was_replaced_while_it_was_open_is_neither_lost_nor_damaged(tmp_path: Path) -> None:
    """As a restored backup does it, under a server that runs."""
    log = FileLog(tmp_path / "log")
    log.append("shop", brewed(1), brewed(2), brewed(3))
    (tmp_path / "log").rename(tmp_path / "away")
    with FileLog(tmp_path / "log") as restored:
        restored.append("shop", brewed(1))
    with pytest.raises(LogError, match="is another file than the one that was opened: open the log anew"):
        log.append("shop", brewed(4))
    log.close()
    assert len(list(FileLog(tmp_path / "away").read("shop"))) == 3
    with FileLog(tmp_path / "log") as anew:
        anew.append("shop", brewed(4))
        assert len(list(anew.read("shop"))) == 2


def test_who_was_refused_keeps_the_file_from_nobody(tmp_path: Path) -> None:
    """Another file stands there for a while: neither this writer nor another one waits for ever when it is back."""
    here, away = tmp_path / "log", tmp_path / "away"
    log = FileLog(here, durability="system")
    log.append("shop", brewed(1))
    here.rename(away)
    with FileLog(here) as restored:
        restored.append("shop", brewed(1))
    with pytest.raises(LogError, match="is another file"):
        log.append("shop", brewed(2))
    here.rename(tmp_path / "restored")
    away.rename(here)
    run_at_once(1, lambda _: FileLog(here, durability="system").append("shop", brewed(3)))
    run_at_once(1, lambda _: log.append("shop", brewed(4)))
    assert [event.data.number for event in events_in(log)] == [1, 3, 4]


def test_what_the_system_takes_in_pieces_is_written_whole(log: FileLog, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:100]))
    log.append("shop", *[brewed(n, note="x" * 50) for n in range(5)])
    assert [event.data.number for event in events_in(log)] == [0, 1, 2, 3, 4]


class InterruptedFile(LogFile):
    """Control-C comes while the disk works."""

    def sync(self) -> None:
        raise KeyboardInterrupt


def test_an_interruption_before_the_fsync_leaves_nothing_that_was_not_acknowledged(file: Path) -> None:
    before = file.read_bytes()
    log = FileLog(file.parent.parent, durability="each", files=InterruptedFile)
    with pytest.raises(KeyboardInterrupt):
        log.append("shop", brewed(5))
    assert file.read_bytes() == before
