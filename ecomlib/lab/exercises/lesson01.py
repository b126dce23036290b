"""The exercises of lesson 01: patterns, deliveries, and a handler that is handed over."""

from __future__ import annotations

from typing import Any

from ecomlib.bus import EventBus
from ecomlib.errors import AlreadySubscribed, BadPattern
from ecomlib.events import Event
from ecomlib.lab.exercises.exercise import Exercise

# --- 01.1: a pattern ------------------------------------------------------------------------------------------

ORDER_TYPES = ("order.created", "order.paid", "order.item.added", "order.item.price.changed")
OTHER_TYPES = ("user.registered", "user.order.viewed", "orders.closed")

NO_PATTERN = "A pattern is one text in quotes, like 'user.*'."
MIXED = "A wildcard must stand alone between dots, as one whole word. Here it is glued to something else."
QUOTES = "The text itself has quotes in it: one pair around it is enough."
CAPITAL = "A capital letter counts: 'Order' is another word than 'order'. Types are written in small letters."
OTHER_WORD = "The pattern begins with another word. The first word must be 'order', exactly that."
ONE_WORD = "'*' is exactly one word, so order.item.added (three words) does not match. Which sign takes more?"
EXACT = "Without a wildcard a pattern matches only its own type. Nothing is added behind it."
FIRST_WORD = "This leaves the first word open. The warehouse cares about just that word: it must be 'order'."


def too_much(type: str) -> str:
    return f"This takes too much: it matches {type} as well. Begin the pattern with the word 'order'."


def too_little(type: str) -> str:
    return f"{type} does not match. Behind 'order' any number of words may come: which sign stands for that?"


def judge_pattern(answer: Any) -> str | None:
    if not isinstance(answer, str):
        return NO_PATTERN
    if "'" in answer or '"' in answer:
        return QUOTES
    seen: list[str] = []
    bus = EventBus()
    try:
        bus.subscribe(answer, handler=lambda event: seen.append(event.type))
    except BadPattern as error:
        return MIXED if "mixes" in str(error) else f"The bus refuses it: {error}"
    for type in (*ORDER_TYPES, *OTHER_TYPES):
        bus.publish(Event(type, {"order_id": 1, "amount": 10, "user_id": 7}))
    bus.run_until_idle()
    missed = [type for type in ORDER_TYPES if type not in seen]
    extra = [type for type in OTHER_TYPES if type in seen]
    if not missed and not extra:
        return None
    first = answer.split(".")[0]
    if first != "order" and first.lower() == "order":
        return CAPITAL
    if "*" not in answer and "#" not in answer:
        return EXACT
    if first in ("*", "#"):
        return too_much(extra[0]) if extra else FIRST_WORD
    if first != "order":
        return OTHER_WORD
    return ONE_WORD if answer == "order.*" else too_little(missed[0])


PATTERN = Exercise(
    id="01.1",
    name="pattern",
    blank="pattern = None  # for example 'user.*'",
    judge=judge_pattern,
    right="Right: 'order' must be the first word, and '#' takes any number of words after it, also none.",
    nudge="One sign stands for exactly one word, the other for none or more. Here the number of words is open.",
    wrong=(
        ("pattern = 'order.*'", ONE_WORD),
        ("pattern = 'order.*.*'", too_little("order.created")),
        ("pattern = 'order.item.#'", too_little("order.created")),
        ("pattern = 'order*'", MIXED),
        ("pattern = 'order#'", MIXED),
        ("pattern = '#order#'", MIXED),
        ("pattern = \"'order.#'\"", QUOTES),
        ("pattern = 'Order.#'", CAPITAL),
        ("pattern = 'orders.#'", OTHER_WORD),
        ("pattern = 'user.*'", OTHER_WORD),
        ("pattern = '#'", too_much("user.registered")),
        ("pattern = '#.order.#'", too_much("user.order.viewed")),
        ("pattern = 'order'", EXACT),
        ("pattern = '*.created'", FIRST_WORD),
        ("pattern = ['order.created', 'order.paid']", NO_PATTERN),
    ),
    solution="pattern = 'order.#'",
)

# --- 01.2: counting deliveries --------------------------------------------------------------------------------

PER_PATTERN = (
    "You counted audit twice for order.created. A subscription gets an event once, however many of its patterns match."
)
PER_EVENT = "You counted events. A delivery is one event for one subscription, so an event can make several."
PER_SUBSCRIPTION = "You counted subscriptions. Take each event in turn: which subscriptions does it reach?"
NOT_HASH = "Did you forget that '#' alone matches every type? analytics gets both events."
NUMBER = "Answer with a whole number. Take each event in turn, count the subscriptions that it reaches, and add up."


def deliveries() -> int:
    bus = EventBus()
    bus.subscribe("order.created", handler=repr, name="email")
    bus.subscribe("order.created", "order.*", handler=repr, name="audit")
    bus.subscribe("#", handler=repr, name="analytics")
    bus.publish(Event("order.created", {"order_id": 1, "amount": 10}))
    bus.publish(Event("order.paid", {"order_id": 1, "amount": 10}))
    return bus.run_until_idle()


def judge_deliveries(answer: Any) -> str | None:
    if answer == deliveries() and not isinstance(answer, bool):
        return None
    return (
        {6: PER_PATTERN, 2: PER_EVENT, 3: PER_SUBSCRIPTION, 4: NOT_HASH}.get(answer, NUMBER)
        if isinstance(answer, int)
        else NUMBER
    )


DELIVERIES = Exercise(
    id="01.2",
    name="deliveries",
    blank="deliveries = None  # a number",
    judge=judge_deliveries,
    right="Right: order.created reaches all three (audit once), order.paid reaches audit and analytics. 3 + 2 = 5.",
    nudge="Make a small table: a row for each event, a column for each subscription. Count the crosses.",
    wrong=(
        ("deliveries = 6", PER_PATTERN),
        ("deliveries = 2", PER_EVENT),
        ("deliveries = 3", PER_SUBSCRIPTION),
        ("deliveries = 4", NOT_HASH),
        ("deliveries = 'five'", NUMBER),
    ),
    solution="deliveries = 5",
)

# --- 01.3: subscribing ----------------------------------------------------------------------------------------

CALLED = (
    "A handler was called before any event came: you wrote parentheses behind it. Hand over the function itself: "
    "handler=welcome."
)
WELCOME_ALL = "welcome also got user.deleted: a customer who leaves is welcomed. Give welcome the exact type."
WELCOME_MORE = "welcome got more than user.registered, once. One subscription to that exact type is enough."
WELCOME_NONE = "welcome did not get user.registered."
LOGGER_TWICE = "logger got one event twice: it has two subscriptions that match. One subscription is enough."
LOGGER_NAMED = "logger missed user.renamed, a type that you did not name. A wildcard takes those that nobody knows yet."
LOGGER_MORE = "logger got order.created: it should hear of users only."
NOBODY = "Nothing was delivered: the function must call bus.subscribe(...), once for each handler."
SAME_PATTERN = "The bus refused: the same handler may not have the same pattern twice."
SAME_NAME = "The bus refused: two subscriptions may not have one name. Leave name= away, or give each its own."
USER_TYPES = ("user.registered", "user.updated", "user.deleted", "user.renamed")  # the task does not name the last


def logger_missed(type: str) -> str:
    return f"logger missed {type}. New types will come: a wildcard takes those that nobody knows yet."


def judge_wiring(answer: Any) -> str | None:
    bus = EventBus()
    welcomed: list[str] = []
    logged: list[str] = []
    early: list[str] = []
    published = False

    def welcome(*events: Event) -> None:
        if not published:
            early.append("welcome")
        welcomed.extend(event.type for event in events)

    def logger(*events: Event) -> None:
        if not published:
            early.append("logger")
        logged.extend(event.type for event in events)

    try:
        answer(bus, welcome, logger)
    except AlreadySubscribed as error:
        return SAME_NAME if "named" in str(error) else SAME_PATTERN
    except TypeError:
        if early:
            return CALLED
        raise
    published = True
    for type in (*USER_TYPES, "order.created"):
        bus.publish(Event(type, {"user_id": 7, "order_id": 1, "amount": 10}))
    bus.run_until_idle()
    if not welcomed and not logged:
        return NOBODY
    if "user.registered" not in welcomed:
        return WELCOME_NONE
    if len(welcomed) > 1:
        return WELCOME_ALL if "user.deleted" in welcomed else WELCOME_MORE
    if len(logged) > len(set(logged)):
        return LOGGER_TWICE
    if "order.created" in logged:
        return LOGGER_MORE
    missed = [type for type in USER_TYPES if type not in logged]
    if missed == ["user.renamed"]:
        return LOGGER_NAMED
    return logger_missed(missed[0]) if missed else None


WIRING = Exercise(
    id="01.3",
    name="wire",
    blank="def wire(bus, welcome, logger):\n    ...  # your subscriptions",
    judge=judge_wiring,
    right="Right: an exact type for the email, a wildcard for the log, and functions handed over, not called.",
    nudge="Two lines, each a bus.subscribe(pattern, handler=...). Which of the two handlers needs a wildcard?",
    wrong=(
        (
            "def wire(bus, welcome, logger):\n"
            "    bus.subscribe('user.registered', handler=welcome())\n"
            "    bus.subscribe('user.*', handler=logger())",
            CALLED,
        ),
        (
            "def wire(bus, welcome, logger):\n"
            "    bus.subscribe('user.*', handler=welcome)\n"
            "    bus.subscribe('user.*', handler=logger)",
            WELCOME_ALL,
        ),
        (
            "def wire(bus, welcome, logger):\n"
            "    bus.subscribe('user.registered', handler=welcome)\n"
            "    bus.subscribe('user.registered', 'user.deleted', handler=logger)",
            logger_missed("user.updated"),
        ),
        (
            "def wire(bus, welcome, logger):\n"
            "    bus.subscribe('user.registered', handler=welcome)\n"
            "    bus.subscribe('user.registered', 'user.updated', handler=logger)",
            logger_missed("user.deleted"),
        ),
        (
            "def wire(bus, welcome, logger):\n"
            "    bus.subscribe('user.registered', handler=welcome)\n"
            "    bus.subscribe('user.registered', 'user.deleted', 'user.updated', handler=logger)",
            LOGGER_NAMED,
        ),
        (
            "def wire(bus, welcome, logger):\n"
            "    bus.subscribe('user.registered', handler=welcome, name='users')\n"
            "    bus.subscribe('user.*', handler=logger, name='users')",
            SAME_NAME,
        ),
        (
            "def wire(bus, welcome, logger):\n"
            "    bus.subscribe('user.registered', handler=welcome)\n"
            "    bus.subscribe('user.*', handler=logger)\n"
            "    bus.subscribe('user.*', handler=logger)",
            SAME_PATTERN,
        ),
        (
            "def wire(bus, welcome, logger):\n"
            "    bus.subscribe('user.registered', 'user.updated', handler=welcome)\n"
            "    bus.subscribe('user.*', handler=logger)",
            WELCOME_MORE,
        ),
        (
            "def wire(bus, welcome, logger):\n"
            "    bus.subscribe('user.registered', handler=welcome)\n"
            "    bus.subscribe('user.registered', handler=logger)\n"
            "    bus.subscribe('user.*', handler=logger)",
            LOGGER_TWICE,
        ),
        (
            "def wire(bus, welcome, logger):\n"
            "    bus.subscribe('user.registered', handler=welcome)\n"
            "    bus.subscribe('#', handler=logger)",
            LOGGER_MORE,
        ),
        ("def wire(bus, welcome, logger):\n    bus.subscribe('user.*', handler=logger)", WELCOME_NONE),
        ("def wire(bus, welcome, logger):\n    return {'user.registered': welcome, 'user.*': logger}", NOBODY),
    ),
    solution=(
        "def wire(bus, welcome, logger):\n"
        "    bus.subscribe('user.registered', handler=welcome)\n"
        "    bus.subscribe('user.*', handler=logger)"
    ),
)

EXERCISES = (PATTERN, DELIVERIES, WIRING)
