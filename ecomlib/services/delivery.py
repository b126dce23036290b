"""The delivery service: it gives an order a place in a van, and takes the place back."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ecomlib.catalogue import Purchase
from ecomlib.errors import Refused
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.ports import Durability
from ecomlib.services.participant import Participant

SLOTS: Mapping[str, int] = MappingProxyType({"today": 100})


class DeliveryService(Participant):
    """`slots` is how many orders the vans can take on each day, the first day first, when the database is new."""

    name, action, compensation = "delivery", "delivery.requested", "delivery.cancelled"
    table = "slots"
    schema = "CREATE TABLE IF NOT EXISTS slots (day TEXT PRIMARY KEY, free INTEGER NOT NULL CHECK (free >= 0))"

    def __init__(
        self,
        store_path: Path | str,
        new_event: EventFactory,
        slots: Mapping[str, int] = SLOTS,
        *,
        durability: Durability = "batch",
    ) -> None:
        super().__init__(store_path, new_event, slots, durability=durability)

    def request(self, key: str, purchase: Purchase, *, cause: Event | None = None) -> Event:
        """Takes a slot on the first day that has one. Raises `Refused` without any, and after a request or its end."""

        def take(connection: sqlite3.Connection) -> Mapping[str, Any]:
            row = connection.execute("SELECT day FROM slots WHERE free > 0 ORDER BY rowid LIMIT 1").fetchone()
            if row is None:
                raise Refused(f"No van has room for order {purchase.order_id}: every slot is taken.")
            connection.execute("UPDATE slots SET free = free - 1 WHERE day = ?", row)
            return {"day": row[0]}

        return self._act(key, purchase, cause, take)

    def cancel(self, key: str, purchase: Purchase, *, cause: Event | None = None) -> Event:
        """The fact names the day whose slot is free again; no day where none had been taken."""

        def give_back(connection: sqlite3.Connection, requested: Event | None) -> Mapping[str, Any]:
            if requested is None:
                return {}
            connection.execute("UPDATE slots SET free = free + 1 WHERE day = ?", (requested.data.day,))
            return {"day": requested.data.day}

        return self._compensate(key, purchase, cause, give_back)

    def free(self) -> dict[str, int]:
        """How many slots each day has left."""
        return self._kept()

    def sent(self) -> dict[str, str]:
        """The day of each order: requested, and not cancelled."""
        return {event.data.order_id: event.data.day for event in self._in_effect()}
