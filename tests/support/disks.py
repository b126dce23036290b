"""Disks for the log's tests: one that forgets, one that is full, and one whose fsync fails or takes its time."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

from ecomlib.files import LogFile

LIMIT = 20.0  # seconds


class ForgetfulFile(LogFile):
    """Remembers what a crash of the machine would leave of it: what was synced, if its folders were too."""

    def __init__(self, path: Path) -> None:
        self.named: set[Path] = set()  # folders whose entries are safe
        self.safe = 0  # bytes
        self.syncs = 0
        super().__init__(path)

    def sync(self) -> None:
        written = self.path.stat().st_size  # what comes while the disk works may be left out
        super().sync()
        self.safe = written
        self.syncs += 1

    def sync_folder(self, folder: Path) -> None:
        super().sync_folder(folder)
        self.named.add(folder)

    def crash(self) -> None:
        self.close()
        if {self.path.parent, self.path.parent.parent} <= self.named:
            self.path.write_bytes(self.path.read_bytes()[: self.safe])
        else:
            self.path.unlink()


class ForgetfulDisk:
    """Give it to a log as `files`; then `crash`."""

    def __init__(self, file: type[ForgetfulFile] = ForgetfulFile) -> None:
        self.files: list[ForgetfulFile] = []
        self._file = file

    def __call__(self, path: Path) -> LogFile:
        self.files.append(self._file(path))
        return self.files[-1]

    @property
    def syncs(self) -> int:
        return sum(file.syncs for file in self.files)

    def crash(self) -> None:
        for file in self.files:
            file.crash()


class FullFile(LogFile):
    """Takes half of what it is given, and then says that the disk is full, until it is no longer so."""

    full = False

    def append(self, data: bytes) -> None:
        if self.full:
            super().append(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        super().append(data)


class FailingFile(LogFile):
    """Its next `failures` syncs fail, and those whose numbers are in `failing`. If told to, a sync waits first."""

    failures = 0
    syncs = 0
    wait_for: threading.Event | None = None

    def __init__(self, path: Path) -> None:
        self.failing: set[int] = set()  # the first is 1
        super().__init__(path)

    def sync(self) -> None:
        self.syncs += 1
        number = self.syncs
        if self.wait_for is not None:
            assert self.wait_for.wait(LIMIT)
        if self.failures or number in self.failing:
            self.failures = max(self.failures - 1, 0)
            raise OSError(errno.EIO, "Input/output error")
        super().sync()


class One:
    """Makes files of one kind and keeps the one that it made."""

    def __init__(self, kind: type[LogFile]) -> None:
        self._kind = kind

    def __call__(self, path: Path) -> LogFile:
        self.file = self._kind(path)
        return self.file
