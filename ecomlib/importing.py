"""What the readers of other people's files share: rows read with care, and a list of what was dirty."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ecomlib.errors import BadInput
from ecomlib.events import Event

EXAMPLES = 3
BAD_ROW = "rows could not be read and had to be left out"
LONGEST = 1 << 20  # bytes: a "line" beyond that is noise, and is read in pieces rather than held whole


class Findings:
    """What was dirty in the files: how often, with a few examples. Printed, it is a list of sentences."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}
        self.remarks: list[str] = []

    def add(self, what: str, example: str) -> None:
        """Count one more case of `what`, which goes on after "12 of the". Only the first examples stay."""
        self.counts[what] += 1
        kept = self.examples.setdefault(what, [])
        if len(kept) < EXAMPLES:
            kept.append(example)

    def remark(self, sentence: str) -> None:
        """Say something that isn't a matter of counting."""
        self.remarks.append(sentence)

    def sentences(self) -> list[str]:
        return [self._sentence(what, count) for what, count in self.counts.items()] + self.remarks

    def _sentence(self, what: str, count: int) -> str:
        listed = "; ".join(self.examples[what])
        return f"{count} of the {what}: {listed}{'.' if count <= EXAMPLES else '; …'}"

    def __bool__(self) -> bool:
        return bool(self.counts or self.remarks)

    def __str__(self) -> str:
        return "\n".join(self.sentences())


class Imported(NamedTuple):
    """What a file, or a folder of them, told: its facts, and what was wrong with it."""

    events: list[Event]
    findings: Findings


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Each line with its number from 1, without its line end; gzip is unpacked, whatever the file is called.

    Raises `BadInput` where the file can't be read, also in the middle of it.
    """
    number = 1
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with gzip.open(raw) if packed else raw as file:
                while line := file.readline(LONGEST):
                    yield number, line.rstrip(b"\r\n")
                    number += line.endswith(b"\n")
    except FileNotFoundError:
        raise BadInput(f"{path} is not there: check the path, or put the file there.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadInput(
            f"{path}, line {number}: the gzip file breaks off or is damaged here ({error}). Get it anew."
        ) from None
    except OSError as error:
        raise BadInput(f"{path} can't be read ({error.strerror or error}). Name a file that can.") from None


def csv_rows(path: Path, columns: Sequence[str], findings: Findings) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row that can be read, with its place; the others are in `findings`, under `BAD_ROW`.

    Each line is a row of its own, so a stray quote spoils no other. Raises `BadInput` where a column is missing.
    """
    lines = numbered_lines(path)
    _, first = next(lines, (1, b""))
    try:
        header = _fields(first)
    except ValueError:
        header = []
    missing = [column for column in columns if column not in header]
    if missing:
        wanted = " or ".join(missing)
        raise BadInput(f"{path}, line 1: no column is called {wanted}. Put the published file there, unchanged.")
    for number, line in lines:
        if not line:
            continue
        place = f"{path.name}, line {number}"
        try:
            fields = _fields(line)
            if len(fields) != len(header):
                raise ValueError(f"{len(fields)} columns instead of {len(header)}")
        except ValueError as error:
            findings.add(BAD_ROW, f"{place} ({error})")
        else:
            yield place, dict(zip(header, fields, strict=True))


def _fields(line: bytes) -> list[str]:
    try:
        return next(csv.reader([line.decode("utf-8-sig")], strict=True), [])
    except UnicodeDecodeError:
        raise ValueError("it is not text in UTF-8") from None
    except csv.Error as error:
        raise ValueError(str(error)) from None
