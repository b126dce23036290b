"""What the parts of the shop hand to one another: small values, none of which does anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ecomlib.errors import BadInput
from ecomlib.events import Event

Outcome = Literal["handled", "failed", "dead"]  # failed: it will be retried; dead: it became a dead letter


class Position(NamedTuple):
    """Where a record stands. Offsets count a partition's events from 0."""

    topic: str
    partition: int
    offset: int


class Record(NamedTuple):
    position: Position
    event: Event


class Attempt(NamedTuple):
    """One call of a handler with an event: everything that panels, charts and tests know of a delivery."""

    event: Event
    subscription: str
    number: int  # counts from 1 over the whole life of a delivery, redelivery included
    outcome: Outcome
    duration: float  # in seconds, by a clock that never jumps
    error: str | None = None


@dataclass(frozen=True)
class DeadLetter:
    """A delivery that was given up, with what is needed to take it up again."""

    event: Event
    subscription: str
    attempts: int
    error: str


@dataclass(slots=True)
class Receipt:
    """What `publish` knows when it returns. `position` is None where no log is attached.

    It is not frozen, for one is made for every event, and a frozen one takes four times as long.
    """

    event: Event
    subscriptions: tuple[str, ...]  # those of the bus object that published it
    position: Position | None = None
    routed: bool = False  # a broker knows of more: whether any queue took it, whoever's that is

    def __bool__(self) -> bool:
        """Whether anyone subscribes."""
        return self.routed or bool(self.subscriptions)


@dataclass(frozen=True)
class Retry:
    """How often a delivery is tried, and the seconds between: `pause`, doubling up to `longest`."""

    attempts: int = 3
    pause: float = 0.1
    longest: float = 5.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or not (0 <= self.pause <= 86_400 and 0 <= self.longest <= 86_400):
            raise BadInput(f"{self}: a delivery gets one attempt at least, and a pause is 0 seconds to a day.")

    def wait(self, failed: int) -> float:
        """The pause in seconds after that many failed attempts."""
        return min(self.pause * 2.0 ** min(failed - 1, 60), self.longest)


class Lag(NamedTuple):
    """How far a consumer group has come in a partition. `committed` is the offset of the next event to be handled."""

    topic: str
    partition: int
    committed: int | None  # None before the group's first commit there
    end: int

    @property
    def lag(self) -> int:
        """How many events wait."""
        return self.end - (self.committed or 0)
