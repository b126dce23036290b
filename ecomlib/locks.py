"""Locks between processes: a file for each name, locked by the operating system, which lets go when a process dies."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from weakref import WeakSet

from portalocker.exceptions import LockException

from ecomlib.files import disk_errors, lock

_held: WeakSet[FileLock] = WeakSet()


class FileLock:
    """A name that is held. A context manager: it is released at the end of the block.

    A child that is made by `fork` does not hold it, so that the lock dies with the parent alone.
    """

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path, self._file = path, file
        _held.add(self)

    @property
    def held(self) -> bool:
        return not self._file.closed

    def release(self) -> None:
        """Let go, and take the file away. A second call does nothing."""
        if not self._file.closed:
            with suppress(OSError):  # Windows keeps a file that is open; it is in nobody's way
                self._path.unlink()
            self._file.close()

    def abandon(self) -> None:
        """Let go as a process does that dies: the file stays."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class FileLocks:
    """One holder a name, among all threads and processes that name this folder. It is made when it is needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, name: str) -> FileLock | None:
        """Hold the name until it is released, or until this process dies. None, at once: somebody else holds it."""
        path = self.folder / name
        with disk_errors(path):
            self.folder.mkdir(parents=True, exist_ok=True)
            while True:
                file = path.open("ab")
                try:
                    lock(file, wait=False)
                except (LockException, BlockingIOError):
                    file.close()
                    return None
                if _is_at(file, path):
                    return FileLock(path, file)
                file.close()  # its last holder took it away while we were opening it


def _let_go_in_a_child() -> None:
    for held in list(_held):
        held.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_a_child)


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
