"""Time as a part that can be exchanged: the system's, or one that moves only when it is told to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The time, aware and in UTC."""

    def advance_to(self, time: datetime) -> bool:
        """Move on to `time` where time is simulated. False: this clock can't be moved, so the caller has to wait."""


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def advance_to(self, time: datetime) -> bool:
        return False


class SimulatedClock:
    """Stands still until someone moves it, so that every run sees the same times.

    A bus that has nothing to do but wait for a retry moves it on to that retry: a five-second pause costs none.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)) -> None:
        if start.tzinfo is None:
            raise ValueError(f"a clock's start needs a time zone: {start} has none")
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        return self._now

    def advance(self, **by: float) -> datetime:
        """Move on by `timedelta`'s arguments (`minutes=5`); returns the new time."""
        self.advance_to(self._now + timedelta(**by))
        return self._now

    def advance_to(self, time: datetime) -> bool:
        """Never moves back: an earlier time changes nothing."""
        self._now = max(self._now, time.astimezone(UTC))
        return True
