"""From publish until served by one worker thread, beside the queues that Python brings along."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence

from benchmarks.measuring import Bench, Goal, Race, Run, Side, rate
from ecomlib.bus import EventBus
from ecomlib.events import Event

EVENTS = 200_000
MADE = 1_000  # different ones, made beforehand
PATIENCE = 60.0  # seconds

OURS, QUEUE, SIMPLE = "ecomlib, recorded", "queue.Queue, task_done", "queue.SimpleQueue"


def races(bench: Bench) -> Iterator[Race]:
    """One thread hands over all events, another one calls a handler that does nothing; then all are served.

    Ours retries and records besides. With `queue.Queue` it is the usual loop of `get`, call, `task_done`, and `join`
    at the end. A `SimpleQueue` can't say when all is done, so its last item says it: it is no peer, but shows what a
    hand-over in C costs.
    """
    made = [Event("order.created", {"order_id": n, "amount": 50}) for n in range(bench.count(MADE))]
    count = bench.count(EVENTS)
    events = (made * (count // len(made) + 1))[:count]
    yield Race(
        "publish until served by one worker thread",
        "events",
        (
            Side(OURS, "ours", on_the_bus(events)),
            Side(QUEUE, "peer", on_a_queue(events)),
            Side(SIMPLE, "limit", on_a_simple_queue(events)),
        ),
        (Goal(OURS, QUEUE, 2.5),),
    )


def handler(event: Event) -> None: ...


def on_the_bus(events: Sequence[Event]) -> Run:
    def run() -> float:
        bus = EventBus(threads=1, limit=len(events))
        bus.subscribe("order.*", handler=handler)

        def work() -> None:
            for event in events:
                bus.publish(event)
            bus.drain(PATIENCE)

        with bus:
            return rate(len(events), work)

    return run


def on_a_queue(events: Sequence[Event]) -> Run:
    def run() -> float:
        waiting = queue.Queue[Event | None]()

        def serve() -> None:
            while (event := waiting.get()) is not None:
                handler(event)
                waiting.task_done()

        def work() -> None:
            for event in events:
                waiting.put(event)
            waiting.join()

        worker = threading.Thread(target=serve)
        worker.start()
        try:
            return rate(len(events), work)
        finally:
            waiting.put(None)
            worker.join()

    return run


def on_a_simple_queue(events: Sequence[Event]) -> Run:
    def run() -> float:
        waiting = queue.SimpleQueue[Event | None]()

        def serve() -> None:
            while (event := waiting.get()) is not None:
                handler(event)

        def work() -> None:
            for event in events:
                waiting.put(event)
            waiting.put(None)
            worker.join()

        worker = threading.Thread(target=serve)
        worker.start()
        return rate(len(events), work)

    return run
