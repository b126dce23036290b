"""Which deliveries were taken: the same one again gets the same answer, and has no second effect."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256

from ecomlib.errors import KeyReused, LogError
from ecomlib.events import Event
from ecomlib.ports import Log, Receipt


class Inbox:
    """A projection: each event in the log carries the key that it came with, so one write holds both.

    In memory it keeps, for each key, only where its event stands: about 150 bytes. It forgets no key as long as the
    log is kept. Any thread may call.
    """

    def __init__(self, log: Log, topic: str) -> None:
        self._log, self._topic = log, topic
        self._offsets: dict[int, int] = {}
        self._in_hand: set[int] = set()
        self._changed = threading.Condition()

    def once(self, key: str | None, requesthash: str, publish: Callable[[], Receipt]) -> tuple[Event, bool]:
        """The event of this delivery, and whether it had been taken before; only if not, `publish` is called.

        Of two that come at the same time with one key, the second waits for the first. Without a key, every delivery
        is a new one. Raises `KeyReused` where the key came with another request, and whatever `publish` raises; then
        the key is free again.
        """
        if key is None:
            return publish().event, False
        number = _number(key)
        with self._claim(number):
            offset = self._offsets.get(number)
            if offset is None:
                receipt = publish()
                self._remember(number, receipt)
                return receipt.event, False
            record = next(self._log.read(self._topic, offset, end=offset + 1), None)
            if record is None:
                raise LogError(f"The log has no offset {offset} any more: it was replaced. Start the server again.")
            event = record.event
            if event.extensions.get("requesthash") != requesthash:
                said = key.replace("\n", " ")
                raise KeyReused(f"The key {said!r:.100} came with another request before: give each its own key.")
            return event, True

    def claim(self, key: str | None) -> bool:
        """Whether the delivery is surely a new one. Then others with its key wait until it is released."""
        if key is None:
            return True
        number = _number(key)
        with self._changed:
            if number in self._offsets or number in self._in_hand:
                return False
            self._in_hand.add(number)
        return True

    def remember(self, key: str | None, receipt: Receipt) -> None:
        """The delivery was taken."""
        if key is not None:
            self._remember(_number(key), receipt)

    def release(self, key: str | None) -> None:
        """The end of what `claim` began. If it was not taken meanwhile, the key is free again."""
        if key is not None:
            self._free(_number(key))

    def _remember(self, number: int, receipt: Receipt) -> None:
        assert receipt.position is not None, "the bus of a webhook has a log"
        self._offsets[number] = receipt.position.offset

    @contextmanager
    def _claim(self, number: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: number not in self._in_hand)
            self._in_hand.add(number)
        try:
            yield
        finally:
            self._free(number)

    def _free(self, number: int) -> None:
        with self._changed:
            self._in_hand.discard(number)
            self._changed.notify_all()

    def apply(self, event: Event, offset: int) -> None:
        """Fold one record of the log in."""
        if (key := key_of(event)) is not None:
            self._offsets.setdefault(_number(key), offset)

    def __len__(self) -> int:
        return len(self._offsets)


def key_of(event: Event) -> str | None:
    """What tells this delivery from all others: a CloudEvent's source and id, or the key that was sent with it."""
    if "originid" in event.extensions:
        return cloudevent_key(event.source, str(event.extensions["originid"]))
    key = event.extensions.get("idempotencykey")
    return None if key is None else str(key)


def cloudevent_key(source: str, id: str) -> str:
    """Together they are unique (CloudEvents 1.0.2, "id"); a line end stands in neither of them, nor in a header."""
    return f"{source}\n{id}"


def _number(key: str) -> int:
    return int.from_bytes(sha256(key.encode()).digest()[:16])
