"""Work that threads share: who is served by whom, and what becomes of an error or an interruption."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from ecomlib.sharing import Shared

LIMIT = 20.0  # seconds


class Press:
    """Work that lasts until it is told to go on, and doubles what it is given; it fails as planned."""

    def __init__(self) -> None:
        self.go_on = threading.Semaphore(0)
        self.groups: list[list[int]] = []
        self.fails: list[BaseException] = []
        self.inside = self.most = 0

    def __call__(self, numbers: list[int]) -> list[int]:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.groups.append(numbers)
        try:
            assert self.go_on.acquire(timeout=LIMIT)
            if self.fails:
                raise self.fails.pop(0)
            return [2 * number for number in numbers]
        finally:
            self.inside -= 1


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        threading.Event().wait(0.002)


def asked(pool: ThreadPoolExecutor, shared: Shared[int, int], press: Press) -> list[Future[int]]:
    """One is being served, alone, and three wait behind it."""
    first = pool.submit(shared, 1)
    wait_until(lambda: press.inside)
    others = [pool.submit(shared, n) for n in (2, 3, 4)]
    wait_until(lambda: len(shared._waiting) == 3)
    return [first, *others]


def test_one_thread_is_served_at_once() -> None:
    shared = Shared[int, int](lambda numbers: [2 * number for number in numbers])
    assert [shared(n) for n in range(5)] == [0, 2, 4, 6, 8]


def test_who_waits_is_served_together_and_each_gets_its_own_answer() -> None:
    press = Press()
    shared = Shared(press)
    with ThreadPoolExecutor(4) as pool:
        answers = asked(pool, shared, press)
        press.go_on.release(2)
        assert [answer.result(LIMIT) for answer in answers] == [2, 4, 6, 8]
    assert (len(press.groups), sorted(press.groups[1]), press.most) == (2, [2, 3, 4], 1)


def test_an_error_is_raised_by_all_whom_the_call_was_to_serve_and_by_nobody_else() -> None:
    press = Press()
    shared = Shared(press)
    with ThreadPoolExecutor(4) as pool:
        answers = asked(pool, shared, press)
        press.fails.append(OSError("full"))
        press.go_on.release(2)
        with pytest.raises(OSError, match="full"):
            answers[0].result(LIMIT)
        assert [answer.result(LIMIT) for answer in answers[1:]] == [4, 6, 8]
        answers = asked(pool, shared, press)
        press.go_on.release()
        assert answers[0].result(LIMIT) == 2
        press.fails.append(OSError("full"))
        press.go_on.release()
        for answer in answers[1:]:
            with pytest.raises(OSError, match="full"):
                answer.result(LIMIT)


def test_an_interruption_is_told_to_all_and_nobody_does_the_work_a_second_time() -> None:
    """Control-C is raised in whatever the main thread does; here it is at work for three others too."""
    press = Press()
    shared = Shared(press)
    with ThreadPoolExecutor(4) as pool:
        answers = asked(pool, shared, press)
        press.go_on.release()
        assert answers[0].result(LIMIT) == 2
        press.fails.append(KeyboardInterrupt())
        press.go_on.release()
        ends = [answer.exception(LIMIT) for answer in answers[1:]]
        assert sorted(type(end).__name__ for end in ends) == ["KeyboardInterrupt", "LogError", "LogError"]
        assert len(press.groups) == 2
    press.go_on.release()
    assert shared(5) == 10


def test_nobody_is_forgotten_and_nobody_works_beside_another() -> None:
    most = inside = 0

    def work(numbers: list[int]) -> list[int]:
        nonlocal most, inside
        inside += 1
        most = max(most, inside)
        inside -= 1
        return numbers

    shared = Shared(work)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(shared, range(5000), timeout=LIMIT)) == list(range(5000))
    assert most == 1


def test_a_thread_that_gives_up_waiting_has_nothing_done_for_it() -> None:
    """As when Control-C meets one that waits for its turn."""
    press = Press()
    shared = Shared(press)
    with ThreadPoolExecutor(4) as pool:
        answers = asked(pool, shared, press)
        shared._waiting[1].gone = True
        press.go_on.release(4)
        assert answers[0].result(LIMIT) == 2
        assert [answer.result(LIMIT) for answer in answers[1:]] == [4, 6, 8]
    assert sorted(map(sorted, press.groups[1:])) in ([[2], [3, 4]], [[2, 3], [4]], [[2, 4], [3]])
