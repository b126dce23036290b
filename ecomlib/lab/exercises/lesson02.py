"""The exercises of lesson 02: what no retry cures, what a retry repeats, and a handler that may be retried."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ecomlib.bus import EventBus
from ecomlib.clock import SimulatedClock
from ecomlib.errors import Permanent
from ecomlib.events import Event
from ecomlib.faults import Faults
from ecomlib.lab.exercises.exercise import Exercise

# --- 02.1: which failures are permanent -----------------------------------------------------------------------

LETTERS = "Answer with a set of letters, like {'A', 'B'}."
TURNED_ROUND = "You have it the other way round: a busy server and a lost network get better. Waiting helps there."
ALL_OF_THEM = "A busy server (B) or a lost network (D) is better in a moment: one more attempt may work."
NONE_OF_THEM = "Some of these fail the same way for ever. Ask of each: what would be different at the next attempt?"
ONLY_MAILBOX = "One more belongs here: an order that names no customer (C) will name none at the next attempt either."
ONLY_NO_USER = "One more belongs here: a mailbox that does not exist (A) will not exist in five seconds either."
FAILURES = {"A": "the mailbox does not exist", "B": "busy", "C": "the order names no customer", "D": "no network"}


def judge_permanent(answer: Any) -> str | None:
    if isinstance(answer, str) or not isinstance(answer, Iterable):
        return LETTERS
    chosen = {str(letter).upper() for letter in answer}
    if not chosen <= set(FAILURES):
        return LETTERS
    attempts: dict[str, int] = {}
    for letter, problem in FAILURES.items():  # the bus says what the choice means
        bus = EventBus(clock=SimulatedClock())
        bus.subscribe("#", handler=_fails_with(Permanent(problem) if letter in chosen else ConnectionError(problem)))
        bus.publish(Event("email.wanted"))
        attempts[letter] = bus.run_until_idle()
    once = {letter for letter, made in attempts.items() if made == 1}
    if once == {"A", "C"}:
        return None
    hints = {"": NONE_OF_THEM, "BD": TURNED_ROUND, "A": ONLY_MAILBOX, "C": ONLY_NO_USER}
    return hints.get("".join(sorted(once)), ALL_OF_THEM)


def _fails_with(error: Exception) -> Callable[[Event], None]:
    def handler(event: Event) -> None:
        raise error

    return handler


PERMANENT = Exercise(
    id="02.1",
    name="permanent",
    blank="permanent = None  # a set of letters, like {'A', 'B'}",
    judge=judge_permanent,
    right="Right: A and C fail the same way at every attempt. B and D get better when the bus waits a little.",
    nudge="Ask of each failure: what would be different in five seconds? If nothing, it is permanent.",
    wrong=(
        ("permanent = {'B', 'D'}", TURNED_ROUND),
        ("permanent = {'A', 'B', 'C', 'D'}", ALL_OF_THEM),
        ("permanent = set()", NONE_OF_THEM),
        ("permanent = {'A'}", ONLY_MAILBOX),
        ("permanent = {'C'}", ONLY_NO_USER),
        ("permanent = 'A and C'", LETTERS),
    ),
    solution="permanent = {'A', 'C'}",
)

# --- 02.2: how many emails ------------------------------------------------------------------------------------

BUS_REMEMBERS = "You trust the bus to remember the email. It only sees that the handler failed, and calls it again."
FAILURES_ONLY = "You counted the attempts that failed. The third one works, and it sends an email too."
ALL_LOST = "The failure comes after the email has gone out. An exception can't call it back."
ONE_TOO_MANY = "The first call is an attempt too: three attempts are one call and two retries."
EMAILS = "Answer with a whole number. Count the attempts: the email goes out before the failure."


def emails_sent() -> int:
    """A handler that sends and then fails, at attempts 1 and 2 of the 3 that it has."""
    mailbox: list[Event] = []
    faults, bus = Faults(), EventBus(clock=SimulatedClock())
    bus.subscribe("order.created", handler=faults.wrap("email", mailbox.append))
    faults.fail("email", attempts=(1, 2), when="after")
    bus.publish(Event("order.created", {"order_id": 1, "amount": 10}))
    bus.run_until_idle()
    return len(mailbox)


def judge_emails(answer: Any) -> str | None:
    if isinstance(answer, bool) or not isinstance(answer, int):
        return EMAILS
    if answer == emails_sent():
        return None
    return {0: ALL_LOST, 1: BUS_REMEMBERS, 2: FAILURES_ONLY, 4: ONE_TOO_MANY}.get(answer, EMAILS)


EMAILS_SENT = Exercise(
    id="02.2",
    name="emails",
    blank="emails = None  # a number",
    judge=judge_emails,
    right="Right: every attempt sends before it fails, and the third sends and works: three emails.",
    nudge="Write down attempts 1, 2, 3. Next to each: did the email go out? Did the handler fail?",
    wrong=(
        ("emails = 1", BUS_REMEMBERS),
        ("emails = 2", FAILURES_ONLY),
        ("emails = 0", ALL_LOST),
        ("emails = 4", ONE_TOO_MANY),
        ("emails = 'many'", EMAILS),
    ),
    solution="emails = 3",
)

# --- 02.3: a handler that may be retried ----------------------------------------------------------------------

NO_MEMORY = "The same event came twice, and two messages went out. The handler must remember which events it served."
FRESH_MEMORY = "The memory is made anew at every call, so it is always empty. Make it outside the handler."
BY_ORDER = "A second event about the same order sent nothing: you remember orders. Remember the event's own id."
BY_TYPE = "The same fact about another order sent nothing: you remember types. Remember the event's own id."
ONE_FLAG = "After the first event nothing more is sent, whatever comes. Remember the id of each event that was served."
ONLY_LAST = "A copy that came after another event was sent again: you remember only the last one. Keep all the ids."
TOO_EARLY = "The first attempt failed before the message went out, and then it never did. Remember after sending."
SWALLOWED = (
    "The sender failed, and the bus never heard of it: the error was caught. Let it out, so that the bus retries."
)
NOTHING_SENT = "No message went out. Call send(event) for an event that is new."
NO_HANDLER = "once(send) gives nothing back that can be called. Does it end with 'return handler'?"


def judge_once(answer: Any) -> str | None:
    sent: list[str] = []
    failing = True

    def send(event: Event) -> None:
        if failing:
            raise ConnectionError("the SMS gateway does not answer")
        sent.append(event.id)

    paid = Event("order.paid", {"order_id": 1, "amount": 10, "user_id": 7})
    handler = answer(send)
    if not callable(handler):
        return NO_HANDLER
    try:
        handler(paid)
    except ConnectionError:
        swallowed = False
    else:
        swallowed = True
    failing = False
    handler(paid)  # the retry
    retried = len(sent)
    if not retried:
        fresh = answer(send)  # one that has not met a failure: does it send at all?
        fresh(paid)
        return NOTHING_SENT if not sent else SWALLOWED if swallowed else TOO_EARLY
    handler(paid)  # a second copy
    if len(sent) > 1:
        return FRESH_MEMORY if _makes_memory(handler) else NO_MEMORY
    handler(Event("order.shipped", {"order_id": 1}))
    same_order = len(sent) == 2
    handler(Event("order.paid", {"order_id": 2, "amount": 10, "user_id": 8}))
    same_type = len(sent) == 2 + same_order
    if not same_order:
        return BY_ORDER if same_type else ONE_FLAG
    if not same_type:
        return BY_TYPE
    handler(paid)  # a third copy, after others
    if len(sent) > 3:
        return ONLY_LAST
    return SWALLOWED if swallowed else None


def _makes_memory(handler: Any) -> bool:
    """Whether it fills a container of its own: then that is new at every call."""
    code = getattr(handler, "__code__", None)
    return code is not None and {"add", "append"} & set(code.co_names) != set() and len(code.co_varnames) > 1


def _once(body: str, before: str = "    seen = set()\n") -> str:
    return f"def once(send):\n{before}    def handler(event):\n{body}    return handler"


ONCE = Exercise(
    id="02.3",
    name="once",
    blank="def once(send):\n    ...  # make a memory, then a handler that uses it; return the handler",
    judge=judge_once,
    right="Right: a second copy sends nothing, a failed attempt is tried again, and each new event is served.",
    nudge="Keep a set of event ids beside the handler. Ask it first, send, and only then add the id.",
    wrong=(
        (_once("        send(event)\n", before=""), NO_MEMORY),
        (
            _once(
                "        seen = set()\n        if event.id not in seen:\n            send(event)\n"
                "            seen.add(event.id)\n",
                before="",
            ),
            FRESH_MEMORY,
        ),
        (
            _once(
                "        if event.data.order_id not in seen:\n            send(event)\n"
                "            seen.add(event.data.order_id)\n"
            ),
            BY_ORDER,
        ),
        (
            _once(
                "        if event.type not in seen:\n            send(event)\n            seen.add(event.type)\n",
            ),
            BY_TYPE,
        ),
        (
            _once(
                "        nonlocal done\n        if not done:\n            send(event)\n            done = True\n",
                before="    done = False\n",
            ),
            ONE_FLAG,
        ),
        (
            _once(
                "        nonlocal last\n        if event.id != last:\n            send(event)\n"
                "            last = event.id\n",
                before="    last = None\n",
            ),
            ONLY_LAST,
        ),
        (
            _once("        if event.id not in seen:\n            seen.add(event.id)\n            send(event)\n"),
            TOO_EARLY,
        ),
        (
            _once(
                "        if event.id not in seen:\n            try:\n                send(event)\n"
                "            except Exception:\n                pass\n            seen.add(event.id)\n"
            ),
            SWALLOWED,
        ),
        (_once("        seen.add(event.id)\n"), NOTHING_SENT),
        (_once("        send(event)\n").removesuffix("    return handler"), NO_HANDLER),
    ),
    solution=_once("        if event.id not in seen:\n            send(event)\n            seen.add(event.id)\n"),
)

EXERCISES = (PERMANENT, EMAILS_SENT, ONCE)
