"""A log that dies at a chosen place, so that a lesson's crash comes at the same instant every time."""

from __future__ import annotations

from typing import NamedTuple

from ecomlib.checkout import STEPS
from ecomlib.errors import BadInput
from ecomlib.events import Event
from ecomlib.log import FileLog
from ecomlib.ports import Position
from ecomlib.saga import TOPIC as SAGAS
from ecomlib.services.delivery import DeliveryService
from ecomlib.services.inventory import InventoryService
from ecomlib.services.order_book import OrderBook
from ecomlib.services.participant import Participant
from ecomlib.services.payments import PaymentService

PARTS = (*STEPS, *(f"{step} compensation" for step in STEPS))  # as faults name them
SERVICES: tuple[type[Participant], ...] = (OrderBook, PaymentService, InventoryService, DeliveryService)
FACTS = {
    **{service.name: service.action for service in SERVICES},
    **{f"{service.name} compensation": service.compensation for service in SERVICES},
}
UNPUBLISHED, UNLOGGED = "before its fact is out", "after its work, before the log"
BEGUN, ENDED = ("started",), ("done", "failed")
# Of what is appended to the saga's log: which events, and whether death comes before or after they are there.
MOMENTS: dict[str, tuple[tuple[str, ...], str]] = {
    "before it begins": (BEGUN, "before"),
    "once it has begun": (BEGUN, "after"),
    UNPUBLISHED: ((), "before"),
    UNLOGGED: (ENDED, "before"),
    "after the log": (ENDED, "after"),
}


class Died(BaseException):
    """The process is gone: nothing that lives on may catch this, so it is no `Exception`."""


class Place(NamedTuple):
    """Where the runner is to die: at a step, or at its compensation, and at which moment of it."""

    part: str
    moment: str

    @classmethod
    def named(cls, part: str, moment: str) -> Place:
        """Raises `BadInput` for a place that a checkout does not come to."""
        for said, known in ((part, PARTS), (moment, tuple(MOMENTS))):
            if said not in known:
                raise BadInput(f"A checkout can't die at {said!r:.60}: choose one of {', '.join(known)}.")
        return cls(part, moment)

    def __str__(self) -> str:
        return f"at {self.part}, {self.moment}"

    def is_here(self, topic: str, event: Event, when: str) -> bool:
        verbs, wanted = MOMENTS[self.moment]
        if when != wanted:
            return False
        if topic != SAGAS:
            return self.moment == UNPUBLISHED and event.type == FACTS[self.part]
        step, _, kind = self.part.partition(" ")
        return event.data.step == step and event.type in {f"{kind or 'step'}.{verb}" for verb in verbs}


class MortalLog(FileLog):
    """Raises `Died` when an append comes to `place`, once: whoever plans the next death sets a new place."""

    place: Place | None = None

    def append(self, topic: str, *events: Event) -> tuple[Position, ...]:
        self._come("before", topic, events)
        positions = super().append(topic, *events)
        self._come("after", topic, events)
        return positions

    def _come(self, when: str, topic: str, events: tuple[Event, ...]) -> None:
        place = self.place
        if place and any(place.is_here(topic, event, when) for event in events):
            self.place = None
            raise Died(str(place))
