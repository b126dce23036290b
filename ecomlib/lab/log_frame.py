"""A topic of a log as a data frame: a row an event, a column for each field that occurs in the events' data.

Whole blocks of a file are checked and parsed at once. Where a block is not what `append` writes, the log's own reader
takes over, which knows what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from importlib.util import find_spec
from itertools import islice
from operator import itemgetter
from typing import Literal, Protocol
from zlib import crc32

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from ecomlib.catalogue import Money
from ecomlib.errors import BadInput
from ecomlib.files import disk_errors
from ecomlib.lab.plain_columns import PlainColumns
from ecomlib.log import FileLog
from ecomlib.records import encode

Engine = Literal["python", "pyarrow"]
OWN = ("partition", "offset", "id", "type", "subject", "time")
CHECKSUM = ',"checksum":"%s"}'  # the end of a record's line
BODY = itemgetter(slice(None, -len(CHECKSUM % "12345678")))  # what the checksum is of
TAIL = itemgetter(slice(-len(CHECKSUM % "12345678"), None))
MONEY = TypeAdapter(Money)
AMOUNT = re.compile(r"([0-9]{1,9})\.([0-9]{2})")


class Columns(Protocol):
    """What an engine makes of records whose checksums were right."""

    block: int  # how many bytes of a file to hand it at once

    def add(self, bodies: list[bytes], block: bytes, first: int) -> None:
        """A block of records; `bodies` has them without checksums. Raises `ValueError` for what is no record."""

    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Of all that was added: id, type, subject and time; and the fields of the data."""


def events_frame(
    log: FileLog, topic: str = "shop", *, money: Collection[str] = ("amount",), engine: Engine | None = None
) -> pd.DataFrame:
    """All events that the log has now, by their offsets; partition after partition, where the topic has several.

    The columns: `partition` (only where there are several), `offset`, `id`, `type`, `subject`, `time` (UTC), and the
    fields of the data, sorted by name; one that is named like a column before it is called `data.id`. What an event
    does not say is missing (`isna`). Text is text; numbers and booleans are `Int64`, `Float64` and `boolean`; what is
    nested, of several kinds, or too big for these, stays what `json.loads` makes of it.

    Amounts of money, the fields that `money` names, are exact: whole cents (`Int64`), in a column `amount_cents`.
    Raises `BadInput` where such a field holds no amount, or where there is a field `amount_cents` already; with
    `money=()` all fields stay as the log has them.

    Every checksum is checked. Raises `DamagedRecord` at the first damaged place. A last line that is not whole is not
    read. Nothing else that an event must be is looked at: where a log was not written by `append`, `FileLog.read` does.

    `engine` is pyarrow where that is installed, and else Python, which takes longer; the frames are equal. Of
    the file itself only some blocks are in memory at once.
    """
    if engine == "pyarrow" or (engine is None and find_spec("pyarrow")):
        from ecomlib.lab.arrow_columns import ArrowColumns, NotForArrow

        try:
            with ArrowColumns() as columns:
                return _frame(log, topic, columns, money)
        except NotForArrow:
            pass  # not even an error: kinds that only Python's lists can hold together
    return _frame(log, topic, PlainColumns(), money)


def _frame(log: FileLog, topic: str, columns: Columns, money: Collection[str]) -> pd.DataFrame:
    counts = [_add_partition(log, topic, number, columns) for number in range(log.partitions(topic))]
    envelopes, data = columns.frames()
    places = {"offset": np.concatenate([np.arange(count) for count in counts])}
    if len(counts) > 1:
        places = {"partition": np.repeat(np.arange(len(counts)), counts), **places}
    fields = {f"data.{name}" if name in OWN else name: data[name] for name in sorted(map(str, data))}
    for name in [name for name in money if name in fields]:
        fields[f"{name}_cents"] = _cents(fields.pop(name), places["offset"])
    if len(fields) < data.shape[1]:
        raise BadInput(
            f"Two fields of {topic} would be in one column: {sorted(map(str, data))}. Read the frame with money=()."
        )
    about = {name: envelopes[name] for name in ("id", "type", "subject", "time")}
    return pd.DataFrame({**places, **about, **{name: fields[name] for name in sorted(fields)}})


def _add_partition(log: FileLog, topic: str, number: int, columns: Columns) -> int:
    """Returns how many records there are."""
    path, count = log.folder / topic / f"{number}.log", 0
    with disk_errors(path), path.open("rb") as file:
        while block := file.read(columns.block) + file.readline():
            try:
                bodies = _checked(block)
                columns.add(bodies, block, count)
            except (ValueError, LookupError, TypeError, AttributeError):
                break  # damaged, torn, or healed; the log's own reader knows
            count += len(bodies)
        else:
            return count
    records = log.read(topic, count, partition=number)
    while lines := [encode(event, position.offset) for position, event in islice(records, 1000)]:
        block = b"".join(lines)
        columns.add(_checked(block), block, count)
        count += len(lines)
    return count


def _checked(block: bytes) -> list[bytes]:
    """The lines without their checksums. Raises `ValueError` where one is wrong, or the last line has no end."""
    lines = block.split(b"\n")
    if lines.pop():
        raise ValueError("the last line has no end")
    bodies = list(map(BODY, lines))
    sums = np.fromiter(map(crc32, bodies), ">u4", len(bodies)).tobytes().hex("|", 4)
    if b"".join(map(TAIL, lines)) != (CHECKSUM % sums.replace("|", CHECKSUM[-2:] + CHECKSUM[:-4])).encode():
        raise ValueError("a checksum is wrong")
    return bodies


def _cents(amounts: pd.Series, offsets: np.ndarray) -> pd.Series:
    """Each amount that occurs is read once, by the catalogue's own rule."""
    try:
        codes, unique = pd.factorize(amounts)
    except TypeError:
        raise BadInput(f"Not every {amounts.name} is an amount. Read the frame with money=().") from None
    cents = np.zeros(len(unique) + 1, "int64")  # and one for what is missing, whose code is -1
    for n, amount in enumerate(unique.tolist()):
        try:
            written = isinstance(amount, str) and AMOUNT.fullmatch(amount)  # as the catalogue has it, nearly always
            cents[n] = int(written[1] + written[2]) if written else MONEY.validate_python(amount) * 100
        except ValidationError as error:
            place = f"offset {offsets[int((codes == n).argmax())]}"
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise BadInput(f"{amounts.name} at {place}: {reason}. Read the frame with money=().") from None
    return pd.Series(pd.arrays.IntegerArray(cents[codes], codes == -1))
