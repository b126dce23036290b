"""Folding a log's whole past again, beside a loop over the same file whose lines pydantic parses.

All sides read the same lines into typed models, and fold them alike. An `Event` also keeps rules: an amount has two
decimal places at most and is in bounds, an id has a length, each type has the data that it must have, nothing can be
changed. So the goal stands beside a loop whose models say the same in pydantic's own words. Beside that runs a loop
whose model has types and no rules, which is the least that typed events can cost. Only ours looks at checksums.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter

from benchmarks.history import EVENTS, history
from benchmarks.measuring import Bench, Goal, Race, Reading, Side, rate
from benchmarks.memory import peak
from ecomlib.log import FileLog
from ecomlib.replay import replay
from ecomlib.shop import TOPIC

OURS, LOOP, TYPES = "ecomlib.replay", "a loop, models with the same rules", "a loop, a model with types alone"
MEMORY = 5.0  # megabytes: what ten times as many events may take more


class OrderData(BaseModel):
    order_id: str
    amount: Decimal | None = None
    user_id: str | None = None


class Envelope(BaseModel):
    """CloudEvents' attributes, and the data of any of the shop's order events: types, and no rules."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str | None = None
    time: datetime
    correlationid: str | None = None
    causationid: str | None = None
    partitionkey: str | None = None
    dataversion: int = 1
    datacontenttype: str = "application/json"
    data: OrderData


# The same with the rules that an `Event` keeps, in pydantic's own words.

Text = Annotated[str, Field(min_length=1)]
Id = Annotated[str, Field(min_length=1, max_length=100)]
Amount = Annotated[Decimal, Field(ge=0, max_digits=11, decimal_places=2)]


class Order(BaseModel, frozen=True, extra="allow"):
    order_id: Id


class Created(Order, frozen=True):
    amount: Amount | None = None
    user_id: Id | None = None


class Paid(Order, frozen=True):
    amount: Amount
    user_id: Id | None = None


class Cancelled(Order, frozen=True):
    reason: str | None = None


class OrderEvent(BaseModel, frozen=True, extra="allow"):
    specversion: Literal["1.0"]
    id: Text
    source: Text
    type: str
    subject: Text | None = None
    time: AwareDatetime
    correlationid: Text | None = None
    causationid: Text | None = None
    partitionkey: Text | None = None
    dataversion: Annotated[int, Field(ge=1)] = 1
    datacontenttype: Literal["application/json"] = "application/json"
    data: Order


class OrderCreated(OrderEvent, frozen=True):
    type: Literal["order.created"]
    data: Created


class OrderPaid(OrderEvent, frozen=True):
    type: Literal["order.paid"]
    data: Paid


class OrderMoved(OrderEvent, frozen=True):
    type: Literal["order.shipped", "order.delivered"]


class OrderCancelled(OrderEvent, frozen=True):
    type: Literal["order.cancelled"]
    data: Cancelled


AnyOrderEvent = Annotated[OrderCreated | OrderPaid | OrderMoved | OrderCancelled, Field(discriminator="type")]


class Takings:
    """How often each type came, and what was paid in each month: its memory does not grow with the events."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.months: defaultdict[tuple[int, int], Decimal] = defaultdict(Decimal)

    def apply(self, event: Any) -> None:
        self.counts[event.type] += 1
        if event.type == "order.paid":
            self.months[event.time.year, event.time.month] += event.data.amount

    def state(self) -> dict[str, Any]:
        return {"counts": dict(self.counts), "months": [[*month, str(sum)] for month, sum in self.months.items()]}

    def restore(self, state: dict[str, Any]) -> None:
        self.counts = Counter(state["counts"])
        self.months = defaultdict(Decimal, {(year, month): Decimal(sum) for year, month, sum in state["months"]})


def replayed(folder: Path, end: int | None = None) -> Takings:
    takings = Takings()
    with FileLog(folder) as log:
        replay(log, TOPIC, takings, end=end)
    return takings


def looped(path: Path, parse: Callable[[bytes], Any]) -> Takings:
    takings = Takings()
    with path.open("rb") as file:
        for line in file:
            takings.apply(parse(line))
    return takings


def races(bench: Bench) -> Iterator[Race | Reading]:
    count, folder = bench.count(EVENTS, least=200), history(bench)
    path = folder / TOPIC / "0.log"
    rules = TypeAdapter[Any](AnyOrderEvent).validate_json
    expected = replayed(folder).state()

    def folding(work: Callable[[], Takings]) -> Callable[[], float]:
        found: list[Takings] = []

        def run() -> float:
            found.clear()
            figure = rate(count, lambda: found.append(work()))
            if found[0].state() != expected:
                raise AssertionError(f"It should be {expected}, not {found[0].state()}.")
            return figure

        return run

    yield Race(
        "replay of 1,000,000 events into a typed fold",
        "events",
        (
            Side(OURS, "ours", folding(lambda: replayed(folder))),
            Side(LOOP, "peer", folding(lambda: looped(path, rules))),
            Side(TYPES, "limit", folding(lambda: looped(path, Envelope.model_validate_json))),
        ),
        (Goal(OURS, LOOP, 0.8),),
        rounds=3,
        warm_up=False,
    )
    yield Reading(
        "memory that a replay of 1,000,000 events takes more than one of a tenth",
        "MB",
        (Side(OURS, "ours", lambda: max(_peak(folder, count) - _peak(folder, count // 10), 0.01)),),
        at_most=MEMORY,
    )


def _peak(folder: Path, events: int) -> float:
    """The most memory that a process of its own has while it replays so many, in megabytes."""
    run = subprocess.run(
        [sys.executable, "-m", __name__, str(folder), str(events)], stdout=subprocess.PIPE, check=True, text=True
    )
    return float(run.stdout)


if __name__ == "__main__":
    folder, events = sys.argv[1:]
    replayed(Path(folder), end=int(events))
    sys.stdout.write(str(peak()))
