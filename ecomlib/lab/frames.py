"""The shop's figures as data frames: the numbers behind each chart, to be shown beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd

from ecomlib.lab.desk import OUTCOMES
from ecomlib.ports import Outcome
from ecomlib.services.analytics import ZERO, Analytics

LONGEST = 3660  # days: a longer history keeps its gaps, for nobody can see a single day in it


def frames(analytics: Analytics) -> dict[str, pd.DataFrame]:
    """`hours`, `days` and `months` count orders by when they were created, and sum revenue by when it was paid.

    Days and months on which nothing happened are there, with zeros. `delays` has a row for each order and stage.
    Revenue is `Decimal`; delays are hours.
    """
    return {name: make(analytics) for name, make in FRAMES.items()}


def hours(analytics: Analytics) -> pd.DataFrame:
    return pd.DataFrame({"orders": analytics.orders_by_hour()}, index=pd.RangeIndex(24, name="hour"))


def days(analytics: Analytics) -> pd.DataFrame:
    orders, revenue = analytics.orders_by_day(), analytics.revenue_by_day()
    return _calendar("day", _every_day(sorted({*orders, *revenue})), orders, revenue)


def months(analytics: Analytics) -> pd.DataFrame:
    orders, revenue = analytics.orders_by_month(), analytics.revenue_by_month()
    first_days = sorted(date.fromisoformat(f"{month}-01") for month in {*orders, *revenue})
    return _calendar("month", sorted({f"{day:%Y-%m}" for day in _every_day(first_days)}), orders, revenue)


def delays(analytics: Analytics) -> pd.DataFrame:
    rows = [(stage, hours) for stage, found in analytics.delays().items() for hours in found]
    return pd.DataFrame(rows, columns=["stage", "hours"])


FRAMES: dict[str, Callable[[Analytics], pd.DataFrame]] = {
    "hours": hours,
    "days": days,
    "months": months,
    "delays": delays,
}


def _calendar(
    name: str, when: Sequence[Any], orders: Mapping[Any, int], revenue: Mapping[Any, Decimal]
) -> pd.DataFrame:
    return pd.DataFrame(
        {"orders": [orders.get(at, 0) for at in when], "revenue": [revenue.get(at, ZERO) for at in when]},
        index=pd.Index(when, name=name, dtype=object),
    )


def attempts_frame(counts: Mapping[str, Mapping[Outcome, int]]) -> pd.DataFrame:
    """A row for each service, a column for each outcome, from what `Desk.attempts_by_service` says."""
    rows = [[count.get(outcome, 0) for outcome in OUTCOMES] for count in counts.values()]
    return pd.DataFrame(rows, index=pd.Index(list(counts), name="service", dtype=object), columns=list(OUTCOMES))


def _every_day(days: list[date]) -> list[date]:
    if not days or (days[-1] - days[0]).days > LONGEST:
        return days
    return [days[0] + timedelta(days=n) for n in range((days[-1] - days[0]).days + 1)]
