"""What every bus promises (`ecomlib.ports.Bus`), whatever engine is behind it.

An engine's tests inherit `BusContract` and define the fixture `make`. Whatever the engine does at the same time, a test
looks only after `drain`, and lets an event arrive while another is failing by publishing it from the failing handler.
"""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any, Protocol

import pytest

from ecomlib.errors import BadPattern, NoSubscriber, NotDrained, Permanent, WrongPlace
from ecomlib.events import Event
from ecomlib.log import FileLog
from ecomlib.ports import Bus, Log, Retry

LIMIT = 20.0  # seconds: far more than any test needs, so that reaching it means that something hangs


class Make(Protocol):
    def __call__(self, *, log: Log | None = None, retry: Retry = ...) -> Bus:
        """A new bus that logs to the topic `shop`, ends with the test, and whose retries are quick."""


def created(order_id: int = 1) -> Event:
    return Event("order.created", {"order_id": order_id, "amount": 50})


def shipped(order_id: int = 1) -> Event:
    return Event("order.shipped", {"order_id": order_id})


def tried(bus: Bus, subscription: str) -> list[tuple[str, int, str]]:
    """The attempts of one subscription, in order: which event, which attempt, how it ended."""
    return [(a.event.id, a.number, a.outcome) for a in bus.attempts if a.subscription == subscription]


class Failing:
    """A handler that fails its first calls, or all of them, and records every one."""

    def __init__(self, times: float, error: Exception | None = None) -> None:
        self.calls: list[Event] = []
        self.times = times
        self.error = error or RuntimeError("the printer is on fire")

    def __call__(self, event: Event) -> None:
        self.calls.append(event)
        if len(self.calls) <= self.times:
            raise self.error


FOREVER = float("inf")


class BusContract:
    @pytest.fixture
    def make(self) -> Make:
        raise NotImplementedError("an engine's tests say how to make it")

    @pytest.fixture
    def bus(self, make: Make) -> Bus:
        return make()

    @pytest.fixture
    def file_log(self, tmp_path: Path) -> FileLog:
        return FileLog(tmp_path / "log", durability="system")

    # --- publish and subscribe ----------------------------------------------------------------------------

    def test_an_event_reaches_everyone_who_subscribes_to_it_and_no_one_else(
        self, bus: Bus, recorder: list[Any]
    ) -> None:
        bus.subscribe("order.created", handler=lambda e: recorder.append(("exact", e)))
        bus.subscribe("order.*", handler=lambda e: recorder.append(("star", e)))
        bus.subscribe("#", handler=lambda e: recorder.append(("hash", e)))
        bus.subscribe("user.*", handler=lambda e: recorder.append(("user", e)))
        event = created()
        bus.publish(event)
        bus.drain(LIMIT)
        assert Counter(recorder) == Counter([("exact", event), ("star", event), ("hash", event)])

    def test_a_handler_is_called_once_however_many_of_its_patterns_match(self, bus: Bus, recorder: list[Any]) -> None:
        bus.subscribe("order.created", "order.*", "#", "#.created", handler=recorder.append)
        bus.publish(created())
        bus.drain(LIMIT)
        assert len(recorder) == 1

    def test_each_subscription_gets_its_events_in_the_order_in_which_they_were_published(
        self, bus: Bus, recorder: list[Any]
    ) -> None:
        others: list[Event] = []
        bus.subscribe("order.*", handler=recorder.append, name="first")
        bus.subscribe("#", handler=others.append, name="second")
        events = [created(n) for n in range(100)]
        for event in events:
            bus.publish(event)
        bus.drain(LIMIT)
        assert recorder == others == events

    def test_what_was_published_before_is_not_delivered(self, bus: Bus, recorder: list[Any]) -> None:
        bus.publish(created(1))
        bus.subscribe("#", handler=recorder.append)
        event = created(2)
        bus.publish(event)
        bus.drain(LIMIT)
        assert recorder == [event]

    def test_the_receipt_says_whether_anyone_subscribes(self, bus: Bus, recorder: list[Any]) -> None:
        assert not bus.publish(created())
        subscription = bus.subscribe("order.*", handler=recorder.append, name="audit")
        receipt = bus.publish(created())
        assert receipt
        assert receipt.subscriptions == (subscription.name,) == ("audit",)
        assert not bus.publish(Event("coffee.spilled"))

    def test_publishing_never_waits_for_a_handler(self, bus: Bus) -> None:
        gate = threading.Event()
        handled: list[bool] = []
        bus.subscribe("#", handler=lambda e: handled.append(gate.wait(LIMIT)))
        for n in range(3):
            bus.publish(created(n))
        assert not handled  # the gate is shut: had one publish waited for its handler, one would have ended
        gate.set()
        bus.drain(LIMIT)
        assert handled == [True, True, True]

    def test_a_handler_may_publish(self, bus: Bus, recorder: list[Any]) -> None:
        bus.subscribe("order.created", handler=lambda e: bus.publish(shipped()), name="shipping")
        bus.subscribe("order.shipped", handler=recorder.append)
        bus.publish(created())
        bus.drain(LIMIT)
        assert [event.type for event in recorder] == ["order.shipped"]

    def test_a_mandatory_event_that_no_one_takes_is_an_error_and_is_not_logged(
        self, make: Make, file_log: FileLog, recorder: list[Any]
    ) -> None:
        bus = make(log=file_log)
        bus.publish(created())
        with pytest.raises(NoSubscriber, match=r"order\.shipped"):
            bus.publish(shipped(), mandatory=True)
        bus.subscribe("order.shipped", handler=recorder.append)
        assert bus.publish(shipped(), mandatory=True)
        bus.drain(LIMIT)
        assert [record.event.type for record in file_log.read("shop")] == ["order.created", "order.shipped"]
        assert len(recorder) == 1

    def test_a_published_event_is_in_the_log_when_publish_returns(self, make: Make, file_log: FileLog) -> None:
        bus = make(log=file_log)
        event = created()
        receipt = bus.publish(event)
        assert receipt.position is not None
        assert list(file_log.read("shop", receipt.position.offset)) == [(receipt.position, event)]

    def test_without_a_log_the_receipt_has_no_position(self, bus: Bus) -> None:
        assert bus.publish(created()).position is None

    @pytest.mark.parametrize("pattern", ["", "order.**", "a..b", "order.c*", "two words"])
    def test_a_bad_pattern_is_refused_and_nothing_is_subscribed(
        self, bus: Bus, pattern: str, recorder: list[Any]
    ) -> None:
        with pytest.raises(BadPattern):
            bus.subscribe("#", pattern, handler=recorder.append)
        assert not bus.publish(created())

    def test_a_subscription_needs_a_pattern(self, bus: Bus, recorder: list[Any]) -> None:
        with pytest.raises(BadPattern, match="at least one pattern"):
            bus.subscribe(handler=recorder.append)

    # --- failures -----------------------------------------------------------------------------------------

    def test_a_delivery_that_fails_is_tried_again(self, bus: Bus) -> None:
        handler = Failing(times=2)
        bus.subscribe("#", handler=handler, name="printer")
        event = created()
        bus.publish(event)
        bus.drain(LIMIT)
        assert handler.calls == [event] * 3
        assert tried(bus, "printer") == [(event.id, 1, "failed"), (event.id, 2, "failed"), (event.id, 3, "handled")]
        assert not bus.dead_letters

    def test_a_delivery_that_fails_too_often_becomes_a_dead_letter_with_its_error(self, bus: Bus) -> None:
        bus.subscribe("#", handler=Failing(FOREVER), name="printer")
        event = created()
        bus.publish(event)
        bus.drain(LIMIT)
        assert tried(bus, "printer") == [(event.id, 1, "failed"), (event.id, 2, "failed"), (event.id, 3, "dead")]
        (letter,) = bus.dead_letters
        assert (letter.event, letter.subscription, letter.attempts) == (event, "printer", 3)
        assert letter.error == "RuntimeError: the printer is on fire"

    def test_a_permanent_error_is_not_tried_again(self, bus: Bus) -> None:
        handler = Failing(FOREVER, Permanent("there is no such mailbox"))
        bus.subscribe("#", handler=handler, name="email")
        bus.publish(created())
        bus.drain(LIMIT)
        assert len(handler.calls) == 1
        assert [(letter.attempts, letter.error) for letter in bus.dead_letters] == [
            (1, "Permanent: there is no such mailbox")
        ]

    def test_a_subscription_may_have_a_retry_of_its_own(self, bus: Bus) -> None:
        once, often = Failing(FOREVER), Failing(FOREVER)
        bus.subscribe("#", handler=once, name="once", retry=Retry(attempts=1))
        bus.subscribe("#", handler=often, name="often", retry=Retry(attempts=5, pause=0.001))
        bus.publish(created())
        bus.drain(LIMIT)
        assert (len(once.calls), len(often.calls)) == (1, 5)

    def test_a_failure_in_one_subscription_never_stops_another(self, bus: Bus, recorder: list[Any]) -> None:
        bus.subscribe("#", handler=Failing(FOREVER), name="before")
        bus.subscribe("#", handler=recorder.append, name="healthy")
        bus.subscribe("#", handler=Failing(FOREVER), name="after")
        events = [created(n) for n in range(5)]
        for event in events:
            bus.publish(event)
        bus.drain(LIMIT)
        assert recorder == events
        assert Counter(letter.subscription for letter in bus.dead_letters) == {"before": 5, "after": 5}

    def test_later_events_wait_while_a_failed_one_is_tried_again(self, bus: Bus) -> None:
        first, second, calls = created(1), created(2), list[Event]()

        def handler(event: Event) -> None:
            calls.append(event)
            if len(calls) == 1:
                bus.publish(second)
            if event == first and len(calls) < 3:
                raise RuntimeError("not yet")

        bus.subscribe("#", handler=handler)
        bus.publish(first)
        bus.drain(LIMIT)
        assert calls == [first, first, first, second]

    def test_later_events_wait_until_a_failed_one_is_given_up(self, bus: Bus) -> None:
        first, second, calls = created(1), created(2), list[Event]()

        def handler(event: Event) -> None:
            calls.append(event)
            if len(calls) == 1:
                bus.publish(second)
            if event == first:
                raise RuntimeError("never")

        bus.subscribe("#", handler=handler)
        bus.publish(first)
        bus.drain(LIMIT)
        assert calls == [first, first, first, second]

    def test_later_events_overtake_a_failed_one_where_order_is_not_asked_for(self, make: Make) -> None:
        bus = make(retry=Retry(attempts=3, pause=0.05))
        first, second, calls = created(1), created(2), list[Event]()

        def handler(event: Event) -> None:
            calls.append(event)
            if len(calls) == 1:
                bus.publish(second)
                raise RuntimeError("not yet")

        bus.subscribe("#", handler=handler, ordered=False)
        bus.publish(first)
        bus.drain(LIMIT)
        assert calls == [first, second, first]

    def test_every_attempt_leaves_a_record(self, bus: Bus) -> None:
        bus.subscribe("#", handler=Failing(1, ValueError("no paper")), name="printer")
        event = created()
        bus.publish(event)
        bus.drain(LIMIT)
        assert [(a.event, a.subscription, a.number, a.outcome, a.error) for a in bus.attempts] == [
            (event, "printer", 1, "failed", "ValueError: no paper"),
            (event, "printer", 2, "handled", None),
        ]
        assert all(a.duration >= 0 for a in bus.attempts)

    # --- dead letters -------------------------------------------------------------------------------------

    def test_a_dead_letter_is_redelivered_to_the_subscription_that_failed_and_to_no_other(
        self, make: Make, file_log: FileLog, recorder: list[Any]
    ) -> None:
        bus = make(log=file_log)
        handler = Failing(3)  # it fails for good, and is then repaired
        bus.subscribe("#", handler=recorder.append, name="audit")
        bus.subscribe("#", handler=handler, name="printer")
        event = created()
        bus.publish(event)
        bus.drain(LIMIT)
        bus.redeliver(bus.dead_letters[0])
        bus.drain(LIMIT)
        assert recorder == [event]
        assert [e.id for e in handler.calls] == [event.id] * 4
        assert tried(bus, "printer")[-1] == (event.id, 4, "handled")
        assert bus.dead_letters == ()
        assert [record.event for record in file_log.read("shop")] == [event]  # no second record

    def test_a_redelivery_that_fails_gets_all_its_attempts_and_is_a_dead_letter_again(self, bus: Bus) -> None:
        bus.subscribe("#", handler=Failing(FOREVER), name="printer")
        event = created()
        bus.publish(event)
        bus.drain(LIMIT)
        bus.redeliver(bus.dead_letters[0])
        bus.drain(LIMIT)
        numbers = [(number, outcome) for _, number, outcome in tried(bus, "printer")]
        assert numbers == [(1, "failed"), (2, "failed"), (3, "dead"), (4, "failed"), (5, "failed"), (6, "dead")]
        assert [letter.attempts for letter in bus.dead_letters] == [6]

    def test_only_the_letter_that_was_named_is_redelivered(self, bus: Bus) -> None:
        handler = Failing(FOREVER, Permanent("closed"))
        bus.subscribe("#", handler=handler, name="printer")
        events = [created(n) for n in range(3)]
        for event in events:
            bus.publish(event)
        bus.drain(LIMIT)
        handler.times = 0
        bus.redeliver(bus.dead_letters[1])
        bus.drain(LIMIT)
        assert handler.calls == [*events, events[1]]
        assert [letter.event for letter in bus.dead_letters] == [events[0], events[2]]

    # --- cancel and drain ---------------------------------------------------------------------------------

    def test_a_cancelled_subscription_gets_nothing_any_more(self, bus: Bus, recorder: list[Any]) -> None:
        subscription = bus.subscribe("#", handler=recorder.append)
        for n in range(3):
            bus.publish(created(n))
        dropped = subscription.cancel()
        assert not bus.publish(created(3))
        bus.drain(LIMIT)
        assert len(recorder) + dropped == 3  # each was handled or is counted as dropped
        assert subscription.cancel() == 0

    def test_a_subscription_ends_with_its_block(self, bus: Bus, recorder: list[Any]) -> None:
        with bus.subscribe("order.*", handler=recorder.append) as subscription:
            assert subscription.patterns == ("order.*",)
            assert bus.publish(created())
            bus.drain(LIMIT)
        assert not bus.publish(created())
        bus.drain(LIMIT)
        assert len(recorder) == 1

    def test_a_handler_may_cancel_its_own_subscription(self, bus: Bus, recorder: list[Any]) -> None:
        def once(event: Event) -> None:
            recorder.append(event)
            subscription.cancel()

        subscription = bus.subscribe("order.created", handler=once)
        bus.subscribe("order.shipped", handler=lambda e: [bus.publish(created(n)) for n in range(3)])
        bus.publish(shipped())
        bus.drain(LIMIT)
        assert len(recorder) == 1
        assert not bus.publish(created())

    def test_drain_has_nothing_to_wait_for_where_nothing_was_published(self, bus: Bus) -> None:
        bus.drain(0)

    def test_drain_raises_after_its_time_and_names_what_is_left(self, bus: Bus, recorder: list[Any]) -> None:
        endless = Retry(attempts=10**9, pause=0.001, longest=0.001)
        with bus.subscribe("#", handler=Failing(FOREVER), name="stubborn", retry=endless):
            bus.subscribe("#", handler=recorder.append, name="healthy")
            bus.publish(created())
            with pytest.raises(NotDrained, match="left for: stubborn") as raised:
                bus.drain(timeout=0.1)
            assert "healthy" not in str(raised.value)
        bus.drain(LIMIT)  # who is cancelled keeps no one waiting
        assert len(recorder) == 1

    def test_drain_inside_a_handler_is_refused_for_it_would_wait_for_itself(self, bus: Bus) -> None:
        bus.subscribe("#", handler=lambda e: bus.drain(), retry=Retry(attempts=1), name="impatient")
        bus.publish(created())
        bus.drain(LIMIT)
        assert [letter.error.partition(":")[0] for letter in bus.dead_letters] == [WrongPlace.__name__]
