"""Work that threads share: one does it for all who wait at that moment. Databases call it group commit."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from ecomlib.errors import LogError

A = TypeVar("A")
R = TypeVar("R")


class Shared(Generic[A, R]):
    """Call it from any thread. It blocks until `work` was called, by this thread or another, with a list in which the
    argument is, and returns the answer. What that call raised is raised by all whom it was to serve; where Ctrl+C met
    it, the others get a `LogError`.

    `work` is never called by two threads at once, nor twice for anybody. It returns an answer for each argument, in
    their order.
    """

    def __init__(self, work: Callable[[list[A]], list[R]]) -> None:
        self._work = work
        self._waiting: deque[_Asked[A, R]] = deque()  # only who has the turn takes from it
        self._turn = threading.Lock()

    def __call__(self, what: A) -> R:
        mine = _Asked[A, R](what)
        self._waiting.append(mine)
        try:
            with self._turn:
                if mine.group is None:  # nobody has done it while this thread waited: so it does it, for all
                    self._serve(mine)
        finally:
            mine.gone = True  # if this thread was interrupted: nobody shall do it later
        return mine.answer()

    def _serve(self, mine: _Asked[A, R]) -> None:
        asked = [mine]
        while self._waiting:
            other = self._waiting.popleft()
            if other is not mine and not other.gone:
                asked.append(other)
        group = _Group[R]()
        for place, each in enumerate(asked):
            each.place, each.group = place, group
        try:
            group.answers = self._work([each.what for each in asked])
        except Exception as error:
            group.error = error


class _Group(Generic[R]):
    """Those who are served together. Without answers and without an error, who served them was interrupted."""

    answers: list[R] | None = None
    error: Exception | None = None


class _Asked(Generic[A, R]):
    __slots__ = ("gone", "group", "place", "what")

    def __init__(self, what: A) -> None:
        self.what, self.gone = what, False
        self.group: _Group[R] | None = None
        self.place = 0

    def answer(self) -> R:
        assert self.group is not None
        if self.group.error is not None:
            raise self.group.error
        if self.group.answers is None:
            raise LogError("The thread that wrote for all was interrupted: the last events may stand there, or not.")
        return self.group.answers[self.place]
