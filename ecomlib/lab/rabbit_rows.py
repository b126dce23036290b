"""What the RabbitMQ panel shows, as rows: of each queue, and of each worker."""

from __future__ import annotations

from typing import NamedTuple

SIGNS = {"alive": "✓", "stopped": "■", "killed": "✗", "ended": "✗"}


class QueueRow(NamedTuple):
    """Of one service's queue. The rates are None where no management API tells them."""

    queue: str
    patterns: tuple[str, ...]
    ready: int  # it waits in the queue
    in_hand: int  # a worker was given it, and has not acknowledged it
    consumers: int
    handled: int  # events, each counted once however often it came
    dead: int  # of this queue, in the dead-letter queue
    rate_in: float | None = None  # messages a second, some seconds ago
    rate_out: float | None = None


class WorkerRow(NamedTuple):
    name: str
    kind: str
    state: str  # alive, stopped, killed; ended is who died without us
    handled: int  # deliveries, those that came again too

    def __str__(self) -> str:
        return f"{SIGNS[self.state]} {self.name} {self.state}"


class DeadRow(NamedTuple):
    what: str
    queue: str
    attempts: int
    error: str


class Seen(NamedTuple):
    """All that a picture of the broker needs."""

    queues: tuple[QueueRow, ...]
    workers: tuple[WorkerRow, ...]
    dead: int
    delayed: int  # deliveries that failed, and wait for their next attempt
    source: str
