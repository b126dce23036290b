"""The in-memory bus keeps every bus's promises, with worker threads and without any."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ecomlib.bus import EventBus
from ecomlib.clock import SimulatedClock, SystemClock
from ecomlib.ports import Bus, Log, Retry
from tests.contracts.bus import BusContract, Make

QUICK = Retry(attempts=3, pause=0.001)


class TestTheBusWithoutThreads(BusContract):
    @pytest.fixture
    def make(self, clock: SimulatedClock) -> Make:
        def make(*, log: Log | None = None, retry: Retry = QUICK) -> Bus:
            return EventBus(log=log, retry=retry, clock=clock)

        return make


class TestTheBusWithWorkerThreads(BusContract):
    @pytest.fixture
    def make(self, clock: SimulatedClock) -> Iterator[Make]:
        with ExitStack() as started:

            def make(*, log: Log | None = None, retry: Retry = QUICK) -> Bus:
                return started.enter_context(EventBus(log=log, retry=retry, clock=clock))

            yield make


class TestTheBusWithOneWorkerThread(BusContract):
    @pytest.fixture
    def make(self) -> Iterator[Make]:
        """One thread, so that whoever waits for another has already lost; and the machine's own time."""
        with ExitStack() as started:

            def make(*, log: Log | None = None, retry: Retry = QUICK) -> Bus:
                return started.enter_context(EventBus(log=log, retry=retry, clock=SystemClock(), threads=1))

            yield make
