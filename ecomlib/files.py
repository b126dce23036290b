"""The bytes of one log file on disk. Apart from the log, so that tests can put a disk there that forgets."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO

import portalocker
from portalocker.exceptions import LockException

from ecomlib.errors import LogError

if sys.platform == "win32":

    def lock(file: IO[bytes], *, wait: bool = True) -> None:
        """As below; raises `LockException` where another one holds it."""
        portalocker.lock(file, portalocker.LOCK_EX | (0 if wait else portalocker.LOCK_NB))

    unlock = portalocker.unlock
else:  # what portalocker calls at last: what it does before costs more than all else that an append does
    import fcntl

    def lock(file: IO[bytes], *, wait: bool = True) -> None:
        """Until `unlock`, or until the file is closed. Without `wait`: `BlockingIOError` where another one holds it."""
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)

    def unlock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


class disk_errors:  # lower-case, as contextlib names what is used like this
    """What the disk refuses becomes a `LogError` that names the place. May be used again, by many threads at once."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError | LockException):
            why = getattr(error, "strerror", None) or error
            raise LogError(f"{self._place} can't be read or written: {why}.") from error


def make_folder(folder: Path) -> None:
    """Make it and all that is missing above it, and sync the names: a file is only as safe as the folders above."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in missing:
        sync_folder(place.parent)


def sync_folder(folder: Path) -> None:
    if os.name == "posix":  # elsewhere a folder can't be opened, and need not be
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


class LogFile:
    """Every method raises `OSError` where the disk does. What `append` wrote is safe once `sync` has returned."""

    def __init__(self, path: Path) -> None:
        self.path, self._name = path, str(path)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o644)
        opened = os.fstat(self._fd)
        self._is = opened.st_ino, opened.st_dev
        for folder in (path.parent, path.parent.parent):
            self.sync_folder(folder)  # without this a new file's name may be forgotten, and its bytes with it

    def size(self) -> int:
        """Raises `LogError` where another file stands by now, and `FileNotFoundError` where there is none."""
        found = os.stat(self._name)
        if (found.st_ino, found.st_dev) != self._is:  # our bytes would be lost, or would damage what was moved away
            raise LogError(f"{self.path} is another file than the one that was opened: open the log anew.")
        return found.st_size

    def append(self, data: bytes) -> None:
        written = os.write(self._fd, data)
        while written < len(data):  # the system may take less than it was given
            written += os.write(self._fd, memoryview(data)[written:])

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def sync(self) -> None:
        os.fsync(self._fd)

    def sync_folder(self, folder: Path) -> None:
        sync_folder(folder)

    def close(self) -> None:
        os.close(self._fd)


class Writer:
    """A log file for one writer at a time, among all processes: `with writer.turn, writer as (file, size)`.

    `turn` is for the threads. A process that dies lets go of the file. The first use opens it, and one beside it for
    the lock.
    """

    def __init__(self, path: Path, files: Callable[[Path], LogFile]) -> None:
        self.turn = threading.Lock()  # apart, for a lock's own `with` is the only one that Ctrl+C can't split
        self._path, self._files = path, files
        self._opened: tuple[LogFile, IO[bytes]] | None = None

    def __enter__(self) -> tuple[LogFile, int]:
        if self._opened is None:
            self._opened = self._files(self._path), self._path.with_suffix(".lock").open("ab", buffering=0)
        file, between_processes = self._opened
        try:
            lock(between_processes)
            return file, file.size()
        except BaseException:
            unlock(between_processes)
            raise

    def __exit__(self, *exc: object) -> None:
        if self._opened:
            unlock(self._opened[1])

    def close(self) -> None:
        for file in self._opened or ():
            file.close()
        self._opened = None
