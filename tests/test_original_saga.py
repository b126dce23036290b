"""The original's story of two orders: one is completed; the other one fails at the inventory and is compensated."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ecomlib.checkout import Checkout
from ecomlib.clock import SimulatedClock
from ecomlib.saga import TOPIC as SAGAS
from ecomlib.shop import TOPIC, open_checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """User 100 has 500.00, and there are 4 coffee machines."""
    said: dict[str, Any] = {"accounts": {"100": 500}, "stock": {"coffee machine": 4}, "slots": {"today": 3}}
    with open_checkout(tmp_path / "log", clock=SimulatedClock(), seed=0, durability="system", **said) as checkout:
        yield checkout


def told(checkout: Checkout, topic: str, order: int) -> list[str]:
    """What a topic says of one order."""
    events = [record.event for record in checkout.log.read(topic)]
    if topic == SAGAS:
        mine = [event for event in events if event.data.saga_id == f"order-{order}"]
        return [f"{event.data.step or ''} {event.type}".strip() for event in mine]
    return [event.type for event in events if event.data.order_id == str(order)]


def test_an_order_of_100_is_completed(checkout: Checkout) -> None:
    story = checkout.buy(1, user_id=100, amount=100, quantity=2)
    assert story.outcome == "completed"
    assert told(checkout, TOPIC, 1) == ["order.created", "payment.reserved", "inventory.deducted", "delivery.requested"]
    assert told(checkout, SAGAS, 1) == [
        "saga.started",
        "order step.started", "order step.done",
        "payment step.started", "payment step.done",
        "inventory step.started", "inventory step.done",
        "delivery step.started", "delivery step.done",
        "saga.completed",
    ]  # fmt: skip
    assert checkout.payments.balances() == {"100": Decimal("400.00"), "shop": Decimal("100.00")}
    assert checkout.inventory.stock() == {"coffee machine": 2}
    assert checkout.delivery.sent() == {"1": "today"}
    assert checkout.problems() == []


def test_an_order_of_250_fails_at_the_inventory_and_is_compensated(checkout: Checkout) -> None:
    story = checkout.buy(2, user_id=100, amount=250, quantity=5)
    assert story.outcome == "compensated"
    assert "5 can't be deducted" in story.reason
    assert told(checkout, TOPIC, 2) == ["order.created", "payment.reserved", "payment.cancelled", "order.cancelled"]
    assert told(checkout, SAGAS, 2) == [
        "saga.started",
        "order step.started", "order step.done",
        "payment step.started", "payment step.done",
        "inventory step.started", "inventory step.failed",
        "inventory saga.failed",
        "payment compensation.started", "payment compensation.done",
        "order compensation.started", "order compensation.done",
        "saga.compensated",
    ]  # fmt: skip
    assert checkout.payments.balances() == {"100": Decimal("500.00"), "shop": Decimal("0.00")}
    assert checkout.inventory.stock() == {"coffee machine": 4}
    assert checkout.orders.orders() == {"2": "cancelled"}
    assert checkout.delivery.sent() == {}
    assert checkout.problems() == []


def test_the_second_order_takes_nothing_from_the_first(checkout: Checkout) -> None:
    outcomes = [checkout.buy(n, user_id=100, amount=50 * many, quantity=many).outcome for n, many in ((1, 2), (2, 5))]
    assert outcomes == ["completed", "compensated"]
    assert checkout.payments.balances() == {"100": Decimal("400.00"), "shop": Decimal("100.00")}
    assert checkout.inventory.stock() == {"coffee machine": 2}
    assert checkout.orders.orders() == {"1": "created", "2": "cancelled"}
    assert checkout.problems() == []
