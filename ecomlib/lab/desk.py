"""What the control panel does, without the panel: a shop, the orders fired, the faults, and what came of it all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from typing import NamedTuple

from ecomlib.errors import BadInput, EcomlibError, Refused
from ecomlib.faults import When
from ecomlib.ports import Attempt, DeadLetter, Outcome
from ecomlib.services.orders import ALLOWED, Amount, Order, OrderId
from ecomlib.shop import Shop
from ecomlib.traffic import run, simulate

WORDS: dict[Outcome, str] = {"handled": "✓ handled", "failed": "✗↻ retried", "dead": "✗ dead letter"}
OUTCOMES = tuple(WORDS)
CUSTOMER, AMOUNT = "100", "50.00"
PAST = {"pay": "paid", "ship": "shipped", "cancel": "cancelled"}
FIRST = {"pay": "fire one", "ship": "pay one", "cancel": "fire one"}


@dataclass(frozen=True)
class Message:
    """What the last action led to, in a sentence."""

    text: str
    ok: bool = True

    def __str__(self) -> str:
        return f"{'✓' if self.ok else '✗'} {self.text}"


class Row(NamedTuple):
    """One attempt, as the live table shows it."""

    event: str
    subject: str
    service: str
    attempt: int
    outcome: str  # begins with ✓ or ✗
    error: str


class Desk:
    """Every action returns when its deliveries have ended. What it led to, a refusal too, stands in `message`."""

    def __init__(self, shop: Shop | None = None) -> None:
        self.shop = shop if shop is not None else Shop()
        self.message = Message("Fire an order, and watch who reacts.")

    # --- orders -------------------------------------------------------------------------------------------

    def fire(self, user_id: OrderId | None = None, amount: Amount | None = None) -> None:
        """One order, with the next free number; without other wishes, of user 100 for 50.00."""
        user_id, amount = CUSTOMER if user_id is None else user_id, AMOUNT if amount is None else amount

        def order() -> str:
            if not str(
                user_id
            ).isprintable():  # a line break would tear the tables, a sign of direction turn them round
                raise BadInput(f"{user_id!r:.40} is no customer: write letters, numbers and signs that can be seen.")
            event = self.shop.orders.create(self._next_number(), user_id=user_id, amount=amount)
            return f"Order {event.data.order_id} of user {event.data.user_id} for {event.data.amount}"

        self._act(order)

    def fire_many(self, n: int = 100) -> None:
        """The next day's customers, as many as asked for; most of them pay on the day. The same ones at every run."""

        def orders() -> str:
            if not isinstance(n, int) or n < 1:
                raise BadInput(f"{n!r:.40} orders can't be fired: ask for a whole number, 1 or more.")
            first, day = self._next_number(), self.shop.clock.now().date() + timedelta(days=1)
            simulated = [
                replace(
                    order,
                    order_id=str(first + place),
                    paid=order.paid if order.paid and order.paid.date() == day else None,
                    shipped=None,
                    delivered=None,
                    cancelled=None,
                )
                for place, order in enumerate(simulate(n, seed=first, start=day, days=1))
            ]
            run(self.shop.orders, self.shop.clock, simulated, settle=self.shop.run)
            return f"{n} orders fired, {sum(order.paid is not None for order in simulated)} of them paid"

        self._act(orders)

    def pay(self) -> None:
        """The newest order that may be paid."""
        self._command("pay")

    def ship(self) -> None:
        """The newest order that may be shipped."""
        self._command("ship")

    def cancel(self) -> None:
        """The newest order that may be cancelled."""
        self._command("cancel")

    def _command(self, name: str) -> None:
        def command() -> str:
            order = self._newest(name)
            getattr(self.shop.orders, name)(order.order_id)
            return f"Order {order.order_id} is {PAST[name]}"

        self._act(command)

    def _newest(self, command: str) -> Order:
        for order in reversed(self.shop.orders.orders):
            if order.status in ALLOWED[command]:
                return order
        raise Refused(f"There is no order to {command}: {FIRST[command]} first.")

    def _next_number(self) -> int:
        taken = {order.order_id for order in self.shop.orders.orders}
        return next(n for n in count(len(taken) + 1) if str(n) not in taken)

    # --- faults -------------------------------------------------------------------------------------------

    def fail(self, service: str, attempts: Iterable[int] = (1,), when: When = "before") -> None:
        """From now on the service fails at these attempts of each delivery, before or after its work."""

        def plan() -> str:
            self.shop.faults.fail(service, attempts=attempts, when=when)
            return f"From now on {service} fails {self.shop.faults.planned[service]}"

        self._act(plan)

    def repair(self) -> None:
        """Every service works again. What is a dead letter stays one until it is redelivered."""

        def mend() -> str:
            self.shop.faults.repair()
            waiting = len(self.shop.bus.dead_letters)
            return "Every service works" + (f"; dead letters that wait to be redelivered: {waiting}" if waiting else "")

        self._act(mend)

    def redeliver(self) -> None:
        """Every dead letter, once."""

        def again() -> str:
            letters = self.shop.bus.dead_letters
            if not letters:
                raise Refused("There is no dead letter to redeliver.")
            for letter in letters:
                self.shop.bus.redeliver(letter)
            return f"Redelivered: {len(letters)}"

        self._act(again)

    def reset(self) -> None:
        """A new shop, in `shop`, with no orders and no faults. A log that the old one wrote stays as it is."""
        kept = " The old shop's log stays as it is; the new shop writes none." if self.shop.log is not None else ""
        self.shop = Shop(zone=self.shop.analytics.zone.key)
        self.message = Message(f"A new shop, with nothing in it.{kept}")

    # --- what came of it ----------------------------------------------------------------------------------

    def _act(self, action: Callable[[], str]) -> None:
        before = self.attempts
        now = self.shop.clock.now()
        self.shop.clock.advance_to(now + timedelta(minutes=1))  # so that no two actions have the same time
        try:
            said = action()
            self.shop.run()
        except EcomlibError as error:
            self.message = Message(str(error), ok=False)
            return
        made = self.attempts - before
        self.message = Message(". ".join([said, *_reactions(reversed(self.shop.bus.latest(made)))]) + ".")

    @property
    def attempts(self) -> int:
        """How many were ever made; the bus keeps only the latest."""
        return sum(sum(s.counts.values()) for s in self.shop.bus.subscriptions)

    def attempts_by_service(self) -> dict[str, dict[Outcome, int]]:
        return {s.name: {outcome: s.counts[outcome] for outcome in OUTCOMES} for s in self.shop.bus.subscriptions}

    def rows(self, n: int = 12) -> list[Row]:
        """The latest attempts, the last one first."""
        return [_row(attempt) for attempt in self.shop.bus.latest(n)]

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        return self.shop.bus.dead_letters

    def counters(self) -> dict[str, int | str]:
        totals = self.shop.totals()
        names = ("orders", "paid", "shipped", "cancelled", "revenue", "emails", "sms", "failed")
        return {
            **{name: totals[name] for name in names},
            "attempts": self.attempts,
            "dead letters": len(self.dead_letters),
        }

    def __repr__(self) -> str:
        c = self.counters()
        said = (
            f"{c['orders']} orders, {c['paid']} paid, revenue {c['revenue']} | emails {c['emails']}, sms {c['sms']}, "
            f"failed {c['failed']} | attempts {c['attempts']}, dead letters {c['dead letters']}"
        )
        return said if self.message.ok else f"{said} | {self.message}"


def _row(attempt: Attempt) -> Row:
    event, service, number, outcome, _, error = attempt
    return Row(event.type, event.subject or "", service, number, WORDS[outcome], said(error or ""))


def said(error: str) -> str:
    """Errors that ecomlib raises are sentences: they need no class before them."""
    return re.sub(r"^(InjectedFault|Permanent|SendFailed): ", "", error)


def _reactions(attempts: Iterable[Attempt]) -> list[str]:
    """Who handled it, who needed another attempt, and who gave up."""
    by_outcome: dict[Outcome, Counter[str]] = {outcome: Counter() for outcome in OUTCOMES}
    for attempt in attempts:
        by_outcome[attempt.outcome][attempt.subscription] += 1
    said = [f"✓ {', '.join(by_outcome['handled'])}"] if by_outcome["handled"] else []
    said += [f"✗ {name} failed {_times(n)} and was tried again" for name, n in by_outcome["failed"].items()]
    said += [f"✗ {name} gave up {_times(n)} (dead letter{'s' * (n > 1)})" for name, n in by_outcome["dead"].items()]
    return said


def _times(n: int) -> str:
    return "once" if n == 1 else "twice" if n == 2 else f"{n} times"
