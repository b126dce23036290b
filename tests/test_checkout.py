"""The checkout: four services and two ways to make them agree, by a saga or by one another's facts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomlib.catalogue import Purchase
from ecomlib.checkout import ITEM, STEPS, Checkout
from ecomlib.choreography import Choreography
from ecomlib.clock import SimulatedClock
from ecomlib.errors import BadEvent, BadInput, BusFull
from ecomlib.events import Event
from ecomlib.log import FileLog
from ecomlib.saga import TOPIC as SAGAS
from ecomlib.shop import TOPIC, open_checkout

MONEY, STOCK, SLOTS = 500, 4, 3


def opened(folder: Path, **more: Any) -> Checkout:
    kept = {"accounts": {"100": MONEY}, "stock": {ITEM: STOCK}, "slots": {"today": SLOTS}}
    return open_checkout(folder, clock=SimulatedClock(), seed=0, durability="system", **{**kept, **more})


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Checkout]:
    with opened(tmp_path / "log") as shop:
        yield shop


def facts(shop: Checkout) -> list[str]:
    if TOPIC not in shop.log.topics():
        return []
    return [f"{record.event.type} {record.event.data.order_id}" for record in shop.log.read(TOPIC)]


def conserved(shop: Checkout) -> bool:
    return (
        sum(shop.payments.balances().values()) == MONEY
        and shop.inventory.stock()[ITEM] + sum(n for _, n in shop.inventory.deducted().values()) == STOCK
        and shop.delivery.free()["today"] + len(shop.delivery.sent()) == SLOTS
    )


class TestTheSaga:
    def test_serves_a_customer_wholly_and_every_fact_is_published_in_order(self, shop: Checkout) -> None:
        assert shop.buy(1, user_id=100, amount=100, quantity=2).outcome == "completed"
        assert facts(shop) == ["order.created 1", "payment.reserved 1", "inventory.deducted 1", "delivery.requested 1"]
        assert shop.payments.balances() == {"shop": Decimal("100.00"), "100": Decimal("400.00")}
        assert shop.problems() == []

    def test_or_not_at_all_and_the_facts_tell_the_way_there_and_back(self, shop: Checkout) -> None:
        story = shop.buy(1, user_id=100, amount=250, quantity=5)
        assert (story.outcome, story.reason) == ("compensated", f"Only 4 of {ITEM!r} left: 5 can't be deducted.")
        assert facts(shop) == ["order.created 1", "payment.reserved 1", "payment.cancelled 1", "order.cancelled 1"]
        assert shop.payments.balances() == {"shop": Decimal("0.00"), "100": Decimal("500.00")}
        assert shop.problems() == []

    def test_ends_the_same_way_after_a_restart_and_charges_nobody_twice(self, tmp_path: Path) -> None:
        for _ in range(2):
            with opened(tmp_path / "log") as shop:
                assert shop.buy(1, user_id=100, amount=100, quantity=2).outcome == "completed"
                assert shop.payments.charged() == {"1": Decimal("100.00")}

    def test_a_fact_that_the_bus_does_not_take_keeps_its_step_open_and_is_not_lost(self, shop: Checkout) -> None:
        full = shop.bus.publish
        refused: list[Event] = []

        def publish(event: Event, **how: Any) -> Any:
            if not refused:
                refused.append(event)
                raise BusFull("no room")
            return full(event, **how)

        shop.bus.publish = publish  # type: ignore[method-assign]
        story = shop.buy(1, user_id=100, amount=50)
        assert [(tried.verdict, tried.attempt) for tried in story.tried[:2]] == [("failed", 1), ("done", 2)]
        assert facts(shop)[0] == "order.created 1"
        assert not any(service.store.pending() for service in shop.services)

    def test_many_at_once_share_the_last_pieces_without_selling_one_twice(self, tmp_path: Path) -> None:
        with opened(tmp_path / "log", accounts={"100": 10_000}, stock={ITEM: 25}, slots={"today": 20}) as shop:
            with ThreadPoolExecutor(8) as pool:
                stories = list(pool.map(lambda n: shop.buy(n, user_id=100, amount=50), range(40)))
            assert sorted(str(story.outcome) for story in stories) == ["compensated"] * 20 + ["completed"] * 20
            assert shop.problems() == []
            assert shop.inventory.stock() == {ITEM: 5}
            assert len(facts(shop)) == len(set(facts(shop)))

    @pytest.mark.parametrize(
        "said",
        [{"amount": -1}, {"amount": "many"}, {"quantity": 0}, {"user_id": ""}, {"amount": Decimal("NaN")}],
    )
    def test_an_impossible_purchase_is_refused_and_begins_no_saga(self, shop: Checkout, said: dict[str, Any]) -> None:
        with pytest.raises(BadEvent, match="a purchase: "):
            shop.buy(1, **{"user_id": 100, "amount": 50, **said})
        assert shop.runner.stories == {}

    def test_an_order_that_is_stuck_is_resumed_when_its_cause_is_repaired(self, shop: Checkout) -> None:
        shop.faults.fail("delivery")
        shop.faults.fail("order compensation")
        assert shop.buy(1, user_id=100, amount=50).outcome == "stuck"
        shop.faults.repair()
        assert shop.resume(1).outcome == "compensated"
        assert shop.problems() == []

    @pytest.mark.parametrize(
        "wrong",
        [{"accounts": {"100": "abc"}}, {"stock": {ITEM: 1.5}}, {"stock": {ITEM: 10**30}}, {"slots": {"today": -1}}],
    )
    def test_what_can_be_no_opening_is_refused_in_a_sentence(self, tmp_path: Path, wrong: dict[str, Any]) -> None:
        with pytest.raises(BadInput, match=r"account of 100|can't begin with"):
            opened(tmp_path / "log", **wrong)

    def test_what_is_wrong_is_said(self, shop: Checkout) -> None:
        shop.buy(1, user_id=100, amount=50)
        shop.faults.fail("delivery")
        shop.faults.fail("payment compensation")
        assert shop.buy(2, user_id=100, amount=50).outcome == "stuck"
        strange = Purchase(order_id="9", user_id="100", amount=Decimal(5), item=ITEM, quantity=1)
        shop.payments.reserve("by hand", strange)
        assert shop.problems() == ["Order 2 is stuck; in effect: payment.", "Order 9 is nobody's saga."]


class TestTheChoreography:
    @pytest.fixture
    def dance(self, shop: Checkout) -> Choreography:
        return Choreography(shop)

    def test_serves_a_customer_wholly(self, shop: Checkout, dance: Choreography) -> None:
        dance.buy(1, user_id=100, amount=100, quantity=2)
        shop.bus.drain()
        assert facts(shop) == ["order.created 1", "payment.reserved 1", "inventory.deducted 1", "delivery.requested 1"]
        assert conserved(shop)

    def test_or_not_at_all(self, shop: Checkout, dance: Choreography) -> None:
        dance.buy(1, user_id=100, amount=250, quantity=5)
        shop.bus.drain()
        assert facts(shop)[2:] == ["inventory.refused 1", "payment.cancelled 1", "order.cancelled 1"]
        assert shop.payments.balances()["100"] == MONEY

    @pytest.mark.parametrize(
        ("purchase", "says_no", "undone"),
        [
            ({"amount": 501}, "payment", {"order.cancelled"}),
            ({"amount": 50, "quantity": 5}, "inventory", {"payment.cancelled", "order.cancelled"}),
        ],
    )
    def test_whoever_says_no_the_others_undo_what_they_did(
        self, shop: Checkout, dance: Choreography, purchase: dict[str, Any], says_no: str, undone: set[str]
    ) -> None:
        dance.buy(1, user_id=100, **purchase)
        shop.bus.drain()
        types = [fact.split()[0] for fact in facts(shop)]
        assert f"{says_no}.refused" in types
        assert {type for type in types if type.endswith(("cancelled", "restored"))} == undone
        assert conserved(shop)

    def test_when_no_van_has_room_all_three_undo_it(self, shop: Checkout, dance: Choreography) -> None:
        for order in range(1, 5):
            dance.buy(order, user_id=100, amount=50)
        shop.bus.drain()
        assert {fact for fact in facts(shop) if fact.endswith(" 4")} >= {
            "delivery.refused 4", "inventory.restored 4", "payment.cancelled 4", "order.cancelled 4",
        }  # fmt: skip
        assert shop.orders.orders() == {"1": "created", "2": "created", "3": "created", "4": "cancelled"}
        assert conserved(shop)

    def test_every_fact_points_back_at_its_cause(self, shop: Checkout, dance: Choreography) -> None:
        created = dance.buy(1, user_id=100, amount=100)
        shop.bus.drain()
        told = [record.event for record in shop.log.read(TOPIC)]
        assert [event.causationid for event in told] == [None, *(event.id for event in told[:-1])]
        assert {event.correlationid for event in told[1:]} == {created.id}

    def test_a_handler_that_fails_for_good_leaves_the_order_half_served_until_its_letter_is_redelivered(
        self, shop: Checkout, dance: Choreography
    ) -> None:
        shop.faults.fail("inventory")
        dance.buy(1, user_id=100, amount=100)
        shop.bus.drain()
        assert (shop.payments.charged(), shop.delivery.sent()) == ({"1": Decimal("100.00")}, {})
        (letter,) = shop.bus.dead_letters
        shop.faults.repair()
        shop.bus.redeliver(letter)
        shop.bus.drain()
        assert shop.delivery.sent() == {"1": "today"}

    def test_an_order_that_was_saved_and_not_published_is_published_by_recover(self, tmp_path: Path) -> None:
        with opened(tmp_path / "log") as shop:
            bought = Purchase(order_id="1", user_id="100", amount=Decimal(100), item=ITEM, quantity=2)
            shop.orders.create("order-1.order", bought)  # and here the process dies
            assert facts(shop) == []
        with opened(tmp_path / "log") as shop:
            Choreography(shop)
            shop.recover()
            shop.bus.drain()
            assert shop.delivery.sent() == {"1": "today"}

    def test_who_has_said_no_says_no_to_a_second_copy_too(self, shop: Checkout, dance: Choreography) -> None:
        for order, quantity in ((1, 4), (2, 1)):
            dance.buy(order, user_id=100, amount=50, quantity=quantity)
        shop.bus.drain()
        told = [record.event for record in shop.log.read(TOPIC)]
        paid = next(event for event in told if event.type == "payment.reserved" and event.data.order_id == "2")
        assert shop.orders.orders() == {"1": "created", "2": "cancelled"}
        first = next(event.data for event in told if event.type == "order.created")
        shop.inventory.restore("by hand", Purchase.model_validate(first.to_dict()))  # now there would be enough
        shop.bus.publish(paid)  # the outbox promises at least once
        shop.bus.drain()
        assert shop.delivery.sent() == {"1": "today"}
        assert facts(shop).count("inventory.refused 2") == 1

    def test_the_same_seed_makes_no_id_twice(self, tmp_path: Path) -> None:
        for order in (1, 2):
            with opened(tmp_path / "log") as shop:
                Choreography(shop).buy(order, user_id=100, amount=50)
                shop.bus.drain()
                ids = [record.event.id for record in shop.log.read(TOPIC)]
        assert len(ids) == len(set(ids)) == 8

    def test_a_handler_that_dies_after_its_work_does_it_once(self, shop: Checkout, dance: Choreography) -> None:
        for step in ("payment", "inventory", "delivery"):
            shop.faults.fail(step, attempts=(1,), when="after")
        dance.buy(1, user_id=100, amount=100)
        shop.bus.drain()
        assert len(facts(shop)) == 4
        assert conserved(shop)


FAULTS = st.dictionaries(
    st.sampled_from([*STEPS, *(f"{step} compensation" for step in STEPS)]),
    st.tuples(st.sets(st.integers(1, 3), min_size=1), st.sampled_from(["before", "after"])),
    max_size=3,
)
ORDERS = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 3)), min_size=1, max_size=4)


@settings(max_examples=25)
@given(orders=ORDERS, faults=FAULTS)
def test_whatever_fails_money_stock_and_slots_are_conserved(
    orders: list[tuple[int, int]], faults: dict[str, tuple[set[int], Any]]
) -> None:
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder) / "log") as shop:
        for name, (attempts, when) in faults.items():
            shop.faults.fail(name, attempts=attempts, when=when)
        for number, (amount, quantity) in enumerate(orders, 1):
            shop.buy(number, user_id=100, amount=amount, quantity=quantity)
            assert conserved(shop)
        shop.faults.repair()
        for story in shop.runner.stories.values():
            if story.outcome == "stuck":
                shop.runner.resume(story.id)
        assert shop.problems() == []


def test_a_checkout_may_have_a_saga_log_with_partitions(tmp_path: Path) -> None:
    with FileLog(tmp_path / "log") as log:
        log.create(SAGAS, partitions=3)
    with opened(tmp_path / "log") as shop:
        for order in range(1, 7):
            shop.buy(order, user_id=100, amount=20)
        outcomes = {story.id: story.outcome for story in shop.runner.stories.values()}
    with opened(tmp_path / "log") as again:
        again.runner.catch_up()
        assert {story.id: story.outcome for story in again.runner.stories.values()} == outcomes
        assert list(outcomes.values()).count("completed") == SLOTS
        assert again.problems() == []
