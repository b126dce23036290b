"""Many who ask on the event loop, and one thread that works for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
from anyio import to_thread

from ecomlib.web.together import Together

LIMIT = 30


class Work:
    """Doubles numbers. What it is given, it notes; it waits until it may go on."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.began, self.go_on = threading.Event(), threading.Event()

    def __call__(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.calls.append(list(numbers))
        self.began.set()
        assert self.go_on.wait(LIMIT)
        if 13 in numbers:
            raise RuntimeError("13 came")
        return [ValueError(f"{n} is negative") if n < 0 else 2 * n for n in numbers]


async def begun(work: Work) -> None:
    await asyncio.to_thread(work.began.wait, LIMIT)


def test_what_came_while_it_was_busy_is_done_together_and_in_order() -> None:
    async def ask() -> list[int | BaseException]:
        first = asyncio.create_task(together(1))
        await begun(work)
        others = [asyncio.create_task(together(n)) for n in (2, -3, 4)]
        await asyncio.sleep(0)
        assert together.open == 4
        work.go_on.set()
        found = await asyncio.gather(first, *others, return_exceptions=True)
        assert together.open == 0
        return found

    work = Work()
    together = Together(work)
    one, two, three, four = asyncio.run(ask())
    assert (one, two, four) == (2, 4, 8)
    assert isinstance(three, ValueError)
    assert work.calls == [[1], [2, -3, 4]]


def test_nobody_waits_for_ever_where_all_of_it_fails_and_the_next_are_served() -> None:
    async def ask() -> None:
        work.go_on.set()
        failed = await asyncio.gather(together(13), together(1), return_exceptions=True)
        assert [str(error) for error in failed] == ["13 came", "13 came"]
        assert await together(5) == 10

    work = Work()
    together = Together(work)
    asyncio.run(ask())


def test_who_is_cancelled_is_no_trouble_to_the_others() -> None:
    async def ask() -> None:
        first, second = asyncio.create_task(together(1)), asyncio.create_task(together(2))
        await begun(work)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        work.go_on.set()
        assert await second == 4
        assert together.open == 0

    work = Work()
    together = Together(work)
    asyncio.run(ask())


def test_where_no_thread_is_to_be_had_all_are_told_and_the_next_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_thread(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    async def ask() -> None:
        with monkeypatch.context() as full:
            full.setattr(to_thread, "run_sync", no_thread)
            failed = await asyncio.wait_for(asyncio.gather(together(1), together(2), return_exceptions=True), LIMIT)
        assert [str(error) for error in failed] == ["can't start new thread"] * 2
        assert together.open == 0
        work.go_on.set()
        assert await together(5) == 10

    work = Work()
    together = Together(work)
    asyncio.run(ask())
