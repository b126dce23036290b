"""What the races on RabbitMQ share: a node of their own, the message, and a stopwatch for consumers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal
from uuid import uuid4

from pydantic import BaseModel

from benchmarks.measuring import Bench, NotHere
from ecomlib.broker import THREE_WAYS, PrivateNode, find_server
from ecomlib.events import Event

PATIENCE = 60.0  # seconds for one run
PREFETCH = 100
KEY = "order.created"
QUEUE = "all"  # the name of the subscription; a queue on the broker has the exchange's name before it


class Order(BaseModel):
    order_id: str
    user_id: str
    amount: Decimal


class CloudEvent(BaseModel):
    """The peers write and read the same JSON with this: what a user of pydantic makes of it, with checks."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str = "/shop"
    type: str = KEY
    subject: str
    time: datetime
    dataversion: int = 1
    datacontenttype: str = "application/json"
    data: Order


def events(count: int) -> list[Event]:
    return [Event(KEY, {"order_id": n, "user_id": f"user-{n}", "amount": 50}) for n in range(count)]


def peers_events(count: int) -> list[CloudEvent]:
    orders = [Order(order_id=str(n), user_id=f"user-{n}", amount=Decimal("50.00")) for n in range(count)]
    return [CloudEvent(id=str(uuid4()), subject=o.order_id, time=datetime.now(UTC), data=o) for o in orders]


@contextmanager
def broker(bench: Bench, url: str | None) -> Iterator[str]:
    """The address of a node that is started now, and killed in the end; or the one that is given."""
    if url is not None:
        yield url
        return
    if find_server() is None:
        raise NotHere(f"RabbitMQ is not installed here. {THREE_WAYS}")
    node = PrivateNode(bench.folder / "node", management=False)
    node.start()
    try:
        yield node.url
    finally:
        node.kill()  # nobody needs its data any more


class Stopwatch:
    """The handler of every consumer: counts, from the first message to the last one."""

    def __init__(self, count: int) -> None:
        self.count, self._seen = count, 0
        self._began = self._ended = 0.0
        self._done = threading.Event()

    def __call__(self, message: Event | CloudEvent) -> None:
        self._seen += 1
        if self._seen == 1:
            self._began = time.perf_counter()
        elif self._seen == self.count:
            self._ended = time.perf_counter()
            self._done.set()

    @property
    def ended(self) -> bool:
        return self._seen >= self.count

    def wait(self) -> None:
        """Blocks until the last one has come. Raises where it does not."""
        if not self._done.wait(PATIENCE):
            raise TimeoutError(f"{self._seen} of {self.count} messages came.")

    def rate(self) -> float:
        """Messages per second."""
        self.wait()
        return (self.count - 1) / (self._ended - self._began)
