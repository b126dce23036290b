"""Append events to a log: what the library adds to putting an event into JSON and writing it.

All sides write the same events, and put each into JSON by `event.to_json()` while the time runs. Ours gives each its
offset and its checksum too, takes turns with other processes, and looks whether the file is still the one it opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from benchmarks.measuring import Bench, Goal, Race, Side, rate
from ecomlib.events import Event
from ecomlib.log import FileLog

SINGLE = "ecomlib, one event an append"
MANY = "ecomlib, 1,000 events an append"
WRITE = "dump, os.write each"
OPEN = "dump, open, write and close each"


def some_events(number: int) -> list[Event]:
    return [
        Event("order.created", {"order_id": str(n), "user_id": f"user {n % 97}", "amount": "49.90"})
        for n in range(number)
    ]


def races(bench: Bench) -> Iterator[Race]:
    events = some_events(bench.count(20_000))
    fresh = (bench.folder / f"appended {n}.jsonl" for n in count())  # each run has a file of its own

    def ours(at_once: int) -> Callable[[], float]:
        def run() -> float:
            with FileLog(next(fresh), durability="system") as log:
                log.create("shop", partitions=1)
                log.check("shop")  # opens the file, as the others' is open
                blocks = [events[n : n + at_once] for n in range(0, len(events), at_once)]
                return rate(len(events), lambda: [log.append("shop", *block) for block in blocks])

        return run

    def write_each() -> float:
        """The file stays open. Whoever else writes to it, and what a crash leaves of it, is not looked after."""
        fd = os.open(next(fresh), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            return rate(len(events), lambda: [os.write(fd, event.to_json().encode() + b"\n") for event in events])
        finally:
            os.close(fd)

    def open_each() -> float:
        """What one writes first: a function that appends a line to a file."""
        path = next(fresh)

        def append(path: Path, event: Event) -> None:
            with open(path, "a", encoding="utf-8") as file:
                file.write(event.to_json() + "\n")

        def work() -> None:
            for event in events:
                append(path, event)

        return rate(len(events), work)

    yield Race(
        "append an event, `system`",
        "events",
        (
            Side(SINGLE, "ours", ours(1)),
            Side(MANY, "ours", ours(1000)),
            Side(WRITE, "limit", write_each),
            Side(OPEN, "peer", open_each),
        ),
        (Goal(SINGLE, WRITE, 0.45), Goal(SINGLE, OPEN, 2.0), Goal(MANY, WRITE, 0.7)),
        rounds=15,
    )
