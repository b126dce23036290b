"""A projection that is kept where the log is, whoever appends to it."""

from __future__ import annotations

import threading
import time
from collections import deque

from ecomlib.errors import DamagedRecord, LogError, NotALog
from ecomlib.ports import Log, Projection, Record


class Following:
    """Folds in the log's order, each event once, so it says what a replay would say. Any thread may call."""

    def __init__(self, log: Log, topic: str, projection: Projection, start: int, appended: deque[Record]) -> None:
        """`start` is the offset behind what the projection knows.

        Whoever appends may put a record into `appended` then: if its turn comes before it is read, it need not be.
        """
        self._log, self._topic, self._projection, self._next = log, topic, projection, start
        self._appended = appended
        self._one_at_a_time = threading.Lock()

    def catch_up(self, pause: float = 0.0) -> None:
        """Return when all that was in the log at the call is folded in, but for what will never be readable.

        Where there is something new, it first waits `pause` seconds for more: to read one costs as much as to read ten.
        """
        with self._one_at_a_time:
            self._fold_appended()
            end = self._log.end(self._topic)
            if pause and self._next < end:
                time.sleep(pause)
                self._fold_appended()
                end = self._log.end(self._topic)
            while self._next < end:
                try:
                    for record in self._log.read(self._topic, self._next, end=end):
                        self._fold(record)
                except DamagedRecord as error:
                    self._next = max(error.resume, self._next + 1)
                except LogError as error:
                    if not is_no_event(error):
                        raise
                    self._next += 1

    def _fold_appended(self) -> None:
        while self._appended:
            record = self._appended.popleft()
            if record.position.offset == self._next:  # else it was read, or others' come first: all that is in the log
                self._fold(record)

    def _fold(self, record: Record) -> None:
        self._projection.apply(record.event)
        self._next = record.position.offset + 1


def is_no_event(error: LogError) -> bool:
    """Whether a whole record was read that is no event for us, and will never be one. The disk's trouble may pass."""
    return error.__cause__ is None and not isinstance(error, NotALog)
