"""The exercises of lesson 06: the way back, the pivot, a compensation that may come at any time, and a key."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from pathlib import Path
from types import FunctionType
from typing import Any

from ecomlib.catalogue import Data
from ecomlib.clock import SimulatedClock
from ecomlib.errors import Refused
from ecomlib.factory import EventFactory
from ecomlib.faults import EVERY
from ecomlib.lab.exercises.exercise import Exercise
from ecomlib.lab.saga_desk import SagaDesk
from ecomlib.locks import FileLocks
from ecomlib.log import FileLog
from ecomlib.ports import Retry
from ecomlib.saga import SagaRunner
from ecomlib.steps import Action, Saga, Step

# --- 06.1: the way back ---------------------------------------------------------------------------------------

A_LIST = "Answer with a list of the four steps' names, in the order in which they are compensated."
FORWARDS = "That is the order in which they were done. What was done last rests on what was done before: go backwards."
IN_DOUBT = "Nobody knows whether the inventory did its work before it failed. It may have: compensate it too."
NEVER_BEGUN = "The delivery was never begun. There is nothing to compensate, and the log says so."
ONLY_THE_FAILED = "The inventory is only where it stopped. What stands behind it? The customer has paid."
ORDER_STANDS = "The order still stands in the order book. Nobody will ever send it, so it must go too."
EACH_ONCE = "Once for each step, not for each attempt."
WAY_BACK = "Ask of each step: has it begun? Then go through those that have, the last one first."


def _compensated() -> list[str]:
    """By a real checkout whose inventory fails at every attempt."""
    with SagaDesk() as desk:
        desk.fail("inventory", EVERY)
        desk.buy()
        return [moment.step for moment in desk.moments() if moment.what == "compensation"]


def judge_way_back(answer: Any) -> str | None:
    steps = {"order", "payment", "inventory", "delivery"}
    if not isinstance(answer, list | tuple) or not answer or not all(step in list(steps) for step in answer):
        return A_LIST
    right, given = _compensated(), list(answer)
    if given == right:
        return None
    if len(set(given)) < len(given):
        return EACH_ONCE
    if "delivery" in given:
        return NEVER_BEGUN
    if given == ["inventory"]:
        return ONLY_THE_FAILED
    if "order" not in given:
        return ORDER_STANDS
    if given in (right[::-1], right[:0:-1]):
        return FORWARDS
    return IN_DOUBT if given == right[1:] else WAY_BACK


THE_WAY_BACK = Exercise(
    id="06.1",
    name="way_back",
    blank="way_back = None  # a list of steps, like ['delivery', 'order']",
    judge=judge_way_back,
    right="Right: the last one first, and the step in doubt too, since it may have happened.",
    nudge="Which steps have begun? One of them ended without a clear answer. Does that one count?",
    wrong=(
        ("way_back = ['order', 'payment', 'inventory']", FORWARDS),
        ("way_back = ['payment', 'order']", IN_DOUBT),
        ("way_back = ['order', 'payment']", FORWARDS),
        ("way_back = ['delivery', 'inventory', 'payment', 'order']", NEVER_BEGUN),
        ("way_back = ['inventory']", ONLY_THE_FAILED),
        ("way_back = ['inventory', 'payment']", ORDER_STANDS),
        ("way_back = ['payment', 'inventory', 'order']", WAY_BACK),
        ("way_back = ['inventory', 'inventory', 'inventory', 'payment', 'order']", EACH_ONCE),
        ("way_back = 'all of them'", A_LIST),
    ),
    solution="way_back = ['inventory', 'payment', 'order']",
)

# --- 06.2: the pivot ------------------------------------------------------------------------------------------

CINEMA = ("seat", "money", "ticket", "receipt")
ONE_STEP = "Answer with the name of one step, like 'seat'."
TOO_LATE = "Then a receipt that can't be sent turns the saga round: the customer has the money back, and the ticket."
TOO_EARLY = "Then there is no way back when the printer is out of paper: the customer has paid, and has no ticket."
AT_ONCE = "Then there is no way back when the card is refused: the seat stays taken, and nobody has paid for it."


def _cinema(pivot: str, fails: str) -> tuple[str | None, set[str]]:
    """How the real runner ends this saga when a step says no, and what is in effect then."""
    done: set[str] = set()

    def act(step: str, key: str, request: Data) -> None:
        if step == fails:
            raise Refused(f"The {step} says no.")
        done.add(step)

    def undo(step: str, key: str, request: Data) -> None:
        done.discard(step)

    steps = []
    for name in CINEMA:
        back: Action | None = partial(undo, name) if name in ("seat", "money") else None
        steps.append(Step(name, partial(act, name), back, pivot=name == pivot, retry=Retry(1)))
    with tempfile.TemporaryDirectory() as folder, FileLog(Path(folder) / "log", durability="system") as log:
        locks, new_event = FileLocks(Path(folder) / "locks"), EventFactory("/cinema", SimulatedClock())
        runner = SagaRunner(Saga("cinema", tuple(steps)), log, locks, new_event)
        return runner.start("s1", Data.model_validate({})).outcome, done


def judge_pivot(answer: Any) -> str | None:
    if not isinstance(answer, str) or answer.strip().lower() not in CINEMA:
        return ONE_STEP
    answer = answer.strip().lower()
    if "ticket" in _cinema(answer, "receipt")[1] and _cinema(answer, "receipt")[0] == "compensated":
        return TOO_LATE
    if _cinema(answer, "money")[0] == "stuck":
        return AT_ONCE
    return TOO_EARLY if _cinema(answer, "ticket")[0] == "stuck" else None


PIVOT = Exercise(
    id="06.2",
    name="pivot",
    blank="pivot = None  # the name of a step, like 'seat'",
    judge=judge_pivot,
    right="Right: up to the ticket all can be given back; behind it, the receipt is only tried until it works.",
    nudge="Which step can't be taken back? Which steps can be tried again and again until they work?",
    wrong=(
        ("pivot = 'receipt'", TOO_LATE),
        ("pivot = 'money'", TOO_EARLY),
        ("pivot = 'seat'", AT_ONCE),
        ("pivot = ['ticket', 'receipt']", ONE_STEP),
    ),
    solution="pivot = 'ticket'",
)

# --- 06.3: a compensation that may come at any time -----------------------------------------------------------


@dataclass
class Account:
    balance: int = 500
    paid: dict[str, int] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)

    def pay(self, order: str, amount: int) -> None:
        if order in self.cancelled:
            raise Refused(f"Order {order} was cancelled.")
        if order not in self.paid:
            self.balance -= amount
            self.paid[order] = amount


NO_MONEY = "The order was paid, and the money has not come back: its amount stands in account.paid."
AGAIN = "It may be called twice: the second time do nothing."
TWICE = "It was called twice, and the money came back twice. Forget the payment when it has been paid back."
NOT_PAID = (
    "An order that was never paid is an error in your code. The step may have failed before its work: do nothing."
)
FREE_MONEY = "An order that was never paid has got money back. Pay back only what stands in account.paid."
PAID_AGAIN = "After the compensation a late copy of the payment came, and it was charged. Remember what is cancelled."
LATE = "The compensation came first, then the late payment, and it was charged. Remember it also when nothing was paid."
LETTERS = "The set holds each letter of the order's name, not the name: a text is taken apart. Use add."
ERASED = "When the next order was cancelled, the tombstone of the one before was gone: its late payment was charged."
OTHERS = "Another order's payment is gone. Only the order that is named may be cancelled."


def judge_cancel(answer: Any) -> str | None:
    account = Account()
    account.pay("12", 100)
    account.pay("34", 30)
    answer(account, "12")
    if account.balance == 500 or "34" not in account.paid:
        return OTHERS
    if account.balance != 470:
        return NO_MONEY
    try:
        answer(account, "12")
    except Exception:  # of whatever kind: there is nothing to complain about
        return TWICE if account.balance > 470 else AGAIN
    if account.balance != 470:
        return TWICE
    if "12" not in account.cancelled and {"1", "2"} <= set(account.cancelled):
        return LETTERS
    if _charged(account, "12"):
        return PAID_AGAIN
    answer(account, "34")
    if _charged(account, "12"):
        return ERASED
    return _judge_early(answer)


def _judge_early(answer: Any) -> str | None:
    """The compensation of an order that was never paid, and then the payment."""
    early = Account()
    try:
        answer(early, "56")
    except Exception:
        return NOT_PAID
    if early.balance != 500:
        return FREE_MONEY
    return LATE if _charged(early, "56") else None


def _charged(account: Account, order: str) -> bool:
    """Whether a payment that comes late is taken."""
    before = account.balance
    try:
        account.pay(order, 100)
    except Refused:
        return False
    return account.balance < before


def _cancel(*lines: str) -> str:
    return "def cancel(account, order):\n" + "\n".join(f"    {line}" for line in lines)


CANCEL = Exercise(
    id="06.3",
    name="cancel",
    blank="def cancel(account, order):\n    ...  # give the money back, once, and let no late payment through",
    judge=judge_cancel,
    right="Right: it may come twice, and before its action, and a payment that is late is refused.",
    nudge="account.paid.pop(order, 0) gives what was paid, and forgets it. What must be remembered in any case?",
    wrong=(
        (_cancel("account.balance += account.paid.get(order, 0)", "account.cancelled.add(order)"), TWICE),
        (_cancel("account.balance += account.paid.pop(order)", "account.cancelled.add(order)"), AGAIN),
        (
            _cancel(
                "if order in account.cancelled:",
                "    raise RuntimeError('cancelled already')",
                "account.balance += account.paid.pop(order, 0)",
                "account.cancelled.add(order)",
            ),
            AGAIN,
        ),
        (
            _cancel(
                "if order not in account.cancelled:",
                "    account.balance += account.paid.pop(order)",
                "    account.cancelled.add(order)",
            ),
            NOT_PAID,
        ),
        (_cancel("account.balance += account.paid.pop(order, 0)", "account.cancelled.update(order)"), LETTERS),
        (_cancel("account.balance += account.paid.pop(order, 0)", "account.cancelled = {order}"), ERASED),
        (_cancel("account.balance += account.paid.pop(order, 0)"), PAID_AGAIN),
        (
            _cancel(
                "if order in account.paid:",
                "    account.balance += account.paid.pop(order)",
                "    account.cancelled.add(order)",
            ),
            LATE,
        ),
        (_cancel("account.cancelled.add(order)"), NO_MONEY),
        (
            _cancel(
                "if order not in account.cancelled:",
                "    account.balance += account.paid.get(order, 100)",
                "    account.cancelled.add(order)",
            ),
            FREE_MONEY,
        ),
        (
            _cancel("account.balance += sum(account.paid.values())", "account.paid.clear()"),
            OTHERS,
        ),
    ),
    solution=_cancel("account.balance += account.paid.pop(order, 0)", "account.cancelled.add(order)"),
)

# --- 06.4: the bug to spot ------------------------------------------------------------------------------------


class Bank:
    def __init__(self) -> None:
        self.charges: dict[str, int] = {}  # by idempotency key
        self.answers_lost = 1

    def charge(self, key: str, amount: int) -> None:
        self.charges.setdefault(key, amount)  # a key that is known already changes nothing
        if self.answers_lost:
            self.answers_lost -= 1
            raise ConnectionError("the answer got lost")


class SmallRunner:
    def run(self, bank: Bank, order: str, steps: dict[str, int]) -> None:
        for step, amount in steps.items():
            for attempt in (1, 2, 3):
                try:
                    bank.charge(self.key(order, step, attempt), amount)
                    break
                except ConnectionError:
                    continue

    def key(self, order: str, step: str, attempt: int) -> str:
        return f"{order}.{step}.{attempt}"


A_KEY = "A key is text, and not empty. Give back a string."
EACH_ATTEMPT = (
    "The key changes with the attempt, so the bank takes the second attempt for a new request: charged twice."
)
BY_CHANCE = "This key is another one at each call, so the bank can't know that it is asked for the same thing again."
BY_ORDER = "Both steps of an order have the same key: the bank takes the second step for a repetition of the first."
BY_STEP = "Every order has the same keys: the bank takes the second customer's payment for the first one's."
SHORTENED = "Payment and packing have the same key: the bank takes one for the other. Use the whole name of the step."
RESTARTED = "Python's hash of a text is another number after a restart, so a new runner would ask with a new key."
CONSTANT = "Everybody has the same key, so only the very first charge of the shop is ever made."


def judge_key(answer: Any) -> str | None:
    if not callable(answer):
        return A_KEY
    key = _bound(answer)
    one = key("12", "payment", 1)
    if not isinstance(one, str) or not one:
        return A_KEY
    if key("12", "payment", 1) != one:
        return BY_CHANCE
    runner = type("Repaired", (SmallRunner,), {"key": staticmethod(key)})()
    bank = Bank()
    for order in ("12", "13"):
        runner.run(bank, order, {"payment": 50, "packing": 7, "insurance": 5})
    if sum(bank.charges.values()) == 124 and len(bank.charges) == 6:
        return RESTARTED if _bound(_restarted(answer))("12", "payment", 1) != one else None
    if key("12", "payment", 2) != one:
        return EACH_ATTEMPT
    by_order, by_step = key("13", "payment", 1) != one, key("12", "insurance", 1) != one
    if by_order and by_step:
        return SHORTENED
    return BY_ORDER if by_order else BY_STEP if by_step else CONSTANT


def _bound(answer: Callable[..., Any]) -> Callable[..., Any]:
    """The answer without its `self`, for who copies the method as it is shown."""
    try:
        first = next(iter(signature(answer).parameters), "")
    except (TypeError, ValueError):  # some built-in functions have no signature
        return answer
    return partial(answer, SmallRunner()) if first == "self" else answer


def _restarted(answer: Callable[..., Any]) -> Callable[..., Any]:
    """The answer as another process would run it, where `hash` gives other numbers."""
    if not isinstance(answer, FunctionType):
        return answer
    names = answer.__globals__ | {"hash": lambda value: ~hash(value)}
    return FunctionType(answer.__code__, names, answer.__name__, answer.__defaults__, answer.__closure__)


def _key(line: str) -> str:
    return f"def key(order, step, attempt):\n    {line}"


KEY = Exercise(
    id="06.4",
    name="key",
    blank="def key(order, step, attempt):\n    ...  # give back a key, as text",
    judge=judge_key,
    right="Right: the same at every attempt, and another one for each step of each order.",
    nudge="Ask the bank: which two requests are the same one? What do they have in common, and what not?",
    wrong=(
        (_key("return f'{order}.{step}.{attempt}'"), EACH_ATTEMPT),
        (_key("return f'{step}.{attempt}'"), EACH_ATTEMPT),
        (_key("import uuid; return str(uuid.uuid4())"), BY_CHANCE),
        (_key("return f'order-{order}'"), BY_ORDER),
        (_key("return step"), BY_STEP),
        (_key("return order + step[0]"), SHORTENED),
        (_key("return str(hash((order, step)))"), RESTARTED),
        (_key("return str(hash(order + step))"), RESTARTED),
        ("def key(self, order, step, attempt):\n    return f'{order}.{attempt}'", EACH_ATTEMPT),
        (_key("return 'payment'"), CONSTANT),
        (_key("return (order, step)"), A_KEY),
    ),
    solution=_key("return f'{order}.{step}'"),
)

EXERCISES: tuple[Exercise, ...] = (THE_WAY_BACK, PIVOT, CANCEL, KEY)
