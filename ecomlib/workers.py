"""What a worker process runs: one service on a bus that it is handed. Those of one service share queue and store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ecomlib.clock import Clock, SystemClock, wait
from ecomlib.errors import Permanent, named
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.ports import Bus, DeadLetter, Durability, Handler, Retry, Subscription
from ecomlib.services.notifications import FOR_EVER, PATIENT, NotificationService
from ecomlib.services.senders import Sender
from ecomlib.services.shared_analytics import SharedAnalytics
from ecomlib.services.store import StoreError
from ecomlib.topology import SERVICES

FAILURES = "failures"


class BusWithDeadLetters(Bus, Protocol):
    def subscribe_dead_letters(
        self, *, handler: Callable[[DeadLetter], object], name: str, retry: Retry | None = None
    ) -> Subscription:
        """Call `handler` with every dead letter from now on."""


class EmailWorker:
    """Sends emails and SMS from the moment it is made, until the bus stops. Who can't be told delays no other.

    A customer whom minutes of attempts did not reach becomes the fact `notification.failed`. `store` remembers what was
    sent, for all processes that name it. `work` seconds of `new_event`'s clock pass before each message.
    """

    def __init__(
        self,
        bus: BusWithDeadLetters,
        sender: Sender,
        new_event: EventFactory,
        *,
        store: Path | str = ":memory:",
        work: float = 0.0,
        retry: Retry = PATIENT,
    ) -> None:
        self._service = NotificationService(bus, sender, new_event, store=store)
        handlers = {"email": self._service.send_email, "sms": self._service.send_sms}
        try:
            bus.subscribe_dead_letters(handler=self._service.tell_of_failure, name=FAILURES, retry=FOR_EVER)
            for name, handler in handlers.items():
                slow = _slowed(handler, new_event.clock, work)
                bus.subscribe(*SERVICES[name], handler=slow, name=name, ordered=False, retry=retry)
        except BaseException:
            self.close()
            raise

    def totals(self) -> dict[str, int]:
        """What this worker itself has told: `emails`, `sms`, and `failed`, those whom nobody could tell."""
        return {name: self._service.counts[name] for name in ("emails", "sms", "failed")}

    def close(self) -> None:
        """Closes the store. First stop the bus: a handler that still runs would fail."""
        self._service.close()


class AnalyticsWorker:
    """Counts every event, from the moment it is made, until the bus stops.

    An event is in the store when its handler returns, so a bus that acknowledges after the work loses none, and one
    that comes twice counts once. A store that can't be written is tried until it can; an event that can't be counted is
    a dead letter. `work` as for `EmailWorker`.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        store: Path | str,
        clock: Clock | None = None,
        durability: Durability = "batch",
        work: float = 0.0,
    ) -> None:
        clock = clock or SystemClock()
        self._service = SharedAnalytics(store, durability=durability, clock=clock)
        try:
            count = _slowed(self._count, clock, work)
            bus.subscribe(*SERVICES["analytics"], handler=count, name="analytics", retry=FOR_EVER)
        except BaseException:
            self.close()
            raise

    def _count(self, event: Event) -> None:
        try:
            self._service.apply(event)
        except StoreError:
            raise  # our own trouble: it passes, and the event counts then
        except Exception as error:
            raise Permanent(f"It can't be counted: {named(error)}") from error

    def totals(self) -> dict[str, int | str]:
        """What the store says: the work of all workers that share it."""
        return self._service.totals()

    def close(self) -> None:
        """Closes the store. First stop the bus: a handler that still runs would fail."""
        self._service.close()


def _slowed(handler: Handler, clock: Clock, work: float) -> Handler:
    def slow(event: Event) -> None:
        wait(clock, work)
        handler(event)

    return slow if work else handler
