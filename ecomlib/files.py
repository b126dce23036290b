"""The bytes of one log file on disk. Apart from the log, so that tests can put a disk there that forgets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portalocker.exceptions import LockException

from ecomlib.errors import LogError


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """What the disk refuses becomes a `LogError` that names the place."""
    try:
        yield
    except (OSError, LockException) as error:
        raise LogError(f"{place} can't be read or written: {getattr(error, 'strerror', None) or error}.") from error


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
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o644)
        for folder in (path.parent, path.parent.parent):
            self.sync_folder(folder)  # without this a new file's name may be forgotten, and its bytes with it

    def replaced(self) -> bool:
        """Whether another file stands where this one was opened. Raises `FileNotFoundError` where there is none."""
        return not os.path.samestat(os.fstat(self._fd), os.stat(self.path))

    def append(self, data: bytes) -> None:
        left = memoryview(data)
        while left:  # the system may take less than it was given
            left = left[os.write(self._fd, left) :]

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def sync(self) -> None:
        os.fsync(self._fd)

    def sync_folder(self, folder: Path) -> None:
        sync_folder(folder)

    def close(self) -> None:
        os.close(self._fd)
