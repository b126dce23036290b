"""The figures: the same live and in a replay, whatever the facts' order."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from ecomlib.events import Event
from ecomlib.services.analytics import Analytics

START = datetime(2026, 1, 5, 23, 30, tzinfo=UTC)
VERBS = ["created", "updated", "paid", "shipped", "delivered", "cancelled"]


def fact(verb: str, order: int, minutes: int = 0, amount: int = 10) -> Event:
    data = {"order_id": order, **({"amount": amount} if verb in ("created", "updated", "paid") else {})}
    return Event(f"order.{verb}", data, time=START + timedelta(minutes=minutes))


FACTS = st.builds(fact, st.sampled_from(VERBS), st.integers(1, 4), st.integers(0, 10_000), st.integers(0, 99))


def fold(events: list[Event], zone: str = "UTC") -> Analytics:
    analytics = Analytics(zone)
    for event in events:
        analytics.apply(event)
    return analytics


@given(st.lists(FACTS, max_size=30))
def test_a_fact_that_comes_twice_counts_once(events: list[Event]) -> None:
    assert fold(events + events).totals() == fold(events).totals()


@given(st.lists(FACTS, max_size=30), st.integers(0, 30))
def test_a_snapshot_anywhere_changes_nothing(events: list[Event], cut: int) -> None:
    analytics = Analytics()
    analytics.restore(json.loads(json.dumps(fold(events[:cut]).state())))
    for event in events[cut:]:
        analytics.apply(event)
    whole = fold(events)
    assert analytics.state() == whole.state()
    assert analytics.totals() == whole.totals()
    assert (analytics.revenue_by_day(), analytics.delays()) == (whole.revenue_by_day(), whole.delays())


@given(st.lists(FACTS, max_size=30))
def test_the_parts_of_the_charts_add_up_to_the_totals(events: list[Event]) -> None:
    analytics = fold(events)
    totals = analytics.totals()
    assert sum(analytics.orders_by_hour()) == sum(analytics.orders_by_day().values()) == totals["orders"]
    assert sum(analytics.orders_by_month().values()) == totals["orders"]
    for revenue in (analytics.revenue_by_day(), analytics.revenue_by_month()):
        assert str(sum(revenue.values(), Decimal("0.00"))) == totals["revenue"]


def test_an_old_payment_without_an_amount_counts_with_what_was_ordered() -> None:
    old = Event("order.paid", {"order_id": 1}, dataversion=1)
    assert fold([fact("created", 1, amount=40), old]).totals()["revenue"] == "40.00"
    assert fold([old, fact("created", 1, amount=40)]).totals()["revenue"] == "40.00"


def test_a_payment_of_nothing_is_not_taken_for_one_without_an_amount() -> None:
    assert fold([fact("created", 1, amount=40), fact("paid", 1, amount=0)]).totals()["revenue"] == "0.00"


def test_days_and_hours_are_those_of_the_shop() -> None:
    late = [fact("created", 1)]
    assert fold(late).orders_by_day() == {date(2026, 1, 5): 1}
    kyiv = fold(late, "Europe/Kyiv")
    assert kyiv.orders_by_day() == {date(2026, 1, 6): 1}
    assert kyiv.orders_by_hour()[1] == 1


def test_delays_are_hours_and_leave_out_what_runs_backwards() -> None:
    events = [fact("created", 1), fact("paid", 1, 90), fact("created", 2, 60), fact("paid", 2, 0)]
    assert fold(events).delays()["created to paid"] == [1.5]


def test_users_are_those_whom_orders_and_registrations_name() -> None:
    events = [
        Event("user.registered", {"user_id": 1}),
        Event("order.created", {"order_id": 1, "user_id": 2, "amount": 1}),
        Event("order.created", {"order_id": 2, "user_id": 2, "amount": 1}),
        Event("coffee.spilled", {"user_id": 3}),
    ]
    assert fold(events).totals()["users"] == 2


def test_who_repeats_an_order_without_its_amount_takes_nothing_back() -> None:
    silent = Event("order.created", {"order_id": 1}, time=START)
    paid = Event("order.paid", {"order_id": 1}, time=START, dataversion=1)
    assert fold([fact("created", 1, amount=50), paid, silent]).totals()["revenue"] == "50.00"
    assert fold([silent, paid, fact("created", 1, amount=50)]).totals()["revenue"] == "50.00"
