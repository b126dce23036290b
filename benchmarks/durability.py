"""What it costs that an event is safe when `append` returns, beside what the disk takes for it.

The limit writes lines of the same length, made before, and syncs each. Ours makes its lines while the time runs.
Sharing an fsync is compared with the same threads when each has an fsync of its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.appending import some_events
from benchmarks.measuring import Bench, Goal, Race, Side, rate
from ecomlib.events import Event
from ecomlib.log import FileLog
from ecomlib.records import encode

THREADS = 8
ONE = "ecomlib, `each`, one event an append"
HUNDRED = "ecomlib, `each`, 100 events an append"
BATCH = f"ecomlib, `batch`, {THREADS} threads"
EACH = f"ecomlib, `each`, {THREADS} threads"
SYNC = "os.write and os.fsync each"
DUMP = "dump 100, os.write and os.fsync"


def races(bench: Bench) -> Iterator[Race]:
    few, many = some_events(bench.count(400)), some_events(bench.count(5_000, least=100))
    with (
        FileLog(bench.folder / "each", durability="each") as each,
        FileLog(bench.folder / "batch", durability="batch") as batch,
    ):
        for log in (each, batch):
            log.append("shop", few[0])  # opens the file

        def in_hundreds(append: Callable[[list[Event]], object]) -> float:
            blocks = [many[n : n + 100] for n in range(0, len(many), 100)]
            return rate(len(many), lambda: [append(block) for block in blocks])

        yield Race(
            "durability, one thread",
            "events",
            (
                Side(ONE, "ours", lambda: rate(len(few), lambda: [each.append("shop", event) for event in few])),
                Side(HUNDRED, "ours", lambda: in_hundreds(lambda block: each.append("shop", *block))),
                Side(SYNC, "limit", lambda: synced(bench.folder / "one", few)),
                Side(DUMP, "peer", lambda: dumped(bench.folder / "hundred", many)),
            ),
            (Goal(ONE, SYNC, 0.85), Goal(HUNDRED, ONE, 30)),
            rounds=15,
        )
        shared = few * 2
        yield Race(
            "durability, threads that share",
            "events",
            (
                Side(BATCH, "ours", lambda: by_threads(batch, shared)),
                Side(EACH, "ours", lambda: by_threads(each, shared)),
                Side(SYNC, "limit", lambda: synced(bench.folder / "one", few)),
            ),
            (Goal(BATCH, EACH, 3),),
            rounds=15,
        )


def synced(path: Path, events: list[Event]) -> float:
    """The disk alone: lines that are there already."""
    lines = [encode(event, n) for n, event in enumerate(events)]

    def work(write: Callable[[bytes], None]) -> None:
        for line in lines:
            write(line)

    return writing(path, len(events), work)


def dumped(path: Path, events: list[Event]) -> float:
    """As much as one would write oneself: no offsets, no checksums, nobody else who writes."""

    def work(write: Callable[[bytes], None]) -> None:
        for n in range(0, len(events), 100):
            write("".join([event.to_json() + "\n" for event in events[n : n + 100]]).encode())

    return writing(path, len(events), work)


def writing(path: Path, events: int, work: Callable[[Callable[[bytes], None]], None]) -> float:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(data: bytes) -> None:
        os.write(fd, data)
        os.fsync(fd)

    try:
        return rate(events, lambda: work(write))
    finally:
        os.close(fd)


def by_threads(log: FileLog, events: list[Event]) -> float:
    """The threads are there when the time begins; it ends when the last one has its last answer."""
    ready = threading.Barrier(THREADS + 1)

    def append(mine: list[Event]) -> None:
        ready.wait()
        for event in mine:
            log.append("shop", event)

    threads = [threading.Thread(target=append, args=(events[n::THREADS],)) for n in range(THREADS)]
    for thread in threads:
        thread.start()

    def work() -> None:
        ready.wait()
        for thread in threads:
            thread.join()

    return rate(len(events), work)
