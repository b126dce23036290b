"""The threads that work on a bus's deliveries, from `with bus:` to its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ecomlib.errors import NotDrained


class WorkerThreads:
    """`work` runs in each of them; it has to return soon after `stopping` has become true."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.stopping = False
        self._work = work
        self._threads: list[threading.Thread] = []

    @property
    def alive(self) -> int:
        return sum(thread.is_alive() for thread in self._threads)

    def start(self, count: int) -> None:
        """Only when none is alive. Raises `RuntimeError` where the machine has no more threads; some may run then."""
        self.stopping = False
        self._threads = []
        for n in range(1, count + 1):
            thread = threading.Thread(target=self._work, name=f"bus worker {n}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def join(self, timeout: float) -> None:
        """Raises `NotDrained` where one has not ended after so many seconds."""
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if self._threads:
            raise NotDrained(f"{len(self._threads)} handlers still run after {timeout:g} s.")
