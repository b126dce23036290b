"""Partitions of the log in files: how they come to be, which one an event gets, and what one's failure means."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomlib.errors import BadInput, LogError, NotALog
from ecomlib.events import Event
from ecomlib.files import LogFile
from ecomlib.log import FileLog
from ecomlib.ports import Position
from tests.contracts.log import LIMIT, brewed
from tests.support.disks import ForgetfulDisk


@pytest.fixture
def log(tmp_path: Path) -> FileLog:
    return FileLog(tmp_path / "log", durability="system")


def keyed(key: str, number: int = 0) -> Event:
    return Event("coffee.brewed", {"number": number}, subject=key)


# --- which partition ------------------------------------------------------------------------------------------


@given(keys=st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1), max_size=20))
def test_the_crc_32_of_the_key_picks_the_partition(tmp_path_factory: pytest.TempPathFactory, keys: list[str]) -> None:
    log = FileLog(tmp_path_factory.mktemp("log"), durability="system")
    log.create("orders", 5)
    positions = log.append("orders", *[keyed(key) for key in keys])
    assert [position.partition for position in positions] == [crc32(key.encode()) % 5 for key in keys]


def test_the_partition_of_a_key_is_known_for_all_time(log: FileLog) -> None:
    """Figures that were worked out once: another hash would send a key's next events elsewhere."""
    assert crc32(b"123456789") == 0xCBF43926  # the check value of CRC-32
    log.create("orders", 6)
    positions = log.append("orders", keyed("1"), keyed("2"), keyed("Žižkov"), keyed("1"))
    assert positions == (
        Position("orders", 5, 0),
        Position("orders", 1, 0),
        Position("orders", 2, 0),
        Position("orders", 5, 1),
    )


def test_two_logs_over_one_folder_send_a_key_to_the_same_partition(log: FileLog) -> None:
    log.create("orders", 4)
    other = FileLog(log.folder, durability="system")
    for n in range(40):
        (mine,) = log.append("orders", keyed(f"cup {n}"))
        (others,) = other.append("orders", keyed(f"cup {n}"))
        assert others == mine._replace(offset=mine.offset + 1)


# --- making a topic -------------------------------------------------------------------------------------------


def test_a_topic_is_a_folder_with_a_file_for_each_partition(log: FileLog) -> None:
    log.create("orders", 3)
    assert sorted(path.name for path in log.folder.iterdir()) == ["log.json", "orders"]
    assert sorted(path.name for path in (log.folder / "orders").iterdir()) == ["0.log", "1.log", "2.log"]
    assert log.partitions("orders") == 3
    with pytest.raises(NotALog, match="no topic 'ordres'"):
        log.partitions("ordres")


def test_nobody_ever_sees_some_of_the_partitions(log: FileLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append("shop", brewed(1))
    real, seen = Path.touch, list[dict[str, int]]()

    def touch(path: Path) -> None:
        real(path)
        seen.append(FileLog(log.folder).topics())

    monkeypatch.setattr(Path, "touch", touch)
    log.create("orders", 5)
    assert seen == [{"shop": 1}] * 5
    assert log.topics() == {"orders": 5, "shop": 1}


def test_a_process_that_died_while_it_made_a_topic_left_none(log: FileLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append("shop", brewed(1))

    def die(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", die)
    with pytest.raises(KeyboardInterrupt):
        log.create("orders", 5)
    monkeypatch.undo()
    again = FileLog(log.folder)
    assert again.topics() == {"shop": 1}
    again.create("orders", 2)
    assert again.topics() == {"orders": 2, "shop": 1}


def test_the_same_topic_made_by_another_at_the_same_moment_is_no_error(
    log: FileLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append("shop", brewed(1))
    real = os.rename

    def rename(source: Path, target: Path) -> None:
        monkeypatch.undo()
        FileLog(log.folder).create(target.name, 3)
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    log.create("orders", 3)
    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(BadInput, match="'payments' has 3 partitions for good, not 2"):
        log.create("payments", 2)
    assert log.topics() == {"orders": 3, "payments": 3, "shop": 1}
    assert sorted(path.name for path in log.folder.iterdir()) == ["log.json", "orders", "payments", "shop"]


def test_many_threads_and_processes_may_make_a_topic_at_once(tmp_path: Path) -> None:
    program = (
        "import sys; from ecomlib.log import FileLog; sys.stdin.readline(); FileLog(sys.argv[1]).create('orders', 7)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "log")], stdin=subprocess.PIPE)
        for _ in range(3)
    ]
    errors: list[BaseException] = []

    def make() -> None:
        try:
            FileLog(tmp_path / "log").create("orders", 7)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    for process in processes:
        process.communicate(timeout=LIMIT)
        assert process.returncode == 0
    assert errors == []
    assert FileLog(tmp_path / "log").topics() == {"orders": 7}
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == ["log.json", "orders"]


def test_when_the_disk_refuses_a_topic_nothing_is_left_of_it(log: FileLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append("shop", brewed(1))

    def refuse(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(LogError, match="can't be read or written: No space left on device"):
        log.create("orders", 3)
    assert sorted(path.name for path in log.folder.iterdir()) == ["log.json", "shop"]


def test_only_folders_that_can_be_topics_are_topics(log: FileLog) -> None:
    log.append("shop", brewed(1))
    for name in ("_groups", "_sagas", ".orders.0123", "Holidays"):
        (log.folder / name).mkdir()
        (log.folder / name / "0.log").touch()
    (log.folder / "empty").mkdir()
    (log.folder / "file").touch()
    assert log.topics() == {"shop": 1}


# --- what goes wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_partition_whose_file_is_missing_is_named(log: FileLog, gone: int) -> None:
    log.create("orders", 4)
    (log.folder / "orders" / f"{gone}.log").unlink()
    again = FileLog(log.folder)
    for ask in (
        lambda: again.append("orders", brewed(1)),
        lambda: list(again.read("orders", partition=3)),
        lambda: again.end("orders", 3),
        lambda: again.create("orders", 4),
        again.topics,
    ):
        with pytest.raises(LogError, match=rf"{gone}\.log is missing: put it back"):
            ask()


def test_events_of_one_partition_are_all_appended_or_none_and_the_error_says_which_are(tmp_path: Path) -> None:
    class Sick(LogFile):
        def append(self, data: bytes) -> None:
            if self.path.name == "3.log":
                super().append(data[:50])
                raise OSError(errno.EIO, "Input/output error")
            super().append(data)

    log = FileLog(tmp_path / "log", durability="system", files=Sick)
    log.create("orders", 4)
    keys = [
        next(f"cup {n}" for n in range(99) if crc32(f"cup {n}".encode()) % 4 == partition) for partition in range(4)
    ]
    with pytest.raises(
        LogError, match=r"3\.log can't be written.*Other partitions have their events already: \[0, 2\]"
    ):
        log.append("orders", keyed(keys[3]), keyed(keys[0]), keyed(keys[2]), keyed(keys[3]), keyed(keys[2]))
    assert [log.end("orders", n) for n in range(4)] == [1, 0, 2, 0]
    with pytest.raises(LogError) as alone:
        log.append("orders", keyed(keys[3]))
    assert "Other partitions" not in str(alone.value)


def test_what_was_acknowledged_in_any_partition_survives_a_crash_of_the_machine(tmp_path: Path) -> None:
    disk = ForgetfulDisk()
    log = FileLog(tmp_path / "log", files=disk)
    log.create("orders", 4)
    positions = log.append("orders", *[keyed(f"cup {n}", n) for n in range(20)])
    disk.crash()
    again = FileLog(tmp_path / "log")
    assert len(positions) == sum(again.end("orders", n) for n in range(4)) == 20
    assert disk.syncs == len({position.partition for position in positions})


def test_a_log_of_before_there_were_groups_is_read_as_it_is(log: FileLog) -> None:
    log.append("shop", brewed(1))
    log.close()
    assert json.loads((log.folder / "log.json").read_text()) == {"format": 1}
    assert FileLog(log.folder).partitions("shop") == 1
