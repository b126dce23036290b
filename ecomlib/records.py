"""How an event stands in a log's file: a record a line, and how records are found again in a line that was damaged.

A record is the event in CloudEvents' JSON format, and behind it two extensions: the record's `offset`, and a `checksum`
(CRC-32, in hexadecimal) of all that stands before it on the line.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from ecomlib.events import Event

TAIL = re.compile(rb',"offset":(\d{1,18}),"checksum":"([0-9a-f]{8})"\}')
TAIL_LENGTH = 51  # of the longest
CHECKSUM_LENGTH = len(',"checksum":"01234567"}\n')
BEGINNING = b'{"specversion"'  # of every record


def encode(event: Event, offset: int) -> bytes:
    body = f'{event.to_json()[:-1]},"offset":{offset}'.encode()
    return b'%s,"checksum":"%08x"}\n' % (body, zlib.crc32(body))


def body_at(offset: int, line: bytes) -> bytes | None:
    """The event in a line that is the whole record with this offset and nothing else, as nearly every line is."""
    body, _, tail = line.rpartition(b',"offset":')
    checksum = zlib.crc32(line[:-CHECKSUM_LENGTH])
    return body + b"}" if tail == b'%d,"checksum":"%08x"}\n' % (offset, checksum) else None


class Piece(NamedTuple):
    """A stretch of the file: a whole record, or damage, which has no offset."""

    position: int
    end: int
    offset: int | None = None
    body: bytes = b""


def pieces(line: bytes, position: int) -> Iterator[Piece]:
    """The records of one line. It holds more than one only where the end of a line was damaged."""
    text, start = line.removesuffix(b"\n"), 0
    end = TAIL.search(text, max(len(text) - TAIL_LENGTH, 0))
    if end and end.end() == len(text) and (whole := _record(text, 0, end, position)):
        yield whole
        return  # tried first, for an event's data may hold what looks like a record's end
    for tail in TAIL.finditer(text):
        for begin in (start, text.rfind(BEGINNING, start, tail.start())):
            if begin >= 0 and (whole := _record(text, begin, tail, position)):
                if begin > start:
                    yield Piece(position + start, position + begin)
                yield whole
                start = tail.end()
                break
    if start < len(text) or not text:
        yield Piece(position + start, position + len(text))


def _record(text: bytes, begin: int, tail: re.Match[bytes], position: int) -> Piece | None:
    if zlib.crc32(text[begin : tail.end(1)]) != int(tail[2], 16):
        return None
    return Piece(position + begin, position + tail.end(), int(tail[1]), text[begin : tail.start()] + b"}")


def unfinished(line: bytes, position: int) -> list[Piece]:
    """The pieces of a last line that has no end: up to its last whole record, for the rest is torn."""
    found = list(pieces(line, position))
    while found and found[-1].offset is None:
        found.pop()
    return found
