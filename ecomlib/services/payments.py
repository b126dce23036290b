"""The payment service: it moves money from a customer's account to the shop's, and back."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ecomlib.catalogue import Money, Purchase
from ecomlib.errors import BadInput, Refused
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.ports import Durability
from ecomlib.services.participant import Participant

SHOP = "shop"  # the owner of the account that customers pay into
_MONEY: TypeAdapter[Decimal] = TypeAdapter(Money)


class PaymentService(Participant):
    """Money is only moved: the sum of all accounts never changes, and none is ever below zero.

    `accounts` is what each owner has when the database is new; later it is ignored.
    """

    name, action, compensation = "payment", "payment.reserved", "payment.cancelled"
    table = "accounts"
    schema = "CREATE TABLE IF NOT EXISTS accounts (owner TEXT PRIMARY KEY, cents INTEGER NOT NULL CHECK (cents >= 0))"

    def __init__(
        self,
        store_path: Path | str,
        new_event: EventFactory,
        accounts: Mapping[str, Decimal | int | float | str] = {},
        *,
        durability: Durability = "batch",
    ) -> None:
        opening = {str(owner): _opening(owner, amount) for owner, amount in accounts.items()}
        super().__init__(store_path, new_event, {SHOP: 0, **opening} if accounts else {}, durability=durability)

    def reserve(self, key: str, purchase: Purchase, *, cause: Event | None = None) -> Event:
        """Raises `Refused` without such a user, without enough money, and after a reservation or a cancellation."""

        def pay(connection: sqlite3.Connection) -> Mapping[str, Any]:
            query = "SELECT cents FROM accounts WHERE owner = ?"
            account = connection.execute(query, (purchase.user_id,)).fetchone()
            if account is None or purchase.user_id == SHOP:
                raise Refused(f"User {purchase.user_id} has no customer's account: open one first.")
            if account[0] < _cents(purchase.amount):
                raise Refused(f"User {purchase.user_id} has only {_amount(account[0])}, not {purchase.amount}.")
            _move(connection, purchase.amount, purchase.user_id, SHOP)
            return {}

        return self._act(key, purchase, cause, pay)

    def cancel(self, key: str, purchase: Purchase, *, cause: Event | None = None) -> Event:
        """The fact says how much went back: 0.00 where nothing had been reserved, or all had gone back before."""

        def pay_back(connection: sqlite3.Connection, reserved: Event | None) -> Mapping[str, Any]:
            if reserved is None:
                return {"user_id": purchase.user_id, "amount": _amount(0)}
            _move(connection, reserved.data.amount, SHOP, reserved.data.user_id)
            return {"user_id": reserved.data.user_id, "amount": reserved.data.amount}

        return self._compensate(key, purchase, cause, pay_back)

    def balances(self) -> dict[str, Decimal]:
        return {owner: _amount(cents) for owner, cents in self._kept().items()}

    def charged(self) -> dict[str, Decimal]:
        """What each order was charged: reserved, and not cancelled."""
        return {event.data.order_id: event.data.amount for event in self._in_effect()}


def _move(connection: sqlite3.Connection, amount: Decimal, giver: str, taker: str) -> None:
    for owner, cents in ((giver, -_cents(amount)), (taker, _cents(amount))):
        connection.execute("UPDATE accounts SET cents = cents + ? WHERE owner = ?", (cents, owner))


def _opening(owner: str, amount: Decimal | int | float | str) -> int:
    try:
        return _cents(_MONEY.validate_python(amount))
    except ValidationError as error:
        raise BadInput(f"The account of {owner}: {error.errors()[0]['msg'].removeprefix('Value error, ')}.") from None


def _cents(amount: Decimal) -> int:
    return int(amount * 100)  # exact: an amount has two decimal places


def _amount(cents: int) -> Decimal:
    return Decimal(cents).scaleb(-2)
