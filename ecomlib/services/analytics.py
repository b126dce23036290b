"""The figures of the shop: a projection, the same whether it listens live or folds the log again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar

from ecomlib.events import Event
from ecomlib.zones import zone_named

STAGES = ("created", "paid", "shipped", "delivered", "cancelled")
DELAYS = (("created", "paid"), ("paid", "shipped"), ("shipped", "delivered"))
ZERO = Decimal("0.00")

# One order's story: the earliest time of each stage, the amount ordered, and the amount paid.
Story = dict[str, Any]

T = TypeVar("T", date, str)


class Analytics:
    """Takes facts as they come: late, out of order, or twice (an event's id counts once).

    An order's revenue is what its first `order.paid` says, or, where an old version says no amount, what the order
    said. Days, hours and months are those of `zone`, an IANA name. Amounts are `Decimal`, delays are hours.
    """

    def __init__(self, zone: str = "UTC") -> None:
        self.zone = zone_named(zone)
        self._seen: set[str] = set()
        self._users: set[str] = set()
        self._stories: defaultdict[str, Story] = defaultdict(dict)
        self._counts: Counter[str] = Counter()

    def apply(self, event: Event) -> None:
        if event.id in self._seen:
            return
        self._seen.add(event.id)
        noun, _, verb = event.type.partition(".")
        user = getattr(event.data, "user_id", None)
        if isinstance(user, str) and noun in ("user", "order"):
            self._users.add(user)
        if event.type == "notification.sent":
            self._counts["emails" if event.data.channel == "email" else event.data.channel] += 1
        elif event.type == "notification.failed":
            self._counts["failed"] += 1
        elif noun == "order" and verb in (*STAGES, "updated"):
            self._apply_to_order(self._stories[event.data.order_id], verb, event)

    def _apply_to_order(self, story: Story, verb: str, event: Event) -> None:
        if verb in ("created", "updated"):
            story["amount"] = event.data.amount
        if verb == "paid" and "paid" not in story:
            story["paid_amount"] = event.data.amount
        if verb in STAGES:
            story[verb] = min(event.time, story.get(verb, event.time))

    # --- totals -------------------------------------------------------------------------------------------

    def totals(self) -> dict[str, int | str]:
        """`events` counts them all; `orders` to `cancelled` are distinct orders; `revenue` is a decimal string."""
        stages = Counter(stage for story in self._all() for stage in STAGES if stage in story)
        return {
            "events": len(self._seen),
            "users": len(self._users),
            "orders": stages["created"],
            **{stage: stages[stage] for stage in STAGES[1:]},
            "revenue": str(sum((_revenue(story) for story in self._all()), ZERO)),
            **{name: self._counts[name] for name in ("emails", "sms", "failed")},
        }

    # --- what charts need ---------------------------------------------------------------------------------

    def orders_by_hour(self) -> list[int]:
        """24 counts of orders created, midnight first."""
        hours = Counter(self._local(story["created"]).hour for story in self._having("created"))
        return [hours[hour] for hour in range(24)]

    def orders_by_day(self) -> dict[date, int]:
        return dict(sorted(Counter(self._local(story["created"]).date() for story in self._having("created")).items()))

    def revenue_by_day(self) -> dict[date, Decimal]:
        """By the day of the payment."""
        return _sums((self._local(s["paid"]).date(), _revenue(s)) for s in self._having("paid"))

    def orders_by_month(self) -> dict[str, int]:
        """Months are written like "2026-01"."""
        return dict(sorted(Counter(f"{self._local(s['created']):%Y-%m}" for s in self._having("created")).items()))

    def revenue_by_month(self) -> dict[str, Decimal]:
        """By the month of the payment."""
        return _sums((f"{self._local(s['paid']):%Y-%m}", _revenue(s)) for s in self._having("paid"))

    def delays(self) -> dict[str, list[float]]:
        """Hours from each stage to the next ("created to paid", ...), for orders that have both in that order."""
        found: dict[str, list[float]] = {}
        for before, after in DELAYS:
            hours = ((s[after] - s[before]).total_seconds() / 3600 for s in self._having(before, after))
            found[f"{before} to {after}"] = [delay for delay in hours if delay >= 0]
        return found

    def _all(self) -> list[Story]:
        return list(self._stories.values())

    def _having(self, *stages: str) -> Iterable[Story]:
        return (story for story in self._all() if all(stage in story for stage in stages))

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
        stories = {order: {k: _read(k, v) for k, v in story.items()} for order, story in state["stories"].items()}
        self._stories = defaultdict(dict, stories)


def _sums(amounts: Iterable[tuple[T, Decimal]]) -> dict[T, Decimal]:
    sums: defaultdict[T, Decimal] = defaultdict(lambda: ZERO)
    for name, amount in amounts:
        sums[name] += amount
    return {name: sums[name] for name in sorted(sums, key=str)}


def _revenue(story: Story) -> Decimal:
    if "paid" not in story:
        return ZERO
    paid: Decimal | None = story["paid_amount"]
    ordered: Decimal | None = story.get("amount")
    return paid if paid is not None else ordered if ordered is not None else ZERO


def _written(story: Story) -> dict[str, str | None]:
    return {name: None if value is None else str(value) for name, value in story.items()}


def _read(name: str, value: str | None) -> Any:
    if value is None:
        return None
    return Decimal(value) if name.endswith("amount") else datetime.fromisoformat(value)
