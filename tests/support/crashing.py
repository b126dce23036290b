"""Kill a process that runs checkouts at every place where it writes, take up what it left, kill that too, and look.

    python -m tests.support.crashing             # every place of every scenario: minutes
    python -m tests.support.crashing --every 7   # a seventh of them

A place is a moment before or after an append, a statement that writes to a database, a commit, or the replacing of a
file, or within an append. They are found by counting, in a run that nobody kills. Each process is a child of its own,
made by `fork` and ended by SIGKILL. The last line on standard output is a JSON object with what was done and seen.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from ecomlib.checkout import ITEM, STEPS, Checkout
from ecomlib.clock import SimulatedClock
from ecomlib.files import LogFile
from ecomlib.log import FileLog
from ecomlib.saga import TOPIC as SAGAS
from ecomlib.services.payments import SHOP
from ecomlib.shop import TOPIC, open_checkout

WRITES = ("BEGIN", "INSERT", "UPDATE", "DELETE", "CREATE", "COMMIT")
MONEY, STOCK, SLOTS = {"100": 400, "7": 10}, {ITEM: 4}, {"today": 3}
COUNTED, KILLED = 0, -signal.SIGKILL


class Places:
    """Counts the places that this process passes, and ends it at one of them."""

    def __init__(self, last: int | None) -> None:
        self.passed, self._last = 0, last

    def here(self) -> bool:
        """One more place. Whether it is the last one: then the caller does half of its work and calls `die`."""
        self.passed += 1
        return self.passed == self._last

    def pass_by(self) -> None:
        if self.here():
            self.die()

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        """From now on every write of this process is a place."""
        write, replace, rename, connect = LogFile.append, os.replace, os.rename, sqlite3.connect

        def append(file: LogFile, data: bytes) -> None:
            self.pass_by()
            if self.here():
                write(file, data[: len(data) // 2])  # a torn line
                self.die()
            write(file, data)
            self.pass_by()

        def around(move: Callable[..., None], *arguments: Any, **named: Any) -> None:
            self.pass_by()
            move(*arguments, **named)
            self.pass_by()

        class Watched(sqlite3.Connection):
            def execute(connection, statement: str, *parameters: Any) -> sqlite3.Cursor:
                writes = statement.lstrip().upper().startswith(WRITES)
                if writes:
                    self.pass_by()
                cursor = super().execute(statement, *parameters)
                if writes:
                    self.pass_by()
                return cursor

        LogFile.append = append  # type: ignore[method-assign, assignment]
        os.replace = partial(around, replace)
        os.rename = partial(around, rename)
        sqlite3.connect = partial(connect, factory=Watched)  # type: ignore[assignment]


# --- what the process does ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scenario:
    """`day` is what happens until the crash; `plan` the faults that are there in every life of the process."""

    name: str
    day: Callable[[Checkout], object]
    plan: Callable[[Checkout], object] = field(default=lambda checkout: None)
    outcomes: frozenset[str] = frozenset({"compensated"})
    opening_too: bool = False


def buy(order: int, quantity: int = 2, user: int = 100) -> Callable[[Checkout], object]:
    return lambda shop: shop.buy(order, user_id=user, amount=50 * quantity, quantity=quantity)


def a_busy_day(shop: Checkout) -> None:
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(buy(order, quantity), shop) for order, quantity in ((1, 2), (2, 5), (3, 1), (4, 1))]:
            done.result()


def no_van(shop: Checkout) -> None:
    for order in (1, 2, 3, 4):
        buy(order, 1)(shop)


# An attempt that a kill cuts off counts as one of the three: so what fails twice may be given up after a kill.
EITHER = frozenset({"completed", "compensated"})
SCENARIOS = (
    Scenario("served", buy(1), outcomes=EITHER, opening_too=True),
    Scenario("not enough in stock", buy(1, quantity=5)),
    Scenario("not enough money", buy(1, user=7)),
    Scenario("no van has room", no_van, outcomes=EITHER),
    Scenario("an answer gets lost", buy(1), lambda s: s.faults.fail("payment", attempts=(1,), when="after"), EITHER),
    Scenario("the last step is in doubt", buy(1), lambda s: s.faults.fail("delivery", when="after")),
    Scenario(
        "the way back is rough",
        buy(1, quantity=5),
        lambda s: s.faults.fail("payment compensation", attempts=(1, 2)),
        frozenset({"compensated", "stuck"}),
    ),
    Scenario(
        "stuck",
        buy(1, quantity=5),
        lambda s: s.faults.fail("payment compensation"),
        frozenset({"stuck", "compensated"}),
    ),
    Scenario("side by side", a_busy_day, outcomes=EITHER),
)


def opened(folder: Path, scenario: Scenario) -> Checkout:
    shop = open_checkout(
        folder / "log", clock=SimulatedClock(), accounts=MONEY, stock=STOCK, slots=SLOTS, durability="system"
    )
    scenario.plan(shop)
    return shop


def first_life(folder: Path, scenario: Scenario, places: Places) -> None:
    if scenario.opening_too:
        places.watch()
    with_shop = opened(folder, scenario)
    with_shop.close()
    if not scenario.opening_too:
        places.watch()  # before the databases are opened again: a connection is watched from its beginning
        places.passed = -10_000  # opening them is a place of the first scenario only
    shop = opened(folder, scenario)
    places.passed = max(places.passed, 0)
    scenario.day(shop)
    read_by_a_group(shop)
    shop.close()


def next_life(folder: Path, scenario: Scenario, places: Places) -> None:
    places.watch()
    shop = opened(folder, scenario)
    shop.recover(threads=1)
    read_by_a_group(shop)
    shop.close()


def read_by_a_group(shop: Checkout) -> None:
    """Who reads the facts remembers their ids in the transaction that counts them, and commits after that."""
    assert isinstance(shop.log, FileLog)
    mail = mailbox(shop.log.folder)
    if TOPIC in shop.log.topics():
        with shop.log.consumer("email", TOPIC, clock=SimulatedClock()) as consumer:
            while records := consumer.poll(limit=3):
                for record in records:
                    mail.execute("BEGIN IMMEDIATE")
                    mail.execute("INSERT INTO handlings VALUES (?)", (record.event.id,))
                    mail.execute("INSERT INTO sent VALUES (?) ON CONFLICT DO NOTHING", (record.event.id,))
                    mail.execute("COMMIT")
                consumer.commit()
    mail.close()


def mailbox(folder: Path) -> sqlite3.Connection:
    mail = sqlite3.connect(folder / "_mail.sqlite3", isolation_level=None)
    mail.execute("CREATE TABLE IF NOT EXISTS handlings (id TEXT)")
    mail.execute("CREATE TABLE IF NOT EXISTS sent (id TEXT PRIMARY KEY)")
    return mail


# --- what must be so afterwards -------------------------------------------------------------------------------


def problems(folder: Path, scenario: Scenario) -> list[str]:
    """What a checkout must never leave behind; the last life has ended when this is asked."""
    with opened(folder, scenario) as shop:
        if left := shop.recover(threads=1):
            return [f"{story.id} was still open" for story in left]
        found, stories = [], shop.runner.stories.values()
        stuck = [story for story in stories if story.outcome == "stuck"]
        if not {str(story.outcome) for story in stories} <= scenario.outcomes:
            found.append(f"ended otherwise: {[(story.id, story.outcome, story.reason) for story in stories]}")
        shop.faults.repair()
        for story in stuck:  # says what is to be done, and can be resumed
            if "Put it right, then resume" not in story.reason or shop.runner.resume(story.id).outcome != "compensated":
                found.append(f"{story.id} was stuck and could not be resumed: {story.reason}")
        found += shop.problems()
        found += conservation(shop)
        for service in shop.services:
            found += [f"{event} was never published" for event in service.store.pending()]
        found += facts(shop)
        found += [] if stuck else read_once(shop)
        return found + one_story(shop)


def conservation(shop: Checkout) -> list[str]:
    money = sum(shop.payments.balances().values()) - sum(MONEY.values())
    pieces = shop.inventory.stock()[ITEM] + sum(n for _, n in shop.inventory.deducted().values()) - STOCK[ITEM]
    slots = shop.delivery.free()["today"] + len(shop.delivery.sent()) - SLOTS["today"]
    wrong = {"money": money, "stock": pieces, "slots": slots}
    return [f"{name} is not conserved: {by} too much" for name, by in wrong.items() if by]


def facts(shop: Checkout) -> list[str]:
    """What was published says the same as the databases: by ids, for a fact may be told twice."""
    told = {} if TOPIC not in shop.log.topics() else {r.event.id: r.event for r in shop.log.read(TOPIC)}
    found = []
    kinds = Counter((event.type, event.data.order_id) for event in told.values())
    found += [f"{type} of order {order} happened {n} times" for (type, order), n in kinds.items() if n > 1]
    charged: Counter[str] = Counter()
    for event in told.values():
        if event.type in ("payment.reserved", "payment.cancelled"):
            sign = 1 if event.type == "payment.reserved" else -1
            charged[event.data.order_id] += sign * int(event.data.amount * 100)
    said = {order: Decimal(cents) / 100 for order, cents in charged.items() if cents}
    if said != shop.payments.charged():
        found.append(f"the facts say {said} was charged, the database {shop.payments.charged()}")
    return found + ([] if shop.payments.balances().get(SHOP, 0) == sum(said.values()) else ["the till is wrong"])


def read_once(shop: Checkout) -> list[str]:
    assert isinstance(shop.log, FileLog)
    told = {} if TOPIC not in shop.log.topics() else {r.event.id: r.event for r in shop.log.read(TOPIC)}
    mail = mailbox(shop.log.folder)
    handled = {id for (id,) in mail.execute("SELECT id FROM handlings")}
    sent = [id for (id,) in mail.execute("SELECT id FROM sent")]
    mail.close()
    missed = [f"{event} was never handled by the group" for id, event in told.items() if id not in handled]
    return missed if sorted(sent) == sorted(told) else [*missed, "the group's effects are not those of the facts"]


def one_story(shop: Checkout) -> list[str]:
    found = []
    types: dict[str, list[str]] = {}
    undone: dict[str, list[str]] = {}
    for record in shop.log.read(SAGAS):
        types.setdefault(record.event.data.saga_id, []).append(record.event.type)
        if record.event.type == "compensation.started":
            undone.setdefault(record.event.data.saga_id, []).append(record.event.data.step)
    for saga, steps in undone.items():
        order = [STEPS.index(step) for step in dict.fromkeys(steps)]
        if order != sorted(order, reverse=True):
            found.append(f"{saga} was not compensated in reverse: {steps}")
    for saga, said in types.items():
        endings = [type for type in said if type in ("saga.completed", "saga.compensated")]
        if said.count("saga.started") != 1 or said[0] != "saga.started" or said[-1:] != endings:
            found.append(f"the log of {saga} tells more than one story: {said}")
    return found


# --- lives and deaths -----------------------------------------------------------------------------------------


def live(life: Callable[[Path, Scenario, Places], None], folder: Path, scenario: Scenario, last: int | None) -> Any:
    """One process from its beginning to its end: how it ended, and how many places it passed if nobody killed it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            places = Places(last)
            life(folder, scenario, places)
            os.write(writing, str(places.passed).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as said:
        passed = said.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), int(passed or 0)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth place")
    every = parser.parse_args(arguments).every
    report: dict[str, Any] = {"places": {}, "kills": 0, "kills_of_recoveries": 0, "broken": []}
    for turn, scenario in enumerate(SCENARIOS):
        with tempfile.TemporaryDirectory() as folder:
            ended, places = live(first_life, Path(folder), scenario, None)
            report["broken"] += [] if ended == COUNTED else [f"{scenario.name}: the run that nobody kills fails"]
        report["places"][scenario.name] = places
        for place in range(1 + turn % every, places + 1, every):
            with tempfile.TemporaryDirectory() as folder:
                die_and_recover(Path(folder), scenario, place, report)
        print(f"{scenario.name}: {places} places, {report['kills']} kills so far", file=sys.stderr)
    print(json.dumps(report))
    return 1 if report["broken"] else 0


def die_and_recover(folder: Path, scenario: Scenario, place: int, report: dict[str, Any]) -> None:
    ended, _ = live(first_life, folder, scenario, place)
    side_by_side = scenario.day is a_busy_day  # its threads take turns as they like: its last places may not come
    if ended != KILLED and not side_by_side:
        report["broken"].append(f"{scenario.name}, place {place}: ended with {ended}, and not by the kill")
    report["kills"] += ended == KILLED
    again = 1 + place * 13 % 97  # another place in each, spread over all that a recovery passes
    ended, _ = live(next_life, folder, scenario, again)
    report["kills_of_recoveries"] += ended == KILLED
    ended, _ = live(next_life, folder, scenario, None)
    wrong = ["the last recovery failed"] if ended != COUNTED else problems(folder, scenario)
    report["broken"] += [f"{scenario.name}, killed at {place} and {again}: {what}" for what in wrong]


if __name__ == "__main__":
    raise SystemExit(main())
