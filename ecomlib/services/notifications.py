"""Tells customers what happened: an email for a new order, an SMS for a paid one, a welcome for a new user."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

from ecomlib.errors import NotSubscribed, Permanent
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.ports import Bus, DeadLetter, Retry
from ecomlib.services.senders import Channel, Message, Sender
from ecomlib.services.store import DAYS, IDS, Store, forget

CHANNELS = ("email", "sms")  # the subscriptions that send notifications are named like their channels
PATIENT = Retry(attempts=12, longest=60)  # two and a half minutes: mail servers and disks have bad moments
FOR_EVER = Retry(attempts=1_000_000_000, longest=60)
# The message may have been sent: only its fact is missing.
OWN_TROUBLE = ("LogError:", "BusFull:", "StoreError:", "BrokerAway:", "BrokerError:")
SCHEMA = "CREATE TABLE IF NOT EXISTS sent (message_id TEXT PRIMARY KEY, told INTEGER NOT NULL DEFAULT 0, at REAL)"


class NotificationService:
    """Sends once for an event's id, however often the event is delivered, and to whichever process with this store.

    One gap stays, and no code can close it: dying after the sender took the message and before that is written down.
    The message then goes out again, with the same id. So it does where a second process is given the event while the
    first one is still at it. What was sent is remembered in the SQLite file `store`, which survives the death of the
    process, for `days`, and not for longer than `ids` other messages; raises `StoreError` where that can't be read or
    written.
    """

    def __init__(
        self,
        bus: Bus,
        sender: Sender,
        new_event: EventFactory,
        *,
        store: Path | str = ":memory:",
        ids: int = IDS,
        days: float = DAYS,
    ) -> None:
        self._bus, self._sender, self._new_event, self._ids, self._days = bus, sender, new_event, ids, days
        # One at a time of each: a mail server that hangs delays no SMS.
        self._one_at_a_time = {channel: threading.Lock() for channel in CHANNELS}
        self._unwritten: set[str] = set()  # sent, but the store could not be written: the next attempt must know
        self.counts: Counter[str] = Counter()  # the facts that this object has told: emails, sms, failed
        self._store = Store(store, SCHEMA, durability="system")  # no fsync a message
        try:
            self._bring_up_to_date()
        except BaseException:
            self.close()
            raise

    def _bring_up_to_date(self) -> None:
        """A store of an older version doesn't say when: what it knows it keeps as if it came now."""
        with self._store.transaction() as connection:
            if "at" not in {row[1] for row in connection.execute("PRAGMA table_info(sent)")}:
                connection.execute("ALTER TABLE sent ADD COLUMN at REAL")
                connection.execute("UPDATE sent SET at = ?", (self._now(),))
            connection.execute("CREATE INDEX IF NOT EXISTS sent_at ON sent (at)")

    def _now(self) -> float:
        return self._new_event.clock.now().timestamp()

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
        message = Message(f"{_safe(event.id)}.{channel}@shop.example", channel, recipient, subject, text, event.time)
        with self._one_at_a_time[channel]:
            sent, told = self._remembered(message.id)
            if not sent:
                self._sender.send(message)
                self._write(message.id, told=False)
            if not told:
                self._bus.publish(self._fact(message, event))
                self._write(message.id, told=True)
                self.counts["emails" if channel == "email" else channel] += 1

    def tell_of_failure(self, letter: DeadLetter) -> None:
        """A customer who was not told is a fact too. Our own trouble is none: it passes, and the customer is told."""
        channel, data = letter.subscription, letter.event.data
        if channel not in CHANNELS or letter.error.startswith("BadEvent:"):  # it was nothing to tell anybody
            return
        if letter.error.startswith(OWN_TROUBLE):
            with suppress(NotSubscribed):  # there is nothing left to take up again: the customer will not be told
                self._bus.redeliver(letter)
                return
        said = {
            "channel": channel,
            "error": letter.error,
            "recipient": getattr(data, "user_id", None),
            "order_id": getattr(data, "order_id", None),
        }
        id = f"{letter.event.id}.{channel}.failed-{letter.attempts}"
        self._bus.publish(self._new_event("notification.failed", said, cause=letter.event, id=id))
        self.counts["failed"] += 1

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
        rows = self._store.read("SELECT told FROM sent WHERE message_id = ?", message_id)
        return bool(rows) or message_id in self._unwritten, bool(rows and rows[0][0])

    def _write(self, message_id: str, *, told: bool) -> None:
        """Whether another process has written it down too makes no difference."""
        self._unwritten.add(message_id)
        now = self._now()
        with self._store.transaction() as connection:
            connection.execute(
                "INSERT INTO sent (message_id, told, at) VALUES (?, ?, ?)"
                " ON CONFLICT (message_id) DO UPDATE SET told = MAX(told, excluded.told)",
                (message_id, told, now),
            )
            if not told:  # a new one: it makes room for itself
                forget(connection, "sent", now, ids=self._ids, days=self._days)
        self._unwritten.remove(message_id)

    def close(self) -> None:
        self._store.close()


def _safe(id: str) -> str:
    """An id as a Message-ID may hold it (RFC 5322, section 3.6.4), or what stands for it: strangers choose theirs."""
    return id if re.fullmatch(r"[A-Za-z0-9._+-]{1,150}", id) else hashlib.sha256(id.encode()).hexdigest()
