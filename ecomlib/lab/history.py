"""All that happened, and the shop's figures as they stood at any moment of it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path

from ecomlib.errors import BadInput, DamagedRecord
from ecomlib.events import Event
from ecomlib.log import FileLog
from ecomlib.ports import Log, Record
from ecomlib.replay import Snapshot
from ecomlib.services.analytics import Analytics
from ecomlib.shop import TOPIC, Shop

EXAMPLE = "2026-01-05T09:00:00Z"
Source = Log | Path | str | Shop | Iterable[Record | Event]


class History:
    """Reads its source once. What the source gets later is not in it: make a new one.

    On its way through, it keeps a snapshot every so often; `at` starts from the nearest one before, so that a step
    back costs about as much as a step forward. Where a part is missing, `damage` says which: in a damaged log it reads
    what comes before the damage, and a bus without a log remembers only its latest events.
    """

    def __init__(self, source: Source, *, zone: str | None = None, every: int | None = None) -> None:
        self.damage: str | None = None
        self.events = self._read(source)
        self.zone = zone or (source.analytics.zone.key if isinstance(source, Shop) else "UTC")
        self._latest = list(accumulate((event.time for event in self.events), max))
        self._every = every or max(250, len(self.events) // 16)
        self._analytics, self._offset = Analytics(self.zone), 0
        self._snapshots = [Snapshot(TOPIC, 0, self._analytics.state())]

    def __len__(self) -> int:
        return len(self.events)

    def at(self, offset: int) -> Analytics:
        """The figures after the first `offset` events. They are the reader's until the next call, which moves them on.

        Raises `BadInput` for an offset that the history does not have.
        """
        if not isinstance(offset, int) or not 0 <= offset <= len(self):
            raise BadInput(f"There is no event {offset!r:.40}: the history goes from 0 to {len(self)}.")
        nearest = self._snapshots[min(offset // self._every, len(self._snapshots) - 1)]
        if offset < self._offset or nearest.offset > self._offset:
            self._offset = nearest.restore(self._analytics)
        for event in self.events[self._offset : offset]:
            self._analytics.apply(event)
            self._offset += 1
            if self._offset == len(self._snapshots) * self._every:
                self._snapshots.append(Snapshot(TOPIC, self._offset, self._analytics.state()))
        return self._analytics

    def offset_at(self, time: datetime | str) -> int:
        """How many events there were by `time`, up to the first one that happened later. Raises `BadInput`.

        Text is a time as ISO 8601 writes it; where it names no zone it is UTC, as the times of events are shown.
        """
        if isinstance(time, str):
            time = _time(time)
        if not isinstance(time, datetime):
            raise BadInput(f"{time!r:.40} is no time: write it like {EXAMPLE}.")
        if time.tzinfo is None:
            raise BadInput(f"The time {time} has no time zone: write it like {EXAMPLE}.")
        return bisect_right(self._latest, time)

    def _read(self, source: Source) -> Sequence[Event]:
        if isinstance(source, str | Path):
            with FileLog(source) as log:
                return self._read_log(log)
        if isinstance(source, Shop):
            return self._read_log(source.log) if source.log is not None else self._remembered(source)
        if isinstance(source, Iterable):
            return [_event(item) for item in source]
        if not callable(getattr(source, "topics", None)):
            raise BadInput(f"{source!r:.40} holds no events: name a log, its folder, a shop, or a list of events.")
        return self._read_log(source)

    def _remembered(self, shop: Shop) -> Sequence[Event]:
        events, happened = shop.bus.history, int(shop.totals()["events"])
        if happened > len(events):
            self.damage = (
                f"Only the latest {len(events):,} of {happened:,} events are here: the bus remembers no more, and this "
                "shop has no log. Give it one: Shop('my-log')."
            )
        return events

    def _read_log(self, log: Log) -> Sequence[Event]:
        topics = log.topics()
        if TOPIC not in topics:
            raise BadInput(f"The log has no topic {TOPIC!r}: it has {', '.join(topics) or 'none'}.")
        events: list[Event] = []
        try:
            events.extend(record.event for record in log.read(TOPIC))
        except DamagedRecord as damage:
            self.damage = f"{damage} The history ends before it."
        return events


def _event(item: Record | Event) -> Event:
    event = item.event if isinstance(item, Record) else item
    if not isinstance(event, Event):
        raise BadInput(f"{event!r:.40} is no event: a list holds events, or the records of a log.")
    return event


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{text!r:.40} is no time: write it like {EXAMPLE}.") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
