"""Commands over a bus: asked, obeyed once, and answered, whoever dies or comes late in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ecomlib.bus import EventBus
from ecomlib.catalogue import Purchase
from ecomlib.checkout import ITEM, ROWS, Checkout, remote_saga
from ecomlib.clock import SystemClock
from ecomlib.commands import Commands, serve
from ecomlib.errors import Refused
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.lab.mortal import UNLOGGED, Died, MortalLog, Place
from ecomlib.locks import FileLocks
from ecomlib.ports import Log, Receipt, Retry
from ecomlib.saga import SagaRunner
from ecomlib.shop import TOPIC, open_checkout
from ecomlib.story import Story
from tests.support.webhook import wait_until

LIMIT = 20.0  # seconds
QUICK = Retry(3, 0.0)
NEW_EVENT = EventFactory("/runner", SystemClock())


def purchase(order: int = 1, quantity: int = 2) -> Purchase:
    said = {"order_id": order, "user_id": 100, "amount": 50 * quantity, "item": ITEM, "quantity": quantity}
    return Purchase.model_validate(said)


class LosesAnswers(EventBus):
    """Loses its next answers, as when the process that gave them dies at that moment."""

    lost = 0

    def publish(self, event: Event, **how: Any) -> Receipt:
        if self.lost and event.type.startswith("answer."):
            self.lost -= 1
            return Receipt(event, ())
        return super().publish(event, **how)


@pytest.fixture
def bus() -> Iterator[LosesAnswers]:
    with LosesAnswers(retry=QUICK) as bus:
        yield bus


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Checkout]:
    kept: dict[str, Any] = {"accounts": {"100": 500}, "stock": {ITEM: 4}, "slots": {"today": 3}}
    with open_checkout(tmp_path / "log", durability="system", **kept) as shop:
        yield shop


def serve_all(bus: EventBus, shop: Checkout, *without: str) -> None:
    for service, (_, *names) in zip(shop.services, ROWS, strict=True):
        if service.name not in without:
            serve(bus, shop.bus, service, *(getattr(service, name) for name in names), new_event=NEW_EVENT)


def a_runner(commands: Commands, shop: Checkout, log: Log | None = None) -> SagaRunner:
    locks = FileLocks(shop.payments.store.path.parent / "locks")
    return SagaRunner(remote_saga(commands, retry=QUICK), log or shop.log, locks, NEW_EVENT)


def run(bus: EventBus, shop: Checkout, quantity: int = 2, limit: float = LIMIT) -> Story:
    with Commands(bus, NEW_EVENT, limit=limit) as commands:
        return a_runner(commands, shop).start("order-1", purchase(quantity=quantity))


def facts(shop: Checkout) -> list[str]:
    return [record.event.type for record in shop.log.read(TOPIC)]


class TestASagaByCommands:
    def test_is_the_same_table_as_the_one_of_a_checkout(self, bus: LosesAnswers, shop: Checkout) -> None:
        def rows(saga: Any) -> list[tuple[Any, ...]]:
            return [(s.name, s.action.__name__, s.compensation.__name__, s.pivot) for s in saga.steps]

        with Commands(bus, NEW_EVENT) as commands:
            assert rows(remote_saga(commands)) == rows(shop.saga)

    def test_serves_a_customer_wholly_and_every_fact_is_out_in_order(self, bus: LosesAnswers, shop: Checkout) -> None:
        serve_all(bus, shop)
        assert run(bus, shop).outcome == "completed"
        assert facts(shop) == ["order.created", "payment.reserved", "inventory.deducted", "delivery.requested"]
        assert shop.problems() == []

    def test_or_not_at_all_when_a_service_says_no(self, bus: LosesAnswers, shop: Checkout) -> None:
        serve_all(bus, shop)
        story = run(bus, shop, quantity=5)
        assert (story.outcome, story.reason) == ("compensated", f"Only 4 of {ITEM!r} left: 5 can't be deducted.")
        assert [tried.verdict for tried in story.tried if tried.step == "inventory"] == ["refused"]
        assert shop.payments.balances()["100"] == 500
        assert shop.problems() == []

    def test_an_answer_that_is_lost_leaves_a_step_in_doubt_that_is_asked_again_and_done_once(
        self, bus: LosesAnswers, shop: Checkout
    ) -> None:
        serve_all(bus, shop)
        bus.lost = 1
        story = run(bus, shop, limit=0.3)
        assert [(tried.step, tried.verdict) for tried in story.tried[:2]] == [("order", "failed"), ("order", "done")]
        assert "no answer to 'order.create' within 0.3 s" in story.tried[0].error
        assert story.outcome == "completed"
        assert facts(shop).count("order.created") == 1

    def test_a_service_that_fails_after_its_work_obeys_the_same_command_again(
        self, bus: LosesAnswers, shop: Checkout
    ) -> None:
        serve_all(bus, shop, "payment")
        reserve = shop.faults.wrap("payment", shop.payments.reserve)
        serve(bus, shop.bus, shop.payments, reserve, shop.payments.cancel, new_event=NEW_EVENT)
        shop.faults.fail("payment", attempts=(1,), when="after")
        story = run(bus, shop)
        assert (story.outcome, len(story.tried)) == ("completed", 4), "the runner never hears of it"
        assert shop.payments.charged() == {"1": Decimal("100.00")}

    def test_nobody_who_serves_a_step_turns_the_saga_round_and_says_who_is_missing(
        self, bus: LosesAnswers, shop: Checkout
    ) -> None:
        serve_all(bus, shop, "inventory")
        story = run(bus, shop)
        assert story.outcome == "compensated"
        assert story.reason == "Nobody serves 'inventory.deduct': start the service that does, and ask again."
        assert shop.problems() == []

    def test_is_recovered_by_a_new_runner_that_asks_again_with_the_same_key(
        self, bus: LosesAnswers, shop: Checkout, tmp_path: Path
    ) -> None:
        serve_all(bus, shop)
        log = MortalLog(tmp_path / "log", durability="system")
        log.place = Place.named("payment", UNLOGGED)
        with Commands(bus, NEW_EVENT) as commands, pytest.raises(Died):
            a_runner(commands, shop, log).start("order-1", purchase())
        log.close()
        assert shop.problems() == ["Order 1 is open; in effect: order, payment."]
        with Commands(bus, NEW_EVENT) as commands:
            (story,) = a_runner(commands, shop).recover()
        assert story.outcome == "completed"
        assert shop.payments.charged() == {"1": Decimal("100.00")}
        assert shop.problems() == []


class TestAnAnswer:
    def test_goes_to_the_one_who_asked(self, bus: LosesAnswers, shop: Checkout) -> None:
        serve_all(bus, shop)
        with Commands(bus, NEW_EVENT) as one, Commands(bus, NEW_EVENT) as other, ThreadPoolExecutor(8) as pool:

            def deduct(order: int) -> bool:
                try:
                    (one, other)[order % 2].to("inventory.deduct")(f"key {order}", purchase(order, quantity=1))
                except Refused:
                    return False
                return True

            answers = list(pool.map(deduct, range(20)))
        assert sum(answers) == 4
        assert {str(order) for order in range(20) if answers[order]} == set(shop.inventory.deducted())

    def test_that_comes_when_nobody_waits_any_more_is_dropped_without_harm(
        self, bus: LosesAnswers, shop: Checkout
    ) -> None:
        given_up = threading.Event()

        def reserve(key: str, wanted: Purchase) -> None:
            assert given_up.wait(LIMIT)
            shop.payments.reserve(key, wanted)

        serve(bus, shop.bus, shop.payments, reserve, shop.payments.cancel, new_event=NEW_EVENT)
        with Commands(bus, NEW_EVENT, limit=0.1) as impatient:
            with pytest.raises(TimeoutError, match=r"'payment.reserve' within 0.1 s: it may yet happen"):
                impatient.to("payment.reserve")("key", purchase())
            given_up.set()
            wait_until(lambda: [a for a in bus.attempts if a.event.type.startswith("answer.")])
            assert shop.payments.charged() == {"1": Decimal("100.00")}
        with Commands(bus, NEW_EVENT) as commands:
            commands.to("payment.reserve")("key", purchase())
        assert bus.dead_letters == ()

    def test_needs_somebody_who_still_takes_it(self, bus: LosesAnswers, shop: Checkout) -> None:
        serve_all(bus, shop)
        with Commands(bus, NEW_EVENT, limit=0.1) as commands:
            ask = commands.to("payment.reserve")
        with pytest.raises(TimeoutError):
            ask("key", purchase())


class TestWhoServes:
    def test_publishes_at_once_what_a_crash_left_in_the_outbox(self, bus: LosesAnswers, shop: Checkout) -> None:
        shop.payments.reserve("key", purchase())  # and here the process dies
        serve(bus, shop.bus, shop.payments, shop.payments.reserve, new_event=NEW_EVENT)
        assert facts(shop) == ["payment.reserved"]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"answer_to": "answer.a"},
            {"key": "k", "answer_to": "answer.a", "purchase": {"order_id": "1"}},
            {"key": "k", "answer_to": "order.created", "purchase": purchase().to_dict()},
        ],
    )
    def test_gives_up_a_command_that_it_cannot_read_and_goes_on(
        self, bus: LosesAnswers, shop: Checkout, wrong: dict[str, Any]
    ) -> None:
        serve_all(bus, shop)
        bus.publish(Event("payment.reserve", wrong))
        assert run(bus, shop).outcome == "completed"
        (letter,) = bus.dead_letters
        assert (letter.subscription, letter.attempts) == ("payment", 1)
        assert letter.error.startswith("Permanent: payment.reserve: ")

    def test_refuses_a_command_that_comes_after_its_compensation(self, bus: LosesAnswers, shop: Checkout) -> None:
        serve_all(bus, shop)
        with Commands(bus, NEW_EVENT) as commands:
            commands.to("payment.cancel")("undo", purchase())
            with pytest.raises(Refused, match=r"has its payment\.cancelled already"):
                commands.to("payment.reserve")("do", purchase())
        assert shop.payments.charged() == {}
