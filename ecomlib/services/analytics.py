"""The figures of the shop: a projection, the same whether it listens live or folds the log again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any, TypeVar

from ecomlib.events import Event
from ecomlib.zones import zone_named

STAGES = ("created", "paid", "shipped", "delivered", "cancelled")
DELAYS = (("created", "paid"), ("paid", "shipped"), ("shipped", "delivered"))
ZERO = Decimal("0.00")

T = TypeVar("T", date, str)


@dataclass(slots=True)
class Story:
    """One order's: the amount ordered and the amount paid, where they were said, and each stage's earliest time."""

    amount: Decimal | None = None
    paid_amount: Decimal | None = None
    created: datetime | None = None
    paid: datetime | None = None
    shipped: datetime | None = None
    delivered: datetime | None = None
    cancelled: datetime | None = None

    def revenue(self) -> Decimal:
        if self.paid is None:
            return ZERO
        return next((amount for amount in (self.paid_amount, self.amount) if amount is not None), ZERO)


class Analytics:
    """Takes facts as they come: late, out of order, or twice (an event's id counts once).

    An order's revenue is what its first `order.paid` says, or, where an old version says no amount, what the order
    said. Days, hours and months are those of `zone`, an IANA name. Amounts are `Decimal`, delays are hours.
    """

    def __init__(self, zone: str = "UTC") -> None:
        self.zone = zone_named(zone)
        self._seen: set[int] = set()
        self._users: set[str] = set()
        self._stories: defaultdict[str, Story] = defaultdict(Story)
        self._counts: Counter[str] = Counter()  # orders by stage, messages by channel, failures
        self.revenue = ZERO

    def apply(self, event: Event) -> None:
        id = _short(event.id)
        if id in self._seen:
            return
        self._seen.add(id)
        noun, _, verb = event.type.partition(".")
        user = getattr(event.data, "user_id", None)
        if isinstance(user, str) and noun in ("user", "order"):
            self._users.add(user)
        if event.type == "notification.sent":
            self._counts["emails" if event.data.channel == "email" else event.data.channel] += 1
        elif event.type == "notification.failed":
            self._counts["failed"] += 1
        elif noun == "order" and verb in (*STAGES, "updated"):
            story = self._stories[event.data.order_id]
            before = story.revenue()
            self._apply_to_order(story, verb, event)
            self.revenue += story.revenue() - before

    def _apply_to_order(self, story: Story, verb: str, event: Event) -> None:
        if verb in ("created", "updated") and event.data.amount is not None:
            story.amount = event.data.amount
        if verb == "paid" and story.paid is None:
            paid = event.data.amount
            story.paid_amount = story.amount if paid == story.amount else paid  # one object for both: they are many
        if verb in STAGES:
            earliest: datetime | None = getattr(story, verb)
            self._counts[verb] += earliest is None
            setattr(story, verb, event.time if earliest is None else min(event.time, earliest))

    # --- totals -------------------------------------------------------------------------------------------

    def totals(self) -> dict[str, int | str]:
        """`events` counts them all; `orders` to `cancelled` are distinct orders; `revenue` is a decimal string."""
        return figures(len(self._seen), len(self._users), self._counts, self.revenue)

    # --- what charts need ---------------------------------------------------------------------------------

    def orders_by_hour(self) -> list[int]:
        """24 counts of orders created, midnight first."""
        hours = Counter(self._local(created).hour for created in self._times("created"))
        return [hours[hour] for hour in range(24)]

    def orders_by_day(self) -> dict[date, int]:
        return dict(sorted(Counter(self._local(created).date() for created in self._times("created")).items()))

    def revenue_by_day(self) -> dict[date, Decimal]:
        """By the day of the payment."""
        return _sums((self._local(s.paid).date(), s.revenue()) for s in self._all() if s.paid)

    def orders_by_month(self) -> dict[str, int]:
        """Months are written like "2026-01"."""
        return dict(sorted(Counter(f"{self._local(created):%Y-%m}" for created in self._times("created")).items()))

    def revenue_by_month(self) -> dict[str, Decimal]:
        """By the month of the payment."""
        return _sums((f"{self._local(s.paid):%Y-%m}", s.revenue()) for s in self._all() if s.paid)

    def delays(self) -> dict[str, list[float]]:
        """Hours from each stage to the next ("created to paid", ...), for orders that have both in that order."""
        found: dict[str, list[float]] = {}
        for before, after in DELAYS:
            times = ((getattr(story, before), getattr(story, after)) for story in self._all())
            hours = ((end - start).total_seconds() / 3600 for start, end in times if start and end)
            found[f"{before} to {after}"] = [delay for delay in hours if delay >= 0]
        return found

    def _all(self) -> list[Story]:
        return list(self._stories.values())

    def _times(self, stage: str) -> Iterable[datetime]:
        return (time for story in self._all() if (time := getattr(story, stage)))

    def _local(self, time: datetime) -> datetime:
        return time.astimezone(self.zone)

    # --- snapshots ----------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {
            "seen": sorted(self._seen),
            "users": sorted(self._users),
            "counts": dict(self._counts),
            "stories": {order: _written(story) for order, story in self._stories.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._seen, self._users = set(state["seen"]), set(state["users"])
        self._counts = Counter(state["counts"])
        stories = {o: Story(**{k: _read(k, v) for k, v in story.items()}) for o, story in state["stories"].items()}
        self._stories = defaultdict(Story, stories)
        self.revenue = sum((story.revenue() for story in stories.values()), ZERO)


def figures(events: int, users: int, counts: Mapping[str, int], revenue: Decimal) -> dict[str, int | str]:
    """The totals, as everybody who keeps them gives them: what `counts` doesn't name is 0."""
    return {
        "events": events,
        "users": users,
        "orders": counts.get("created", 0),
        **{stage: counts.get(stage, 0) for stage in STAGES[1:]},
        "revenue": str(revenue),
        **{name: counts.get(name, 0) for name in ("emails", "sms", "failed")},
    }


def _short(id: str) -> int:
    """128 bits of a hash, in half the memory of the id: a server has seen millions."""
    return int.from_bytes(blake2b(id.encode(), digest_size=16).digest())


def _sums(amounts: Iterable[tuple[T, Decimal]]) -> dict[T, Decimal]:
    sums: defaultdict[T, Decimal] = defaultdict(lambda: ZERO)
    for name, amount in amounts:
        sums[name] += amount
    return {name: sums[name] for name in sorted(sums, key=str)}


def _written(story: Story) -> dict[str, str]:
    return {name: str(value) for name, value in asdict(story).items() if value is not None}


def _read(name: str, value: str) -> Any:
    return Decimal(value) if name.endswith("amount") else datetime.fromisoformat(value)
