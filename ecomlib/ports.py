"""What the parts promise one another. Whoever is handed a `Bus` or a `Log` needs to know no more than this.

Every engine of a port passes the same contract suite (`tests/contracts`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, Self

from ecomlib.errors import BadInput
from ecomlib.events import Event

Handler = Callable[[Event], object]
Outcome = Literal["handled", "failed", "dead"]  # failed: it will be retried; dead: it became a dead letter
Durability = Literal["each", "batch", "system"]
Start = Literal["beginning", "end"]


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


@dataclass(frozen=True)
class Receipt:
    """What `publish` knows when it returns. `position` is None where no log is attached."""

    event: Event
    subscriptions: tuple[str, ...]
    position: Position | None = None

    def __bool__(self) -> bool:
        """Whether anyone subscribes."""
        return bool(self.subscriptions)


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


class Subscription(Protocol):
    """One handler's standing order for events. A context manager: it is cancelled at the end of the block."""

    @property
    def name(self) -> str: ...

    @property
    def patterns(self) -> tuple[str, ...]: ...

    def cancel(self) -> int:
        """No delivery begins after this returns. Says how many waiting deliveries were dropped; 0 the second time."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


class Bus(Protocol):
    """Publish and subscribe, with retries and dead letters."""

    def subscribe(
        self,
        *patterns: str,
        handler: Handler,
        name: str | None = None,
        ordered: bool = True,
        retry: Retry | None = None,
    ) -> Subscription:
        """Call `handler` once for each event from now on that any of the patterns matches.

        The same name means a shared queue where the engine has queues that outlive a process; without one, the
        subscription has a queue of its own. Raises `BadPattern`, or `AlreadySubscribed`.
        """

    def publish(self, event: Event, *, mandatory: bool = False, wait: float = 0.0) -> Receipt:
        """Hand the event over; never waits for a handler. It is accepted when this returns.

        With `mandatory`, raises `NoSubscriber` where nobody subscribes. Raises `BusFull`, after up to `wait` seconds,
        where a queue has no room; inside a handler it never waits.
        """

    def drain(self, timeout: float = 5.0) -> None:
        """Return when every delivery of this object's subscriptions has ended, retries included.

        Raises `NotDrained`, naming what is left, after `timeout` seconds; `WrongPlace` inside a handler.
        """

    def redeliver(self, letter: DeadLetter) -> None:
        """Take a dead letter up again: the same event, to the subscription that failed, with no second log record."""

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The latest attempts, oldest first."""

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]: ...


class Log(Protocol):
    """Topics of events that stay. Append at the end, read from anywhere."""

    def create(self, topic: str, partitions: int) -> None:
        """Make a topic with that many partitions. Raises `BadInput` where it is there already, with another number."""

    def append(self, topic: str, *events: Event) -> tuple[Position, ...]:
        """Each event to the partition of its key; makes the topic, with one partition, if need be.

        Of the events of one partition all are appended or, where it raises `LogError`, none that a reader will see.
        """

    def read(self, topic: str, start: int = 0, *, partition: int = 0, end: int | None = None) -> Iterator[Record]:
        """From offset `start` up to, not including, `end`; stops at the end as it is when it gets there.

        Raises `LogError` for a topic that is not there, and `DamagedRecord` where bytes were changed.
        """

    def end(self, topic: str, partition: int = 0) -> int:
        """The offset that the next event will get."""

    def topics(self) -> dict[str, int]:
        """The name of each topic, with the number of its partitions."""


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


class Consumer(Protocol):
    """A member of a consumer group: the members share the partitions of their topics, each one served by one member.

    Not safe to share: one thread, one consumer.
    """

    def poll(self, limit: int = 500, *, timeout: float = 0.0) -> list[Record]:
        """The next records of the partitions that this member holds, waiting up to `timeout` seconds for the first.
        Notices who came and who went, and takes or gives up partitions accordingly.
        """

    def commit(self, *records: Record) -> None:
        """The group has handled these records, or all that `poll` gave. Raises `StaleCommit`, committing none, where
        a partition has passed on to another member.
        """

    def seek(self, offset: int | Start, topic: str | None = None, partition: int | None = None) -> None:
        """Go on from there in all partitions that this member holds, or in those named; an offset needs one alone."""

    def lag(self) -> tuple[Lag, ...]:
        """Of the partitions that this member holds."""

    def close(self) -> None:
        """Leave the group; what was not committed is given to others again."""


class Lock(Protocol):
    def release(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: Any) -> None: ...


class Locks(Protocol):
    """Names that one holder at a time has."""

    def take(self, name: str) -> Lock | None:
        """Hold the name until it is released, or until this process dies. None, at once: somebody else holds it."""


class Projection(Protocol):
    """A pure fold: its state depends on the events it was given, and on nothing else."""

    def apply(self, event: Event) -> None: ...

    def state(self) -> dict[str, Any]:
        """All it knows, as plain JSON values, for a snapshot."""

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state()` described."""
