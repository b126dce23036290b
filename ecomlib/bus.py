"""The in-memory event bus: whoever publishes does not know who listens, and never waits for them."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Self

from ecomlib.clock import Clock, SystemClock
from ecomlib.errors import BadEvent, BadInput, BusFull, LogError, NoSubscriber, NotDrained, NotSubscribed
from ecomlib.events import Event
from ecomlib.patterns import check_patterns
from ecomlib.ports import Attempt, DeadLetter, Handler, Log, Receipt, Retry
from ecomlib.scheduler import Scheduler
from ecomlib.subscriptions import Registry, Subscription, as_attempt


class EventBus:
    """Publish and subscribe within one process.

    A failure in one subscription never stops another. A slow handler delays others only when there are as many slow
    subscriptions as worker threads. Without `with bus:` there are no threads: `drain()`, `run_until_idle()` and
    `deliver_one()` then call the handlers in the thread that calls them. Every method may be called from any thread.
    """

    def __init__(
        self,
        *,
        log: Log | None = None,
        topic: str = "shop",
        clock: Clock | None = None,
        retry: Retry = Retry(),  # noqa: B008  (immutable)
        threads: int = 4,
        limit: int = 10_000,
        keep: int = 10_000,
    ) -> None:
        """`limit` bounds each queue; `keep` the attempts and the history: the latest are kept, and with 0 none.

        Of the dead letters, which somebody still has to see to, at least 10,000 are kept.
        """
        for name, number, least in (("threads", threads, 0), ("limit", limit, 1), ("keep", keep, 0)):
            if number < least:
                raise BadInput(f"A bus needs {name} of at least {least}, not {number!r}.")
        self.log, self.topic, self.retry, self.threads, self.limit = log, topic, retry, threads, limit
        self._scheduler = Scheduler(clock or SystemClock(), keep)
        self._registry = Registry(on_cancel=self._cancel)
        self._history: deque[Event] = deque(maxlen=keep)
        self._publishing = threading.Lock()  # one publisher at a time: the log and every queue see the same order

    def publish(self, event: Event, *, mandatory: bool = False, wait: float = 0.0) -> Receipt:
        """Log the event, put it into the queue of each subscription that it matches, and return.

        Raises `BusFull` where a queue has no room within `wait` seconds, with nothing logged and nothing queued;
        inside a handler it does not wait. With `mandatory`, raises `NoSubscriber` where nobody subscribes.
        """
        if not isinstance(event, Event):
            raise BadEvent(f"{event!r:.40} is no event: publish(Event('order.created', {{'order_id': 1}})).")
        deadline = time.monotonic() + wait if wait else 0.0
        while True:
            with self._publishing:
                subscriptions, names = self._registry.routes[event.type]
                for subscription in subscriptions:
                    if len(subscription.queue) >= self.limit:
                        break
                else:
                    if mandatory and not subscriptions:
                        raise NoSubscriber(f"Nobody subscribes to {event.type!r}: it was not published.")
                    position = self.log.append(self.topic, event)[0] if self.log is not None else None
                    self._history.append(event)
                    self._scheduler.add(subscriptions, event)
                    return Receipt(event, names, position)
            self._wait_for_room(subscription, deadline)

    def publish_all(self, events: Iterable[Event]) -> list[Receipt | BusFull]:
        """As `publish` for each, but the log is written once. Where a queue has no room, the event gets its `BusFull`.

        Nobody else's event comes between them. Raises what `Log.append` raises, with nothing queued.
        """
        found: list[Receipt | BusFull] = []
        coming = Counter[Subscription]()
        with self._publishing:
            for event in events:
                subscriptions, names = self._registry.routes[event.type]
                full = [s for s in subscriptions if len(s.queue) + coming[s] >= self.limit]
                coming.update(() if full else subscriptions)
                found.append(self._is_full(full[0]) if full else Receipt(event, names))
            taken = [receipt for receipt in found if isinstance(receipt, Receipt)]
            logged = self.log.append(self.topic, *[r.event for r in taken]) if self.log is not None and taken else ()
            positions = iter(logged)
            for receipt in taken:
                receipt.position = next(positions, None)
                self._history.append(receipt.event)
                self._scheduler.add(self._registry.routes[receipt.event.type][0], receipt.event)
        return found

    def _wait_for_room(self, full: Subscription, deadline: float) -> None:
        may_wait = bool(deadline) and not self._scheduler.inside_a_handler
        if not may_wait or not self._scheduler.wait_for_room(full, self.limit, deadline):
            raise self._is_full(full)

    def _is_full(self, full: Subscription) -> BusFull:
        return BusFull(
            f"The queue of {full.name!r} is full ({self.limit} deliveries wait): nothing was published. Let it "
            "catch up, add worker threads, or publish with wait=seconds."
        )

    def subscribe(
        self,
        *patterns: str,
        handler: Handler,
        name: str | None = None,
        ordered: bool = True,
        retry: Retry | None = None,
    ) -> Subscription:
        """Call `handler` once for every event from now on that any of the patterns matches, one at a time.

        `name` is what attempts and dead letters call it; without one it is the handler's own. With `ordered=False`,
        later events overtake one that waits for its retry. Raises `BadPattern`; raises `AlreadySubscribed` for a name
        that is taken, and for a handler that has one of these patterns already, unless a name of its own says that a
        second delivery is meant.
        """
        check_patterns(patterns)
        with self._publishing:
            return self._registry.make(name, patterns, handler, ordered, retry or self.retry)

    def subscribe_dead_letters(
        self, *, handler: Callable[[DeadLetter], object], name: str | None = None, retry: Retry | None = None
    ) -> Subscription:
        """Call `handler` with every dead letter from now on, retried like any delivery.

        If it fails for good, that too is a dead letter, which is listed but not handed to it again.
        """
        with self._publishing:
            subscription = self._registry.make(name, (), handler, True, retry or self.retry)
            with self._scheduler.lock:
                self._scheduler.dead_letter_subscriptions.append(subscription)
            return subscription

    def unsubscribe(self, *patterns: str, handler: Callable[..., object]) -> int:
        """Take these patterns from the handler, or all that it has. Returns how many waiting deliveries were dropped.

        A subscription that has none left is cancelled. Raises `NotSubscribed`, changing nothing, where the handler
        has no such pattern.
        """
        with self._publishing:
            empty = self._registry.withdraw(patterns, handler)
        return sum(s.cancel() for s in empty)

    def clear(self) -> int:
        """Cancel every subscription. Returns how many waiting deliveries were dropped."""
        return sum(s.cancel() for s in self.subscriptions)

    def _cancel(self, subscription: Subscription) -> int:
        with self._publishing:
            self._registry.remove(subscription)
            return self._scheduler.cancel(subscription)

    def deliver_one(self) -> bool:
        """One attempt, in this thread. If only retries are left it waits for the first; False when nothing is left."""
        return self._scheduler.run(most=1) == 1

    def run_until_idle(self) -> int:
        """Deliver everything in this thread, retries and what handlers publish included. Returns the attempts made."""
        return self._scheduler.run()

    def drain(self, timeout: float = 5.0) -> None:
        """Return when every delivery has ended, retries included; without worker threads, make them here.

        Raises `NotDrained`, naming what is left, after `timeout` seconds of real time: it does not cut off a handler
        that runs in this thread. Raises `WrongPlace` inside a handler.
        """
        self._scheduler.refuse_inside_a_handler("The bus can't be drained")
        deadline = time.monotonic() + timeout
        if not self._scheduler.workers:
            self._scheduler.run(deadline=deadline)
        if not self._scheduler.wait_for_end(deadline):
            left = ", ".join(self._scheduler.left())
            raise NotDrained(f"After {timeout:g} s deliveries are left for: {left}. They go on.")

    def redeliver(self, letter: DeadLetter) -> None:
        """Queue the dead letter's event again for the subscription that failed; the log gets no second record.

        If that one was cancelled, and a repaired handler has subscribed under its name since, the event goes there. It
        gets as many attempts as a new delivery, and their numbers count on. Raises `NotSubscribed`, and keeps the
        letter, where nobody has the name, or the letter is not on the list.
        """
        with self._publishing, self._scheduler.lock:
            entry = next((entry for entry in self._scheduler.dead if entry[0] == letter), None)
            if entry is None:
                raise NotSubscribed(f"{letter.subscription!r} has no such dead letter: was it redelivered already?")
            _, failed, item = entry
            taker = self._registry.by_name.get(failed.name) if failed.cancelled else failed
            if taker is None or bool(taker.patterns) != isinstance(item, Event):
                raise NotSubscribed(
                    f"{failed.name!r} is cancelled: subscribe a handler under that name, then redeliver the letter."
                )
            self._scheduler.dead.remove(entry)
            self._scheduler.add([taker], item, letter.attempts)

    def replay(self, *names: str, start: int = 0, end: int | None = None) -> int:
        """Deliver the log's events again, to the named subscriptions only; the log gets no second record.

        Meant for handlers without effects outside: an email sender that is named here sends its emails again. It ends
        where the log ended when it began. Returns how many deliveries it queued; drains the bus where a queue is full.
        """
        if self.log is None:
            raise LogError("This bus has no log to replay: make it with EventBus(log=...).")
        have = sorted(s.name for s in self.subscriptions)
        if not names or not set(names) <= set(have):
            raise NotSubscribed(f"Name the subscriptions to replay to, out of {have}; not {list(names) or 'nobody'}.")
        count, last = 0, self.log.end(self.topic)
        for record in self.log.read(self.topic, start, end=last if end is None else min(end, last)):
            with self._publishing:
                subscriptions, _ = self._registry.routes[record.event.type]
            for subscription in [s for s in subscriptions if s.name in names]:
                if len(subscription.queue) >= self.limit:
                    self.drain(timeout=60)
                self._scheduler.add([subscription], record.event)
                count += 1
        return count

    def start(self) -> None:
        """Start the worker threads. `with bus:` does it, and ends them again."""
        self._scheduler.start(self.threads)

    def stop(self, timeout: float = 30.0) -> None:
        """End the worker threads when their running deliveries have ended. What waits stays in its queue.

        Raises `NotDrained` where a handler has not returned after `timeout` seconds.
        """
        self._scheduler.stop(timeout)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        """Drain (for up to 30 s; then it raises `NotDrained`) and stop; after an error, stop at once."""
        try:
            if kind is None:
                self.drain(timeout=30)
        finally:
            self.stop(timeout=5)

    @property
    def workers(self) -> int:
        """How many worker threads are alive."""
        return self._scheduler.workers

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        return tuple(map(as_attempt, self._scheduler.attempts.copy()))

    def latest(self, n: int) -> list[Attempt]:
        """The last of the attempts, the newest first, without an object for each that is kept."""
        return [as_attempt(attempt) for attempt in islice(reversed(self._scheduler.attempts.copy()), n)]

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        with self._scheduler.lock:
            return tuple(entry[0] for entry in self._scheduler.dead)

    @property
    def history(self) -> tuple[Event, ...]:
        """The latest published events, whether anyone subscribed or not."""
        return tuple(self._history.copy())

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        return tuple(self._registry.by_name.values())

    def listing(self) -> dict[str, dict[str, list[str]]]:
        """Who listens to what: {"exact": {pattern: names}, "wildcard": {pattern: names}}."""
        return self._registry.listing()
