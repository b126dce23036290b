"""From publish to handled on the calling thread, beside libraries that call the handlers there and then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import process_time

import blinker
from pyee.base import EventEmitter
from pymitter import EventEmitter as PatternEmitter

from benchmarks.measuring import Bench, Goal, Kind, Race, Run, Side, rate
from ecomlib.bus import EventBus
from ecomlib.events import Event
from ecomlib.ports import Handler

BATCH = 1_000  # events, made beforehand; each side gets the same ones again and again
RUN = 40_000  # deliveries, about

OURS, UNRECORDED, EACH = "ecomlib", "ecomlib, keep=0", "ecomlib, each at once"
BLINKER, PYEE, PYMITTER, LOOP = "blinker", "pyee", "pymitter", "bare loop"
AHEAD = {
    1: (Goal(OURS, BLINKER, 1), Goal(OURS, PYMITTER, 1), Goal(UNRECORDED, PYEE, 1)),
    3: (Goal(OURS, BLINKER, 1), Goal(OURS, PYMITTER, 1), Goal(UNRECORDED, PYEE, 1)),
    10: (Goal(OURS, PYMITTER, 1), Goal(UNRECORDED, PYEE, 1)),
}

Dispatch = Callable[[Sequence[Event]], object]  # when it returns, every handler has had every event


def races(bench: Bench) -> Iterator[Race]:
    """The handlers do nothing, so what is measured is the way to them.

    Ours puts each event into a queue for each subscription, tries again what fails, and records every attempt, except
    with `keep=0`. It publishes a thousand events and then delivers them all; "each at once" delivers after every
    publish. The others neither queue nor retry nor record. Ours and pymitter match `order.*`.
    """
    events = [Event("order.created", {"order_id": n, "amount": 50}) for n in range(bench.count(BATCH))]
    for number, goals in AHEAD.items():
        handlers = [nothing() for _ in range(number)]
        batches = bench.count(RUN // BATCH // (1 + number // 2), least=1)

        def side(name: str, dispatch: Dispatch, batches: int = batches) -> Side:
            kind: Kind = "ours" if name.startswith(OURS) else "limit" if name == LOOP else "peer"
            return Side(name, kind, repeated(dispatch, events, batches))

        yield Race(
            f"dispatch on the calling thread, handlers: {number}",
            "events",
            (
                side(OURS, together(bus_with(handlers))),
                side(EACH, each_at_once(bus_with(handlers))),
                side(UNRECORDED, together(bus_with(handlers, keep=0))),
                side(BLINKER, with_blinker(handlers)),
                side(PYEE, with_pyee(handlers)),
                side(PYMITTER, with_pymitter(handlers)),
                side(LOOP, with_a_loop(handlers)),
            ),
            goals,
            rounds=9,
        )


def nothing() -> Handler:
    def handler(event: Event) -> None: ...

    return handler


def repeated(dispatch: Dispatch, events: Sequence[Event], batches: int) -> Run:
    def run() -> None:
        for _ in range(batches):
            dispatch(events)

    return lambda: rate(batches * len(events), run, process_time)


def bus_with(handlers: Sequence[Handler], keep: int = 10_000) -> EventBus:
    bus = EventBus(keep=keep)
    for number, handler in enumerate(handlers):
        bus.subscribe("order.*", handler=handler, name=f"handler {number}")
    return bus


def together(bus: EventBus) -> Dispatch:
    def dispatch(events: Sequence[Event]) -> None:
        for event in events:
            bus.publish(event)
        bus.run_until_idle()

    return dispatch


def each_at_once(bus: EventBus) -> Dispatch:
    def dispatch(events: Sequence[Event]) -> None:
        for event in events:
            bus.publish(event)
            bus.run_until_idle()

    return dispatch


def with_blinker(handlers: Sequence[Handler]) -> Dispatch:
    """As its documentation begins: the receivers get what is sent. A signal is one type of event."""
    signal = blinker.Signal()
    for handler in handlers:
        signal.connect(handler)

    def dispatch(events: Sequence[Event]) -> None:
        for event in events:
            signal.send(event)

    return dispatch


def with_pyee(handlers: Sequence[Handler]) -> Dispatch:
    """It has no patterns: the handlers wait for the type itself."""
    emitter = EventEmitter()
    for handler in handlers:
        emitter.on("order.created", handler)

    def dispatch(events: Sequence[Event]) -> None:
        for event in events:
            emitter.emit(event.type, event)

    return dispatch


def with_pymitter(handlers: Sequence[Handler]) -> Dispatch:
    emitter = PatternEmitter(wildcard=True)
    for handler in handlers:
        emitter.on("order.*", handler)

    def dispatch(events: Sequence[Event]) -> None:
        for event in events:
            emitter.emit(event.type, event)

    return dispatch


def with_a_loop(handlers: Sequence[Handler]) -> Dispatch:
    def dispatch(events: Sequence[Event]) -> None:
        for event in events:
            for handler in handlers:
                handler(event)

    return dispatch
