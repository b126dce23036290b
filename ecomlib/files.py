"""The bytes of one log file on disk. Apart from the log, so that tests can put a disk there that forgets."""

from __future__ import annotations

import os
from pathlib import Path


class LogFile:
    """Every method raises `OSError` where the disk does. What `append` wrote is safe once `sync` has returned."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o644)
        for folder in (path.parent, path.parent.parent):
            self.sync_folder(folder)  # without this a new file's name may be forgotten, and its bytes with it

    def append(self, data: bytes) -> None:
        left = memoryview(data)
        while left:  # the system may take less than it was given
            left = left[os.write(self._fd, left) :]

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def sync(self) -> None:
        os.fsync(self._fd)

    def sync_folder(self, folder: Path) -> None:
        if os.name == "posix":  # elsewhere a folder can't be opened, and need not be
            fd = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def close(self) -> None:
        os.close(self._fd)
