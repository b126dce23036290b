"""One partition of a topic: a file with a record a line (`records.py` says how it stands there)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import portalocker

from ecomlib.errors import BadEvent, DamagedRecord, LogError
from ecomlib.events import Event
from ecomlib.files import LogFile, disk_errors
from ecomlib.ports import Durability
from ecomlib.records import BEGINNING, Piece, encode, pieces, unfinished

BLOCK = 1 << 16  # bytes that are read at once where one record is looked for


class Partition:
    """One file of a topic. One writer at a time, by a lock that dies with its process."""

    def __init__(self, path: Path, topic: str, number: int, files: Callable[[Path], LogFile]) -> None:
        self.path, self.topic, self.number = path, topic, number
        self._files = files
        self._opened: tuple[LogFile, IO[bytes]] | None = None  # the first append opens the file and its lock
        self._writing = threading.Lock()
        self._syncing = threading.Lock()
        self._tail = 0, 0  # the file's size as this object saw it last, and the offset that comes there
        self._ended = 0, 0  # the same, for whoever only looks
        self._synced = 0  # the size up to which all is safe
        self._unsafe: tuple[int, int, OSError] | None = None  # from and up to which size an fsync failed, and how

    def append(self, events: tuple[Event, ...], durability: Durability) -> int:
        """Returns the offset of the first."""
        with disk_errors(self.path), self._writing, self._only_writer() as file:
            size, first = self._mend_tail(file)
            lines = b"".join(encode(event, first + n) for n, event in enumerate(events))
            try:
                file.append(lines)
                if durability == "each":
                    file.sync()
            except BaseException as error:
                file.truncate(size)  # half of it would be worse than nothing
                if isinstance(error, OSError):
                    raise LogError(f"{self.path} can't be written: {error.strerror}. Nothing was appended.") from error
                raise
            self._tail = size + len(lines), first + len(events)
        if durability == "batch":
            self._sync_up_to(file, size + len(lines))
        return first

    def check(self) -> None:
        """Raises `LogError` where an append could not begin."""
        with disk_errors(self.path), self._writing, self._only_writer():
            pass

    def _sync_up_to(self, file: LogFile, size: int) -> None:
        with self._syncing:
            if self._synced < size and not (self._unsafe and size <= self._unsafe[1]):
                up_to = self._tail[0]  # with our bytes those of all who wait behind us: they need no fsync of their own
                try:
                    file.sync()
                    self._synced = up_to
                except OSError as error:
                    self._unsafe = self._synced, self._tail[0], error
            if self._unsafe and self._unsafe[0] < size <= self._unsafe[1]:  # a second fsync would not bring them back
                raise LogError(
                    f"{self.path} can't be synced: {self._unsafe[2].strerror}. What was appended last may be lost."
                ) from self._unsafe[2]

    @contextmanager
    def _only_writer(self) -> Iterator[LogFile]:
        if self._opened is None:
            self._opened = self._files(self.path), self.path.with_suffix(".lock").open("ab")
        file, lock = self._opened
        portalocker.lock(lock, portalocker.LOCK_EX)
        try:
            if file.replaced():  # its bytes would be lost, or would damage what was moved away
                raise LogError(f"{self.path} is another file than the one that was opened: open the log anew.")
            yield file
        finally:
            portalocker.unlock(lock)

    def _mend_tail(self, file: LogFile) -> tuple[int, int]:
        """Where to append. A last line that a dead writer left torn is cut off; one that only lacks its end gets it."""
        if self._length() != self._tail[0]:
            size, following = self.end()
            if size < self._length():
                file.truncate(size)
            if size and self._bytes(size - 1, 1) != b"\n":
                file.append(b"\n")
                size += 1
            self._tail = size, following
        return self._tail

    def end(self) -> tuple[int, int]:
        """The file's size up to its last whole record or damaged line, and the offset that comes next."""
        with disk_errors(self.path):
            size, reach = self._length(), BLOCK
            tail = self._tail if size == self._tail[0] else self._ended
            while size != tail[0]:
                base = max(size - reach, 0)
                found = self._end_in(self._bytes(base, size - base), base)
                if found:
                    self._ended = found
                    return found
                if base == 0:
                    raise LogError(f"{self.path} holds no record: it is not a log's file, or damaged all through.")
                reach *= 8
            return tail

    def _end_in(self, block: bytes, base: int) -> tuple[int, int] | None:
        first = block.find(b"\n") + 1 if base else 0
        whole = max(block.rfind(b"\n") + 1, first)
        last = unfinished(block[whole:], base + whole)
        if last and last[-1].offset is not None:  # a record that only lacks its line's end
            return last[-1].end, last[-1].offset + 1
        lines = block[first:whole].split(b"\n")[:-1]
        for damaged, line in enumerate(reversed(lines)):
            offsets = [piece.offset for piece in pieces(line, 0) if piece.offset is not None]
            if offsets:
                return base + whole, offsets[-1] + 1 + damaged
        torn = base == whole == 0 and block.startswith(BEGINNING[: len(block)])  # the file's first record
        return (0, 0) if torn else None

    def read(self, start: int, end: int | None) -> Iterator[tuple[int, Event]]:
        if start < 0:
            raise LogError(f"Offsets count from 0: nothing can be read from {start}.")
        with disk_errors(self.path):
            yield from self._read(start, end)

    def _read(self, start: int, end: int | None) -> Iterator[tuple[int, Event]]:
        expected, position = self._near(start)
        damage: int | None = None  # where it began, once some was met
        for piece in self._pieces_from(position):
            if end is not None and expected >= end:
                return
            offset = piece.offset
            if offset is None or offset < expected:
                damage = piece.position if damage is None else damage
                continue
            if offset > start and (damage is not None or offset > expected):
                raise self._damaged(max(expected, start), piece.position if damage is None else damage, offset)
            damage, expected = None, offset + 1
            if offset >= start:
                yield offset, self._event(piece)
        if damage is not None and (resume := self.end()[1]) > start:
            raise self._damaged(max(expected, start), damage, resume)

    def _near(self, start: int) -> tuple[int, int]:
        """Offset and position of a record at or shortly before `start`: offsets ascend, so halving finds one."""
        offset, low, high = 0, 0, self._length()
        while high - low > BLOCK:
            middle = (low + high) // 2
            found = self._first_behind(middle)
            if found is not None and found.offset is not None and found.offset <= start:
                offset, low = found.offset, found.position
            else:
                high = middle
        return offset, low

    def _first_behind(self, position: int) -> Piece | None:
        block = self._bytes(position, BLOCK)
        position += block.find(b"\n") + 1
        for line in block[block.find(b"\n") + 1 :].split(b"\n")[:-1]:
            for piece in pieces(line, position):
                if piece.offset is not None:
                    return piece
            position += len(line) + 1
        return None

    def _pieces_from(self, position: int) -> Iterator[Piece]:
        with self.path.open("rb") as file:
            file.seek(position)
            for line in file:
                if not line.endswith(b"\n"):  # torn, or just being written: what comes next would be its other half
                    yield from unfinished(line, position)
                    return
                yield from pieces(line, position)
                position += len(line)

    def _event(self, piece: Piece) -> Event:
        try:
            return Event.from_json(piece.body)
        except BadEvent as error:
            place = f"{self.path}, offset {piece.offset}"
            raise LogError(f"{place}: the record is whole, but {error} Read on from the offset after it.") from None

    def _damaged(self, offset: int, position: int, resume: int) -> DamagedRecord:
        lost = f"Offset {offset}" if resume <= offset + 1 else f"Offsets {offset} to {resume - 1}"
        return DamagedRecord(
            f"{self.path} is damaged at byte {position}. {lost} can't be read or follows the damage; "
            f"to go on behind it, read from offset {resume}.",
            topic=self.topic,
            partition=self.number,
            offset=offset,
            position=position,
            resume=resume,
        )

    def _length(self) -> int:
        return self.path.stat().st_size

    def _bytes(self, position: int, length: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(position)
            return file.read(length)

    def close(self) -> None:
        if self._opened:
            for file in self._opened:
                file.close()
        self._opened = None
