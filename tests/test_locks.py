"""Locks between processes: one holder a name, whoever asks, and none once its process has died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ecomlib.errors import LogError
from ecomlib.locks import FileLock, FileLocks

LIMIT = 20.0  # seconds
HOLDER = """
import sys
from pathlib import Path
from ecomlib.locks import FileLocks
lock = FileLocks(Path(sys.argv[1])).take("saga-1")
print("held" if lock else "taken", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def locks(tmp_path: Path) -> FileLocks:
    return FileLocks(tmp_path / "locks")


def test_a_name_has_one_holder(locks: FileLocks) -> None:
    lock = locks.take("saga-1")
    assert lock
    assert locks.take("saga-1") is None
    assert FileLocks(locks.folder).take("saga-1") is None
    assert locks.take("saga-2")


def test_a_name_that_was_released_can_be_taken_again_and_leaves_nothing(locks: FileLocks) -> None:
    lock = locks.take("saga-1")
    assert lock
    lock.release()
    lock.release()
    assert list(locks.folder.iterdir()) == []
    with locks.take("saga-1") or pytest.fail("it is free"):
        assert locks.take("saga-1") is None
    assert list(locks.folder.iterdir()) == []


def test_releasing_twice_does_not_take_the_next_holders_file_away(locks: FileLocks) -> None:
    first = locks.take("saga-1")
    assert first
    first.release()
    second = locks.take("saga-1")
    first.release()
    assert second
    assert locks.take("saga-1") is None


def test_what_was_abandoned_can_be_taken_and_its_file_is_still_there(locks: FileLocks) -> None:
    lock = locks.take("saga-1")
    assert lock
    lock.abandon()
    assert [path.name for path in locks.folder.iterdir()] == ["saga-1"]
    assert locks.take("saga-1")


def test_a_lock_dies_with_its_process(locks: FileLocks) -> None:
    command = [sys.executable, "-c", HOLDER, str(locks.folder)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert locks.take("saga-1") is None
    holder.kill()
    holder.communicate(timeout=LIMIT)
    lock = locks.take("saga-1")
    assert lock
    other = subprocess.run(command, input="\n", capture_output=True, text=True, timeout=LIMIT)
    assert other.stdout == "taken\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here: use Linux or macOS")
def test_a_forked_child_does_not_hold_its_parents_lock(locks: FileLocks) -> None:
    """In a process of its own, for this one has threads: it dies, and its child lives on."""
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from ecomlib.locks import FileLocks\n"
        "lock = FileLocks(Path(sys.argv[1])).take('shop')\n"
        "if os.fork() == 0:\n"
        "    sys.stdout.write(f'{lock.held}\\n'); sys.stdout.flush()\n"
        "    sys.stdin.read()\n"
        "else:\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(locks.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "False\n"
        assert parent.wait(LIMIT) == -signal.SIGKILL
        taken = locks.take("shop")
        assert taken
        taken.release()
        assert parent.stdin
        parent.stdin.close()  # the child ends too


def test_of_many_threads_that_take_and_release_one_holds_it_at_a_time(locks: FileLocks) -> None:
    inside: list[int] = []
    most: list[int] = []
    errors: list[BaseException] = []

    def work(name: int) -> None:
        try:
            held = 0
            while held < 50:
                if lock := locks.take("saga-1"):
                    inside.append(name)
                    most.append(len(inside))
                    inside.remove(name)
                    held += 1
                    lock.release()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert errors == []
    assert most == [1] * 200


def test_a_folder_that_cant_be_made_is_an_error_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LogError, match=r"saga-1 can't be read or written: (Not a directory|File exists)"):
        FileLocks(tmp_path / "file").take("saga-1")


def test_a_lock_knows_no_more_than_its_file(locks: FileLocks) -> None:
    lock = locks.take("saga-1")
    assert isinstance(lock, FileLock)
    with lock:
        assert (locks.folder / "saga-1").read_bytes() == b""
