"""The event log in files: what was appended stays, in order, and can be read again from anywhere.

A topic is a folder, and each of its partitions a file in it (`records.py` says how an event stands there).
"""

from __future__ import annotations

import os
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from ecomlib.errors import NotALog
from ecomlib.events import Event
from ecomlib.files import LogFile, disk_errors, make_folder
from ecomlib.partition import Partition
from ecomlib.ports import Durability, Position, Record

FORMAT = '{"format": 1}\n'
MARKER = "log.json"  # says that this folder is a log, so that nobody takes another folder for one
TOPIC = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")


class FileLog:
    """A log in a folder, which it makes at the first append. Any number of threads and processes may append and read.

    `durability` says when `append` returns: `each`, after an fsync of its own; `batch`, after an fsync that it may
    share with others who append at that moment; `system`, as soon as the operating system has the bytes, which
    survive the death of the process but not that of the machine.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        durability: Durability = "batch",
        files: Callable[[Path], LogFile] = LogFile,
    ) -> None:
        self.folder, self.durability, self._files = Path(folder), durability, files
        self._partitions: dict[tuple[str, int], Partition] = {}
        self._opening = threading.Lock()

    def append(self, topic: str, *events: Event) -> tuple[Position, ...]:
        """All of them, one after the other. Raises `LogError`; then no reader will see any of them.

        Only where an fsync failed that `batch` shares can they still be read: others may stand behind them already.
        """
        first = self._partition(topic, 0, create=True).append(events, self.durability)
        return tuple(Position(topic, 0, first + n) for n in range(len(events)))

    def read(self, topic: str, start: int = 0, *, partition: int = 0, end: int | None = None) -> Iterator[Record]:
        """From offset `start` up to, not including, `end`, or to where the log ends when the reader gets there.

        Stops before a last line that is not whole, and changes nothing. Raises `LogError` for a topic that is not
        there, and `DamagedRecord` at a damaged place: all before it has been read, and `resume` says where to go on.
        """
        found = self._partition(topic, partition, create=False)
        for offset, event in found.read(start, end):
            yield Record(Position(topic, partition, offset), event)

    def end(self, topic: str, partition: int = 0) -> int:
        return self._partition(topic, partition, create=False).end()[1]

    def topics(self) -> dict[str, int]:
        self._check_folder()
        with disk_errors(self.folder):
            folders = sorted(path for path in self.folder.iterdir() if path.is_dir())
            found = {path.name: sum(name.endswith(".log") for name in os.listdir(path)) for path in folders}
        return {topic: partitions for topic, partitions in found.items() if partitions}

    def close(self) -> None:
        for partition in self._partitions.values():
            partition.close()
        self._partitions.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _check_folder(self) -> None:
        if not self.folder.exists():
            raise NotALog(f"There is no log at {self.folder}: the folder does not exist.")
        if not self.folder.is_dir() or not (self.folder / MARKER).is_file():
            raise NotALog(f"{self.folder} is not an event log: it has no {MARKER}. Name a folder that ecomlib wrote.")
        with disk_errors(self.folder):
            written = (self.folder / MARKER).read_bytes()
        if written != FORMAT.encode():
            raise NotALog(f"{self.folder} says in {MARKER} {written!r:.40}: this ecomlib reads only {FORMAT.strip()}.")

    def _partition(self, topic: str, number: int, *, create: bool) -> Partition:
        with self._opening:
            known = self._partitions.get((topic, number))
            if known:
                return known
            if not TOPIC.fullmatch(topic):
                raise NotALog(f"{topic!r:.60} is no topic's name: use lower-case letters, digits, '-' and '_'.")
            path = self.folder / topic / f"{number}.log"
            with disk_errors(self.folder):
                if create and not path.exists():
                    self._create(path)
                self._check_folder()
                if not path.exists():
                    have = ", ".join(f"{name} (partitions: {count})" for name, count in self.topics().items())
                    raise NotALog(
                        f"The log at {self.folder} has no topic {topic!r} with a partition {number}. "
                        f"It has: {have or 'none yet'}."
                    )
            self._partitions[topic, number] = Partition(path, topic, number, self._files)
            return self._partitions[topic, number]

    def _create(self, path: Path) -> None:
        there = self.folder.iterdir() if self.folder.is_dir() else [self.folder] if self.folder.exists() else []
        if not all(path.name.startswith(MARKER) for path in there):
            self._check_folder()  # what is something else is left alone
        make_folder(self.folder)
        if not (self.folder / MARKER).exists():  # comes first, and at once: another process may be making it too
            beside = self.folder / f"{MARKER}.{uuid.uuid4().hex}"
            beside.write_bytes(FORMAT.encode())
            os.replace(beside, self.folder / MARKER)
        path.parent.mkdir(exist_ok=True)
        path.touch()
