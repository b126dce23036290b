"""What the parts promise one another. Whoever is handed a `Bus` or a `Log` needs to know no more than this.

Every engine of a port passes the same contract suite (`tests/contracts`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol, Self

from ecomlib.events import Event
from ecomlib.values import Attempt, DeadLetter, Lag, Outcome, Position, Receipt, Record, Retry

__all__ = ["Attempt", "DeadLetter", "Lag", "Outcome", "Position", "Receipt", "Record", "Retry"]  # and all below

Handler = Callable[[Event], object]
Durability = Literal["each", "batch", "system"]
Start = Literal["beginning", "end"]


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
