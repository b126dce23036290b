"""What the saga's desk shows, as plain rows: a saga moment by moment, and what the services hold."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Literal, NamedTuple

from ecomlib.checkout import ITEM, Checkout
from ecomlib.services.payments import SHOP
from ecomlib.story import Story

CUSTOMER, PRICE, MONEY, MACHINES, PLACES = "100", 50, 500, 4, 3
What = Literal["step", "compensation", "killed", "recovered", "resumed"]


class Mark(NamedTuple):
    """What befell a saga, and how many attempts it had made by then."""

    saga_id: str
    attempts: int
    what: What


class Moment(NamedTuple):
    """What the timeline shows in one column: an attempt, or the mark of a death or of a new beginning."""

    what: What
    step: str = ""
    attempt: int = 0
    verdict: str = ""
    error: str = ""


class Kept(NamedTuple):
    """Something that is only ever moved, so that both sides together are what was there at first."""

    what: str
    left: str
    taken: str
    together: str
    conserved: bool


def moments(story: Story, marks: Iterable[Mark]) -> list[Moment]:
    """The saga's attempts, with the deaths and the new beginnings between them."""
    mine = [mark for mark in marks if mark.saga_id == story.id]
    found: list[Moment] = []
    for n, attempt in enumerate([*story.tried, None]):
        found += [Moment(mark.what) for mark in mine if mark.attempts == n]
        if attempt:
            found.append(Moment(attempt.kind, attempt.step, attempt.attempt, attempt.verdict, attempt.error))
    return found


def kept(checkout: Checkout, first: tuple[int, int, int] = (MONEY, MACHINES, PLACES)) -> list[Kept]:
    """Money, machines and places in the van: what is left, what the orders have taken, and both together."""
    money = checkout.payments.balances()
    machines = sum(quantity for _, quantity in checkout.inventory.deducted().values())
    places = sum(checkout.delivery.free().values())
    return [
        _kept("money: customer, shop", money[CUSTOMER], money[SHOP], Decimal(first[0])),
        _kept("machines: in stock, taken", checkout.inventory.stock()[ITEM], machines, first[1]),
        _kept("van: places free, booked", places, len(checkout.delivery.sent()), first[2]),
    ]


def _kept(what: str, left: Decimal | int, taken: Decimal | int, first: Decimal | int) -> Kept:
    together = left + taken
    return Kept(what, str(left), str(taken), str(together), together == first)


def told(story: Story) -> str:
    """How a saga ended, in a sentence."""
    said = f"Order {story.request.order_id} is {story.outcome}"
    if story.outcome == "completed":
        return f"{said}: paid, taken from the stock, and in the van."
    return f"{said}: {story.reason.rstrip('.')}."
