"""The exercises of lesson 03: a projection of one's own, a question to a log, and a bus that forgets to forget."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from ecomlib.events import Event
from ecomlib.lab.exercises.exercise import Exercise
from ecomlib.services.analytics import Analytics

# --- 03.1: a projection ---------------------------------------------------------------------------------------

A_SET = "Give back a set with the ids of the orders, not their number and not the events."
AS_TEXT = "An order's id is text: '2', not 2."
CANCELLED = "Order 3 was cancelled. Nobody waits for its payment any more."
ONLY_CREATED = "Order 1 is paid, so it is not open."
NO_ORDERS = "The order that was created and neither paid nor cancelled is missing."
NOT_THERE = "Here order.paid comes before order.created, and remove() finds nothing to remove. Facts may come late."
COMES_LATE = "Here order.created comes after order.paid, and opens the order again. Remember which orders are settled."
OTHER_EVENTS = "The log also holds events without an order_id, like user.registered. Look at the type first."


def _order(verb: str, order_id: int, **data: Any) -> Event:
    return Event(f"order.{verb}", {"order_id": order_id, "amount": 10, "user_id": 7, **data})


def judge_open_orders(answer: Any) -> str | None:
    created, paid = _order("created", 1), _order("paid", 1)
    day = [created, paid, _order("created", 2), _order("created", 3), _order("cancelled", 3)]
    found = answer(day)
    if not isinstance(found, set):
        return A_SET
    if found and all(isinstance(order, int) for order in found):
        return AS_TEXT
    if found != {"2"}:
        return ONLY_CREATED if "1" in found else CANCELLED if "3" in found else NO_ORDERS
    try:
        answer([*day, Event("user.registered", {"user_id": 7})])
    except (AttributeError, KeyError):
        return OTHER_EVENTS
    try:
        late = answer([paid, created])
    except (KeyError, ValueError):
        return NOT_THERE
    return COMES_LATE if late else None


def _open(body: str, before: str = "    found = set()\n", after: str = "    return found") -> str:
    return f"def open_orders(events):\n{before}    for event in events:\n{body}{after}"


OPEN_ORDERS = Exercise(
    id="03.1",
    name="open_orders",
    blank="def open_orders(events):\n    ...  # give back a set of order ids",
    judge=judge_open_orders,
    right="Right, also when a fact comes late: what was created, without what was paid or cancelled.",
    nudge="Fill two sets on the way: what was created, and what is settled. At the end: one minus the other.",
    wrong=(
        (
            _open(
                "        if event.type == 'order.created':\n            found.add(event.data.order_id)\n"
                "        if event.type == 'order.paid':\n            found.discard(event.data.order_id)\n"
            ),
            CANCELLED,
        ),
        (
            _open("        if event.type == 'order.created':\n            found.add(event.data.order_id)\n"),
            ONLY_CREATED,
        ),
        (
            _open(
                "        if event.type == 'order.created':\n            found.add(event.data.order_id)\n"
                "        if event.type in ('order.paid', 'order.cancelled'):\n"
                "            found.remove(event.data.order_id)\n"
            ),
            NOT_THERE,
        ),
        (
            _open(
                "        if event.type == 'order.created':\n            found.add(event.data.order_id)\n"
                "        if event.type in ('order.paid', 'order.cancelled'):\n"
                "            found.discard(event.data.order_id)\n"
            ),
            COMES_LATE,
        ),
        (
            _open(
                "        if event.type == 'order.created':\n            found.add(event.data.order_id)\n"
                "        else:\n            found.discard(event.data.order_id)\n"
            ),
            OTHER_EVENTS,
        ),
        (
            _open(
                "        if event.type == 'order.created':\n            count += 1\n"
                "        if event.type in ('order.paid', 'order.cancelled'):\n            count -= 1\n",
                before="    count = 0\n",
                after="    return count",
            ),
            A_SET,
        ),
        (
            _open(
                "        if event.type == 'order.created':\n            found.add(int(event.data.order_id))\n"
                "        if event.type in ('order.paid', 'order.cancelled'):\n"
                "            found.discard(int(event.data.order_id))\n"
            ),
            AS_TEXT,
        ),
        (
            _open("        if event.type == 'created':\n            found.add(event.data.order_id)\n"),
            NO_ORDERS,
        ),
    ),
    solution=_open(
        "        if event.type == 'order.created':\n            created.add(event.data.order_id)\n"
        "        if event.type in ('order.paid', 'order.cancelled'):\n            settled.add(event.data.order_id)\n",
        before="    created, settled = set(), set()\n",
        after="    return created - settled",
    ),
)

# --- 03.2: a question to a log --------------------------------------------------------------------------------

LATEST = "This is the latest month: max() of a dict compares its keys. Say what to compare: key=..."
MOST_ORDERS = "This month has the most orders. The question is about money: revenue_by_month()."
AMOUNT = "This is the amount. The question is which month it was."
PAIR = "You gave back month and amount together. Give back the month alone, like '2026-01'."
MONTH = "Give back the month as text, like '2026-01': the one whose revenue is the highest."

SALES = {1: (10, 10, 10), 2: (100,), 3: (20, 20)}  # by month: most orders in January, most money in February


def judge_best_month(answer: Any) -> str | None:
    analytics = Analytics()
    for month, amounts in SALES.items():
        for n, amount in enumerate(amounts):
            data = {"order_id": f"{month}-{n}", "user_id": 7, "amount": amount}
            for type in ("order.created", "order.paid"):
                analytics.apply(Event(type, data, time=datetime(2026, month, 5, 12 + n, tzinfo=UTC)))
    found = answer(analytics)
    if found == "2026-02":
        return None
    if found in analytics.revenue_by_month().values():
        return AMOUNT
    if isinstance(found, Iterable) and not isinstance(found, str):
        return PAIR
    return {"2026-03": LATEST, "2026-01": MOST_ORDERS}.get(found, MONTH)


BEST_MONTH = Exercise(
    id="03.2",
    name="best_month",
    blank="def best_month(analytics):\n    ...  # give back a month, like '2026-01'",
    judge=judge_best_month,
    right="Right: the month with the highest revenue, in any log of any shop.",
    nudge="analytics.revenue_by_month() is a dict. max(dict, key=...) compares by what you say.",
    wrong=(
        ("def best_month(analytics):\n    return max(analytics.revenue_by_month())", LATEST),
        (
            "def best_month(analytics):\n    months = analytics.orders_by_month()\n"
            "    return max(months, key=months.get)",
            MOST_ORDERS,
        ),
        ("def best_month(analytics):\n    return max(analytics.revenue_by_month().values())", AMOUNT),
        (
            "def best_month(analytics):\n    months = analytics.revenue_by_month()\n"
            "    return max(months.items(), key=lambda pair: pair[1])",
            PAIR,
        ),
        ("def best_month(analytics):\n    return 'February'", MONTH),
    ),
    solution=(
        "def best_month(analytics):\n    months = analytics.revenue_by_month()\n    return max(months, key=months.get)"
    ),
)

# --- 03.3: the bug to spot ------------------------------------------------------------------------------------


Handlers = dict[str, list[Callable[[Event], object]]]


class SmallBus:
    def __init__(self) -> None:
        self.subscribers: Handlers = {}

    def subscribe(self, type: str, handler: Callable[[Event], object]) -> None:
        self.subscribers.setdefault(type, []).append(handler)

    def publish(self, event: Event) -> None:
        for handler in self.subscribers.get(event.type, []):
            handler(event)

    def clear(self) -> None:
        """Forget every handler."""
        self._subscribers: Handlers = {}


OTHER_NAME = (
    "This fills self._subscribers, with an underscore. Which name does publish read? A new attribute is no error in "
    "Python, so nothing warns you."
)
NEW_NAME = (
    "This fills an attribute that nobody reads. Which name does publish read? Python makes any new one without a word."
)
LOCAL = "Without 'self.' this makes a variable of the method's own, which is gone at its end."
NO_DICT = "Now there is no dict left: the next subscribe or publish fails. Leave an empty one."
NOT_CALLED = "The old handlers are still there. A method's name alone does nothing: it needs parentheses, clear()."
STILL_THERE = "The old handlers are still there: make the dict that publish reads an empty one."


def one_left(type: str) -> str:
    return f"Only one type was cleared: the handler of {type} is still there."


def judge_clear(answer: Any) -> str | None:
    bus = type("Repaired", (SmallBus,), {"clear": answer})()
    old: list[Event] = []
    new: list[Event] = []
    bus.subscribe("order.created", old.append)
    bus.subscribe("user.registered", old.append)
    try:
        bus.clear()
        bus.subscribe("order.created", new.append)
        bus.publish(_order("created", 1))
        bus.publish(Event("user.registered", {"user_id": 7}))
    except (AttributeError, TypeError):
        if not isinstance(getattr(bus, "subscribers", None), dict):
            return NO_DICT
        raise
    if not old:
        return None if len(new) == 1 else STILL_THERE
    if len(old) == 1:
        return one_left(old[0].type)
    code = answer.__code__
    if "subscribers" in code.co_varnames:
        return LOCAL
    if set(vars(bus)) > {"subscribers"}:
        return OTHER_NAME if "_subscribers" in vars(bus) else NEW_NAME
    return NOT_CALLED if {"subscribers", "clear"} <= set(code.co_names) else STILL_THERE


CLEAR = Exercise(
    id="03.3",
    name="clear",
    blank="def clear(self):\n    ...  # the method, repaired",
    judge=judge_clear,
    right="Right: now clear empties the dict that publish reads.",
    nudge="Compare the names letter by letter: which dict does subscribe fill, which one does clear make new?",
    wrong=(
        ("def clear(self):\n    self._subscribers = {}", OTHER_NAME),
        ("def clear(self):\n    self.handlers = {}", NEW_NAME),
        ("def clear(self):\n    subscribers = {}", LOCAL),
        ("def clear(self):\n    self.subscribers = None", NO_DICT),
        ("def clear(self):\n    del self.subscribers", NO_DICT),
        ("def clear(self):\n    self.subscribers.clear", NOT_CALLED),
        ("def clear(self):\n    self.subscribers['order.created'] = []", one_left("user.registered")),
        ("def clear(self):\n    self.subscribers.popitem()", one_left("order.created")),
        ("def clear(self):\n    self.subscribers.copy()", STILL_THERE),
        ("def clear(self):\n    print('cleared')", STILL_THERE),
    ),
    solution="def clear(self):\n    self.subscribers = {}",
)

EXERCISES = (OPEN_ORDERS, BEST_MONTH, CLEAR)
