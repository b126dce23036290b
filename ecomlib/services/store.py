"""What a service remembers, in SQLite: a change, its answer and its fact commit together, or none of them does."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from ecomlib.catalogue import Data
from ecomlib.errors import BadEvent, EcomlibError, KeyReused
from ecomlib.events import Event
from ecomlib.ports import Bus, Durability

BUSY = 10.0  # seconds for which a call waits while another process writes
IDS, DAYS = 1_000_000, 7.0  # a service knows an id again for so many others, and for so long: whichever ends first
OWN_TABLES = """
    CREATE TABLE IF NOT EXISTS requests (key TEXT PRIMARY KEY, hash TEXT NOT NULL, answer TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL)
"""
ADVICE = {
    sqlite3.SQLITE_BUSY: "another process is writing there; try again when it has finished",
    sqlite3.SQLITE_FULL: "make room and try again",
    sqlite3.SQLITE_NOTADB: "name another file, or move this one away",
    sqlite3.SQLITE_CANTOPEN: "name a file in a folder that can be written to",
    sqlite3.SQLITE_READONLY: "make the file and its folder writable",
}


class StoreError(EcomlibError):
    """A database that can't be opened, read or written to. What was not committed did not happen."""


class Store:
    """One service's database. Any thread may call it, and other processes may have the file open too.

    A call waits while another one writes, and raises `StoreError` after ten seconds. `schema` is statements with `;`
    between them, each `CREATE ... IF NOT EXISTS`. What was committed survives the death of the process, and, unless
    `durability` is "system", that of the machine. The folder is made if it is missing; ":memory:" names no file.
    """

    def __init__(self, path: Path | str, schema: str, *, durability: Durability = "batch") -> None:
        self.path, self._durable = Path(path), durability != "system"
        self._one_at_a_time, self._relaying = threading.RLock(), threading.Lock()
        self._begun: object = None  # the transaction that has begun, so that one that Ctrl+C left behind is known
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"The folder {self.path.parent} can't be made: {error.strerror}.") from error
        with database_errors(self.path):
            self._connection = sqlite3.connect(self.path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        try:
            with database_errors(self.path):
                self._insist("PRAGMA journal_mode = WAL")
            with self.transaction() as connection:
                for statement in f"{OWN_TABLES};{schema}".split(";"):
                    connection.execute(statement)
        except BaseException:
            self.close()
            raise

    def once(self, key: str, request: Data, change: Callable[[sqlite3.Connection], Event], *, operation: str) -> Event:
        """Let `change` do its work on the tables and return the fact, the first time that this key comes.

        Afterwards the same key gets the same fact, and nothing is done again; with another request or operation it
        raises `KeyReused`. Whatever `change` raises undoes all that it did, and the key may come again.
        """
        asked = hashlib.sha256(json.dumps([operation, request.to_dict()], sort_keys=True).encode()).hexdigest()
        with self.transaction() as connection:
            known = connection.execute("SELECT hash, answer FROM requests WHERE key = ?", (key,)).fetchone()
            if known and known[0] != asked:
                raise KeyReused(f"The key {key!r} belongs to another request: give each request a key of its own.")
            if known:
                return self.event(known[1])
            fact = change(connection)
            connection.execute("INSERT INTO requests VALUES (?, ?, ?)", (key, asked, fact.to_json()))
            connection.execute("INSERT INTO outbox (event) VALUES (?)", (fact.to_json(),))
            return fact

    def relay(self, bus: Bus) -> int:
        """Publish what waits in the outbox, oldest first, each event at least once. Returns how many went out.

        Whoever dies after the bus took an event and before the row is gone has it published again, with the same id;
        so does a second process that relays at the same moment. Where `publish` raises, the row stays and the error
        goes on. The database is free while the bus takes an event: a slow broker holds up no change.
        """
        published = 0
        with self._relaying:
            while waiting := self.read("SELECT number, event FROM outbox ORDER BY number LIMIT 100"):
                for number, text in waiting:
                    bus.publish(self.event(text))
                    with self.transaction(safe=False) as connection:  # lost with the machine, it is published again
                        connection.execute("DELETE FROM outbox WHERE number = ?", (number,))
                    published += 1
        return published

    def pending(self) -> list[Event]:
        """What waits in the outbox, oldest first."""
        return [self.event(text) for (text,) in self.read("SELECT event FROM outbox ORDER BY number")]

    def event(self, text: str) -> Event:
        """An event as it stands in a table. Raises `StoreError` where it can't be read."""
        try:
            return Event.from_json(text)
        except BadEvent as error:
            raise StoreError(f"The database {self.path} is damaged: {error}") from error

    def read(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """The rows of a query, as of the latest commit."""
        with self._one_at_a_time, database_errors(self.path):
            return self._connection.execute(sql, parameters).fetchall()

    @contextmanager
    def transaction(self, *, safe: bool = True) -> Iterator[sqlite3.Connection]:
        """The only writer, from here to the end of the block; an error in the block undoes all of it.

        Unless it is `safe`, what it commits need not survive the death of the machine. Where Ctrl+C comes at the very
        beginning or end of the block, it is undone, at the latest when the next one begins. So blocks don't nest: an
        inner one would undo the outer, which then raises `StoreError` at its end.
        """
        mine = object()
        with self._one_at_a_time, database_errors(self.path):
            if self._begun is not None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._begun = mine
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if safe and self._durable else 'NORMAL'}")
            try:
                self._insist("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._begun is mine and self._connection.in_transaction:  # a full disk makes SQLite undo it itself
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                if self._begun is mine:
                    self._begun = None

    def _insist(self, sql: str) -> None:
        """Try it until it is our turn. SQLite itself looks ten times a second, and so may never find the moment between
        two writes of a busy process; and where several open a new file, it does not wait at all.
        """
        deadline = time.monotonic() + BUSY
        self._connection.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    self._connection.execute(sql)
                    return
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                        raise
                time.sleep(0.001)
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {BUSY * 1000:.0f}")

    def close(self) -> None:
        with self._one_at_a_time:
            self._begun = None
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def forget(connection: sqlite3.Connection, table: str, now: float, *, ids: int = IDS, days: float = DAYS) -> None:
    """Delete the rows that came before the latest `ids`, and those whose column `at` is `days` before `now`.

    `at`, in seconds, has an index. A thousand rows at most go at a time, so that nobody waits long for the rest.
    """
    connection.execute(
        f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table}"
        f" WHERE rowid <= (SELECT MAX(rowid) FROM {table}) - ? OR at < ? LIMIT 1000)",
        (ids, now - days * 86_400),
    )


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """What SQLite refuses becomes a `StoreError` that names the file."""
    try:
        yield
    except sqlite3.Error as error:
        advice = ADVICE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)  # the low byte: the rest only refines it
        raise StoreError(f"The database {path} failed: {error}{f' ({advice})' if advice else ''}.") from error
