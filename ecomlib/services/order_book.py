"""The order book: the orders of the checkout, and whether they stand."""

from __future__ import annotations

from ecomlib.catalogue import Purchase
from ecomlib.events import Event
from ecomlib.services.participant import Participant


class OrderBook(Participant):
    """It keeps the latest fact of each order, and the numbers that it has given out."""

    name, action, compensation = "order", "order.created", "order.cancelled"
    schema = "CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY)"

    def create(self, key: str, purchase: Purchase, *, cause: Event | None = None) -> Event:
        """Raises `Refused` for an order that was created or cancelled before."""
        return self._act(key, purchase, cause, lambda connection: {})

    def cancel(self, key: str, purchase: Purchase, *, cause: Event | None = None) -> Event:
        """An order that never existed is cancelled too: it can't be created any more."""
        return self._compensate(key, purchase, cause, lambda connection, created: {})

    def orders(self) -> dict[str, str]:
        """Each order's status, "created" or "cancelled", in the order in which they came."""
        rows = self.store.read("SELECT order_id, type FROM orders ORDER BY rowid")
        return {order_id: type.removeprefix("order.") for order_id, type in rows}

    def next_number(self) -> int:
        """A number that no order has, and that nobody else is given."""
        with self.store.transaction() as connection:
            orders = [row[0] for row in connection.execute("SELECT order_id FROM orders")]
            (given,) = connection.execute("SELECT coalesce(max(number), 0) FROM numbers").fetchone()
            number = 1 + max([given, *(int(order_id) for order_id in orders if order_id.isdecimal())])
            connection.execute("INSERT INTO numbers VALUES (?)", (number,))
            return int(number)
