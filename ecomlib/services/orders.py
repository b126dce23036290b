"""The order service: it obeys commands, or refuses them; each one obeyed becomes a fact that everybody may hear."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal

from ecomlib.errors import Refused
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.ports import Bus

Status = Literal["created", "paid", "shipped", "delivered", "cancelled"]
OrderId = str | int
Amount = Decimal | int | float | str

# What an order must be for a command to be obeyed. A fact that the outside world reports needs no such leave.
ALLOWED: dict[str, tuple[Status, ...]] = {
    "update": ("created",),
    "pay": ("created",),
    "ship": ("paid",),
    "deliver": ("shipped",),
    "cancel": ("created", "paid", "shipped"),
}

# What a fact makes of an order's status; None where it only changes what the order says.
CHANGES: dict[str, Status | None] = {
    "order.created": None,
    "order.updated": None,
    "order.paid": "paid",
    "order.shipped": "shipped",
    "order.delivered": "delivered",
    "order.cancelled": "cancelled",
}


@dataclass(frozen=True, slots=True)
class Order:
    order_id: str
    user_id: str | None
    amount: Decimal | None
    status: Status


class OrderService:
    """Every command publishes one event and returns it, or raises `Refused` (or `BadEvent` for impossible values).

    Its state is nothing but a fold over its own events, so `recover` rebuilds it from a log. Commands may be given
    from any thread; they are obeyed one at a time.
    """

    def __init__(self, bus: Bus, new_event: EventFactory) -> None:
        self._bus, self._new_event = bus, new_event
        self._orders: dict[str, Order] = {}
        self._users: set[str] = set()
        self._one_at_a_time = threading.RLock()

    # --- commands -----------------------------------------------------------------------------------------

    def create(self, order_id: OrderId, *, amount: Amount, user_id: OrderId | None = None) -> Event:
        with self._one_at_a_time:
            if str(order_id) in self._orders:
                raise Refused(f"There is an order {order_id} already: choose another number.")
            data: dict[str, Any] = {"order_id": order_id, "amount": amount}
            return self._publish("order.created", data if user_id is None else {**data, "user_id": user_id})

    def update(self, order_id: OrderId, *, amount: Amount) -> Event:
        return self._command("update", order_id, "order.updated", amount=amount)

    def pay(self, order_id: OrderId) -> Event:
        with self._one_at_a_time:
            order = self._allowed("pay", order_id)
            data = {"order_id": order.order_id, "amount": order.amount}
            return self._publish("order.paid", data if order.user_id is None else {**data, "user_id": order.user_id})

    def ship(self, order_id: OrderId) -> Event:
        return self._command("ship", order_id, "order.shipped")

    def deliver(self, order_id: OrderId) -> Event:
        return self._command("deliver", order_id, "order.delivered")

    def cancel(self, order_id: OrderId, *, reason: str | None = None) -> Event:
        return self._command("cancel", order_id, "order.cancelled", **({"reason": reason} if reason else {}))

    def register_user(self, user_id: OrderId, *, username: str | None = None) -> Event:
        with self._one_at_a_time:
            if str(user_id) in self._users:
                raise Refused(f"User {user_id} is registered already.")
            return self._publish("user.registered", {"user_id": user_id, "username": username})

    def delete_user(self, user_id: OrderId, *, reason: str | None = None) -> Event:
        with self._one_at_a_time:
            if str(user_id) not in self._users:
                raise Refused(f"User {user_id} is not registered, so can't be deleted.")
            return self._publish("user.deleted", {"user_id": user_id, "reason": reason})

    def _command(self, command: str, order_id: OrderId, type: str, **data: Any) -> Event:
        with self._one_at_a_time:
            order = self._allowed(command, order_id)
            return self._publish(type, {"order_id": order.order_id, **data})

    def _allowed(self, command: str, order_id: OrderId) -> Order:
        order = self._orders.get(str(order_id))
        if order is None:
            raise Refused(f"There is no order {order_id}: create it first.")
        if order.status not in ALLOWED[command]:
            needed = " or ".join(ALLOWED[command])
            raise Refused(f"Order {order_id} is {order.status}: {command!r} is for an order whose status is {needed}.")
        return order

    def _publish(self, type: str, data: dict[str, Any]) -> Event:
        event = self._new_event(type, data)
        self._bus.publish(event)  # if this raises, nothing happened, here neither
        self.apply(event)
        return event

    # --- state --------------------------------------------------------------------------------------------

    def get(self, order_id: OrderId) -> Order:
        """Raises `Refused` for an order that does not exist."""
        if str(order_id) not in self._orders:
            raise Refused(f"There is no order {order_id}.")
        return self._orders[str(order_id)]

    @property
    def orders(self) -> tuple[Order, ...]:
        """In the order in which they came."""
        return tuple(self._orders.values())

    def recover(self, events: Iterable[Event]) -> None:
        for event in events:
            self.apply(event)

    def apply(self, event: Event) -> None:
        """Fold one fact in, as it stands: facts are not refused. Facts that say nothing of an order's state pass."""
        if event.type in ("user.registered", "user.deleted"):
            (self._users.add if event.type == "user.registered" else self._users.discard)(event.data.user_id)
        if event.type not in CHANGES:
            return
        key, status = event.data.order_id, CHANGES[event.type]
        order = self._orders.get(key) or Order(key, getattr(event.data, "user_id", None), None, "created")
        if status is None:
            user_id = getattr(event.data, "user_id", None) or order.user_id
            amount = order.amount if event.data.amount is None else event.data.amount
            self._orders[key] = replace(order, amount=amount, user_id=user_id)
        else:
            self._orders[key] = replace(order, status=status)
