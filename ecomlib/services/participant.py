"""What the services of a checkout have in common: one action and one compensation an order, each once in effect."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from ecomlib.catalogue import Purchase
from ecomlib.errors import BadInput, Refused
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.ports import Bus, Durability
from ecomlib.services.store import Store


class Participant:
    """A service that takes part in a saga. It remembers the latest fact of each order beside what it keeps itself.

    No order gets the action twice, under any key. The compensation undoes what the action did, whatever the purchase
    says now; where there is nothing to undo it still leaves its fact, so that an action that arrives late is refused.
    So an order takes part in one saga. Commands may come from any thread and any process. Their facts wait in the
    outbox until `relay` publishes them.
    """

    name: ClassVar[str]
    action: ClassVar[str]  # the type of the fact that it leaves
    compensation: ClassVar[str]
    table: ClassVar[str] = ""  # what the service keeps: a number for each name
    schema: ClassVar[str] = ""

    def __init__(
        self,
        store_path: Path | str,
        new_event: EventFactory,
        opening: Mapping[str, int] = {},
        *,
        durability: Durability = "batch",
    ) -> None:
        """`opening` is what the table holds at first; it is ignored where the table holds something already.

        Raises `BadInput` for what is no whole number from 0.
        """
        for thing, number in opening.items():
            if type(number) is not int or not 0 <= number < 2**53:
                raise BadInput(f"The {self.name} service can't begin with {number!r:.40} of {thing!r:.40}.")
        orders = "CREATE TABLE IF NOT EXISTS orders (order_id TEXT PRIMARY KEY, type TEXT NOT NULL, fact TEXT NOT NULL)"
        self._new_event = new_event
        self.store = Store(store_path, f"{orders};{self.schema}", durability=durability)
        try:
            if opening:
                self._fill(opening)
        except BaseException:
            self.close()
            raise

    def _fill(self, opening: Mapping[str, int]) -> None:
        with self.store.transaction() as connection:
            if connection.execute(f"SELECT 1 FROM {self.table}").fetchone() is None:
                for row in opening.items():
                    connection.execute(f"INSERT INTO {self.table} VALUES (?, ?)", row)

    def _act(
        self,
        key: str,
        purchase: Purchase,
        cause: Event | None,
        work: Callable[[sqlite3.Connection], Mapping[str, Any]],
    ) -> Event:
        """`work` changes the tables, and returns what the fact says beside the purchase; or it raises `Refused`."""

        def change(connection: sqlite3.Connection) -> Event:
            latest = self._latest(connection, purchase.order_id)
            if latest:
                raise Refused(f"Order {purchase.order_id} has its {latest.type} already: no {self.action} comes after.")
            fact = self._new_event(self.action, {**purchase.to_dict(), **work(connection)}, cause=cause)
            connection.execute("INSERT INTO orders VALUES (?, ?, ?)", (purchase.order_id, fact.type, fact.to_json()))
            return fact

        return self.store.once(key, purchase, change, operation=self.action)

    def _compensate(
        self,
        key: str,
        purchase: Purchase,
        cause: Event | None,
        work: Callable[[sqlite3.Connection, Event | None], Mapping[str, Any]],
    ) -> Event:
        """`work` undoes the fact that it is given, or nothing, and returns what the new fact says beside the order."""

        def change(connection: sqlite3.Connection) -> Event:
            latest = self._latest(connection, purchase.order_id)
            undone = work(connection, latest if latest and latest.type == self.action else None)
            fact = self._new_event(self.compensation, {"order_id": purchase.order_id, **undone}, cause=cause)
            connection.execute(
                "INSERT INTO orders VALUES (?, ?, ?)"
                " ON CONFLICT (order_id) DO UPDATE SET type = excluded.type, fact = excluded.fact",
                (purchase.order_id, fact.type, fact.to_json()),
            )
            return fact

        return self.store.once(key, purchase, change, operation=self.compensation)

    def refuse(self, key: str, purchase: Purchase, reason: str, *, cause: Event | None = None) -> Event:
        """Make a refusal a fact, for those who can't be told by an error. No action of that order comes after it."""

        def change(connection: sqlite3.Connection) -> Event:
            fact = self._new_event(f"{self.name}.refused", {**purchase.to_dict(), "reason": reason}, cause=cause)
            row = (purchase.order_id, fact.type, fact.to_json())
            connection.execute("INSERT INTO orders VALUES (?, ?, ?) ON CONFLICT (order_id) DO NOTHING", row)
            return fact

        return self.store.once(key, purchase, change, operation=f"{self.name}.refused")

    def _latest(self, connection: sqlite3.Connection, order_id: str) -> Event | None:
        row = connection.execute("SELECT fact FROM orders WHERE order_id = ?", (order_id,)).fetchone()
        return self.store.event(row[0]) if row else None

    def _in_effect(self) -> list[Event]:
        """The facts of the actions that were not compensated, by the order of their orders."""
        rows = self.store.read("SELECT fact FROM orders WHERE type = ? ORDER BY rowid", self.action)
        return [self.store.event(fact) for (fact,) in rows]

    def _kept(self) -> dict[str, int]:
        return dict(self.store.read(f"SELECT * FROM {self.table} ORDER BY rowid"))

    def relay(self, bus: Bus) -> int:
        """Publish the facts that wait, oldest first, each at least once (`Store.relay`)."""
        return self.store.relay(bus)

    def close(self) -> None:
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
