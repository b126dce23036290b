"""One partition of a topic: a file with a record a line (`records.py` says how it stands there)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ecomlib.errors import BadEvent, DamagedRecord, LogError
from ecomlib.events import Event
from ecomlib.files import LogFile, Writer, disk_errors
from ecomlib.ports import Durability, Position, Record
from ecomlib.records import BEGINNING, Piece, body_at, encode, pieces, unfinished
from ecomlib.sharing import Shared

BLOCK = 1 << 16  # bytes that are read at once where one record is looked for


class Partition:
    """One file of a topic. One writer at a time, by a lock that dies with its process."""

    def __init__(self, path: Path, topic: str, number: int, files: Callable[[Path], LogFile]) -> None:
        self.path, self.topic, self.number = path, topic, number
        self._files, self._errors = files, disk_errors(path)
        self._begin()
        self._tail = 0, 0  # the file's size as this object saw it last, and the offset that comes there
        self._ended = 0, 0  # the same, for whoever only looks

    def _begin(self) -> None:
        """Also in a process that was forked: it inherits locks whose holders it has not, and opened files."""
        self._process, self._writer, self._shared = os.getpid(), Writer(self.path, self._files), Shared(self._append)

    def _begin_anew_in_a_child(self) -> None:
        if self._process != os.getpid():
            self._writer.close()
            self._begin()

    def append(self, events: tuple[Event, ...], durability: Durability) -> int:
        """Returns the offset of the first."""
        self._begin_anew_in_a_child()
        if durability == "batch":
            return self._shared(events)
        return self._append([events], durability)[0]

    def _append(self, groups: list[tuple[Event, ...]], durability: Durability = "batch") -> list[int]:
        """Returns the offset of the first in each group."""
        with self._errors, self._writer.turn, self._writer as (file, size):
            if size != self._tail[0]:
                size = self._mend_tail(file, size)
            offset = self._tail[1]
            firsts: list[int] = []
            lines: list[bytes] = []
            for events in groups:
                firsts.append(offset)
                for event in events:
                    lines.append(encode(event, offset))
                    offset += 1
            block = b"".join(lines)
            try:
                file.append(block)
                if durability == "each":
                    file.sync()
            except BaseException as error:
                file.truncate(size)  # half of it would be worse than nothing
                if isinstance(error, OSError):
                    raise LogError(f"{self.path} can't be written: {error.strerror}. Nothing was appended.") from error
                raise
            self._tail = size + len(block), offset
            if durability == "batch":
                self._sync(file)
        return firsts

    def _sync(self, file: LogFile) -> None:
        """Readers have seen the events of many by now, so nothing is taken back."""
        try:
            file.sync()
        except OSError as error:
            said = f"{self.path} can't be synced: {error.strerror}. What was appended last may be lost."
            raise LogError(said) from error

    def check(self) -> None:
        """Raises `LogError` where an append could not begin."""
        self._begin_anew_in_a_child()
        with self._errors, self._writer.turn, self._writer:
            pass

    def _mend_tail(self, file: LogFile, length: int) -> int:
        """Find where to append. A last line that a dead writer left torn is cut off; one that lacks its end gets it."""
        size, following = self._find_end(length)  # anew: what `end` saw may have been withdrawn since
        if size < length:
            file.truncate(size)
        if size and self._bytes(size - 1, 1) != b"\n":
            file.append(b"\n")
            size += 1
        self._tail = size, following
        return size

    def end(self) -> tuple[int, int]:
        """The file's size up to its last whole record or damaged line, and the offset that comes next."""
        with self._errors:
            size = self._length()
            if size == self._tail[0]:
                return self._tail
            if size != self._ended[0]:
                self._ended = self._find_end(size)
            return self._ended

    def _find_end(self, size: int) -> tuple[int, int]:
        reach = BLOCK
        while size:
            base = max(size - reach, 0)
            if found := self._end_in(self._bytes(base, size - base), base):
                return found
            if base == 0:
                raise LogError(f"{self.path} holds no record: it is not a log's file, or damaged all through.")
            reach *= 8
        return 0, 0

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

    def read(self, start: int, end: int | None) -> Iterator[Record]:
        if start < 0:
            raise LogError(f"Offsets count from 0: nothing can be read from {start}.")
        with self._errors:
            offset, position = self._near(start)
            with self.path.open("rb") as file:
                file.seek(position)
                for line in file:
                    if end is not None and offset >= end:
                        return
                    body = body_at(offset, line)
                    if body is None:
                        break
                    if offset >= start:
                        yield self._record(offset, body)
                    offset, position = offset + 1, position + len(line)
                else:
                    return
            yield from self._read_with_care(offset, position, start, end)

    def _read_with_care(self, expected: int, position: int, start: int, end: int | None) -> Iterator[Record]:
        """From a line on that is not just the next record: it has no end yet, or was damaged, or is a copy."""
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
                yield self._record(offset, piece.body)
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
        begin = block.find(b"\n") + 1
        while (end := block.find(b"\n", begin)) >= 0:
            for piece in pieces(block[begin:end], position + begin):
                if piece.offset is not None:
                    return piece
            begin = end + 1
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

    def _record(self, offset: int, body: bytes) -> Record:
        try:
            return Record(Position(self.topic, self.number, offset), Event.from_json(body))
        except BadEvent as error:
            place = f"{self.path}, offset {offset}"
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
        self._writer.close()
