"""Time as a part that can be exchanged: the system's, or one that moves only when it is told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent import futures
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


OPENING = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)  # a Monday: where every simulated day begins


class SimulatedClock:
    """Stands still until someone moves it, so that every run sees the same times.

    A bus that has nothing to do but wait for a retry moves it on to that retry: a five-second pause costs none.
    """

    def __init__(self, start: datetime = OPENING) -> None:
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


def wait(clock: Clock, seconds: float) -> None:
    """Let so much of the clock's time pass: none of the machine's where time is simulated."""
    if seconds > 0 and not clock.advance_to(clock.now() + timedelta(seconds=seconds)):
        time.sleep(seconds)


def within(seconds: float, action: Callable[[], object]) -> None:
    """Call `action` in a thread of its own, and raise what it raises, or `TimeoutError` after so much real time.

    Nobody can stop it then: it goes on beside us, and may yet do what it was asked for.
    """
    done: futures.Future[object] = futures.Future()

    def run() -> None:
        try:
            done.set_result(action())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="within a limit", daemon=True).start()
    if not futures.wait([done], seconds).done:
        raise TimeoutError(f"no answer within {seconds:g} s: it may have happened, or may yet happen")
    done.result()
