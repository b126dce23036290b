"""How a service makes its events: all alike but for what happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ecomlib.clock import Clock
from ecomlib.events import Event
from ecomlib.ids import NewId, new_id


@dataclass(frozen=True, slots=True)
class EventFactory:
    """Makes one service's events, with the clock and the ids that it was handed."""

    source: str
    clock: Clock
    new_id: NewId = new_id

    def __call__(
        self, type: str, data: Mapping[str, Any], *, cause: Event | None = None, id: str | None = None
    ) -> Event:
        """`cause` is the event that the new one answers: the new one points back at it, and joins its story."""
        return Event(
            type,
            dict(data),
            id=id or self.new_id(),
            source=self.source,
            time=self.clock.now(),
            correlationid=(cause.correlationid or cause.id) if cause else None,
            causationid=cause.id if cause else None,
        )
