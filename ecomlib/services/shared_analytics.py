"""The totals of a service that runs in several processes: kept in SQLite, and all of the processes add to them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Self

from ecomlib.clock import Clock, SystemClock
from ecomlib.events import Event
from ecomlib.ports import Durability
from ecomlib.services.analytics import Analytics, figures
from ecomlib.services.store import DAYS, IDS, Store, forget

SCHEMA = """
    CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY, at REAL NOT NULL);
    CREATE INDEX IF NOT EXISTS seen_at ON seen (at);
    CREATE TABLE IF NOT EXISTS users (user_id TEXT PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS stories (order_id TEXT PRIMARY KEY, story TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS totals (name TEXT PRIMARY KEY, number INTEGER NOT NULL)
"""
ADD = "INSERT INTO totals VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET number = number + excluded.number"


class SharedAnalytics:
    """The same totals as those of `Analytics`, for any number of threads and processes with the same file.

    An event's id and its change of the totals commit together: whoever dies before that is handed the event again, and
    whoever dies after it, or has a copy, changes nothing. So each event counts once in effect.

    An id is kept for `days` after it was seen, or until `ids` others have come: what is first ends it, as soon as
    something new is counted. A copy that comes later is taken for a new event. It adds one to `events`, and to
    `emails`, `sms` or `failed` where it tells of one; what it says of an order is known for ever, and counts no second
    time. Raises `StoreError` where the file can't be used.
    """

    def __init__(
        self,
        store: Path | str,
        *,
        durability: Durability = "batch",
        clock: Clock | None = None,
        ids: int = IDS,
        days: float = DAYS,
    ) -> None:
        self._clock, self._ids, self._days = clock or SystemClock(), ids, days
        self.store = Store(store, SCHEMA, durability=durability)

    def apply(self, event: Event) -> None:
        """It is committed when this returns. Waits while another process writes."""
        self.apply_all([event])

    def apply_all(self, events: Iterable[Event]) -> None:
        """All of them in one transaction: one wait for the disk, and none of them counts where it raises."""
        now = self._clock.now().timestamp()
        with self.store.transaction() as connection:
            insert = "INSERT OR IGNORE INTO seen VALUES (?, ?)"
            new = [event for event in events if connection.execute(insert, (event.id, now)).rowcount]
            if new:
                _add(connection, new)
                forget(connection, "seen", now, ids=self._ids, days=self._days)

    def totals(self) -> dict[str, int | str]:
        """As of the latest commit of any process, with the keys of `Analytics.totals()`."""
        numbers = dict(self.store.read("SELECT * FROM totals UNION ALL SELECT 'users', COUNT(*) FROM users"))
        events, users = numbers.get("events", 0), numbers["users"]
        return figures(events, users, numbers, Decimal(numbers.get("cents", 0)).scaleb(-2))

    def close(self) -> None:
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _add(connection: sqlite3.Connection, events: Sequence[Event]) -> None:
    """A small `Analytics`, which knows only the orders that the events tell of, says what they change."""
    fold, orders = Analytics(), {getattr(event.data, "order_id", None) for event in events}
    stories = {order: story for order in orders if (story := _story(connection, order))}
    fold.restore({"seen": [], "users": [], "counts": {}, "stories": stories})
    before = fold.revenue
    for event in events:
        fold.apply(event)
    after = fold.state()
    cents = int((fold.revenue - before) * 100)  # exact: an amount has two decimal places
    changes = {"events": len(events), "cents": cents, **after["counts"]}
    connection.executemany(ADD, ((name, number) for name, number in changes.items() if number))
    connection.executemany("INSERT OR IGNORE INTO users VALUES (?)", ((user,) for user in after["users"]))
    changed = ((order, json.dumps(story)) for order, story in after["stories"].items() if story != stories.get(order))
    connection.executemany("INSERT OR REPLACE INTO stories VALUES (?, ?)", changed)


def _story(connection: sqlite3.Connection, order: object) -> dict[str, str] | None:
    row = connection.execute("SELECT story FROM stories WHERE order_id = ?", (order,)).fetchone() if order else None
    return json.loads(row[0]) if row else None
