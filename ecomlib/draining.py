"""When is all done? Nobody sees a queue and its consumers' hands at one moment, so they are looked at twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate

from ecomlib.consuming import QueueSubscription
from ecomlib.errors import BrokerError
from ecomlib.serving import Shared

GLANCE = 0.02  # seconds between looks at the broker's queues


def drain(shared: Shared, subscriptions: Callable[[], Sequence[QueueSubscription]], timeout: float) -> list[str]:
    """Wait until nothing is left, or `timeout` seconds. Returns the names of those that have something left.

    Nothing is left when, with nothing in hand before and after, all queues were empty and nothing arrived in between:
    so no handler was at work that could have published something into a queue that had been looked at already.
    """
    deadline = time.monotonic() + timeout
    while True:
        all_of_them = subscriptions()
        before = _arrivals(all_of_them)
        left = _busy(shared, all_of_them) or _waiting(shared, all_of_them, deadline)
        if not left and before == _arrivals(subscriptions()) and not _busy(shared, subscriptions()):
            return []
        if time.monotonic() >= deadline:
            return left
        with shared.changed:
            shared.changed.wait(GLANCE)


def _arrivals(subscriptions: Sequence[QueueSubscription]) -> int:
    return sum(s.arrivals for s in subscriptions)


def _busy(shared: Shared, subscriptions: Sequence[QueueSubscription]) -> list[str]:
    with shared.changed:
        now = time.monotonic()
        shared.pausing = {key: due for key, due in shared.pausing.items() if due > now}
        pausing = {queue for queue, _ in shared.pausing}
        return [s.name for s in subscriptions if s.in_hand or (s.queue in pausing and not s.cancelled)]


def _waiting(shared: Shared, subscriptions: Sequence[QueueSubscription], deadline: float) -> list[str]:
    asked: list[tuple[QueueSubscription, Future[int]]] = []
    for subscription in subscriptions:
        if not subscription.cancelled:
            answer: Future[int] = Future()
            asked.append((subscription, answer))
            shared.link.call(lambda s=subscription, a=answer: s.depth(a))  # type: ignore[misc]
    left = []
    for subscription, answer in asked:
        try:
            if answer.result(max(deadline - time.monotonic(), 1.0 if shared.link.connected else 0.0)):
                left.append(subscription.name)
        except (TooLate, BrokerError):
            left.append(f"{subscription.name} (no connection)")
    return left
