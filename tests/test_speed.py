"""What an event costs. Figures are the best of several runs: a busy machine can only make them worse, never better."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import pytest

from benchmarks.matching import by_regex, by_registry, by_splitting, patterns
from ecomlib.bus import EventBus
from ecomlib.events import Event
from ecomlib.pattern_index import PatternIndex

EVENTS = 20_000
RUNS = 10
GOOD_RATIO = 1.3
LIMIT = 10.0  # microseconds, from `publish` to handled, with the attempt recorded


def best(run: Callable[[], float], good_enough: float) -> float:
    """The least of up to ten runs; it stops as soon as one is good enough."""
    least = float("inf")
    for _ in range(RUNS):
        gc.collect()
        least = min(least, run())
        if least <= good_enough:
            break
    return least


@pytest.mark.parametrize("threads", [0, 4])
def test_an_event_costs_less_than_ten_microseconds_from_publish_to_handled(threads: int) -> None:
    events = [Event("order.created", {"order_id": n, "amount": 50}) for n in range(EVENTS)]

    def run() -> float:
        bus, handled = EventBus(limit=EVENTS, keep=EVENTS, threads=threads), list[Event]()
        bus.subscribe("order.*", handler=handled.append)
        with bus:
            began = time.perf_counter()
            for event in events:
                bus.publish(event)
            bus.drain(timeout=60)
            took = time.perf_counter() - began
        assert handled == events
        assert len(bus.attempts) == EVENTS
        return took / EVENTS * 1e6

    cost = best(run, good_enough=LIMIT * 0.9)
    assert cost < LIMIT, f"{cost:.1f} µs an event"


def measured(match: Callable[[], object], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        match()
    return time.perf_counter() - began


def ratio(few: Callable[[], object], many: Callable[[], object], times: int) -> float:
    """How much longer many take than few. They take turns, so that both meet the same machine.

    A few turns are enough where the ratio is good; where it is not, more of them tell noise from truth.
    """
    least = [float("inf"), float("inf")]
    gc.collect()
    for turn in range(15):
        least = [min(least[0], measured(few, times)), min(least[1], measured(many, times))]
        if turn >= 4 and least[1] / least[0] < GOOD_RATIO:
            break
    return least[1] / least[0]


def test_a_match_costs_the_same_with_500_subscriptions_as_with_5() -> None:
    """By the way that an event takes: subscriptions that it does not reach cost it nothing."""

    def bus_with(count: int) -> EventBus:
        bus = EventBus(limit=10**6)
        for n, pattern in enumerate(patterns(count)):
            bus.subscribe(pattern, handler=lambda e: None, name=f"{n}")
        return bus

    event = Event("order.created", {"order_id": 1, "amount": 50})
    few, many = bus_with(5), bus_with(500)
    assert len(few.publish(event).subscriptions) == len(many.publish(event).subscriptions) == 5
    assert ratio(lambda: few.publish(event), lambda: many.publish(event), times=300) < 1.5


def test_so_does_the_first_match_of_a_type_that_was_never_seen() -> None:
    few, many = (PatternIndex((pattern, n) for n, pattern in enumerate(patterns(count))) for count in (5, 500))
    assert sorted(few.match("order.created")) == sorted(many.match("order.created")) == [0, 1, 2, 3, 4]
    assert ratio(lambda: few.match("order.created"), lambda: many.match("order.created"), times=300) < 1.5


def test_what_a_type_reaches_is_the_same_by_the_tree_by_words_and_by_regular_expressions() -> None:
    """Or the benchmark would compare different work."""
    alike = [*patterns(50), "order.created.#", "shop.#"]
    for type in ("order.created", "order.7.made", "shop", "shop.7.closed.early", "user.created", "order"):
        _, names = by_registry(alike)(type)
        assert list(names) == by_splitting(alike)(type) == by_regex(alike)(type)
