"""A saga of four steps that do nothing, with the log on `each`: what is left is what the runner and the log cost.

A step stands in the log before it is tried and when it is done, and the saga when it begins and when it ends: so it
needs ten fsyncs. The limit writes the lines that such sagas leave, and syncs each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.measuring import Bench, Goal, Race, Side, rate
from ecomlib.catalogue import Purchase
from ecomlib.clock import SystemClock
from ecomlib.factory import EventFactory
from ecomlib.locks import FileLocks
from ecomlib.log import FileLog
from ecomlib.saga import TOPIC, SagaRunner
from ecomlib.steps import Saga, Step

OURS = "ecomlib, `each`"
SYNCS = "the fsyncs that they need"
REQUEST = Purchase(order_id="1", user_id="100", amount=Decimal("49.90"), item="coffee machine", quantity=1)


def nothing(key: str, request: Any) -> None: ...


def races(bench: Bench) -> Iterator[Race]:
    names = ("order", "payment", "inventory", "delivery")
    steps = [Step(name, nothing, nothing, pivot=name == names[-1]) for name in names]
    with FileLog(bench.folder / "log", durability="each") as log:
        runner = SagaRunner(
            Saga("four steps", tuple(steps), Purchase),
            log,
            FileLocks(bench.folder / "locks"),
            EventFactory("/bench", SystemClock()),
        )
        ids = count()

        def sagas(number: int) -> None:
            for _ in range(number):
                story = runner.start(f"saga-{next(ids)}", REQUEST)
                assert story.outcome == "completed"

        sagas(2)
        lines = (bench.folder / "log" / TOPIC / "0.log").read_bytes().splitlines(keepends=True)[10:]
        number = bench.count(50, least=2)
        yield Race(
            "sagas, four steps",
            "sagas",
            (
                Side(OURS, "ours", lambda: rate(number, lambda: sagas(number))),
                Side(SYNCS, "limit", lambda: synced(bench.folder / "limit", lines, number)),
            ),
            (Goal(OURS, SYNCS, 0.7),),
            rounds=15,
        )


def synced(path: Path, lines: list[bytes], sagas: int) -> float:
    """`lines` are those of one saga."""
    assert len(lines) == 10
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def work() -> None:
        for _ in range(sagas):
            for line in lines:
                os.write(fd, line)
                os.fsync(fd)

    try:
        return rate(sagas, work)
    finally:
        os.close(fd)
