"""The checkout over processes: whoever is killed, every customer is served wholly or not at all.

`ECOMLIB_EVENTS=100 make test TESTS=tests/rabbitmq/test_checkout_on_rabbitmq.py` sends so many; every run sends a few.
"""

from __future__ import annotations

import os
import signal
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ecomlib.broker import PrivateNode
from ecomlib.checkout import ITEM, Checkout
from ecomlib.checkout_worker import DIED
from ecomlib.choreography import Choreography
from ecomlib.errors import BadInput, NotDrained
from ecomlib.lab.rabbit_checkout import RabbitCheckout
from ecomlib.rabbitmq import RabbitBus
from ecomlib.shop import open_checkout
from tests.support.webhook import wait_until

ORDERS = int(os.environ.get("ECOMLIB_EVENTS", "12"))
LIMIT = 60.0  # seconds


@pytest.fixture
def exchange() -> str:
    """Of this test alone: so no two meet."""
    return f"shop-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def shop(rabbitmq: PrivateNode, tmp_path: Path, exchange: str) -> Iterator[RabbitCheckout]:
    with RabbitCheckout(rabbitmq.url, tmp_path / "log", exchange=exchange) as shop:
        yield shop


@pytest.fixture
def large(rabbitmq: PrivateNode, tmp_path: Path, exchange: str) -> Iterator[RabbitCheckout]:
    """Half of the orders find a place in the van; `quantity` makes a quarter of them ask for more than is in stock."""
    sizes = {"money": 10_000_000, "machines": ORDERS, "places": ORDERS // 2}
    with RabbitCheckout(rabbitmq.url, tmp_path / "log", exchange=exchange, **sizes) as shop:
        yield shop


def quantity(order: int) -> int:
    return 1 if order % 4 else ORDERS + 1


class TestInOneProcess:
    @pytest.fixture
    def dance(self, rabbitmq: PrivateNode, tmp_path: Path, exchange: str) -> Iterator[tuple[Checkout, Choreography]]:
        bus = RabbitBus(rabbitmq.url, exchange=exchange)
        small: dict[str, Any] = {"accounts": {"100": 500}, "stock": {ITEM: 4}, "slots": {"today": 3}}
        with open_checkout(tmp_path / "log", durability="system", bus=bus, **small) as checkout, bus:
            yield checkout, Choreography(checkout)

    def test_the_choreography_serves_a_customer_wholly(self, dance: tuple[Checkout, Choreography]) -> None:
        checkout, dancers = dance
        dancers.buy(1, user_id=100, amount=100, quantity=2)
        wait_until(checkout.delivery.sent)
        checkout.bus.drain()
        assert checkout.payments.balances() == {"shop": 100, "100": 400}
        assert [a.event.type for a in checkout.bus.attempts] == [
            "order.created",
            "payment.reserved",
            "inventory.deducted",
        ]

    def test_or_not_at_all(self, dance: tuple[Checkout, Choreography]) -> None:
        checkout, dancers = dance
        dancers.buy(1, user_id=100, amount=250, quantity=5)
        wait_until(lambda: checkout.orders.orders() == {"1": "cancelled"} and not checkout.payments.charged())
        assert checkout.payments.balances()["100"] == 500
        assert checkout.inventory.stock() == {ITEM: 4}


class TestTheChoreography:
    def test_waits_half_served_for_another_worker_when_the_only_one_dies(self, shop: RabbitCheckout) -> None:
        shop.dance(die_after="payment")
        assert shop.buy(2) == "1"
        assert shop.end_of_worker() == DIED
        assert shop.orders() == {"1": "order, payment"}
        assert shop.problems() == ["Order 1 is served by half: order, payment."]
        assert all(kept.conserved for kept in shop.kept())
        shop.dance()
        assert shop.settle() == {"1": "served"}
        assert repr(shop) == (
            "orders: 1 served | customer 400.00, shop 100.00 | in stock 2, places in the van 2 | workers 1 | problems 0"
        )

    def test_serves_wholly_or_not_at_all_though_workers_die_again_and_again(self, large: RabbitCheckout) -> None:
        order = 0
        for part in ("payment", "delivery", "payment compensation"):
            large.dance(workers=2, die_after=part)
            for _ in range(ORDERS // 3):
                order += 1
                large.buy(quantity(order))
            # What one of the two had in hand the other one gets, with the same fact still to be published.
            assert [worker.wait(LIMIT) for worker in large.workers[-2:]] == [DIED, DIED]
        large.dance(workers=2)
        large.kill()  # wherever it is
        assert Counter(large.settle().values()) == {"served": ORDERS // 2, "cancelled": order - ORDERS // 2}


class TestTheSaga:
    def test_goes_on_at_another_worker_when_one_dies_in_the_middle_of_a_command(self, shop: RabbitCheckout) -> None:
        shop.serve("order", "inventory", "delivery")
        shop.serve("payment", die_after="payment")
        runner = shop.start("run", "1:2", "2:5")
        assert shop.workers[1].wait(LIMIT) == DIED
        assert runner.poll() is None
        shop.serve("payment")
        assert runner.wait(LIMIT) == 0
        assert shop.settle() == {"1": "served", "2": "cancelled"}
        assert shop.checkout.problems() == []

    def test_is_taken_up_by_another_runner(self, shop: RabbitCheckout) -> None:
        shop.serve()
        assert shop.run("1:2", die_after="payment") == DIED
        assert shop.checkout.problems() == ["Order 1 is open; in effect: order, payment."]
        assert shop.run() == 0
        assert shop.settle() == {"1": "served"}
        assert shop.checkout.problems() == []

    def test_turns_round_where_nobody_serves(self, shop: RabbitCheckout) -> None:
        assert shop.run("1:2") == 0
        shop.checkout.runner.catch_up()
        story = shop.checkout.runner.stories["order-1"]
        assert (story.outcome, len(story.tried)) == ("compensated", 1)
        assert story.reason == "Nobody serves 'order.create': start the service that does, and ask again."

    def test_serves_wholly_or_not_at_all_whoever_is_killed(self, large: RabbitCheckout) -> None:
        orders = [f"{order}:{quantity(order)}" for order in range(1, ORDERS + 1)]
        large.serve("order", "inventory", "delivery")
        large.serve("payment", workers=2, die_after="payment")
        runner = large.start("run", *orders)
        assert [worker.wait(LIMIT) for worker in large.workers[1:3]] == [DIED, DIED]
        runner.kill()  # while it waits for its answers
        assert runner.wait(LIMIT) == -signal.SIGKILL, "it had not ended by itself"
        large.serve("payment", workers=2)
        assert large.run(*orders, die_after="inventory") == DIED
        assert large.run(*orders) == 0
        assert Counter(large.settle().values()) == {"served": ORDERS // 2, "cancelled": ORDERS - ORDERS // 2}
        assert large.checkout.problems() == []


class TestItsDoor:
    def test_says_how_far_it_has_come_when_nobody_works(self, shop: RabbitCheckout) -> None:
        shop.dance(die_after="order compensation")
        shop.kill()
        shop.buy()
        with pytest.raises(NotDrained, match=r"Order 1 is served by half: order\."):
            shop.settle(timeout=0)
        with pytest.raises(BadInput, match="no worker to kill"):
            shop.kill()
        with pytest.raises(BadInput, match="can't die after 'lunch': choose one of order, payment"):
            shop.dance(die_after="lunch")

    def test_forgets_what_an_earlier_one_left_in_its_queues(
        self, rabbitmq: PrivateNode, tmp_path: Path, exchange: str
    ) -> None:
        for turn in range(2):
            with RabbitCheckout(rabbitmq.url, tmp_path / f"log {turn}", exchange=exchange) as shop:
                if turn == 0:
                    shop.dance(die_after="payment")
                    shop.buy(2)
                    assert shop.end_of_worker() == DIED
                else:
                    shop.dance()
                    shop.buy(5)
                    assert shop.settle() == {"1": "cancelled"}
        assert shop.workers[-1].returncode == 0, "a worker ends by itself when its input does"
