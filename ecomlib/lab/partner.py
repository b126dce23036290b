"""The system that reports to the webhook: it numbers its orders and reports, signs them, and can send one again."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ecomlib.clock import Clock
from ecomlib.errors import BadInput, Refused
from ecomlib.lab.wire import Delivery

CUSTOMER, AMOUNT = 100, 50
LONGEST = 12  # characters of a name in a picture


class Partner:
    def __init__(self, secret: str, clock: Clock) -> None:
        self._secret, self._clock = secret, clock
        self._latest: Delivery | None = None
        self._orders = self._keys = 0

    def draft(
        self,
        status: str = "created",
        order: int | str | None = None,
        amount: float | str | None = AMOUNT,
        user: int | str | None = CUSTOMER,
        key: bool = True,
    ) -> Delivery:
        """Not signed, not sent: an order's number is free until its delivery is `ready`."""
        number = max(self._orders + (status == "created"), 1) if order is None else order
        report: dict[str, object] = {"order_id": number, "status": status}
        if status in ("created", "paid"):
            money = {"user_id": user, "amount": amount}
            report |= {name: said for name, said in money.items() if said is not None}
        return self.delivery(f"order {_short(number)} {_short(status)}", report, key=key)

    def delivery(self, what: str, report: Mapping[str, object], *, key: bool = True) -> Delivery:
        """Raises `BadInput` where the report can't be written as JSON, or the key is not True or False."""
        if type(key) is not bool:
            raise BadInput("The key is True or False: the partner makes up its keys itself.")
        try:
            body = json.dumps(report).encode()
        except (TypeError, ValueError) as error:
            raise BadInput(f"This can't be sent as JSON ({error}): use numbers, text and None.") from error
        self._keys += key
        return Delivery(what, body, f"report-{self._keys}" if key else None)

    def signed(self, delivery: Delivery) -> Delivery:
        return delivery.signed(self._secret, int(self._clock.now().timestamp()))

    def ready(self, draft: Delivery) -> Delivery:
        """Signed; from now on it is the latest one."""
        order = json.loads(draft.body)["order_id"]
        if type(order) is int:
            self._orders = max(self._orders, order)
        self._latest = self.signed(draft)
        return self._latest

    def latest(self) -> Delivery:
        """Of those that the partner meant, as it was signed last."""
        if self._latest is None:
            raise Refused("Nothing was sent yet: click Send first.")
        return self._latest


def _short(said: object) -> str:
    """Only what every picture can show."""
    return ascii(str(said))[1:-1][:LONGEST]
