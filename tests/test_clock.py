"""The two clocks: the machine's, and the one that tests and lessons move."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, getcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ecomlib.clock
from ecomlib.clock import SimulatedClock, SystemClock, wait, within

times = st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))


def test_the_system_clock_says_an_aware_time_and_cant_be_moved() -> None:
    clock = SystemClock()
    before = datetime.now(UTC)
    assert before <= clock.now() <= datetime.now(UTC)
    assert clock.now().tzinfo is UTC
    assert not clock.advance_to(before + timedelta(days=1))
    assert clock.now() < before + timedelta(hours=1)


def test_a_simulated_clock_stands_still_until_it_is_moved(clock: SimulatedClock) -> None:
    start = clock.now()
    assert clock.now() == start == datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
    assert clock.advance(minutes=5) == clock.now() == start + timedelta(minutes=5)


@given(st.lists(times, min_size=1))
def test_a_simulated_clock_never_moves_back(moves: list[datetime]) -> None:
    clock = SimulatedClock(moves[0])
    for n, moment in enumerate(moves):
        assert clock.advance_to(moment)
        assert clock.now() == max(moves[: n + 1])


def test_a_simulated_clock_speaks_utc_whatever_zone_it_was_started_in() -> None:
    kyiv = timezone(timedelta(hours=2))
    assert SimulatedClock(datetime(2026, 1, 5, 11, 0, tzinfo=kyiv)).now().isoformat() == "2026-01-05T09:00:00+00:00"


def test_a_start_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a time zone"):
        SimulatedClock(datetime(2026, 1, 5))


def test_waiting_costs_no_time_where_time_is_simulated() -> None:
    clock = SimulatedClock()
    began, really = clock.now(), time.monotonic()
    wait(clock, 86_400)
    assert (clock.now() - began).days == 1
    assert time.monotonic() - really < 5


def test_waiting_by_the_systems_clock_takes_its_time() -> None:
    really = time.monotonic()
    wait(SystemClock(), 0.02)
    assert time.monotonic() - really >= 0.02


def test_what_is_done_within_the_limit_is_done_and_what_it_raises_is_raised() -> None:
    done: list[int] = []
    within(20, lambda: done.append(1))
    assert done == [1]
    with pytest.raises(ZeroDivisionError):
        within(20, lambda: 1 / 0)
    with pytest.raises(SystemExit):
        within(20, lambda: sys.exit(3))


def test_what_takes_longer_is_left_behind_and_goes_on() -> None:
    go_on, gone_on = threading.Event(), threading.Event()

    def slow() -> None:
        assert go_on.wait(20)
        gone_on.set()

    with pytest.raises(TimeoutError, match=r"no answer within 0\.01 s: it may have happened"):
        within(0.01, slow)
    go_on.set()
    assert gone_on.wait(20)


def test_a_thread_that_has_done_its_job_gets_the_next_one_and_one_that_is_late_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ecomlib.clock, "LINGER", 20.0)
    go_on = threading.Event()
    threads: list[threading.Thread] = []

    def noted() -> None:
        threads.append(threading.current_thread())

    within(20, noted)
    with pytest.raises(TimeoutError):
        within(0.01, lambda: go_on.wait(20))
    within(20, noted)
    within(20, noted)
    go_on.set()
    assert threads[1] is threads[2]
    assert threading.current_thread() not in threads


def test_what_an_action_leaves_in_its_context_is_not_there_for_the_next_one() -> None:
    third: list[Decimal] = []

    def careless() -> None:
        getcontext().prec = 3

    within(20, careless)
    within(20, lambda: third.append(Decimal(1) / 3))
    assert third == [Decimal("0." + 28 * "3")]


def test_threads_that_have_nothing_to_do_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ecomlib.clock, "LINGER", 0.01)
    threads: list[threading.Thread] = []
    for _ in range(3):
        within(20, lambda: threads.append(threading.current_thread()))
        threads[-1].join(20)
        assert not threads[-1].is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here: use Linux or macOS")
def test_a_forked_child_has_threads_of_its_own() -> None:
    """In a process of its own, for this one has threads."""
    program = (
        "import os\n"
        "from ecomlib.clock import within\n"
        "within(5, lambda: None)\n"
        "if os.fork() == 0:\n"
        "    within(5, lambda: print('done', flush=True))\n"
        "else:\n"
        "    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (0, "done\n"), run.stderr


def test_a_thread_that_is_taken_at_the_moment_when_it_would_end_does_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()

    class Idle(list[Any]):
        """Whoever wants to leave finds that it has just been taken, and the job is to come."""

        def remove(self, jobs: Any) -> None:
            super().remove(jobs)
            jobs.put(done.set)
            raise ValueError("it is not there")

    monkeypatch.setattr(ecomlib.clock, "LINGER", 0.01)
    monkeypatch.setattr(ecomlib.clock, "_idle", Idle())
    within(20, lambda: None)
    assert done.wait(20)
