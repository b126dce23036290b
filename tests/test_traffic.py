"""The simulated customers do what the real ones did."""

from __future__ import annotations

import csv
import gzip
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomlib import habits
from ecomlib.clock import SimulatedClock, SystemClock
from ecomlib.errors import BadInput, EcomlibError
from ecomlib.sampling import dealt, drawn
from ecomlib.shop import Shop
from ecomlib.traffic import SimulatedOrder, commands, measure, run, simulate

OLIST_FILES = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "olist"
FIGURES = [
    *[f"by_hour {hour}" for hour in range(24)],
    *[f"by_weekday {day}" for day in range(7)],
    *habits.Habits._fields[2:],
]


def figure(measured: habits.Habits, name: str) -> float:
    field, _, place = name.partition(" ")
    value = getattr(measured, field)
    return float(value[int(place)] if place else value)


@pytest.fixture(scope="module", params=[0, 1, 2, 20260105])
def ten_thousand(request: pytest.FixtureRequest) -> list[SimulatedOrder]:
    return simulate(10_000, seed=request.param)


@pytest.fixture(scope="module")
def measured(ten_thousand: list[SimulatedOrder]) -> habits.Habits:
    return measure(ten_thousand)


class TestTheHabits:
    @pytest.mark.parametrize("name", FIGURES)
    def test_of_ten_thousand_orders_are_within_five_percent_of_the_real_ones(
        self, measured: habits.Habits, name: str
    ) -> None:
        assert figure(measured, name) == pytest.approx(figure(habits.OLIST, name), rel=0.05)

    def test_hold_in_the_zone_that_is_asked_for(self) -> None:
        simulated = simulate(10_000, zone="America/Sao_Paulo")
        there, elsewhere = measure(simulated, "America/Sao_Paulo"), measure(simulated, "UTC")
        assert there.by_hour == pytest.approx(habits.OLIST.by_hour, rel=0.05)
        assert elsewhere.by_hour != pytest.approx(habits.OLIST.by_hour, rel=0.05)

    def test_of_weekdays_hold_in_a_month_that_has_more_of_some_days_than_of_others(self) -> None:
        simulated = simulate(10_000, start=date(2026, 3, 1), days=31)
        assert measure(simulated).by_weekday == pytest.approx(habits.OLIST.by_weekday, rel=0.05)

    def test_in_the_table_agree_with_the_figures_that_are_drawn_from(self) -> None:
        assert sum(habits.HOURS) == sum(habits.WEEKDAYS) == sum(habits.FATES.values()) == habits.SAMPLE
        for name in ("shipped", "cancelled"):
            drawn_from = sum(count for fate, count in habits.FATES.items() if getattr(fate, name))
            assert drawn_from / habits.SAMPLE == getattr(habits.OLIST, name)
        middle = habits.LEVELS.index(0.5)
        assert habits.AMOUNT[middle] == habits.OLIST.amount
        for name in ("created_to_paid", "paid_to_shipped", "shipped_to_delivered"):
            quantiles = getattr(habits, name.upper())
            assert len(quantiles) == len(habits.LEVELS)
            assert list(quantiles) == sorted(quantiles)
            assert quantiles[middle] * 60 == pytest.approx(getattr(habits.OLIST, name), abs=3)

    def test_of_no_orders_are_not_measured(self) -> None:
        with pytest.raises(BadInput, match="at least one"):
            measure([])


class TestAnOrder:
    def test_is_paid_before_it_is_shipped_and_shipped_before_it_is_delivered(
        self, ten_thousand: list[SimulatedOrder]
    ) -> None:
        for order in ten_thousand:
            stages = (order.created, order.paid, order.shipped, order.delivered)
            reached = [time for time in stages if time is not None]
            assert list(stages[: len(reached)]) == reached, "no stage is skipped"
            assert all(before < after for before, after in pairwise(reached))

    def test_is_cancelled_after_its_last_stage_and_never_when_delivered(
        self, ten_thousand: list[SimulatedOrder]
    ) -> None:
        for order in ten_thousand:
            if order.cancelled:
                assert order.delivered is None
                assert order.cancelled > (order.shipped or order.paid or order.created)

    def test_costs_something_in_whole_cents(self, ten_thousand: list[SimulatedOrder]) -> None:
        assert all(order.amount > 0 and order.amount.as_tuple().exponent == -2 for order in ten_thousand)

    def test_never_comes_from_the_customer_whose_mailbox_bounces(self, ten_thousand: list[SimulatedOrder]) -> None:
        customers = {order.user_id for order in ten_thousand}
        assert "501" not in customers
        assert {"1", "500", "502"} <= customers

    def test_comes_again_and_again_from_a_few_regulars(self, ten_thousand: list[SimulatedOrder]) -> None:
        orders_by_customer = Counter(order.user_id for order in ten_thousand)
        assert orders_by_customer.most_common(1)[0][1] > 50
        assert median(orders_by_customer.values()) <= 2

    @given(
        orders=st.integers(0, 60),
        seed=st.integers(),
        start=st.dates(date(1900, 1, 1), date(2200, 1, 1)),
        days=st.integers(1, 800),
        zone=st.sampled_from(["UTC", "America/Sao_Paulo", "Europe/Kyiv", "Pacific/Apia"]),
    )
    def test_is_placed_on_one_of_the_days_and_numbered_in_order_of_time(
        self, orders: int, seed: int, start: date, days: int, zone: str
    ) -> None:
        simulated = simulate(orders, seed, start, days, zone)
        assert [order.order_id for order in simulated] == [str(n) for n in range(1, orders + 1)]
        created = [order.created for order in simulated]
        assert created == sorted(created)
        midnight = datetime(start.year, start.month, start.day, tzinfo=UTC)
        slack = timedelta(hours=15)  # no zone is further from UTC than that
        assert all(midnight - slack <= time < midnight + timedelta(days=days) + slack for time in created)


class TestASimulation:
    def test_is_the_same_for_the_same_seed_and_another_for_another(self) -> None:
        assert simulate(200, seed=7) == simulate(200, seed=7)
        assert simulate(200, seed=7) != simulate(200, seed=8)

    def test_of_a_year_grows_and_has_its_best_month_in_november(self, ten_thousand: list[SimulatedOrder]) -> None:
        by_month = Counter(order.created.month for order in ten_thousand)
        assert by_month.most_common(1)[0][0] == 11
        assert by_month[12] > 3 * by_month[1]

    def test_of_ten_orders_has_some_that_stop_on_their_way(self) -> None:
        ten = simulate(10, days=1)
        assert {order.created.date() for order in ten} == {date(2026, 1, 1)}
        assert sum(order.paid is not None for order in ten) == 10
        assert sum(order.delivered is not None for order in ten) == 6
        assert sum(order.cancelled is not None for order in ten) == 1

    def test_takes_a_datetime_for_its_day(self) -> None:
        assert simulate(5, start=datetime(2026, 1, 1, 9, tzinfo=UTC)) == simulate(5, start=date(2026, 1, 1))

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"orders": -1}, "-1 orders"),
            ({"orders": 1, "days": 0}, "0 days"),
            ({"orders": 1, "zone": "Mars/Olympus"}, "Mars/Olympus"),
            ({"orders": 1, "zone": ""}, "no time zone"),
            ({"orders": 1, "start": date(9998, 1, 1)}, "too far"),
            ({"orders": 1, "days": 10**9}, "too far"),
        ],
    )
    def test_of_what_cannot_be_is_refused_in_a_sentence(self, arguments: dict[str, Any], says: str) -> None:
        with pytest.raises(BadInput, match=says):
            simulate(**arguments)


class Recorder:
    """An order service that remembers what it was told, and when."""

    def __init__(self, clock: SimulatedClock) -> None:
        self.clock = clock
        self.told: list[tuple[datetime, str, str]] = []

    def create(self, order_id: str, *, user_id: str, amount: Decimal) -> None:
        self._tell("create", order_id)

    def pay(self, order_id: str) -> None:
        self._tell("pay", order_id)

    def ship(self, order_id: str) -> None:
        self._tell("ship", order_id)

    def deliver(self, order_id: str) -> None:
        self._tell("deliver", order_id)

    def cancel(self, order_id: str) -> None:
        self._tell("cancel", order_id)

    def _tell(self, command: str, order_id: str) -> None:
        self.told.append((self.clock.now(), command, order_id))


class TestARun:
    def test_gives_each_command_at_its_time(self) -> None:
        simulated = simulate(100)
        clock = SimulatedClock(datetime(2026, 1, 1, tzinfo=UTC))
        service = Recorder(clock)
        given_ = run(service, clock, simulated)
        assert service.told == [(time, name, order.order_id) for time, name, order in commands(simulated)]
        assert given_ == len(service.told)

    def test_is_obeyed_by_the_shop_which_refuses_none_of_it(self) -> None:
        simulated = simulate(300, seed=3)
        shop = Shop(clock=SimulatedClock(datetime(2026, 1, 1, tzinfo=UTC)))
        run(shop.orders, shop.clock, simulated, settle=shop.run)
        totals = shop.totals()
        assert totals["orders"] == 300
        for stage in ("paid", "shipped", "delivered", "cancelled"):
            assert totals[stage] == sum(getattr(order, stage) is not None for order in simulated)
        assert totals["revenue"] == str(sum(order.amount for order in simulated if order.paid))

    def test_settles_after_each_command(self) -> None:
        clock = SimulatedClock()
        service = Recorder(clock)
        told: list[int] = []
        run(service, clock, simulate(20), settle=lambda: told.append(len(service.told)))
        assert told == list(range(1, len(service.told) + 1))

    def test_does_not_wait_for_a_clock_that_cannot_be_moved(self) -> None:
        service = Recorder(SimulatedClock())
        assert run(service, SystemClock(), simulate(20)) == len(service.told)

    def test_passes_on_what_the_order_service_refuses(self) -> None:
        class Refusing(Recorder):
            def pay(self, order_id: str) -> None:
                raise EcomlibError("closed")

        clock = SimulatedClock()
        with pytest.raises(EcomlibError, match="closed"):
            run(Refusing(clock), clock, simulate(10))


class TestADraw:
    @given(st.lists(st.integers(0, 1000), min_size=1, max_size=30).filter(any), st.integers(0, 500), st.randoms())
    def test_deals_each_item_as_often_as_its_weight_says(self, weights: list[int], n: int, random: Any) -> None:
        counts = Counter(dealt(range(len(weights)), weights, n, random))
        assert counts.total() == n
        for item, weight in enumerate(weights):
            assert abs(counts[item] - n * weight / sum(weights)) < 1

    @given(st.integers(0, 500), st.randoms(use_true_random=False))
    def test_keeps_the_quantiles(self, n: int, random: Any) -> None:
        values = drawn((1, 5, 100), (0, 0.5, 1), n, random)
        assert abs(sum(value < 5 for value in values) - n / 2) <= 1
        assert all(1 <= value <= 100 for value in values)


if OLIST_FILES.is_dir():

    def rows(name: str) -> Iterator[dict[str, str]]:
        with gzip.open(OLIST_FILES / f"olist_{name}_dataset.csv.gz", "rt", encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)

    @pytest.fixture(scope="module")
    def real() -> habits.Habits:
        """The figures of the files themselves, added up here, without the library's importer."""
        amounts: defaultdict[str, float] = defaultdict(float)
        for row in rows("order_payments"):
            amounts[row["order_id"]] += float(row["payment_value"])
        orders = list(rows("orders"))
        columns = ("purchase_timestamp", "approved_at", "delivered_carrier_date", "delivered_customer_date")
        created, paid, shipped, delivered = (
            [datetime.fromisoformat(row[f"order_{c}"]) if row[f"order_{c}"] else None for row in orders]
            for c in columns
        )

        def delay(earlier: list[datetime | None], later: list[datetime | None]) -> float:
            pairs = zip(earlier, later, strict=True)
            return median((b - a).total_seconds() for a, b in pairs if a is not None and b is not None)

        def share(hits: list[bool]) -> float:
            return mean(map(float, hits))

        return habits.Habits(
            by_hour=tuple(share([time is not None and time.hour == hour for time in created]) for hour in range(24)),
            by_weekday=tuple(
                share([time is not None and time.weekday() == day for time in created]) for day in range(7)
            ),
            unpaid=share([time is None for time in paid]),
            shipped=share([time is not None for time in shipped]),
            cancelled=share([row["order_status"] == "canceled" for row in orders]),
            amount=median(amounts[row["order_id"]] for row in orders),
            created_to_paid=delay(created, paid),
            paid_to_shipped=delay(paid, shipped),
            shipped_to_delivered=delay(shipped, delivered),
        )

    @pytest.mark.parametrize("name", FIGURES)
    def test_the_table_says_what_the_files_say(real: habits.Habits, name: str) -> None:
        assert figure(habits.OLIST, name) == pytest.approx(figure(real, name), rel=1e-4)

    @pytest.mark.parametrize("name", FIGURES)
    def test_the_simulation_is_within_five_percent_of_the_files(
        measured: habits.Habits, real: habits.Habits, name: str
    ) -> None:
        assert figure(measured, name) == pytest.approx(figure(real, name), rel=0.05)

    def test_the_mean_amount_is_near_that_of_the_files(ten_thousand: list[SimulatedOrder]) -> None:
        """A median says nothing of the few large orders, on which the revenue depends."""
        total = math.fsum(float(row["payment_value"]) for row in rows("order_payments"))
        simulated = mean(float(order.amount) for order in ten_thousand)
        assert simulated == pytest.approx(total / habits.SAMPLE, rel=0.05)
