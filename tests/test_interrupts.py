"""Ctrl+C at every place where Python lets it in: nothing is lost, nothing is stuck, and whoever pressed it is told."""

from __future__ import annotations

import dis
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache, partial
from types import CodeType, FrameType
from typing import Any

import pytest

from ecomlib import scheduler
from ecomlib.bus import EventBus
from ecomlib.clock import SimulatedClock
from ecomlib.events import Event
from ecomlib.interrupts import PutOff
from ecomlib.ports import Retry

EVENTS = [Event("order.created", {"order_id": n}) for n in range(3)]


@cache
def instructions(code: CodeType) -> dict[int, str]:
    return {found.offset: found.opname for found in dis.get_instructions(code)}


class CtrlC:
    """Comes at the `n`-th place in the scheduler's code where CPython looks for signals.

    That is behind a call, at the beginning of a function, and where a loop begins anew. With names, only the functions
    that are called so count.
    """

    def __init__(self, n: int, *names: str) -> None:
        self.left, self.names, self.came = n, names, False

    @contextmanager
    def coming(self) -> Iterator[None]:
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(before)

    def _enter(self, frame: FrameType, event: str, arg: Any) -> Callable[..., Any] | None:
        if frame.f_code.co_filename != scheduler.__file__:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        last = ""

        def step(frame: FrameType, event: str, arg: Any) -> Any:
            nonlocal last
            if event == "opcode":
                looks = last.startswith("CALL") or last in ("RESUME", "JUMP_BACKWARD")
                last = instructions(frame.f_code)[frame.f_lasti]
                if self.names and frame.f_code.co_name not in self.names:
                    return step
                self.left -= looks
                if looks and self.left == 0:
                    self.came = True
                    signal.getsignal(signal.SIGINT)(signal.SIGINT, frame)  # type: ignore[operator,misc]
            return step

        return step


def story() -> tuple[EventBus, dict[str, list[str]]]:
    """Three events for two subscriptions; one of them fails at its first, and tries it again."""
    bus = EventBus(clock=SimulatedClock())
    had: dict[str, list[str]] = {"steady": [], "shaky": []}

    def shaky(event: Event) -> None:
        if len(bus.attempts) < 2:
            raise ConnectionError
        had["shaky"].append(event.id)

    bus.subscribe("#", handler=lambda event: had["steady"].append(event.id), name="steady")
    bus.subscribe("#", handler=shaky, name="shaky")
    for event in EVENTS:
        bus.publish(event)
    return bus, had


@pytest.fixture(autouse=True)
def traced_before() -> None:
    """CPython 3.13 shows a function's single instructions only where it has been traced before."""
    with CtrlC(10**9).coming():
        bus, _ = story()
        bus.run_until_idle()


def test_wherever_ctrl_c_comes_while_the_bus_delivers_each_event_is_served_once_and_in_order() -> None:
    places = 0
    while True:
        bus, had = story()
        ctrl_c = CtrlC(places + 1)
        with ctrl_c.coming():
            try:
                bus.run_until_idle()
                told = False
            except KeyboardInterrupt:
                told = True
        assert told == ctrl_c.came
        if not told:
            break
        places += 1
        bus.run_until_idle()
        bus.drain(timeout=0)
        assert had == {"steady": [e.id for e in EVENTS], "shaky": [e.id for e in EVENTS]}
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert places > 80


def test_a_handler_is_stopped_at_once_and_gets_its_event_again() -> None:
    bus, had = EventBus(), []

    def handler(event: Event) -> None:
        had.append(event.id)
        if len(had) == 1:
            signal.raise_signal(signal.SIGINT)
            had.append("never")

    bus.subscribe("#", handler=handler)
    bus.publish(EVENTS[0])
    with pytest.raises(KeyboardInterrupt):
        bus.run_until_idle()
    assert bus.run_until_idle() == 1
    assert had == [EVENTS[0].id] * 2


def test_who_waits_for_a_retry_is_stopped_soon() -> None:
    bus = EventBus(retry=Retry(pause=60, longest=60))

    def handler(event: Event) -> None:
        threading.Timer(0.05, signal.raise_signal, [signal.SIGINT]).start()
        raise ConnectionError

    bus.subscribe("#", handler=handler)
    bus.publish(EVENTS[0])
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        bus.run_until_idle()
    assert time.monotonic() - began < 30
    assert len(bus.attempts) == 1


class PressedInTheMiddle(SimulatedClock):
    """Somebody presses Ctrl+C while the scheduler, and no handler, looks at the clock."""

    presses = 1

    def now(self) -> datetime:
        if self.presses:
            self.presses -= 1
            signal.raise_signal(signal.SIGINT)
        return super().now()


def test_a_bus_that_runs_inside_another_ones_handler_stops_both() -> None:
    outer, inner = EventBus(), EventBus(clock=PressedInTheMiddle())
    tried: list[Event] = []

    def hand_on(event: Event) -> None:
        if not tried:
            inner.publish(event)
        inner.run_until_idle()

    def fail_once(event: Event) -> None:
        tried.append(event)
        if len(tried) == 1:
            raise ConnectionError

    inner.subscribe("#", handler=fail_once)
    outer.subscribe("#", handler=hand_on)
    outer.publish(EVENTS[0])
    with pytest.raises(KeyboardInterrupt):
        outer.run_until_idle()
    assert tried == [EVENTS[0]]
    assert outer.run_until_idle() == 1
    assert tried == [EVENTS[0]] * 2


def publish(bus: EventBus, events: list[Event], _: Event) -> None:
    for event in events:
        bus.publish(event)


def test_what_a_handler_publishes_is_not_broken_off_half_way_into_a_queue() -> None:
    payments = [Event("order.paid", {"order_id": n, "amount": 1}) for n in range(3)]
    places = 0
    while True:
        bus = EventBus()
        had: list[Event] = []
        bus.subscribe("order.created", handler=partial(publish, bus, payments), name="till")
        bus.subscribe("order.paid", handler=had.append, name="paid")
        bus.publish(EVENTS[0])
        ctrl_c = CtrlC(places + 1, "add", "_list")
        with ctrl_c.coming(), suppress(KeyboardInterrupt):
            bus.run_until_idle()
        if not ctrl_c.came:
            break
        places += 1
        bus.run_until_idle()
        bus.drain(timeout=0)
        assert had == payments
    assert places > 3


def test_a_program_that_handles_ctrl_c_itself_goes_on_doing_so() -> None:
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        bus = EventBus(clock=PressedInTheMiddle())
        bus.subscribe("#", handler=lambda event: 1 / 0)
        bus.publish(EVENTS[0])
        assert bus.run_until_idle() == 3
    finally:
        signal.signal(signal.SIGINT, before)
    assert pressed == [signal.SIGINT]


def test_in_another_thread_nothing_is_put_off() -> None:
    found: list[Any] = []

    def look() -> None:
        with PutOff(look.__code__):
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]
