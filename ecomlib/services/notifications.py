"""Tells customers what happened: an email for a new order, an SMS for a paid one, a welcome for a new user."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from ecomlib.errors import Permanent
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.ports import Bus
from ecomlib.services.senders import Channel, Message, Sender
from ecomlib.services.store import database_errors


class NotificationService:
    """Sends once for an event's id, however often the event is delivered.

    One gap stays, and no code can close it: dying after the sender took the message and before that is written down.
    The message then goes out again, with the same id. What was sent is remembered in the SQLite file `store`, which
    survives the death of the process; raises `StoreError` where that can't be read or written.
    """

    def __init__(self, bus: Bus, sender: Sender, new_event: EventFactory, *, store: Path | str = ":memory:") -> None:
        self._bus, self._sender, self._new_event = bus, sender, new_event
        self._one_at_a_time = threading.Lock()
        self._unwritten: set[str] = set()  # sent, but the store could not be written: the next attempt must know
        self._store = Path(store)
        with database_errors(self._store):
            self._memory = sqlite3.connect(store, check_same_thread=False)
            for pragma in ("journal_mode = WAL", "synchronous = NORMAL"):  # no fsync a message
                self._memory.execute(f"PRAGMA {pragma}")
            with self._memory:
                self._memory.execute(
                    "CREATE TABLE IF NOT EXISTS sent (message_id TEXT PRIMARY KEY, told INTEGER NOT NULL DEFAULT 0)"
                )

    def send_email(self, event: Event) -> None:
        if event.type == "user.registered":
            subject, text = "Welcome", f"Hello {event.data.username or event.data.user_id}, welcome to the shop."
        else:
            subject = f"Your order {event.data.order_id}"
            amount = "" if event.data.amount is None else f" for {event.data.amount}"
            text = f"We have your order {event.data.order_id}{amount}. Thank you."
        self._notify(event, "email", subject, text)

    def send_sms(self, event: Event) -> None:
        text = f"Order {event.data.order_id} is paid."
        self._notify(event, "sms", text, text)

    def _notify(self, event: Event, channel: Channel, subject: str, text: str) -> None:
        recipient = event.data.user_id
        if recipient is None:
            raise Permanent(f"{event.type} {event.subject} names no user: there is nobody to send the {channel} to.")
        message = Message(f"{event.id}.{channel}@shop.example", channel, recipient, subject, text, event.time)
        with self._one_at_a_time:
            sent, told = self._remembered(message.id)
            if not sent:
                self._sender.send(message)
                self._write("INSERT INTO sent (message_id) VALUES (?)", message.id)
            if not told:
                self._bus.publish(self._fact(message, event))
                self._write("UPDATE sent SET told = 1 WHERE message_id = ?", message.id)

    def _fact(self, message: Message, cause: Event) -> Event:
        return self._new_event(
            "notification.sent",
            {
                "channel": message.channel,
                "recipient": message.recipient,
                "message_id": message.id,
                "order_id": getattr(cause.data, "order_id", None),
            },
            cause=cause,
            id=f"{cause.id}.{message.channel}.sent",  # the same at every attempt: readers count it once
        )

    def _remembered(self, message_id: str) -> tuple[bool, bool]:
        with database_errors(self._store):
            row = self._memory.execute("SELECT told FROM sent WHERE message_id = ?", (message_id,)).fetchone()
        return row is not None or message_id in self._unwritten, row is not None and bool(row[0])

    def _write(self, statement: str, message_id: str) -> None:
        missing = message_id in self._unwritten
        self._unwritten.add(message_id)
        with database_errors(self._store), self._memory:
            if missing:
                self._memory.execute("INSERT OR IGNORE INTO sent (message_id) VALUES (?)", (message_id,))
            self._memory.execute(statement, (message_id,))
        self._unwritten.remove(message_id)

    def close(self) -> None:
        self._memory.close()
