"""The desk: what the panel's buttons do, without a panel."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ecomlib.clock import SystemClock
from ecomlib.lab.desk import Desk
from ecomlib.shop import Shop


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_fire_makes_an_order_and_waits_for_all_who_react(desk: Desk) -> None:
    desk.fire()
    assert desk.counters() == {
        "orders": 1, "paid": 0, "shipped": 0, "cancelled": 0, "revenue": "0.00", "emails": 1, "sms": 0, "failed": 0,
        "attempts": 4, "dead letters": 0,
    }  # fmt: skip
    assert str(desk.message) == "✓ Order 1 of user 100 for 50.00. ✓ email, audit, analytics."


def test_fire_takes_a_customer_and_an_amount(desk: Desk) -> None:
    desk.fire(7, "19.90")
    order = desk.shop.orders.get(1)
    assert (order.user_id, str(order.amount)) == ("7", "19.90")


def test_pay_ship_and_cancel_act_on_the_newest_order_that_may(desk: Desk) -> None:
    for _ in range(3):
        desk.fire()
    desk.pay()
    desk.pay()
    desk.ship()
    desk.cancel()
    desk.cancel()
    assert [order.status for order in desk.shop.orders.orders] == ["created", "cancelled", "cancelled"]
    assert desk.message.text.startswith("Order 2 is cancelled")
    assert desk.counters()["revenue"] == "100.00"


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        ("pay", "✗ There is no order to pay: fire one first."),
        ("ship", "✗ There is no order to ship: pay one first."),
        ("cancel", "✗ There is no order to cancel: fire one first."),
        ("redeliver", "✗ There is no dead letter to redeliver."),
    ],
)
def test_what_is_impossible_is_said_and_changes_nothing(desk: Desk, action: str, sentence: str) -> None:
    getattr(desk, action)()
    assert str(desk.message) == sentence
    assert not desk.shop.bus.history
    assert repr(desk).endswith(sentence)


@pytest.mark.parametrize(
    ("user_id", "amount", "sentence"),
    [
        (1, -5, "✗ order.created: amount: the amount -5 is negative."),
        (1, "a lot", "✗ order.created: amount: 'a lot' is no amount: write it like 50 or '49.90'."),
        ("", 5, "✗ order.created: user_id: '' is no id: it is text of 1 to 100 characters, or a whole number."),
    ],
)
def test_a_bad_order_is_said_and_changes_nothing(desk: Desk, user_id: str, amount: str, sentence: str) -> None:
    desk.fire()
    before = desk.counters()
    desk.fire(user_id, amount)
    assert str(desk.message) == sentence
    assert desk.counters() == before
    desk.fire()
    assert desk.message.ok
    assert desk.counters()["orders"] == 2


def test_an_order_gets_a_number_that_is_free(desk: Desk) -> None:
    desk.shop.orders.create(2, amount=1)
    desk.fire()
    assert [order.order_id for order in desk.shop.orders.orders] == ["2", "3"]
    desk.fire_many(2)
    assert [order.order_id for order in desk.shop.orders.orders] == ["2", "3", "4", "5"]


def test_a_hundred_orders_are_the_next_days_customers_in_all_their_variety(desk: Desk) -> None:
    today = desk.shop.clock.now().date()
    desk.fire_many()
    totals = desk.counters()
    assert totals["orders"] == 100
    assert 30 < int(totals["paid"]) < 100
    assert len({order.amount for order in desk.shop.orders.orders}) > 30
    assert len({order.user_id for order in desk.shop.orders.orders}) > 20
    assert {(event.time.date() - today).days for event in desk.shop.bus.history} == {1}
    assert sum(hours > 0 for hours in desk.shop.analytics.orders_by_hour()) > 8


def test_the_same_clicks_lead_to_the_same_events() -> None:
    def story() -> tuple[list[str], str]:
        desk = Desk()
        desk.fire()
        desk.fire_many(30)
        desk.pay()
        desk.fire_many(30)
        return [event.to_json() for event in desk.shop.bus.history], repr(desk)

    assert story() == story()


def test_the_next_hundred_are_others(desk: Desk) -> None:
    desk.fire_many(20)
    desk.fire_many(20)
    amounts = [order.amount for order in desk.shop.orders.orders]
    assert amounts[:20] != amounts[20:]


def test_no_orders_cant_be_fired(desk: Desk) -> None:
    desk.fire_many(0)
    assert str(desk.message) == "✗ 0 orders can't be fired: ask for a whole number, 1 or more."


@pytest.mark.parametrize("n", [10.5, None, "many", float("nan"), -1])
def test_orders_are_fired_in_whole_numbers(desk: Desk, n: Any) -> None:
    desk.fire_many(n)
    assert str(desk.message) == f"✗ {n!r} orders can't be fired: ask for a whole number, 1 or more."
    assert not desk.shop.orders.orders


@pytest.mark.parametrize("customer", ["7\n8", "\u202e001", "7\t", "\x007", "\u2066seven\u2069"])
def test_a_customer_who_cant_be_printed_is_refused(desk: Desk, customer: str) -> None:
    desk.fire(customer)
    assert str(desk.message).startswith(f"✗ {customer!r} is no customer: ")
    assert desk.message.text.isprintable()
    assert not desk.shop.bus.history


def test_a_customer_may_be_called_in_any_language(desk: Desk) -> None:
    for name in ("Олена Ковальчук", "王小明", "שרה", "José-María O'Neill"):
        desk.fire(name)
        assert desk.message.ok
    assert desk.counters()["orders"] == 4


def test_each_action_is_a_minute_later_so_that_delays_can_be_seen(desk: Desk) -> None:
    desk.fire()
    desk.pay()
    assert desk.shop.analytics.delays()["created to paid"] == [1 / 60]


def test_a_clock_that_cant_be_moved_is_not_waited_for() -> None:
    desk = Desk(Shop(clock=SystemClock()))
    desk.fire()
    desk.fire_many(5)
    assert desk.counters()["orders"] == 6


def test_a_service_fails_as_it_was_told_and_is_retried(desk: Desk) -> None:
    desk.fail("email")
    assert str(desk.message) == "✓ From now on email fails at attempt 1, before its work."
    desk.fire()
    assert "✗ email failed once and was tried again" in desk.message.text
    assert [tuple(row) for row in desk.rows(2)] == [
        ("notification.sent", "1", "analytics", 1, "✓ handled", ""),
        ("order.created", "1", "email", 2, "✓ handled", ""),
    ]
    failed = next(row for row in desk.rows() if row.error)
    assert failed == (
        "order.created", "1", "email", 1, "✗↻ retried", "email failed on purpose before its work, at attempt 1",
    )  # fmt: skip
    assert desk.attempts_by_service()["email"] == {"handled": 1, "failed": 1, "dead": 0}


def test_a_dead_letter_waits_until_it_is_redelivered(desk: Desk) -> None:
    desk.fail("email", range(1, 100))
    desk.fire()
    [letter] = desk.dead_letters
    assert (letter.subscription, letter.attempts) == ("email", 3)
    assert "✗ email gave up once (dead letter)" in desk.message.text
    desk.repair()
    assert desk.message.text == "Every service works; dead letters that wait to be redelivered: 1."
    desk.redeliver()
    assert not desk.dead_letters
    assert desk.counters()["emails"] == 1
    assert desk.message.text == "Redelivered: 1. ✓ email, analytics."


def test_a_message_is_sent_once_also_when_the_service_dies_after_its_work(desk: Desk) -> None:
    desk.fail("sms", when="after")
    desk.fire()
    desk.pay()
    assert desk.counters()["sms"] == 1
    assert desk.attempts_by_service()["sms"] == {"handled": 1, "failed": 1, "dead": 0}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("post",), "no service 'post'"),
        (("email", ()), "Attempts are numbers from 1"),
        (("email", ("first",)), "Attempts are numbers from 1"),
        (("email", (0,)), "Attempts are numbers from 1"),
        (("email", (1,), "during"), "'before' or 'after'"),
    ],
)
def test_a_fault_that_cant_be_planned_is_said(desk: Desk, arguments: tuple[str], words: str) -> None:
    desk.fail(*arguments)
    assert not desk.message.ok
    assert words in desk.message.text
    assert not desk.shop.faults.planned


def test_reset_begins_anew_and_repairs(desk: Desk) -> None:
    desk.fail("email", range(1, 100))
    desk.fire()
    first = repr(Desk())
    desk.reset()
    assert repr(desk) == first
    assert not desk.shop.faults.planned
    desk.fire()
    assert desk.counters()["emails"] == 1


def test_reset_leaves_a_log_as_it_was(tmp_path: Path) -> None:
    with Shop(tmp_path / "log", threads=1) as shop:
        desk = Desk(shop)
        desk.fire()
        written = shop.log.end("shop") if shop.log else 0
        desk.reset()
        assert "The old shop's log stays as it is" in desk.message.text
        desk.fire()
        assert shop.log is not None
        assert shop.log.end("shop") == written == 2


def test_with_worker_threads_it_waits_as_well() -> None:
    with Shop() as shop:
        desk = Desk(shop)
        desk.fire_many(20)
        assert desk.counters()["emails"] == 20


def test_rows_are_the_latest_and_counts_are_all_of_them(desk: Desk) -> None:
    desk.fire_many(50)
    assert len(desk.rows(5)) == 5
    assert (
        desk.attempts
        == len(desk.shop.bus.attempts)
        == sum(sum(counts.values()) for counts in desk.attempts_by_service().values())
    )


@pytest.mark.parametrize("collecting", [True, False])
def test_a_look_at_many_attempts_sets_off_no_garbage_collection(desk: Desk, collecting: bool) -> None:
    desk.fire_many(gc.get_threshold()[0])  # 700, or 2,000 from Python 3.13 on
    assert len(desk.shop.bus.attempts) > 2 * gc.get_threshold()[0], "as many objects would set some off"
    collected: list[str] = []

    def note(phase: str, info: dict[str, int]) -> None:
        collected.append(phase)

    was = gc.isenabled()
    gc.collect()
    gc.callbacks.append(note)
    try:
        (gc.enable if collecting else gc.disable)()
        desk.rows()
        assert gc.isenabled() is collecting, "as it was"
    finally:
        gc.callbacks.remove(note)
        (gc.enable if was else gc.disable)()
    assert not collected


def test_its_numbers_are_in_its_repr(desk: Desk) -> None:
    desk.fire()
    desk.pay()
    desk.fire(501, 20)
    assert repr(desk) == ("2 orders, 1 paid, revenue 50.00 | emails 1, sms 1, failed 1 | attempts 13, dead letters 1")


def test_what_the_bus_refuses_is_said(desk: Desk) -> None:
    desk.shop.bus.limit = 0
    desk.fire()
    assert "is full" in desk.message.text
    assert not desk.message.ok
    assert desk.counters()["orders"] == 0


def test_an_error_that_nobody_foresaw_is_not_swallowed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise TypeError("nobody foresaw it")

    monkeypatch.setattr(desk.shop.orders, "create", broken)
    with pytest.raises(TypeError, match="nobody foresaw it"):
        desk.fire()


def test_it_needs_neither_widgets_nor_matplotlib() -> None:
    program = """
import sys, types
package = types.ModuleType("ecomlib.lab")
package.__path__ = [sys.argv[1]]
sys.modules["ecomlib.lab"] = package
from ecomlib.lab.desk import Desk
from ecomlib.lab.history import History
desk = Desk()
desk.fire()
assert len(History(desk.shop)) == 2
assert not {"ipywidgets", "matplotlib", "pandas", "IPython"} & set(sys.modules)
"""
    folder = Path(sys.modules["ecomlib.lab"].__path__[0])
    subprocess.run([sys.executable, "-c", program, str(folder)], check=True, timeout=60)
