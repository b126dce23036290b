"""A member of a consumer group, beside a plain reader of the same records: what keeping the group's offset costs."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from benchmarks.history import history
from benchmarks.measuring import Bench, Goal, Race, Reading, Side, rate
from ecomlib.log import FileLog
from ecomlib.ports import Durability
from ecomlib.shop import TOPIC

EVENTS = 50_000
POLL = 500  # records at most, which is what `poll` asks for by itself
SAFE, SYSTEM, READ = "poll and commit, synced", "poll and commit, not synced", "log.read"


def races(bench: Bench) -> Iterator[Race | Reading]:
    events, folder = bench.count(EVENTS, least=200), history(bench)
    groups = count()

    def consumed(durability: Durability) -> float:
        """Each run is a new group, so that it begins at the beginning. It commits after each poll."""
        with FileLog(folder, durability=durability) as log, log.consumer(f"group-{next(groups)}", TOPIC) as member:

            def work() -> None:
                left = events
                while left:
                    records = member.poll(min(POLL, left))
                    member.commit(*records[-1:])
                    left -= len(records)

            figure = rate(events, work)
            if [lag.committed for lag in member.lag()] != [events]:
                raise AssertionError(f"{events} events should be committed: {member.lag()}")
            return figure

    yield Race(
        f"consumer group, poll {POLL} records and commit them",
        "events",
        (
            Side(SYSTEM, "ours", lambda: consumed("system")),
            Side(SAFE, "ours", lambda: consumed("batch")),
            Side(READ, "limit", lambda: _read(folder, events)),
        ),
        (Goal(SYSTEM, READ, 0.5),),  # the other is up to the disk: a commit is two fsyncs
        rounds=5,
    )
    shutil.rmtree(folder / "_groups")


def _read(folder: Path, events: int) -> float:
    with FileLog(folder) as log:
        return rate(events, lambda: deque(log.read(TOPIC, end=events), maxlen=0))
