"""The inventory service: it takes an order's items out of the stock, and puts them back."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ecomlib.catalogue import Purchase
from ecomlib.errors import Refused
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.ports import Durability
from ecomlib.services.participant import Participant


class InventoryService(Participant):
    """What is in stock and what is deducted are together always the same; the stock is never below zero.

    `stock` is how much there is of each item when the database is new; later it is ignored.
    """

    name, action, compensation = "inventory", "inventory.deducted", "inventory.restored"
    table = "stock"
    schema = "CREATE TABLE IF NOT EXISTS stock (item TEXT PRIMARY KEY, left INTEGER NOT NULL CHECK (left >= 0))"

    def __init__(
        self,
        store_path: Path | str,
        new_event: EventFactory,
        stock: Mapping[str, int] = {},
        *,
        durability: Durability = "batch",
    ) -> None:
        super().__init__(store_path, new_event, stock, durability=durability)

    def deduct(self, key: str, purchase: Purchase, *, cause: Event | None = None) -> Event:
        """Raises `Refused` for an unknown item, for more than is left, and after a deduction or a restoration."""

        def take(connection: sqlite3.Connection) -> Mapping[str, Any]:
            row = connection.execute("SELECT left FROM stock WHERE item = ?", (purchase.item,)).fetchone()
            if row is None:
                raise Refused(f"There is no item {purchase.item!r} in the inventory: choose another.")
            if row[0] < purchase.quantity:
                raise Refused(f"Only {row[0]} of {purchase.item!r} left: {purchase.quantity} can't be deducted.")
            _add(connection, purchase.item, -purchase.quantity)
            return {}

        return self._act(key, purchase, cause, take)

    def restore(self, key: str, purchase: Purchase, *, cause: Event | None = None) -> Event:
        """The fact says how many went back: 0 where nothing had been deducted, or all had gone back before."""

        def put_back(connection: sqlite3.Connection, deducted: Event | None) -> Mapping[str, Any]:
            if deducted is None:
                return {"item": purchase.item, "quantity": 0}
            _add(connection, deducted.data.item, deducted.data.quantity)
            return {"item": deducted.data.item, "quantity": deducted.data.quantity}

        return self._compensate(key, purchase, cause, put_back)

    def stock(self) -> dict[str, int]:
        """How much of each item is left."""
        return self._kept()

    def deducted(self) -> dict[str, tuple[str, int]]:
        """The item and the quantity of each order: deducted, and not restored."""
        return {event.data.order_id: (event.data.item, event.data.quantity) for event in self._in_effect()}


def _add(connection: sqlite3.Connection, item: str, quantity: int) -> None:
    connection.execute("UPDATE stock SET left = left + ? WHERE item = ?", (quantity, item))
