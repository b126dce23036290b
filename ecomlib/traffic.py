"""Simulated customers with the habits of real ones (`ecomlib.habits`). The same seed makes the same orders."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from random import Random
from statistics import median
from typing import Literal, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from ecomlib import habits
from ecomlib.clock import Clock
from ecomlib.errors import BadInput
from ecomlib.sampling import dealt, drawn, levels
from ecomlib.zones import zone_named

BOUNCING = 501  # the customer whose mailbox bounces: never simulated, so that a failure comes only where it is wanted


@dataclass(frozen=True)
class SimulatedOrder:
    """One order's whole story, its times in UTC. What never happens to it is None."""

    order_id: str
    user_id: str
    amount: Decimal
    created: datetime
    paid: datetime | None = None
    shipped: datetime | None = None
    delivered: datetime | None = None
    cancelled: datetime | None = None


class Command(NamedTuple):
    time: datetime
    name: Literal["create", "pay", "ship", "deliver", "cancel"]
    order: SimulatedOrder


class OrderCommands(Protocol):
    """What `run` needs of the order service."""

    def create(self, order_id: str, /, *, user_id: str, amount: Decimal) -> object: ...
    def pay(self, order_id: str, /) -> object: ...
    def ship(self, order_id: str, /) -> object: ...
    def deliver(self, order_id: str, /) -> object: ...
    def cancel(self, order_id: str, /) -> object: ...


def simulate(
    orders: int, seed: int = 0, start: date = date(2026, 1, 1), days: int = 365, zone: str = "UTC"
) -> list[SimulatedOrder]:
    """That many orders, placed on the `days` days from `start` on; sorted by time, and numbered from 1.

    Hours and weekdays are those of `zone`. Some months are busier, as in the real shop. An order's later stages may
    come after the last day, as they do in life. Raises `BadInput` for numbers that can't be.
    """
    if orders < 0 or days < 1:
        raise BadInput(f"{orders} orders on {days} days can't be simulated: ask for at least 0 orders on 1 day.")
    if start.year < 1900 or start.year + days // 365 > 9000:
        raise BadInput(f"{days} days from {start:%Y-%m-%d} on are too far from today: stay between 1900 and 9000.")
    random = Random(f"traffic {seed}")
    fates = dealt(list(habits.FATES), list(habits.FATES.values()), orders, random)
    amounts = drawn(habits.AMOUNT, habits.LEVELS, orders, random)
    to_paid = iter(drawn(habits.CREATED_TO_PAID, habits.LEVELS, sum(f.paid for f in fates), random))
    to_shipped = iter(drawn(habits.PAID_TO_SHIPPED, habits.LEVELS, sum(f.shipped for f in fates), random))
    to_delivered = iter(drawn(habits.SHIPPED_TO_DELIVERED, habits.LEVELS, sum(f.delivered for f in fates), random))
    customers = orders * 0.6  # the lower a customer's number, the more often they come back

    simulated = []
    for n, created in enumerate(_moments(orders, start, days, zone_named(zone), random)):
        fate = fates[n]
        paid = created + _delay(next(to_paid)) if fate.paid else None
        shipped = paid + _delay(next(to_shipped)) if paid and fate.shipped else None
        delivered = shipped + _delay(next(to_delivered)) if shipped and fate.delivered else None
        # The data set doesn't say when an order was cancelled: here it is within three days of the last stage.
        cancelled = (shipped or paid or created) + _delay(random.uniform(60, 4320)) if fate.cancelled else None
        user = 1 + int(customers * random.random() ** 2)
        simulated.append(
            SimulatedOrder(
                order_id=str(n + 1),
                user_id=str(user + (user >= BOUNCING)),
                amount=Decimal(f"{amounts[n]:.2f}"),
                created=created,
                paid=paid,
                shipped=shipped,
                delivered=delivered,
                cancelled=cancelled,
            )
        )
    return simulated


def commands(orders: Iterable[SimulatedOrder]) -> Iterator[Command]:
    """What customers and the warehouse ask of the shop, in order of time."""
    asked: list[Command] = []
    for order in orders:
        asked.append(Command(order.created, "create", order))
        if order.paid:
            asked.append(Command(order.paid, "pay", order))
        if order.shipped:
            asked.append(Command(order.shipped, "ship", order))
        if order.delivered:
            asked.append(Command(order.delivered, "deliver", order))
        if order.cancelled:
            asked.append(Command(order.cancelled, "cancel", order))
    return iter(sorted(asked, key=lambda command: command.time))


def run(
    shop_orders: OrderCommands,
    clock: Clock,
    orders: Iterable[SimulatedOrder],
    *,
    settle: Callable[[], object] = lambda: None,
) -> int:
    """Move the clock on to each command's time and give the command. Returns how many there were.

    `settle` is called after each command: a bus without worker threads makes its deliveries there. A clock that can't
    be moved is not waited for. `Refused` is passed on, as where an order's number is taken already.
    """
    given = 0
    for time, name, order in commands(orders):
        clock.advance_to(time)
        if name == "create":
            shop_orders.create(order.order_id, user_id=order.user_id, amount=order.amount)
        else:
            getattr(shop_orders, name)(order.order_id)
        settle()
        given += 1
    return given


def measure(orders: Sequence[SimulatedOrder], zone: str = "UTC") -> habits.Habits:
    """The habits of these orders, to be held against `habits.OLIST`. Hours and weekdays are those of `zone`.

    A median of nothing is not a number (nan). Raises `BadInput` where there are no orders.
    """
    if not orders:
        raise BadInput("Of no orders there are no habits to measure: simulate at least one.")
    local = [order.created.astimezone(zone_named(zone)) for order in orders]

    def share(times: Iterable[object]) -> float:
        return sum(map(bool, times)) / len(orders)

    def middle(values: Iterable[float]) -> float:
        return median([*values] or [math.nan])

    return habits.Habits(
        by_hour=tuple(share(time.hour == hour for time in local) for hour in range(24)),
        by_weekday=tuple(share(time.weekday() == day for time in local) for day in range(7)),
        unpaid=share(not order.paid for order in orders),
        shipped=share(order.shipped for order in orders),
        cancelled=share(order.cancelled for order in orders),
        amount=middle(float(order.amount) for order in orders),
        created_to_paid=middle((o.paid - o.created).total_seconds() for o in orders if o.paid),
        paid_to_shipped=middle((o.shipped - o.paid).total_seconds() for o in orders if o.paid and o.shipped),
        shipped_to_delivered=middle(
            (o.delivered - o.shipped).total_seconds() for o in orders if o.shipped and o.delivered
        ),
    )


def _moments(n: int, start: date, days: int, zone: ZoneInfo, random: Random) -> list[datetime]:
    dates = [date(start.year, start.month, start.day) + timedelta(days=day) for day in range(days)]
    by_weekday = {day: [d for d in dates if d.weekday() == day] for day in sorted({d.weekday() for d in dates})}
    weekdays = dealt(list(by_weekday), [habits.WEEKDAYS[day] for day in by_weekday], n, random)
    placed = []
    for day, candidates in by_weekday.items():
        upto = list(accumulate(habits.MONTHS[d.month - 1] for d in candidates))
        places = levels(weekdays.count(day), random)
        placed += [candidates[min(bisect_right(upto, level * upto[-1]), len(upto) - 1)] for level in places]
    hours = dealt(range(24), habits.HOURS, n, random)
    return sorted(
        datetime(d.year, d.month, d.day, hour, tzinfo=zone).astimezone(UTC) + timedelta(seconds=random.randrange(3600))
        for d, hour in zip(placed, hours, strict=True)
    )


def _delay(minutes: float) -> timedelta:
    return timedelta(seconds=max(1, round(minutes * 60)))
