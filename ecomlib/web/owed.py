"""What a crash left undone: the bus keeps its queues in memory, so an accepted event may still wait for its message."""

from __future__ import annotations

from contextlib import suppress

from ecomlib.errors import NotDrained
from ecomlib.events import Event
from ecomlib.shop import CHANNELS, Shop

TOLD = ("order.created", "order.paid")  # what a customer gets an email or an SMS for


class Owed:
    """A projection: the events that the webhook accepted and no `notification` fact answers yet, by their offsets."""

    def __init__(self) -> None:
        self.offsets: dict[str, int] = {}

    def apply(self, event: Event, offset: int) -> None:
        if event.type in TOLD and "requesthash" in event.extensions:
            self.offsets.setdefault(event.id, offset)
        elif event.type in ("notification.sent", "notification.failed") and event.causationid:
            self.offsets.pop(event.causationid, None)

    def deliver(self, shop: Shop) -> int:
        """Queue them for email and SMS once more. What was sent and not written down goes out again, with its id."""
        offsets = sorted(self.offsets.values())
        self.offsets.clear()
        for offset in offsets:
            while True:
                with suppress(NotDrained):  # more than the queues hold, and a slow sender: it takes its time
                    shop.bus.replay(*CHANNELS, start=offset, end=offset + 1)
                    break
        return len(offsets)
