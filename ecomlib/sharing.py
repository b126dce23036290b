"""Work that threads share: one does it for all who wait at that moment. Databases call it group commit."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from ecomlib.errors import LogError

A = TypeVar("A")
R = TypeVar("R")

PATIENCE = 0.1  # seconds after which one looks for oneself: who was to wake us may have been interrupted
YIELDS = 3


class Shared(Generic[A, R]):
    """Call it from any thread. It blocks until `work` was called, by this thread or another, with a list in which the
    argument is, and returns the answer. What that call raised is raised by all whom it was to serve; where Ctrl+C met
    it, the others get a `LogError`.

    `work` is never called by two threads at once. It returns an answer for each argument, in their order.
    """

    def __init__(self, work: Callable[[list[A]], list[R]]) -> None:
        self._work = work
        self._waiting: deque[_Asked[A, R]] = deque()  # only who has the turn takes from it
        self._turn = threading.Lock()
        self._served = 0  # how many, the last time

    def __call__(self, what: A) -> R:
        mine = _Asked[A, R](what)
        self._waiting.append(mine)
        try:
            while not mine.ended:
                if self._turn.acquire(blocking=False):
                    self._take_turn(mine)
                else:
                    with suppress(Empty):
                        mine.call.get(timeout=PATIENCE)
        finally:
            mine.ended = True  # if this thread was interrupted: nobody shall do it later
        if mine.error:
            raise mine.error
        return mine.answer[0]

    def _take_turn(self, mine: _Asked[A, R]) -> None:
        try:
            if not mine.ended:
                group = self._take_all()
                if all(asked is not mine for asked in group):  # who took it was interrupted before it began
                    group.append(mine)
                self._serve(group)
        finally:
            self._turn.release()
            for asked in tuple(self._waiting)[:1]:  # in one move, for others may be taking
                asked.call.put(None)

    def _take_all(self) -> list[_Asked[A, R]]:
        for _ in range(YIELDS):  # those who were served last come again in a moment; without them, every second
            if len(self._waiting) >= self._served:  # turn would serve one half, and its cost is the same
                break
            time.sleep(0)
        waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
        return [asked for asked in waiting if not asked.ended]

    def _serve(self, group: list[_Asked[A, R]]) -> None:
        self._served = len(group)
        try:
            answers = self._work([asked.what for asked in group])
        except Exception as error:
            for asked in group:
                asked.end(error=error)
        except BaseException:  # this thread is interrupted, and how far it came nobody knows: so nobody does it again
            for asked in group:
                asked.end(error=LogError("The thread that wrote for all was interrupted: it may stand in the log."))
            raise
        else:
            for asked, answer in zip(group, answers, strict=True):
                asked.end(answer)


class _Asked(Generic[A, R]):
    __slots__ = ("answer", "call", "ended", "error", "what")

    def __init__(self, what: A) -> None:
        self.what, self.ended = what, False
        self.answer: list[R] = []
        self.error: Exception | None = None
        self.call = SimpleQueue[None]()  # what comes here says: look again

    def end(self, *answer: R, error: Exception | None = None) -> None:
        self.answer.extend(answer)
        self.error = error
        self.ended = True
        self.call.put(None)
