"""The order service: commands may be refused, facts never are."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomlib.bus import EventBus
from ecomlib.clock import SimulatedClock
from ecomlib.errors import BadEvent, BusFull, Refused
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.services.orders import ALLOWED, OrderService


def new_service(bus: EventBus | None = None) -> OrderService:
    return OrderService(bus or EventBus(), EventFactory("/shop", SimulatedClock()))


@pytest.fixture
def bus(recorder: list[Event]) -> EventBus:
    bus = EventBus(clock=SimulatedClock())
    bus.subscribe("#", handler=recorder.append)
    return bus


def types(recorder: list[Event]) -> list[str]:
    return [event.type for event in recorder]


def test_every_command_that_is_obeyed_publishes_one_event(bus: EventBus, recorder: list[Event]) -> None:
    orders = new_service(bus)
    orders.register_user(7, username="Ada")
    orders.create(1, user_id=7, amount="20.00")
    orders.update(1, amount=30)
    orders.pay(1)
    orders.ship(1)
    orders.deliver(1)
    orders.create(2, amount=5)
    orders.cancel(2, reason="changed my mind")
    orders.delete_user(7, reason="asked for it")
    bus.run_until_idle()
    assert types(recorder) == [
        "user.registered",
        "order.created",
        "order.updated",
        "order.paid",
        "order.shipped",
        "order.delivered",
        "order.created",
        "order.cancelled",
        "user.deleted",
    ]


def test_a_payment_says_the_amount_of_the_latest_update_and_the_user(bus: EventBus) -> None:
    orders = new_service(bus)
    orders.create(1, user_id=7, amount=20)
    orders.update(1, amount=30)
    paid = orders.pay(1)
    assert (paid.data.amount, paid.data.user_id) == (Decimal("30.00"), "7")


# What is refused with which words, after how many commands that are obeyed.
REFUSED: list[tuple[str, int, Callable[[OrderService], object]]] = [
    ("order 1 already", 1, lambda o: (o.create(1, amount=1), o.create("1", amount=2))),
    ("no order 9", 0, lambda o: o.pay(9)),
    ("is created: 'ship' is for an order whose status is paid", 1, lambda o: (o.create(1, amount=1), o.ship(1))),
    ("is paid: 'pay' is for an order whose status", 2, lambda o: (o.create(1, amount=1), o.pay(1), o.pay(1))),
    ("is cancelled: 'pay' is for", 2, lambda o: (o.create(1, amount=1), o.cancel(1), o.pay(1))),
    ("is paid: 'update' is for", 2, lambda o: (o.create(1, amount=1), o.pay(1), o.update(1, amount=2))),
    ("is registered already", 1, lambda o: (o.register_user(7), o.register_user(7))),
    ("is not registered", 0, lambda o: o.delete_user(7)),
]


@pytest.mark.parametrize(("sentence", "obeyed", "commands"), REFUSED, ids=[sentence for sentence, *_ in REFUSED])
def test_the_impossible_is_refused_with_a_sentence_and_no_event(
    bus: EventBus, recorder: list[Event], sentence: str, obeyed: int, commands: Callable[[OrderService], object]
) -> None:
    with pytest.raises(Refused, match=sentence):
        commands(new_service(bus))
    bus.run_until_idle()
    assert len(recorder) == obeyed


def test_a_bad_amount_publishes_nothing_and_creates_no_order(bus: EventBus) -> None:
    orders = new_service(bus)
    with pytest.raises(BadEvent, match="negative"):
        orders.create(1, amount=-5)
    assert bus.history == ()
    assert orders.orders == ()


def test_a_full_bus_leaves_the_order_as_it_was() -> None:
    bus = EventBus(limit=1)
    bus.subscribe("order.*", handler=lambda event: None)
    orders = new_service(bus)
    orders.create(1, amount=5)
    with pytest.raises(BusFull):
        orders.pay(1)
    assert orders.get(1).status == "created"


COMMANDS = ["create", "update", "pay", "ship", "deliver", "cancel"]


@given(st.lists(st.tuples(st.sampled_from(COMMANDS), st.integers(1, 3)), max_size=40))
def test_what_was_refused_is_no_event_and_what_was_not_recovers_the_same_state(
    program: list[tuple[str, int]],
) -> None:
    bus = EventBus()
    orders = new_service(bus)
    obeyed = 0
    for command, order_id in program:
        status = next((o.status for o in orders.orders if o.order_id == str(order_id)), None)
        may = status is None if command == "create" else status in ALLOWED[command]
        try:
            extra = {"amount": 5} if command in ("create", "update") else {}
            getattr(orders, command)(order_id, **extra)
            assert may
            obeyed += 1
        except Refused:
            assert not may
    assert len(bus.history) == obeyed
    again = new_service()
    again.recover(bus.history)
    assert again.orders == orders.orders


def test_facts_are_taken_in_whatever_order_they_come() -> None:
    orders = new_service()
    orders.recover([Event("order.shipped", {"order_id": 1}), Event("order.created", {"order_id": 1, "amount": 5})])
    assert (orders.get(1).status, orders.get(1).amount) == ("shipped", Decimal("5.00"))


def test_a_fact_that_a_learner_invented_is_no_trouble() -> None:
    orders = new_service()
    orders.recover([Event("order.gift_wrapped", {"ribbon": "red"}), Event("coffee.spilled")])
    assert orders.orders == ()


def test_a_report_without_an_amount_takes_none_back() -> None:
    orders = OrderService(EventBus(), EventFactory("/shop", SimulatedClock()))
    orders.create(1, amount=50, user_id=100)
    orders.apply(Event("order.created", {"order_id": 1}))
    assert str(orders.get(1).amount) == "50.00"
