"""A member of a consumer group in a process of its own: handles each record by writing it down, then commits.

    worker.py LOG STORE NAME STOP DIES_AT

It writes into the SQLite file STORE, and goes on until a file STOP is there. DIES_AT: it kills itself when it has
handled so many records, before it commits (0: never).
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import time
from pathlib import Path

from ecomlib.log import FileLog
from ecomlib.ports import Record

TABLES = """
CREATE TABLE IF NOT EXISTS handled (
    nth INTEGER PRIMARY KEY, event TEXT, key TEXT, number INTEGER, part INTEGER, member TEXT, batch INTEGER, time REAL
);
CREATE TABLE IF NOT EXISTS remembered (event TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS cups (key TEXT PRIMARY KEY, filled INTEGER);
"""


def handle(store: sqlite3.Connection, record: Record, member: str, batch: int) -> None:
    """Two handlers: one writes down each time that it is called, one remembers ids, and fills a cup once an event."""
    event = record.event
    with store:
        store.execute(
            "INSERT INTO handled (event, key, number, part, member, batch, time) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (event.id, event.key, event.data.number, record.position.partition, member, batch, time.time()),
        )
        if store.execute("INSERT OR IGNORE INTO remembered VALUES (?)", (event.id,)).rowcount:
            store.execute("INSERT OR IGNORE INTO cups VALUES (?, 0)", (event.key,))
            store.execute("UPDATE cups SET filled = filled + 1 WHERE key = ?", (event.key,))


def work(log: FileLog, store: sqlite3.Connection, name: str, stop: Path, dies_at: int) -> None:
    handled, batch = 0, 0
    with log.consumer("email", "orders", name=name) as consumer:
        while not stop.exists():
            records = consumer.poll(5, timeout=0.1)
            batch += 1
            for record in records:
                handle(store, record, name, batch)
                handled += 1
                if handled == dies_at:
                    os.kill(os.getpid(), signal.SIGKILL)
            consumer.commit()


def open_store(path: Path | str) -> sqlite3.Connection:
    store = sqlite3.connect(path, timeout=60)
    store.execute("PRAGMA synchronous = OFF")  # no machine crashes here
    return store


if __name__ == "__main__":
    folder, file, name, stop, dies_at = sys.argv[1:]
    work(FileLog(folder), open_store(file), name, Path(stop), int(dies_at))
