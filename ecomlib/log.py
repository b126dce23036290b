"""The event log in files: what was appended stays, in order, and can be read again from anywhere.

A topic is a folder, and each of its partitions a file in it (`records.py` says how an event stands there). The folder
`_groups` has the state of the consumer groups.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Self
from zlib import crc32

from ecomlib.clock import Clock
from ecomlib.errors import BadInput, LogError, NotALog
from ecomlib.events import Event
from ecomlib.files import LogFile, disk_errors
from ecomlib.folders import NAME, check_log, make_log, make_partitions, partitions_in
from ecomlib.groups import GroupConsumer
from ecomlib.partition import Partition
from ecomlib.ports import Durability, Position, Record, Start


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
        self._partitions: dict[str, tuple[Partition, ...]] = {}
        self._opening = threading.Lock()

    def create(self, topic: str, partitions: int) -> None:
        """Nobody ever sees only some of the partitions. Raises `BadInput` where it is there with another number: that
        is for good, since a key's events would go on in another partition, without their order.
        """
        if type(partitions) is not int or not 1 <= partitions <= 1000:
            raise BadInput(f"A topic has 1 to 1000 partitions, not {partitions!r:.40}.")
        there = len(self._open(topic, create=partitions))
        if there != partitions:
            raise BadInput(
                f"The topic {topic!r} has {there} partitions for good, not {partitions}: name another topic."
            )

    def append(self, topic: str, *events: Event) -> tuple[Position, ...]:
        """Each event to the partition that the CRC-32 of its key picks, as in Kafka's C client, librdkafka.

        Raises `LogError`; then no reader will see any event of that partition, and the text says which others have
        theirs. Only where an fsync failed that `batch` shares can they still be read: others may have seen them.
        """
        partitions = self._partitions.get(topic) or self._open(topic, create=1)
        if len(partitions) == 1:
            first = partitions[0].append(events, self.durability)
            return tuple([Position(topic, 0, first + n) for n in range(len(events))])
        picked = [crc32(event.key.encode()) % len(partitions) for event in events]
        offsets: dict[int, Iterator[int]] = {}
        for number in sorted(set(picked)):
            mine = tuple(event for event, n in zip(events, picked, strict=True) if n == number)
            try:
                offsets[number] = count(partitions[number].append(mine, self.durability))
            except LogError as error:
                if not offsets:
                    raise
                raise LogError(f"{error} Other partitions have their events already: {[*offsets]}.") from error
        return tuple(Position(topic, number, next(offsets[number])) for number in picked)

    def check(self, topic: str) -> None:
        """Raises `LogError` where an append could not begin: the topic is not there, or its files were replaced."""
        for number in range(self.partitions(topic)):
            self._partition(topic, number).check()

    def read(self, topic: str, start: int = 0, *, partition: int = 0, end: int | None = None) -> Iterator[Record]:
        """From offset `start` up to, not including, `end`, or to where the log ends when the reader gets there.

        Stops before a last line that is not whole, and changes nothing. Raises `LogError` for a topic that is not
        there, and `DamagedRecord` at a damaged place: all before it has been read, and `resume` says where to go on.
        """
        yield from self._partition(topic, partition).read(start, end)

    def end(self, topic: str, partition: int = 0) -> int:
        return self._partition(topic, partition).end()[1]

    def topics(self) -> dict[str, int]:
        check_log(self.folder)
        with disk_errors(self.folder):
            found = {path.name: partitions_in(path) for path in sorted(self.folder.iterdir())}
        return {topic: partitions for topic, partitions in found.items() if partitions}

    def partitions(self, topic: str) -> int:
        """How many the topic has. Raises `LogError` for a topic that is not there."""
        return len(self._partitions.get(topic) or self._open(topic))

    def consumer(
        self,
        group: str,
        *topics: str,
        name: str | None = None,
        start: Start = "beginning",
        clock: Clock | None = None,
        patience: float = 300.0,
    ) -> GroupConsumer:
        """A new member of a consumer group; `GroupConsumer` says what it promises."""
        return GroupConsumer(self, group, *topics, name=name, start=start, clock=clock, patience=patience)

    def close(self) -> None:
        for partitions in self._partitions.values():
            for partition in partitions:
                partition.close()
        self._partitions.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _partition(self, topic: str, number: int) -> Partition:
        partitions = self._partitions.get(topic) or self._open(topic)
        if not 0 <= number < len(partitions):
            raise NotALog(self._has_no(topic, number))
        return partitions[number]

    def _open(self, topic: str, *, create: int = 0) -> tuple[Partition, ...]:
        """Makes a topic that is not there, with `create` partitions, unless that is 0."""
        with self._opening, disk_errors(self.folder):
            if topic not in self._partitions:
                if not NAME.fullmatch(topic):
                    raise NotALog(f"{topic!r:.60} is no topic's name: use lower-case letters, digits, '-' and '_'.")
                folder = self.folder / topic
                if create and not partitions_in(folder):
                    make_log(self.folder)
                    make_partitions(folder, create, durable=self.durability != "system")
                check_log(self.folder)
                numbers = range(partitions_in(folder))
                if not numbers:
                    raise NotALog(self._has_no(topic, 0))
                self._partitions[topic] = tuple(Partition(folder / f"{n}.log", topic, n, self._files) for n in numbers)
            return self._partitions[topic]

    def _has_no(self, topic: str, number: int) -> str:
        have = ", ".join(f"{name} (partitions: {count})" for name, count in self.topics().items()) or "none yet"
        return f"The log at {self.folder} has no topic {topic!r} with a partition {number}. It has: {have}."
