"""A shop's past: a million events of its orders (or as many as wanted), as the library would have written them.

To make each event and to append it would take longer than to measure what reads them. So the lines are filled into
forms; that they are the library's own, byte by byte, is checked on the first of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from random import Random
from zlib import crc32

from benchmarks.measuring import Bench
from ecomlib.log import FileLog
from ecomlib.records import encode
from ecomlib.shop import TOPIC
from ecomlib.traffic import Command, commands, simulate

ORDERS, DAYS = 3_000, 30  # a month, which comes again and again, with other orders of other people
BEGAN = datetime(2018, 1, 1, tzinfo=UTC)
CHECKED = 200
EVENTS = 1_000_000

# What the order service publishes at each command: the type, its version, and which of an order's facts it tells.
PUBLISHED = {
    "create": ("order.created", 1, True),
    "pay": ("order.paid", 2, True),
    "ship": ("order.shipped", 1, False),
    "deliver": ("order.delivered", 1, False),
    "cancel": ("order.cancelled", 1, False),
}


def history(bench: Bench) -> Path:
    """The folder of a log whose topic `ecomlib.shop.TOPIC` has a million events. It is made once."""
    folder = bench.folder / "history"
    if not folder.exists():
        with FileLog(folder, durability="system") as log:
            log.create(TOPIC, partitions=1)
            path = folder / TOPIC / "0.log"
            with path.open("wb") as file:
                file.writelines(_lines(bench.count(EVENTS, least=CHECKED)))
            _check(log, path)
    return folder


def _check(log: FileLog, path: Path) -> None:
    with path.open("rb") as file:
        for (position, event), line in zip(log.read(TOPIC, end=CHECKED), file, strict=False):
            if encode(event, position.offset) != line:
                raise AssertionError(f"The library would have written this otherwise: {line!r}")


def _lines(events: int) -> Iterator[bytes]:
    for offset, body in enumerate(islice(_bodies(), events)):
        record = b'%s,"offset":%d' % (body.encode(), offset)
        yield b'%s,"checksum":"%08x"}\n' % (record, crc32(record))


def _bodies() -> Iterator[str]:
    """Events in CloudEvents' JSON format, all but the closing brace."""
    month = list(commands(simulate(ORDERS, start=BEGAN.date(), days=DAYS)))
    random = Random("history")
    for number in count():
        for command in month:
            yield _body(command, number, random)


def _body(command: Command, month: int, random: Random) -> str:
    type, version, in_full = PUBLISHED[command.name]
    order = int(command.order.order_id) + month * ORDERS
    time = command.time + timedelta(days=month * DAYS, microseconds=random.randint(1, 999_999))
    data = f'"order_id":"{order}"'
    if in_full:
        user = int(command.order.user_id) + month * ORDERS // 2
        data += f',"amount":"{command.order.amount}","user_id":"{user}"'
    id = f"{random.getrandbits(128):032x}"
    return (
        f'{{"specversion":"1.0","id":"{id[:8]}-{id[8:12]}-4{id[13:16]}-8{id[17:20]}-{id[20:]}","source":"/shop",'
        f'"type":"{type}","subject":"{order}","time":"{time.isoformat()[:-6]}Z","dataversion":{version},'
        f'"datacontenttype":"application/json","data":{{{data}}}'
    )
