"""The same checkout with nobody in charge: each service listens for the fact that comes before its own.

There is no table of steps: the order of things is spread over the subscriptions, and so is the way back.
"""

from __future__ import annotations

from collections.abc import Callable

from ecomlib.catalogue import Purchase, read_model
from ecomlib.checkout import ITEM, Checkout
from ecomlib.errors import Refused
from ecomlib.events import Event
from ecomlib.services.orders import Amount, OrderId
from ecomlib.services.participant import Participant


class Choreography:
    """Subscribes the services of a checkout to its bus. Not for a checkout whose saga is run as well.

    A service that says no publishes `<service>.refused`. Whoever has done something by then undoes it, so each one
    knows every service behind it that may say no. A handler that fails for good leaves a dead letter, and its order
    half served until that is redelivered.
    """

    def __init__(self, checkout: Checkout) -> None:
        self._checkout = checkout
        orders, payments = checkout.orders, checkout.payments
        inventory, delivery = checkout.inventory, checkout.delivery
        self._on("order.created", service=payments, act=payments.reserve)
        self._on("payment.reserved", service=inventory, act=inventory.deduct)
        self._on("inventory.deducted", service=delivery, act=delivery.request)
        self._on("delivery.refused", service=inventory, undo=inventory.restore)
        self._on("inventory.refused", "delivery.refused", service=payments, undo=payments.cancel)
        self._on("payment.refused", "inventory.refused", "delivery.refused", service=orders, undo=orders.cancel)

    def buy(self, order_id: OrderId, *, user_id: OrderId, amount: Amount, item: str = ITEM, quantity: int = 1) -> Event:
        """Returns as soon as the order is created and published: what becomes of it, the bus's deliveries decide."""
        said = {"order_id": order_id, "user_id": user_id, "amount": amount, "item": item, "quantity": quantity}
        purchase = read_model(Purchase, "a purchase", said)
        created = self._checkout.orders.create(f"order-{purchase.order_id}.order", purchase)
        self._checkout.orders.relay(self._checkout.bus)
        return created

    def _on(
        self,
        *patterns: str,
        service: Participant,
        act: Callable[..., Event] | None = None,
        undo: Callable[..., Event] | None = None,
    ) -> None:
        name = service.name if act else f"{service.name} compensation"

        def handle(event: Event) -> None:
            purchase = read_model(Purchase, event.type, {field: event.data[field] for field in Purchase.model_fields})
            key = f"order-{purchase.order_id}.{name}"
            try:
                (act or undo)(key, purchase, cause=event)  # type: ignore[misc]
            except Refused as refusal:  # noted down, so that a second copy of the event is refused for good, too
                service.refuse(f"{key}.refused", purchase, str(refusal), cause=event)
            service.relay(self._checkout.bus)

        self._checkout.bus.subscribe(*patterns, handler=self._checkout.faults.wrap(name, handle), name=name)
