"""Many who ask on the event loop, and one thread that works for them: what came while it was busy, it does together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from anyio import CapacityLimiter, to_thread

T = TypeVar("T")
R = TypeVar("R")


class Together(Generic[T, R]):
    """`work` is called in a thread, once at a time, with all that wait, in the order in which they came.

    It gives back, for each, a result or the error that is raised where it was asked for. So a hop to a thread, and an
    fsync, is paid once for many. Belongs to one event loop.
    """

    def __init__(self, work: Callable[[Sequence[T]], Sequence[R | Exception]]) -> None:
        self._work = work
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._working: asyncio.Task[None] | None = None
        self._one = CapacityLimiter(1)
        self.open = 0  # that have no result yet

    async def __call__(self, item: T) -> R:
        result: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        self.open += 1
        if self._working is None:
            self._working = asyncio.create_task(self._work_off())
        try:
            return await result
        finally:
            self.open -= 1

    async def _work_off(self) -> None:
        try:
            while self._waiting:
                taken, self._waiting = self._waiting, []
                items = [item for item, _ in taken]
                results: Sequence[R | Exception]
                try:
                    results = await to_thread.run_sync(self._work, items, limiter=self._one)
                except Exception as error:  # nobody may wait for ever; there may have been no thread to be had, either
                    results = [error] * len(items)
                for (_, waits), result in zip(taken, results, strict=True):
                    if waits.done():  # who asked has been cancelled
                        continue
                    if isinstance(result, Exception):
                        waits.set_exception(result)
                    else:
                        waits.set_result(result)
        finally:
            self._working = None
