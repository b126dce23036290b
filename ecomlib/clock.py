"""Time as a part that can be exchanged: the system's, or one that moves only when it is told to."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextvars import Context
from datetime import UTC, datetime, timedelta
from functools import partial
from queue import Empty, SimpleQueue
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


Job = Callable[[], object]
LINGER = 1.0  # seconds for which a thread that has done its job stays for the next one: to begin one costs more
_idle: list[SimpleQueue[Job]] = []  # of those threads, where each one waits for a job
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # a child has none of the threads


def within(seconds: float, action: Job) -> None:
    """Call `action` in another thread, and raise what it raises, or `TimeoutError` after so much real time.

    Nobody can stop it then: it goes on beside us, and may yet do what it was asked for.
    """
    outcome = SimpleQueue[BaseException | None]()
    try:
        jobs = _idle.pop()
    except IndexError:
        jobs = SimpleQueue()
        threading.Thread(target=_serve, args=(jobs,), name="within a limit", daemon=True).start()
    jobs.put(partial(_do, action, outcome, jobs))
    try:
        error = outcome.get(timeout=seconds)
    except Empty:
        raise TimeoutError(f"no answer within {seconds:g} s: it may have happened, or may yet happen") from None
    if error is not None:
        raise error


def _do(action: Job, outcome: SimpleQueue[BaseException | None], jobs: SimpleQueue[Job]) -> None:
    error: BaseException | None = None
    try:
        Context().run(action)  # in one of its own: another job's decimal context, for instance, is not this one's
    except BaseException as raised:
        error = raised
    _idle.append(jobs)  # first, so that whoever is told finds us idle
    outcome.put(error)


def _serve(jobs: SimpleQueue[Job]) -> None:
    while True:
        try:
            jobs.get(timeout=LINGER)()
        except Empty:
            try:
                _idle.remove(jobs)
            except ValueError:
                continue  # somebody has just taken us, and the job is to come
            return
