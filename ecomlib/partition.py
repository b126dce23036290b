"""One partition of a topic: a file with a record a line.

A record is the event in CloudEvents' JSON format, and behind it two extensions: the record's `offset`, and a `checksum`
(CRC-32, in hexadecimal) of all that stands before it on the line.
"""

from __future__ import annotations

import re
import threading
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import portalocker

from ecomlib.errors import BadEvent, DamagedRecord, LogError
from ecomlib.events import Event
from ecomlib.files import LogFile
from ecomlib.ports import Durability

TAIL = re.compile(rb',"offset":(\d{1,18}),"checksum":"([0-9a-f]{8})"\}')
INDEX_EVERY = 1_000  # records between two entries of the index, which spares a reader the way from the start
BLOCK = 1 << 16  # bytes that are read at first when the last record is looked for


def encode(event: Event, offset: int) -> bytes:
    body = event.to_json().encode()[:-1] + b',"offset":%d' % offset
    return body + b',"checksum":"%08x"}\n' % zlib.crc32(body)


class Piece(NamedTuple):
    """A stretch of the file: a whole record, or damage, which has no offset."""

    position: int
    end: int
    offset: int | None = None
    body: bytes = b""


def pieces(line: bytes, position: int) -> Iterator[Piece]:
    """The records of one line. It holds more than one only where the end of a line was damaged."""
    text, start = line.removesuffix(b"\n"), 0
    for tail in TAIL.finditer(text):
        checked = text[start : tail.end(1)]
        if zlib.crc32(checked) == int(tail[2], 16):
            yield Piece(position + start, position + tail.end(), int(tail[1]), text[start : tail.start()] + b"}")
            start = tail.end() + 1
            if start <= len(text):
                yield Piece(position + start - 1, position + start)  # a byte stands where the line should end
    if start < len(text):
        yield Piece(position + start, position + len(text))


class Partition:
    """One file of a topic. One writer at a time, by a lock that dies with its process."""

    def __init__(self, path: Path, topic: str, number: int, files: Callable[[Path], LogFile]) -> None:
        self.path, self.topic, self.number = path, topic, number
        self._files = files
        self._opened: tuple[LogFile, IO[bytes]] | None = None  # the first append opens the file and its lock
        self._writing = threading.Lock()
        self._syncing = threading.Lock()
        self._size, self._next = 0, 0  # the file's end as this object saw it last, and the offset that comes there
        self._synced = 0
        self._index = [(0, 0)]  # (offset, position) of some records, ascending

    def append(self, events: tuple[Event, ...], durability: Durability) -> int:
        """Returns the offset of the first."""
        with self._writing, self._only_writer() as file:
            size, first = self._mend_tail(file)
            lines = b"".join(encode(event, first + n) for n, event in enumerate(events))
            try:
                file.append(lines)
                if durability == "each":
                    file.sync()
            except OSError as error:
                file.truncate(size)  # half of it would be worse than nothing
                raise LogError(f"{self.path} can't be written: {error.strerror}. Nothing was appended.") from error
            self._size, self._next = written, _ = size + len(lines), first + len(events)
        if durability == "batch":
            self._sync_up_to(file, written)
        return first

    def _sync_up_to(self, file: LogFile, size: int) -> None:
        with self._syncing:
            if self._synced < size:  # else the one before us has synced our bytes with its own
                up_to = self._size
                try:
                    file.sync()
                except OSError as error:
                    raise LogError(
                        f"{self.path} can't be synced: {error.strerror}. What was appended last may be lost."
                    ) from error
                self._synced = up_to

    @contextmanager
    def _only_writer(self) -> Iterator[LogFile]:
        if self._opened is None:
            self._opened = self._files(self.path), self.path.with_suffix(".lock").open("ab")
        file, lock = self._opened
        portalocker.lock(lock, portalocker.LOCK_EX)
        try:
            yield file
        finally:
            portalocker.unlock(lock)

    def _mend_tail(self, file: LogFile) -> tuple[int, int]:
        """Where to append. A last line that a dead writer left torn is cut off; one that only lacks its end gets it."""
        if self._length() != self._size:
            self._size, self._next = self.end()
            if self._size < self._length():
                file.truncate(self._size)
            if self._size and self._bytes(self._size - 1, 1) != b"\n":
                file.append(b"\n")
                self._size += 1
        return self._size, self._next

    def end(self) -> tuple[int, int]:
        """The file's size up to its last whole record or damaged line, and the offset that comes next."""
        size = self._length()
        reach = BLOCK
        while size != self._size:
            base = max(size - reach, 0)
            found = self._end_in(self._bytes(base, size - base), base)
            if found:
                return found
            if base == 0:
                raise LogError(f"{self.path} holds no record: it is not a log's file, or it is damaged all through.")
            reach *= 8
        return self._size, self._next

    def _end_in(self, block: bytes, base: int) -> tuple[int, int] | None:
        first = block.find(b"\n") + 1 if base else 0
        whole = max(block.rfind(b"\n") + 1, first)
        for piece in list(pieces(block[whole:], base + whole))[:1]:
            if piece.offset is not None:  # the last line is a record that only lacks its end
                return piece.end, piece.offset + 1
        lines = block[first:whole].splitlines(keepends=True)
        for damaged, line in enumerate(reversed(lines)):
            offsets = [piece.offset for piece in pieces(line, 0) if piece.offset is not None]
            if offsets:
                return base + whole, offsets[-1] + 1 + damaged
        return (0, 0) if base == whole == 0 else None

    def read(self, start: int, end: int | None) -> Iterator[tuple[int, Event]]:
        expected, position = self._index[bisect_right(self._index, (start, 1 << 62)) - 1]
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
            if offset >= self._index[-1][0] + INDEX_EVERY:
                self._index.append((offset, piece.position))
            if offset >= start:
                yield offset, self._event(piece)
        if damage is not None and (resume := self.end()[1]) > start:
            raise self._damaged(max(expected, start), damage, resume)

    def _pieces_from(self, position: int) -> Iterator[Piece]:
        with self.path.open("rb") as file:
            file.seek(position)
            for line in file:
                if line.endswith(b"\n"):
                    yield from pieces(line, position)
                else:  # torn, or just being written: a record that only lacks its end counts
                    yield from (p for p in list(pieces(line, position))[:1] if p.offset is not None)
                position += len(line)

    def _event(self, piece: Piece) -> Event:
        try:
            return Event.from_json(piece.body)
        except BadEvent as error:
            raise LogError(f"{self.path}, offset {piece.offset}: the record is whole, but {error}") from None

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
