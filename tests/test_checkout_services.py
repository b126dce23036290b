"""The services of a checkout: each does its step once, takes it back once, and never takes back what was not done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomlib.bus import EventBus
from ecomlib.catalogue import Purchase
from ecomlib.clock import SimulatedClock
from ecomlib.errors import BadInput, KeyReused, Refused
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.ids import seeded_ids
from ecomlib.services.delivery import DeliveryService
from ecomlib.services.inventory import InventoryService
from ecomlib.services.order_book import OrderBook
from ecomlib.services.participant import Participant
from ecomlib.services.payments import PaymentService

NEW_EVENT = EventFactory("/shop", SimulatedClock(), seeded_ids("checkout"))
MEMORY = ":memory:"
Command = Callable[..., Event]


def purchase(
    order_id: int | str, *, user_id: int = 100, amount: int = 60, item: str = "coffee", n: int = 3
) -> Purchase:
    said = {"order_id": order_id, "user_id": user_id, "amount": amount, "item": item, "quantity": n}
    return Purchase.model_validate(said)


ONE, TWO = purchase(1), purchase(2)


@dataclass
class Step:
    """One service, with its two commands by what they are to a saga."""

    service: Participant
    action: Command
    compensation: Command


def new_step(name: str, path: Path | str = MEMORY) -> Step:
    if name == "order":
        orders = OrderBook(path, NEW_EVENT)
        return Step(orders, orders.create, orders.cancel)
    if name == "payment":
        payments = PaymentService(path, NEW_EVENT, {"100": 100})
        return Step(payments, payments.reserve, payments.cancel)
    if name == "inventory":
        inventory = InventoryService(path, NEW_EVENT, {"coffee": 5})
        return Step(inventory, inventory.deduct, inventory.restore)
    delivery = DeliveryService(path, NEW_EVENT, {"today": 1})
    return Step(delivery, delivery.request, delivery.cancel)


@pytest.fixture(params=["order", "payment", "inventory", "delivery"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def step(name: str) -> Iterator[Step]:
    step = new_step(name)
    with step.service:
        yield step


class TestEveryStep:
    """What holds for an order, a payment, a deduction and a delivery alike."""

    def test_has_the_name_of_its_service(self, step: Step, name: str) -> None:
        assert step.service.name == name

    def test_is_done_once_for_a_key(self, step: Step) -> None:
        assert step.action("k1", ONE) == step.action("k1", ONE)
        assert len(step.service.store.pending()) == 1

    def test_is_done_once_for_an_order_under_any_key(self, step: Step) -> None:
        fact = step.action("k1", ONE)
        with pytest.raises(Refused, match=f"Order 1 has its {fact.type} already: no {fact.type} comes after"):
            step.action("k2", ONE)
        assert step.service.store.pending() == [fact]

    def test_refuses_a_key_with_another_request(self, step: Step) -> None:
        fact = step.action("k1", ONE)
        with pytest.raises(KeyReused):
            step.action("k1", TWO)
        with pytest.raises(KeyReused):
            step.compensation("k1", ONE)
        assert step.service.store.pending() == [fact]

    def test_is_refused_when_it_arrives_after_its_compensation(self, step: Step) -> None:
        fact = step.compensation("k1", ONE)
        with pytest.raises(Refused, match=f"Order 1 has its {fact.type} already"):
            step.action("k2", ONE)
        assert step.service.store.pending() == [fact]

    def test_is_not_done_again_after_it_was_compensated(self, step: Step) -> None:
        done = step.action("k1", ONE)
        step.compensation("k2", ONE)
        with pytest.raises(Refused):
            step.action("k3", ONE)
        assert step.action("k1", ONE) == done  # the old answer to the old request: nothing is done
        assert len(step.service.store.pending()) == 2

    def test_says_the_whole_purchase_so_that_the_next_service_can_act_on_the_fact_alone(self, step: Step) -> None:
        fact = step.action("k1", ONE)
        assert Purchase(**{name: fact.data[name] for name in Purchase.model_fields}) == ONE
        assert (fact.subject, fact.key) == ("1", "1")

    def test_points_back_at_the_event_that_it_answers(self, step: Step) -> None:
        cause = Event("order.created", ONE, correlationid="story")
        for fact in (step.action("k1", ONE, cause=cause), step.compensation("k2", ONE, cause=cause)):
            assert (fact.causationid, fact.correlationid) == (cause.id, "story")

    def test_is_remembered_across_a_restart(self, name: str, tmp_path: Path) -> None:
        first = new_step(name, tmp_path / "service.db")
        with first.service:
            done = first.action("k1", ONE)
        second = new_step(name, tmp_path / "service.db")
        with second.service:
            assert second.action("k1", ONE) == done
            with pytest.raises(Refused):
                second.action("k2", ONE)
            second.compensation("k3", ONE)

    def test_publishes_its_facts_in_their_order(self, step: Step, recorder: list[Event]) -> None:
        bus = EventBus(clock=SimulatedClock())
        bus.subscribe("#", handler=recorder.append)
        facts = [step.action("k1", ONE), step.compensation("k2", ONE)]
        assert step.service.relay(bus) == 2
        bus.run_until_idle()
        assert recorder == facts


class TestPayments:
    @pytest.fixture
    def payments(self) -> Iterator[PaymentService]:
        with PaymentService(MEMORY, NEW_EVENT, {"100": "100.00", "501": Decimal("20.50")}) as payments:
            yield payments

    def test_go_from_the_customer_to_the_shop_and_back(self, payments: PaymentService) -> None:
        payments.reserve("k1", ONE)
        assert payments.balances() == {"shop": 60, "100": 40, "501": Decimal("20.50")}
        assert payments.charged() == {"1": 60}
        fact = payments.cancel("k2", ONE)
        assert payments.balances() == {"shop": 0, "100": 100, "501": Decimal("20.50")}
        assert payments.charged() == {}
        assert fact.data.to_dict() == {"order_id": "1", "user_id": "100", "amount": "60.00"}

    def test_give_back_what_was_reserved_whatever_the_purchase_says_now(self, payments: PaymentService) -> None:
        payments.reserve("k1", ONE)
        more = purchase(1, user_id=501, amount=99)
        assert payments.cancel("k2", more).data.amount == 60
        assert payments.balances() == {"shop": 0, "100": 100, "501": Decimal("20.50")}

    def test_give_back_nothing_the_second_time(self, payments: PaymentService) -> None:
        payments.reserve("k1", ONE)
        assert [payments.cancel(key, ONE).data.amount for key in ("k2", "k2", "k3")] == [60, 60, 0]
        assert payments.balances()["100"] == 100

    def test_are_refused_beyond_what_there_is_until_there_is_more(self, payments: PaymentService) -> None:
        payments.reserve("k1", ONE)
        with pytest.raises(Refused, match=r"User 100 has only 40\.00, not 60\.00\."):
            payments.reserve("k2", TWO)
        assert payments.charged() == {"1": 60}
        payments.cancel("k3", ONE)
        payments.reserve("k2", TWO)
        assert payments.charged() == {"2": 60}

    def test_are_refused_to_a_user_without_an_account(self, payments: PaymentService) -> None:
        with pytest.raises(Refused, match="User 7 has no customer's account: open one first"):
            payments.reserve("k1", purchase(1, user_id=7))

    def test_start_with_the_accounts_only_once(self, tmp_path: Path) -> None:
        path = tmp_path / "payment.db"
        PaymentService(path, NEW_EVENT).close()  # who only looks puts nothing in
        with PaymentService(path, NEW_EVENT, {"100": 100}) as payments:
            payments.reserve("k1", ONE)
        with PaymentService(path, NEW_EVENT, {"100": 100, "7": 1_000}) as payments:
            assert payments.balances() == {"shop": 60, "100": 40}

    @pytest.mark.parametrize(("amount", "why"), [(-1, "is negative"), ("much", "is no amount"), ("0.001", "decimal")])
    def test_start_with_amounts_of_money(self, amount: int | str, why: str) -> None:
        with pytest.raises(BadInput, match=f"The account of 100: .*{why}"):
            PaymentService(MEMORY, NEW_EVENT, {"100": amount})


class TestTheInventory:
    @pytest.fixture
    def inventory(self) -> Iterator[InventoryService]:
        with InventoryService(MEMORY, NEW_EVENT, {"coffee": 5, "tea": 0}) as inventory:
            yield inventory

    def test_gives_items_and_takes_them_back(self, inventory: InventoryService) -> None:
        inventory.deduct("k1", ONE)
        assert (inventory.stock(), inventory.deducted()) == ({"coffee": 2, "tea": 0}, {"1": ("coffee", 3)})
        facts = [inventory.restore(key, ONE) for key in ("k2", "k3")]
        assert [fact.data.to_dict() for fact in facts] == [
            {"order_id": "1", "item": "coffee", "quantity": 3},
            {"order_id": "1", "item": "coffee", "quantity": 0},
        ]
        assert (inventory.stock(), inventory.deducted()) == ({"coffee": 5, "tea": 0}, {})

    def test_refuses_more_than_is_left(self, inventory: InventoryService) -> None:
        inventory.deduct("k1", ONE)
        with pytest.raises(Refused, match=r"Only 2 of 'coffee' left: 3 can't be deducted\."):
            inventory.deduct("k2", TWO)

    def test_refuses_an_item_that_it_does_not_know(self, inventory: InventoryService) -> None:
        with pytest.raises(Refused, match="There is no item 'cake' in the inventory"):
            inventory.deduct("k1", purchase(1, item="cake"))

    def test_starts_with_no_less_than_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="The inventory service can't begin with -1 of 'coffee'"):
            InventoryService(tmp_path / "inventory.db", NEW_EVENT, {"tea": 1, "coffee": -1})
        with InventoryService(tmp_path / "inventory.db", NEW_EVENT) as inventory:
            assert inventory.stock() == {}


class TestDeliveries:
    def test_take_the_first_day_that_has_a_slot_and_give_it_back(self) -> None:
        with DeliveryService(MEMORY, NEW_EVENT, {"today": 1, "again": 1}) as delivery:
            assert [delivery.request(f"k{n.order_id}", n).data.day for n in (ONE, TWO)] == ["today", "again"]
            assert (delivery.sent(), delivery.free()) == ({"1": "today", "2": "again"}, {"today": 0, "again": 0})
            three = purchase(3)
            with pytest.raises(Refused, match="No van has room for order 3: every slot is taken"):
                delivery.request("k3", three)
            assert delivery.cancel("k4", ONE).data.to_dict() == {"order_id": "1", "day": "today"}
            assert delivery.cancel("k5", ONE).data.to_dict() == {"order_id": "1"}
            assert delivery.free() == {"today": 1, "again": 0}
            assert delivery.request("k3", three).data.day == "today"

    def test_have_a_hundred_slots_if_nobody_says_otherwise(self) -> None:
        with DeliveryService(MEMORY, NEW_EVENT) as delivery:
            assert delivery.free() == {"today": 100}


class TestTheOrderBook:
    def test_says_which_orders_stand_in_the_order_in_which_they_came(self) -> None:
        with OrderBook(MEMORY, NEW_EVENT) as book:
            book.create("k2", TWO)
            book.create("k1", ONE)
            book.cancel("k3", TWO)
            assert list(book.orders().items()) == [("2", "cancelled"), ("1", "created")]

    def test_gives_the_number_after_the_highest(self) -> None:
        with OrderBook(MEMORY, NEW_EVENT) as book:
            assert book.next_number() == 1
            for key, order_id in enumerate(("9", "10", "A-77", "007")):
                book.create(str(key), purchase(order_id))
            assert book.next_number() == 11


# --- whatever is asked, in whatever order, however often ---------------------------------------------------

MONEY, STOCK, VANS = {"100": 100, "501": 30}, {"coffee": 6, "tea": 2}, {"today": 1, "again": 1}
purchases = st.builds(
    Purchase,
    order_id=st.integers(1, 3),
    user_id=st.sampled_from(["100", "501", "nobody", "shop"]),
    amount=st.sampled_from(["0.00", "0.01", "29.99", "60"]),
    item=st.sampled_from(["coffee", "tea", "cake"]),
    quantity=st.integers(1, 3),
)
requests = st.lists(st.tuples(st.booleans(), st.integers(1, 12), purchases), max_size=25)


def asked(step: Step, requests: list[tuple[bool, int, Purchase]]) -> Iterator[None]:
    """Give a service these requests, one at a time, and hold it to the rules of all of them."""
    answers: dict[int, Event] = {}
    acted: list[str] = []
    ended: set[str] = set()
    for forward, key, purchase in requests:
        before = step.service.store.pending()
        try:
            answer = (step.action if forward else step.compensation)(str(key), purchase)
        except Refused:
            assert step.service.store.pending() == before, "a refusal leaves no fact"
        else:
            assert answers.setdefault(key, answer) == answer, "a key has one answer"
            if answer not in before:
                assert step.service.store.pending() == [*before, answer], "a change leaves one fact"
                assert not (forward and purchase.order_id in ended), "a late action is refused"
                acted += [purchase.order_id] if forward else []
                ended |= set() if forward else {purchase.order_id}
        assert len(set(acted)) == len(acted), "no order gets the action twice"
        yield


@given(requests)
def test_money_is_only_moved(requests: list[tuple[bool, int, Purchase]]) -> None:
    with PaymentService(MEMORY, NEW_EVENT, MONEY) as payments:
        for _ in asked(Step(payments, payments.reserve, payments.cancel), requests):
            balances = payments.balances()
            assert sum(balances.values()) == sum(MONEY.values())
            assert min(balances.values()) >= 0
            assert balances["shop"] == sum(payments.charged().values())


@given(requests)
def test_what_is_in_stock_and_what_is_deducted_are_always_the_same(requests: list[tuple[bool, int, Purchase]]) -> None:
    with InventoryService(MEMORY, NEW_EVENT, STOCK) as inventory:
        for _ in asked(Step(inventory, inventory.deduct, inventory.restore), requests):
            assert min(inventory.stock().values()) >= 0
            for item, left in inventory.stock().items():
                assert left + sum(n for what, n in inventory.deducted().values() if what == item) == STOCK[item]


@given(requests)
def test_every_slot_is_free_or_an_orders(requests: list[tuple[bool, int, Purchase]]) -> None:
    with DeliveryService(MEMORY, NEW_EVENT, VANS) as delivery:
        for _ in asked(Step(delivery, delivery.request, delivery.cancel), requests):
            assert min(delivery.free().values()) >= 0
            for day, free in delivery.free().items():
                assert free + list(delivery.sent().values()).count(day) == VANS[day]


@given(requests)
def test_an_order_once_cancelled_stays_so(requests: list[tuple[bool, int, Purchase]]) -> None:
    with OrderBook(MEMORY, NEW_EVENT) as book:
        cancelled: set[str] = set()
        for _ in asked(Step(book, book.create, book.cancel), requests):
            now = {order_id for order_id, status in book.orders().items() if status == "cancelled"}
            assert cancelled <= now
            cancelled = now
