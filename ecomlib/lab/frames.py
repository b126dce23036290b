"""The shop's figures as data frames: the numbers behind each chart, to be shown beside it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

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
    hours = pd.DataFrame({"orders": analytics.orders_by_hour()}, index=pd.RangeIndex(24, name="hour"))
    orders, revenue = analytics.orders_by_day(), analytics.revenue_by_day()
    days = _every_day(sorted({*orders, *revenue}))
    by_month, paid_by_month = analytics.orders_by_month(), analytics.revenue_by_month()
    months = sorted({*by_month, *paid_by_month, *(f"{day:%Y-%m}" for day in days)})
    return {
        "hours": hours,
        "days": pd.DataFrame(
            {"orders": [orders.get(d, 0) for d in days], "revenue": [revenue.get(d, ZERO) for d in days]},
            index=pd.Index(days, name="day", dtype=object),
        ),
        "months": pd.DataFrame(
            {"orders": [by_month.get(m, 0) for m in months], "revenue": [paid_by_month.get(m, ZERO) for m in months]},
            index=pd.Index(months, name="month", dtype=object),
        ),
        "delays": pd.DataFrame(
            [(stage, hours) for stage, all_ in analytics.delays().items() for hours in all_], columns=["stage", "hours"]
        ),
    }


def attempts_frame(counts: Mapping[str, Mapping[Outcome, int]]) -> pd.DataFrame:
    """A row for each service, a column for each outcome, from what `Desk.attempts_by_service` says."""
    rows = [[count.get(outcome, 0) for outcome in OUTCOMES] for count in counts.values()]
    return pd.DataFrame(rows, index=pd.Index(list(counts), name="service", dtype=object), columns=list(OUTCOMES))


def _every_day(days: list[date]) -> list[date]:
    if not days or (days[-1] - days[0]).days > LONGEST:
        return days
    return [days[0] + timedelta(days=n) for n in range((days[-1] - days[0]).days + 1)]
