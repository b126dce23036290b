"""What the in-memory bus promises beyond the contract: its queues, its worker threads, its time and its listing."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ecomlib.bus import EventBus
from ecomlib.clock import SimulatedClock
from ecomlib.errors import (
    AlreadySubscribed,
    BadEvent,
    BadInput,
    BusFull,
    LogError,
    NotDrained,
    NotSubscribed,
    Permanent,
    WrongPlace,
)
from ecomlib.events import Event
from ecomlib.log import FileLog
from ecomlib.ports import DeadLetter, Position, Retry
from tests.contracts.bus import FOREVER, LIMIT, Failing, created, shipped, tried
from tests.support.webhook import wait_until

ONCE = Retry(attempts=1)
HOURS = Retry(attempts=5, pause=3600, longest=7200)  # whoever really waits for it, waits too long


def numbers(events: list[Event]) -> list[int]:
    return [int(event.data.order_id) for event in events]


class Gate:
    """A handler that stays inside its call until it is opened."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(self, event: Event) -> None:
        self.entered.set()
        assert self.opened.wait(LIMIT), "nobody opened the gate"


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()  # a test that failed leaves no thread behind


@pytest.fixture
def bus(clock: SimulatedClock) -> EventBus:
    return EventBus(clock=clock)


@pytest.fixture
def file_log(tmp_path: Path) -> FileLog:
    return FileLog(tmp_path / "log", durability="system")


@pytest.fixture
def in_thread() -> Iterator[Callable[[Callable[[], Any]], threading.Thread]]:
    threads: list[threading.Thread] = []

    def run(work: Callable[[], Any]) -> threading.Thread:
        threads.append(threading.Thread(target=work, daemon=True))
        threads[-1].start()
        return threads[-1]

    yield run
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()


# --- a full queue -----------------------------------------------------------------------------------------


def test_when_one_queue_is_full_nothing_is_logged_and_nothing_delivered(file_log: FileLog, recorder: list[Any]) -> None:
    bus = EventBus(log=file_log, limit=2)
    bus.subscribe("order.created", handler=recorder.append, name="slow")
    bus.subscribe("order.created", "order.shipped", handler=recorder.append, name="other")
    for n in range(2):
        bus.publish(created(n))
    with pytest.raises(BusFull, match=r"'slow' is full \(2 deliveries wait\): nothing was published"):
        bus.publish(created(2))
    assert len(bus.history) == file_log.end("shop") == 2
    assert bus.run_until_idle() == 4
    bus.publish(created(2))  # it caught up
    assert file_log.end("shop") == 3


def test_publishing_waits_for_room_as_soon_as_a_delivery_is_taken_up_not_until_it_ends(
    gate: Gate, in_thread: Callable[[Callable[[], Any]], threading.Thread]
) -> None:
    bus = EventBus(limit=1)
    bus.subscribe("#", handler=gate, name="slow")
    bus.publish(created(1))
    publisher = in_thread(lambda: bus.publish(created(2), wait=LIMIT))
    bus.start()
    publisher.join(LIMIT)
    assert not publisher.is_alive()
    assert not gate.opened.is_set()  # the first delivery is still running, yet there was room
    gate.opened.set()
    bus.drain(LIMIT)
    bus.stop()
    assert len(bus.attempts) == 2


def test_publishing_waits_for_room_no_longer_than_it_was_told_to(bus: EventBus) -> None:
    bus.limit = 1
    bus.subscribe("#", handler=print, name="slow")
    bus.publish(created())
    began = time.monotonic()
    with pytest.raises(BusFull):
        bus.publish(created(), wait=0.05)
    assert time.monotonic() - began >= 0.05


def test_inside_a_handler_publishing_never_waits_for_room(bus: EventBus) -> None:
    bus.limit = 1
    bus.subscribe("order.created", handler=lambda e: bus.publish(shipped(2), wait=3600), retry=ONCE)
    bus.subscribe("order.shipped", handler=lambda e: None, name="full")
    bus.publish(created())
    bus.publish(shipped(1))
    began = time.monotonic()
    bus.run_until_idle()
    assert [letter.error.partition(":")[0] for letter in bus.dead_letters] == ["BusFull"]
    assert time.monotonic() - began < LIMIT


def test_a_full_queue_does_not_lose_a_retry_or_a_redelivery(bus: EventBus) -> None:
    bus.limit = 1
    handler = Failing(3)
    bus.subscribe("#", handler=handler)
    bus.publish(created(1))
    bus.run_until_idle()
    bus.publish(created(2))
    bus.redeliver(bus.dead_letters[0])
    bus.run_until_idle()
    assert numbers(handler.calls) == [1, 1, 1, 2, 1]


def test_when_the_log_refuses_an_event_nobody_gets_it(file_log: FileLog, recorder: list[Any]) -> None:
    class FullDisk(FileLog):
        def append(self, topic: str, *events: Event) -> tuple[Position, ...]:
            raise LogError("The disk is full.")

    bus = EventBus(log=FullDisk(file_log.folder))
    bus.subscribe("#", handler=recorder.append)
    with pytest.raises(LogError, match="disk is full"):
        bus.publish(created())
    assert bus.run_until_idle() == 0
    assert bus.history == ()


def test_what_is_no_event_is_not_published(bus: EventBus) -> None:
    with pytest.raises(BadEvent, match=r"'order\.created' is no event: publish\(Event"):
        bus.publish("order.created")  # type: ignore[arg-type]


# --- worker threads ---------------------------------------------------------------------------------------


def test_worker_threads_start_and_end_cleanly(bus: EventBus, recorder: list[Any]) -> None:
    before = set(threading.enumerate())
    for _ in range(3):
        with bus:
            assert len(set(threading.enumerate()) - before) == bus.threads == 4
        assert set(threading.enumerate()) == before
    bus.subscribe("#", handler=recorder.append)
    bus.publish(created())
    bus.drain(LIMIT)  # and afterwards it works without them
    assert len(recorder) == 1


def test_the_end_of_the_block_waits_for_every_delivery(bus: EventBus) -> None:
    handler = Failing(times=2)
    bus.subscribe("#", handler=handler)
    with bus:
        bus.publish(created())
    assert len(handler.calls) == 3


def test_an_error_in_the_block_stops_the_threads_at_once_and_what_waits_stays_in_its_queue(
    bus: EventBus, gate: Gate, recorder: list[Any]
) -> None:
    def slow(event: Event) -> None:
        gate(event)
        recorder.append(event)

    bus.subscribe("#", handler=slow)
    before = set(threading.enumerate())

    def failing_block() -> None:
        with bus:
            for n in range(3):
                bus.publish(created(n))
            assert gate.entered.wait(LIMIT)
            threading.Timer(0.05, gate.opened.set).start()  # the running delivery ends while the block is left
            raise KeyError("a mistake in the block")

    with pytest.raises(KeyError, match="a mistake in the block"):
        failing_block()
    assert numbers(recorder) == [0]
    assert not {t for t in set(threading.enumerate()) - before if t.name.startswith("bus worker")}
    bus.run_until_idle()
    assert numbers(recorder) == [0, 1, 2]


def test_stopping_raises_where_a_handler_does_not_return_and_the_bus_recovers_when_it_does(
    bus: EventBus, gate: Gate, recorder: list[Any]
) -> None:
    bus.subscribe("#", handler=gate)
    bus.start()
    bus.publish(created())
    assert gate.entered.wait(LIMIT)
    with pytest.raises(NotDrained, match="1 handlers still run"):
        bus.stop(timeout=0.01)
    with pytest.raises(WrongPlace, match="run already"):
        bus.start()
    gate.opened.set()
    for worker in threading.enumerate():
        if worker.name.startswith("bus worker"):
            worker.join(LIMIT)
    bus.subscribe("order.shipped", handler=recorder.append)
    with bus:
        bus.publish(shipped())
    assert len(recorder) == 1


def test_starting_twice_is_refused(bus: EventBus) -> None:
    with bus, pytest.raises(WrongPlace, match="run already"):
        bus.start()


def test_the_bus_works_where_no_thread_can_be_started(
    bus: EventBus, recorder: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        bus.start()
    handler = Failing(times=1)
    bus.subscribe("#", handler=handler)
    bus.subscribe("#", handler=recorder.append)
    bus.publish(created())
    bus.drain(LIMIT)
    assert (len(handler.calls), len(recorder)) == (2, 1)


def test_threads_that_did_start_end_again_where_the_next_can_not(
    bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, started = threading.Thread.start, list[threading.Thread]()

    def two_at_most(self: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", two_at_most)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        bus.start()
    assert [thread.is_alive() for thread in started] == [False, False]


def test_slowness_never_stops_others_while_there_are_more_threads_than_slow_subscriptions(
    bus: EventBus, recorder: list[Any]
) -> None:
    gates = [Gate() for _ in range(bus.threads - 1)]
    for n, gate in enumerate(gates):
        bus.subscribe("#", handler=gate, name=f"slow-{n}")
    done = threading.Event()

    def quick(event: Event) -> None:
        recorder.append(event)
        if len(recorder) == 100:
            done.set()

    bus.subscribe("#", handler=quick)
    with bus:
        for n in range(100):
            bus.publish(created(n))
        assert done.wait(LIMIT)
        assert not any(gate.opened.is_set() for gate in gates)
        for gate in gates:
            gate.opened.set()
    assert numbers(recorder) == list(range(100))


def test_of_one_subscription_one_delivery_runs_at_a_time(bus: EventBus, gate: Gate) -> None:
    entered, elsewhere = list[Event](), threading.Event()

    def slow(event: Event) -> None:
        entered.append(event)
        gate(event)

    bus.subscribe("order.created", handler=slow)
    bus.subscribe("order.shipped", handler=lambda e: elsewhere.set())
    with bus:
        for n in range(10):
            bus.publish(created(n))
        assert gate.entered.wait(LIMIT)
        bus.publish(shipped())
        assert elsewhere.wait(LIMIT)  # another thread was free, and took nothing of the slow one's
        assert numbers(entered) == [0]
        gate.opened.set()
    assert numbers(entered) == list(range(10))


def test_events_of_many_publishers_reach_every_subscription_in_the_order_of_the_log(
    file_log: FileLog, in_thread: Callable[[Callable[[], Any]], threading.Thread]
) -> None:
    bus = EventBus(log=file_log)
    seen: list[list[Event]] = [[], [], []]
    for events in seen:
        bus.subscribe("#", handler=events.append)
    with bus:
        publishers = [in_thread(lambda: [bus.publish(created(n)) for n in range(100)]) for _ in range(8)]
        for publisher in publishers:
            publisher.join(LIMIT)
        bus.drain(LIMIT)
    logged = [record.event for record in file_log.read("shop")]
    assert len(logged) == 800
    assert seen == [logged, logged, logged]


def test_handlers_that_publish_to_one_another_never_lock_each_other_out(bus: EventBus) -> None:
    def ping(event: Event) -> None:
        if int(event.data.order_id):
            bus.publish(shipped(int(event.data.order_id) - 1))

    def pong(event: Event) -> None:
        if int(event.data.order_id):
            bus.publish(created(int(event.data.order_id) - 1))

    bus.subscribe("order.created", handler=ping)
    bus.subscribe("order.shipped", handler=pong)
    with bus:
        for _ in range(20):
            bus.publish(created(50))
            bus.publish(shipped(50))
        bus.drain(LIMIT)
    assert len(bus.attempts) == 2 * 20 * 51


def test_a_handler_that_ends_its_worker_is_recorded_and_the_worker_goes_on(bus: EventBus, recorder: list[Any]) -> None:
    def leave(event: Event) -> None:
        raise SystemExit(3)

    bus.threads = 1
    bus.subscribe("#", handler=leave)
    bus.subscribe("#", handler=recorder.append)
    with bus:
        for n in range(3):
            bus.publish(created(n))
    assert [letter.error for letter in bus.dead_letters] == ["SystemExit: 3"] * 3
    assert len(recorder) == 3


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_whose_text_cant_be_read_is_recorded_all_the_same(bus: EventBus, threads: int) -> None:
    class Unreadable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    def fail(event: Event) -> None:
        raise Unreadable

    bus.threads = threads
    bus.subscribe("#", handler=fail)
    with bus:
        bus.publish(created())
        bus.drain(LIMIT)
    assert [letter.error for letter in bus.dead_letters] == ["Unreadable: (its text can't be read: RuntimeError)"]


# --- without threads --------------------------------------------------------------------------------------


def test_without_threads_nothing_is_delivered_until_it_is_asked_for(bus: EventBus, recorder: list[Any]) -> None:
    bus.subscribe("#", handler=recorder.append)
    for n in range(3):
        bus.publish(created(n))
    assert recorder == []
    assert bus.deliver_one()
    assert numbers(recorder) == [0]
    assert bus.run_until_idle() == 2
    assert not bus.deliver_one()


def test_without_threads_the_subscriptions_take_turns(bus: EventBus, recorder: list[Any]) -> None:
    bus.subscribe("#", handler=lambda e: recorder.append(("a", int(e.data.order_id))), name="a")
    bus.subscribe("#", handler=lambda e: recorder.append(("b", int(e.data.order_id))), name="b")
    for n in range(2):
        bus.publish(created(n))
    bus.run_until_idle()
    assert recorder == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]


def test_ctrl_c_in_a_handler_stops_whoever_runs_the_bus_and_gives_the_delivery_back(
    bus: EventBus, recorder: list[Any]
) -> None:
    def handler(event: Event) -> None:
        recorder.append(event)
        if len(recorder) == 2:
            raise KeyboardInterrupt

    bus.subscribe("#", handler=handler, name="interrupted")
    events = [created(n) for n in range(3)]
    for event in events:
        bus.publish(event)
    with pytest.raises(KeyboardInterrupt):
        bus.drain(LIMIT)
    bus.drain(LIMIT)
    assert numbers(recorder) == [0, 1, 1, 2]
    assert tried(bus, "interrupted") == [(event.id, 1, "handled") for event in events]  # none lost, none counted twice


@pytest.mark.parametrize("call", ["drain", "deliver_one", "run_until_idle", "stop"])
@pytest.mark.parametrize("threads", [0, 2])
def test_a_handler_may_not_wait_for_the_bus_that_calls_it(bus: EventBus, call: str, threads: int) -> None:
    bus.threads = threads
    bus.subscribe("#", handler=lambda e: getattr(bus, call)(), retry=ONCE)
    with bus:
        bus.publish(created())
        bus.drain(LIMIT)
    (letter,) = bus.dead_letters
    assert letter.error.startswith("WrongPlace: ")
    assert "inside a handler: it would wait for itself" in letter.error


def test_a_handler_may_run_another_bus(bus: EventBus, recorder: list[Any]) -> None:
    other = EventBus()
    other.subscribe("#", handler=recorder.append)

    def bridge(event: Event) -> None:
        other.publish(event)
        other.drain(LIMIT)

    bus.subscribe("#", handler=bridge)
    bus.publish(created())
    bus.run_until_idle()
    assert len(recorder) == 1


def test_while_worker_threads_deliver_nobody_else_may(bus: EventBus) -> None:
    with bus:
        for deliver in (bus.deliver_one, bus.run_until_idle):
            with pytest.raises(WrongPlace, match="call drain"):
                deliver()


# --- time -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [0, 4])
def test_a_simulated_clock_moves_on_to_each_retry_and_nobody_really_waits(clock: SimulatedClock, threads: int) -> None:
    bus = EventBus(clock=clock, retry=HOURS, threads=threads)
    at: list[float] = []
    start, began = clock.now(), time.monotonic()

    def fail(event: Event) -> None:
        at.append((clock.now() - start).total_seconds())
        raise RuntimeError("not today")

    bus.subscribe("#", handler=fail)
    bus.publish(created())
    with bus:
        bus.drain(LIMIT)
    assert at == [0, 3600, 3 * 3600, 5 * 3600, 7 * 3600]  # doubling, up to the longest pause
    assert time.monotonic() - began < LIMIT


@pytest.mark.parametrize("threads", [0, 2])
def test_a_simulated_clock_stands_still_while_anything_else_can_be_done(clock: SimulatedClock, threads: int) -> None:
    bus = EventBus(clock=clock, retry=HOURS, threads=threads)
    start = clock.now()
    times: list[timedelta] = []
    bus.subscribe("order.created", handler=Failing(1))
    bus.subscribe("#", handler=lambda e: times.append(clock.now() - start))
    for n in range(50):
        bus.publish(created(n))
    with bus:
        bus.drain(LIMIT)
    assert times == [timedelta(0)] * 50
    assert clock.now() - start == timedelta(hours=1)


def test_a_simulated_clock_stands_still_while_a_handler_runs(clock: SimulatedClock, gate: Gate) -> None:
    bus = EventBus(clock=clock, retry=HOURS, threads=2)
    start, elsewhere = clock.now(), threading.Event()
    bus.subscribe("user.deleted", handler=gate)
    bus.subscribe("order.created", handler=Failing(1), name="failing")
    bus.subscribe("order.shipped", handler=lambda e: elsewhere.set())
    with bus:
        bus.publish(Event("user.deleted", {"user_id": 1}))
        assert gate.entered.wait(LIMIT)
        bus.publish(created())  # for the one thread that is left: it fails, and its retry is an hour away
        bus.publish(shipped())
        assert elsewhere.wait(LIMIT)
        assert clock.now() == start
        assert [outcome for _, _, outcome in tried(bus, "failing")] == ["failed"]
        gate.opened.set()
    assert clock.now() - start == timedelta(hours=1)


@pytest.mark.parametrize("threads", [0, 2])
def test_by_the_machines_clock_a_retry_really_waits(threads: int) -> None:
    bus = EventBus(threads=threads)
    at: list[float] = []

    def fail(event: Event) -> None:
        at.append(time.monotonic())
        raise RuntimeError("not yet")

    bus.subscribe("#", handler=fail, retry=Retry(attempts=3, pause=0.02))
    bus.publish(created())
    with bus:
        bus.drain(LIMIT)
    assert at[1] - at[0] >= 0.019  # the two clocks may disagree by a tick
    assert at[2] - at[1] >= 0.039


def test_a_retry_that_is_due_is_not_delayed_while_other_workers_are_busy() -> None:
    """Three threads: one is stuck, one fails and then gets stuck too. The third, idle so far, must see to the retry."""
    bus = EventBus(threads=3)
    stuck, also_stuck, again = Gate(), Gate(), threading.Event()

    def fails_once(event: Event) -> None:
        if len(tried(bus, "fails_once")) == 1:
            again.set()
            return
        bus.publish(shipped())  # which keeps this thread busy when it has failed
        raise RuntimeError("not yet")

    with bus:
        bus.subscribe("user.deleted", handler=stuck)
        bus.publish(Event("user.deleted", {"user_id": 1}))
        assert stuck.entered.wait(LIMIT)
        bus.subscribe("order.shipped", handler=also_stuck)
        bus.subscribe("order.created", handler=fails_once, retry=Retry(attempts=2, pause=0.01))
        bus.publish(created())
        assert again.wait(LIMIT)
        assert not stuck.opened.is_set()
        stuck.opened.set()
        also_stuck.opened.set()
    assert [a.outcome for a in bus.attempts if a.subscription == "fails_once"] == ["failed", "handled"]


def test_whoever_waits_for_a_retry_without_threads_is_woken_by_a_new_event(
    in_thread: Callable[[Callable[[], Any]], threading.Thread], recorder: list[Any]
) -> None:
    bus = EventBus(retry=HOURS)
    bus.subscribe("order.created", handler=Failing(FOREVER))
    bus.subscribe("order.shipped", handler=recorder.append)
    bus.publish(created())
    assert bus.deliver_one()  # it failed, and its retry is an hour away
    waiting = in_thread(bus.deliver_one)
    bus.publish(shipped())
    waiting.join(LIMIT)
    assert not waiting.is_alive()
    assert len(recorder) == 1


def test_retries_that_are_due_together_come_in_the_order_in_which_they_failed(bus: EventBus) -> None:
    handler = Failing(3)
    bus.subscribe("#", handler=handler, ordered=False)
    for n in range(3):
        bus.publish(created(n))
    bus.run_until_idle()
    assert numbers(handler.calls) == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    "wrong", [{"attempts": 0}, {"pause": -1}, {"pause": float("nan")}, {"longest": float("inf")}, {"longest": -1}]
)
def test_a_retry_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="one attempt at least"):
        Retry(**wrong)


# --- who subscribes ---------------------------------------------------------------------------------------


def test_a_handler_that_has_the_pattern_already_is_told_so(bus: EventBus, recorder: list[Any]) -> None:
    def audit(event: Event) -> None:
        recorder.append(event)

    bus.subscribe("order.*", "user.*", handler=audit)
    with pytest.raises(AlreadySubscribed, match=r"'audit' is already subscribed to 'user\.\*'"):
        bus.subscribe("user.*", handler=audit)
    bus.subscribe("user.deleted", handler=audit)  # another pattern is another subscription
    bus.subscribe("order.*", handler=audit, name="on purpose")
    assert [s.name for s in bus.subscriptions] == ["audit", "audit-2", "on purpose"]
    bus.publish(created())
    bus.run_until_idle()
    assert len(recorder) == 2


def test_a_name_that_is_taken_is_refused_until_it_is_free_again(bus: EventBus, recorder: list[Any]) -> None:
    first = bus.subscribe("#", handler=print, name="audit")
    with pytest.raises(AlreadySubscribed, match="There is a subscription named 'audit'"):
        bus.subscribe("#", handler=recorder.append, name="audit")
    first.cancel()
    bus.subscribe("#", handler=recorder.append, name="audit")
    first.cancel()  # the second time, which must not touch the new one of that name
    assert bus.publish(created()).subscriptions == ("audit",)
    bus.run_until_idle()
    assert len(recorder) == 1


class Coffee:
    async def __call__(self, event: Event) -> None: ...


async def later(event: Event) -> None: ...


@pytest.mark.parametrize("handler", [later, Coffee(), Coffee().__call__])
def test_an_async_handler_is_refused_for_nobody_would_await_it(bus: EventBus, handler: Any) -> None:
    with pytest.raises(TypeError, match="is async"):
        bus.subscribe("#", handler=handler)
    assert bus.subscriptions == ()


def test_what_cant_be_called_is_refused(bus: EventBus) -> None:
    with pytest.raises(TypeError, match="a function that takes an event, not 'print'"):
        bus.subscribe("#", handler="print")  # type: ignore[arg-type]


def test_the_listing_tells_exact_patterns_from_wildcards(bus: EventBus) -> None:
    bus.subscribe("order.created", "order.*", handler=print, name="a")
    bus.subscribe("#", "order.created", handler=print, name="b")
    bus.subscribe_dead_letters(handler=print, name="undertaker")
    assert bus.listing() == {"exact": {"order.created": ["a", "b"]}, "wildcard": {"order.*": ["a"], "#": ["b"]}}
    assert [repr(s) for s in bus.subscriptions[:2]] == [
        "<Subscription a to order.created, order.*>",
        "<Subscription b to #, order.created>",
    ]


def test_unsubscribing_takes_one_pattern_or_all(bus: EventBus, recorder: list[Any]) -> None:
    bus.subscribe("order.created", "order.shipped", handler=recorder.append, name="audit")
    assert bus.unsubscribe("order.created", handler=recorder.append) == 0
    assert not bus.publish(created())
    assert bus.publish(shipped())
    assert bus.unsubscribe(handler=recorder.append) == 1  # one delivery was waiting
    assert bus.subscriptions == ()
    assert bus.run_until_idle() == 0
    assert recorder == []


def test_unsubscribing_a_stranger_is_an_error_and_changes_nothing(bus: EventBus, recorder: list[Any]) -> None:
    bus.subscribe("order.*", handler=recorder.append)
    with pytest.raises(NotSubscribed, match=r"'print' is not subscribed to anything; it has: nothing"):
        bus.unsubscribe(handler=print)
    with pytest.raises(NotSubscribed, match=r"is not subscribed to 'user\.\*'; it has: 'order\.\*'"):
        bus.unsubscribe("order.*", "user.*", handler=recorder.append)
    assert bus.publish(created())


def test_taking_a_pattern_leaves_the_handlers_other_subscriptions_alone(bus: EventBus, recorder: list[Any]) -> None:
    bus.subscribe("order.*", handler=recorder.append, name="orders")
    bus.subscribe("user.*", handler=recorder.append, name="users")
    bus.subscribe_dead_letters(handler=recorder.append, name="undertaker")
    bus.unsubscribe("order.*", handler=recorder.append)
    assert [s.name for s in bus.subscriptions] == ["users", "undertaker"]


def test_clearing_cancels_everyone_and_says_how_much_was_dropped(bus: EventBus, recorder: list[Any]) -> None:
    subscription = bus.subscribe("#", handler=recorder.append, name="a")
    bus.subscribe("order.*", handler=recorder.append, name="b")
    bus.subscribe_dead_letters(handler=recorder.append)
    bus.publish(created())
    assert bus.clear() == 2
    assert (bus.subscriptions, bus.listing()) == ((), {"exact": {}, "wildcard": {}})
    assert subscription.cancelled
    bus.drain(0)
    assert recorder == []


def test_a_retry_of_a_cancelled_subscription_is_dropped_and_counted(bus: EventBus) -> None:
    handler = Failing(FOREVER)
    subscription = bus.subscribe("#", handler=handler, retry=HOURS)
    for n in range(2):
        bus.publish(created(n))
    bus.deliver_one()
    assert subscription.cancel() == 2
    bus.drain(0)
    assert len(handler.calls) == 1


def test_a_delivery_that_fails_after_it_was_cancelled_is_a_dead_letter_and_not_lost(bus: EventBus) -> None:
    def fail(event: Event) -> None:
        subscription.cancel()
        raise RuntimeError("too late")

    subscription = bus.subscribe("#", handler=fail)
    bus.publish(created())
    bus.drain(LIMIT)
    assert [(a.number, a.outcome) for a in bus.attempts] == [(1, "dead")]
    with pytest.raises(NotSubscribed, match="'fail' is cancelled"):
        bus.redeliver(bus.dead_letters[0])
    assert len(bus.dead_letters) == 1  # it is kept


def test_a_dead_letter_goes_to_the_repaired_handler_that_took_the_name(bus: EventBus, recorder: list[Any]) -> None:
    def fail(event: Event) -> None:
        raise Permanent("no")

    broken = bus.subscribe("order.*", handler=fail, name="email")
    event = Event("order.created", {"order_id": 1, "amount": 1})
    bus.publish(event)
    bus.drain()
    broken.cancel()
    (letter,) = bus.dead_letters
    bus.subscribe_dead_letters(handler=recorder.append, name="email").cancel()
    with pytest.raises(NotSubscribed, match="subscribe a handler under that name"):
        bus.redeliver(letter)
    bus.subscribe("order.*", handler=recorder.append, name="email")
    bus.redeliver(letter)
    bus.drain()
    assert recorder == [event]
    assert bus.dead_letters == ()
    assert [(a.number, a.outcome) for a in bus.attempts] == [(1, "dead"), (2, "handled")]


def test_drain_names_a_cancelled_subscription_that_still_runs(bus: EventBus, gate: Gate) -> None:
    subscription = bus.subscribe("#", handler=gate, name="gate")
    with bus:
        bus.publish(created())
        assert gate.entered.wait(LIMIT)
        subscription.cancel()
        with pytest.raises(NotDrained, match=r"After 0\.01 s deliveries are left for: gate \(running\)\."):
            bus.drain(0.01)
        gate.opened.set()


@pytest.mark.parametrize("ordered", [True, False])
def test_drain_names_a_subscription_that_waits_for_its_retry(ordered: bool) -> None:
    bus = EventBus(retry=HOURS)
    bus.subscribe("#", handler=Failing(FOREVER), name="patient", ordered=ordered)
    bus.publish(created())
    with pytest.raises(NotDrained, match="are left for: patient"):
        bus.drain(0.01)


# --- dead letters -----------------------------------------------------------------------------------------


def test_whoever_subscribes_to_dead_letters_gets_them(bus: EventBus, recorder: list[Any]) -> None:
    bus.subscribe("#", handler=Failing(FOREVER), name="printer")
    bus.subscribe_dead_letters(handler=recorder.append)
    bus.publish(created())
    bus.drain(LIMIT)
    assert recorder == list(bus.dead_letters)
    assert isinstance(recorder[0], DeadLetter)


def test_a_dead_letter_handler_that_fails_does_not_feed_itself(bus: EventBus, recorder: list[Any]) -> None:
    letters = list[DeadLetter]()

    def undertaker(letter: DeadLetter) -> None:
        letters.append(letter)
        if len(letters) <= 3:
            raise RuntimeError("no coffin")

    bus.subscribe("#", handler=Failing(FOREVER), name="printer", retry=ONCE)
    bus.subscribe_dead_letters(handler=undertaker)
    event = created()
    bus.publish(event)
    bus.drain(LIMIT)
    assert [letter.subscription for letter in bus.dead_letters] == ["printer", "undertaker"]
    bus.redeliver(bus.dead_letters[1])
    bus.drain(LIMIT)
    assert letters == [DeadLetter(event, "printer", 1, "RuntimeError: the printer is on fire")] * 4
    assert [letter.subscription for letter in bus.dead_letters] == ["printer"]


def test_a_dead_letter_handler_that_is_cancelled_gets_no_more(bus: EventBus, recorder: list[Any]) -> None:
    bus.subscribe("#", handler=Failing(FOREVER), retry=ONCE)
    with bus.subscribe_dead_letters(handler=recorder.append):
        bus.publish(created())
        bus.drain(LIMIT)
    bus.publish(created())
    bus.drain(LIMIT)
    assert (len(recorder), len(bus.dead_letters)) == (1, 2)


def test_a_dead_letter_is_redelivered_once(bus: EventBus) -> None:
    bus.subscribe("#", handler=Failing(FOREVER), retry=ONCE, name="printer")
    bus.publish(created())
    bus.drain(LIMIT)
    (letter,) = bus.dead_letters
    bus.redeliver(letter)
    with pytest.raises(NotSubscribed, match="'printer' has no such dead letter"):
        bus.redeliver(letter)


# --- history and replay -----------------------------------------------------------------------------------


def test_the_history_has_the_latest_events_whether_anyone_subscribed_or_not() -> None:
    bus = EventBus(keep=3)
    for n in range(5):
        bus.publish(created(n))
    assert numbers(list(bus.history)) == [2, 3, 4]


def test_as_many_attempts_are_kept_as_was_asked_for_and_all_are_counted(clock: SimulatedClock) -> None:
    bus = EventBus(keep=3, clock=clock)
    subscription = bus.subscribe("#", handler=Failing(4))
    for n in range(3):
        bus.publish(created(n))
    bus.drain(LIMIT)
    assert [a.outcome for a in bus.attempts] == ["failed", "handled", "handled"]
    assert subscription.counts == {"failed": 3, "dead": 1, "handled": 2}


@pytest.mark.parametrize("threads", [0, 2])
def test_a_bus_that_keeps_nothing_retries_and_counts_and_loses_no_dead_letter(
    clock: SimulatedClock, threads: int
) -> None:
    bus = EventBus(keep=0, clock=clock, threads=threads)
    handler = Failing(4)
    subscription = bus.subscribe("#", handler=handler)
    for n in range(3):
        bus.publish(created(n))
    with bus:
        bus.drain(LIMIT)
        assert (bus.attempts, bus.history) == ((), ())
        assert subscription.counts == {"failed": 3, "dead": 1, "handled": 2}
        (letter,) = bus.dead_letters
        bus.redeliver(letter)
        bus.drain(LIMIT)
    assert numbers(handler.calls) == [0, 0, 0, 1, 1, 2, 0]
    assert bus.dead_letters == ()


def test_however_little_is_kept_of_the_rest_all_dead_letters_are_there(clock: SimulatedClock) -> None:
    bus = EventBus(keep=1, clock=clock, retry=ONCE)
    bus.subscribe("#", handler=Failing(FOREVER))
    for n in range(100):
        bus.publish(created(n))
    bus.run_until_idle()
    assert numbers([letter.event for letter in bus.dead_letters]) == list(range(100))


def test_the_record_names_the_event_of_a_dead_letter_that_was_handled(bus: EventBus, recorder: list[Any]) -> None:
    bus.subscribe("#", handler=Failing(FOREVER), name="printer", retry=ONCE)
    bus.subscribe_dead_letters(handler=recorder.append, name="undertaker")
    event = created()
    bus.publish(event)
    bus.run_until_idle()
    assert [(a.event, a.subscription, a.outcome) for a in bus.attempts] == [
        (event, "printer", "dead"),
        (event, "undertaker", "handled"),
    ]


def test_what_a_cancel_drops_and_what_was_handled_make_up_all_that_was_published() -> None:
    """A worker takes deliveries from the queue while it is cleared: each is handled or counted as dropped."""
    for _ in range(50):
        bus = EventBus(threads=2)
        handled = list[Event]()
        subscription = bus.subscribe("#", handler=handled.append)
        with bus:
            for n in range(200):
                bus.publish(created(n))
            dropped = subscription.cancel()
            bus.drain(LIMIT)
        assert len(handled) + dropped == 200
        assert numbers(handled) == list(range(len(handled)))


@pytest.fixture
def logged(file_log: FileLog, clock: SimulatedClock) -> EventBus:
    """A bus whose log holds ten orders, made and shipped."""
    bus = EventBus(log=file_log, clock=clock)
    for n in range(10):
        bus.publish(created(n))
        bus.publish(shipped(n))
    return bus


def test_a_replay_reaches_the_named_subscriptions_and_no_other(logged: EventBus, file_log: FileLog) -> None:
    totals, orders, emails = list[Event](), list[Event](), list[Event]()
    logged.subscribe("#", handler=totals.append, name="totals")
    logged.subscribe("order.created", handler=orders.append, name="orders")
    logged.subscribe("order.created", handler=emails.append, name="emails")
    assert logged.replay("totals", "orders") == 30
    logged.drain(LIMIT)
    assert totals == [record.event for record in file_log.read("shop")]
    assert numbers(orders) == list(range(10))
    assert emails == []
    assert file_log.end("shop") == 20  # and the log has no second record


def test_a_replay_may_begin_and_end_anywhere(logged: EventBus, recorder: list[Any]) -> None:
    logged.subscribe("#", handler=recorder.append, name="totals")
    assert logged.replay("totals", start=4, end=8) == 4
    assert logged.replay("totals", start=18, end=1000) == 2
    logged.drain(LIMIT)
    assert numbers(recorder) == [2, 2, 3, 3, 9, 9]


@pytest.mark.parametrize("threads", [0, 2])
def test_a_replay_is_longer_than_a_queue_and_yet_loses_nothing(
    logged: EventBus, recorder: list[Any], threads: int
) -> None:
    logged.threads, logged.limit = threads, 3
    subscription = logged.subscribe("#", handler=recorder.append, name="totals")
    with logged:
        assert logged.replay("totals") == 20
        assert len(subscription.queue) <= 3  # it never outgrew its queue
    assert numbers(recorder) == [n // 2 for n in range(20)]


def test_a_replay_ends_where_the_log_ended_when_it_began(logged: EventBus, recorder: list[Any]) -> None:
    """Or a handler that answers every event with another would replay its own answers for ever."""
    logged.limit = 3

    def answer(event: Event) -> None:
        recorder.append(event)
        if len(recorder) <= 5:
            logged.publish(shipped(100))

    logged.subscribe("order.*", handler=answer, name="answer")
    assert logged.replay("answer") == 20
    logged.drain(LIMIT)
    assert len(recorder) == 20 + 5  # its own answers came once each, when they were published


@pytest.mark.parametrize("names", [(), ("nobody",), ("totals", "nobody")])
def test_a_replay_to_nobody_is_refused_and_nothing_is_replayed(logged: EventBus, names: tuple[str, ...]) -> None:
    logged.subscribe("#", handler=print, name="totals")
    with pytest.raises(NotSubscribed, match=r"Name the subscriptions to replay to, out of \['totals'\]; not .*nobody"):
        logged.replay(*names)
    logged.drain(0)


def test_a_bus_without_a_log_says_that_it_cant_replay(bus: EventBus) -> None:
    bus.subscribe("#", handler=print, name="totals")
    with pytest.raises(LogError, match="has no log to replay"):
        bus.replay("totals")


@pytest.mark.parametrize("wrong", [{"threads": -1}, {"limit": 0}, {"keep": -1}])
def test_a_bus_of_nothing_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(BadInput, match="at least"):
        EventBus(**wrong)  # type: ignore[arg-type]


# --- at the same moment -----------------------------------------------------------------------------------


def test_what_is_queued_while_the_last_delivery_ends_is_delivered_too(bus: EventBus, gate: Gate) -> None:
    class Slow(deque[Any]):
        """The delivery that runs has ended before anything stands here."""

        def append(self, delivery: Any) -> None:
            gate.opened.set()
            bus.drain(LIMIT)
            super().append(delivery)

    subscription = bus.subscribe("#", handler=gate)
    with bus:
        bus.publish(created(1))
        assert gate.entered.wait(LIMIT)
        subscription.queue = Slow()
        bus.publish(created(2))
    assert len(bus.attempts) == 2


def test_what_is_queued_just_after_the_queue_was_found_empty_is_delivered_too(bus: EventBus) -> None:
    coming = [created(2)]

    class Empty(deque[Any]):
        """Says that it is empty, and then it is no more."""

        def __bool__(self) -> bool:
            empty = len(self) == 0
            if empty and coming:
                bus.publish(coming.pop())
            return not empty

    subscription = bus.subscribe("#", handler=lambda event: None)
    subscription.queue = Empty()
    bus.publish(created(1))
    assert bus.run_until_idle() == 2


def test_who_waits_for_room_or_for_the_end_goes_on_when_a_subscription_is_cancelled(
    in_thread: Callable[[Callable[[], Any]], threading.Thread],
) -> None:
    bus = EventBus(limit=1, retry=HOURS, threads=1)
    full = bus.subscribe("#", handler=Failing(FOREVER))
    with bus:
        bus.publish(created(1))
        wait_until(lambda: full.held)  # its retry is an hour away
        bus.publish(created(2))
        publisher = in_thread(lambda: bus.publish(created(3), wait=3600))
        drainer = in_thread(lambda: bus.drain(3600))
        wait_until(lambda: bus._scheduler._full and bus._scheduler._end._waiters)  # type: ignore[attr-defined]
        assert full.cancel() == 2
        for thread in (publisher, drainer):
            thread.join(LIMIT)
            assert not thread.is_alive()
    assert len(bus.history) == 3


def test_whoever_waits_for_a_retry_takes_over_what_another_leaves(
    gate: Gate, in_thread: Callable[[Callable[[], Any]], threading.Thread]
) -> None:
    """Without worker threads: one makes a single delivery, and while it lasts another one comes and waits."""
    bus = EventBus(retry=HOURS)
    bus.subscribe("order.created", handler=Failing(FOREVER))
    bus.subscribe("order.shipped", handler=gate, name="gate")
    bus.publish(created())
    assert bus.deliver_one()  # it failed, and its retry is an hour away
    bus.publish(shipped(1))
    bus.publish(shipped(2))
    one = in_thread(bus.deliver_one)
    assert gate.entered.wait(LIMIT)
    other = in_thread(bus.deliver_one)
    wait_until(lambda: bool(bus._scheduler._idle))
    gate.opened.set()
    for thread in (one, other):
        thread.join(LIMIT)
        assert not thread.is_alive()
    assert [outcome for _, _, outcome in tried(bus, "gate")] == ["handled", "handled"]


def test_drain_without_threads_begins_no_delivery_after_its_time(bus: EventBus, recorder: list[Any]) -> None:
    bus.subscribe("#", handler=recorder.append, name="late")
    bus.publish(created())
    with pytest.raises(NotDrained, match="are left for: late"):
        bus.drain(0)
    assert recorder == []


def test_what_is_cancelled_when_it_has_just_been_taken_up_holds_up_nobody(bus: EventBus, recorder: list[Any]) -> None:
    class Cancelled(deque[Any]):
        """Whoever takes a delivery from it comes too late."""

        def popleft(self) -> Any:
            if not subscription.cancelled:
                subscription.cancel()
            return super().popleft()

    subscription = bus.subscribe("#", handler=recorder.append)
    subscription.queue = Cancelled()
    bus.publish(created())
    assert bus.run_until_idle() == 0
    bus.drain(0)
    assert recorder == []


def test_a_cancel_ends_the_wait_for_a_retry_that_nobody_needs_any_more() -> None:
    bus = EventBus(retry=Retry(pause=3600))

    def fails(event: Event) -> None:
        raise ValueError("no")

    subscription = bus.subscribe("#", handler=fails)
    bus.publish(created())
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(bus.run_until_idle)
        wait_until(lambda: bool(bus._scheduler._idle))
        assert subscription.cancel() == 1
        assert made.result(LIMIT) == 1
