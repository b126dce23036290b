"""Who is served next: queues, the ready list, retries, and the worker threads that take from them.

Each subscription has one queue and at most one delivery running, so its events stay in order. A subscription that
can go on stands in the ready list; whoever is free takes the first. With worker threads or without any, this is the
same code, so both make the same deliveries in the same order to each subscription.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush

from ecomlib.clock import Clock
from ecomlib.errors import NotDrained, Permanent, WrongPlace, named
from ecomlib.events import Event
from ecomlib.ports import Attempt, DeadLetter, Outcome
from ecomlib.subscriptions import Delivery, Item, Subscription


class Scheduler:
    """Everything here may be called from any thread. Handlers run with no lock held."""

    def __init__(self, clock: Clock, keep: int) -> None:
        self.clock = clock
        self.lock = threading.Lock()
        self.attempts: deque[Attempt] = deque(maxlen=keep)
        self.dead: deque[tuple[DeadLetter, Subscription, Item]] = deque(maxlen=keep)
        self.dead_letter_subscriptions: list[Subscription] = []
        self.open = 0  # deliveries that have not ended
        self._ready: deque[Subscription] = deque()
        self._retries: list[tuple[datetime, int, Subscription, Delivery]] = []  # a heap: what is due first, first
        self._order = itertools.count()
        self._running: set[Subscription] = set()
        self._work = threading.Condition(self.lock)  # for idle workers: something may be ready
        self._idle = 0
        self._changed = threading.Condition(self.lock)  # for those who wait for the end, or for room in a queue
        self._awaited: list[Callable[[], bool]] = []  # what they wait for
        self._here = threading.local()
        self._workers: list[threading.Thread] = []
        self._stopping = False

    def add(self, subscription: Subscription, item: Item, number: int = 1) -> None:
        """Lock held. Put a delivery at the end of the subscription's queue."""
        if not subscription.cancelled:
            self.open += 1
            subscription.queue.append((item, number, number - 1 + subscription.retry.attempts))
            self._list(subscription)

    def _list(self, s: Subscription) -> None:
        if s.queue and not (s.running or s.held or s.listed):
            s.listed = True
            self._ready.append(s)
            if self._idle:
                self._work.notify()

    def cancel(self, s: Subscription) -> int:
        """Drop what waits. Returns how much that was."""
        with self.lock:
            if s.cancelled:
                return 0
            s.cancelled = True
            if s in self.dead_letter_subscriptions:
                self.dead_letter_subscriptions.remove(s)
            if s.listed:
                self._ready.remove(s)
            kept = [entry for entry in self._retries if entry[2] is not s]
            dropped = len(s.queue) + len(self._retries) - len(kept)
            heapify(kept)
            self._retries = kept
            s.queue.clear()
            self.open -= dropped
            self._tell()
        return dropped

    def _wake_retries(self) -> float | None:
        """Lock held. Put what is due back into its queue. Returns the seconds until the next retry, if there is one."""
        if not self._retries:
            return None
        if not self._ready and not self._running:
            self.clock.advance_to(self._retries[0][0])  # all is idle, so a simulated clock may move on
        now, due = self.clock.now(), []
        while self._retries and self._retries[0][0] <= now:
            due.append(heappop(self._retries)[2:])
        for s, delivery in reversed(due):  # each goes to the front, so the first comes last
            s.queue.appendleft(delivery)
        for s, _ in due:
            s.held = False
            self._list(s)
        return (self._retries[0][0] - now).total_seconds() if self._retries else None

    def _take(self) -> tuple[Subscription, Delivery] | None:
        """Lock held."""
        if not self._ready:
            return None
        s = self._ready.popleft()
        s.listed, s.running = False, True
        self._running.add(s)
        if self._retries and self._idle:
            self._work.notify()  # this thread will be busy: another must watch for the next retry
        delivery = s.queue.popleft()
        self._tell()
        return s, delivery

    def attempt(self, s: Subscription, delivery: Delivery, *, in_worker: bool = False) -> None:
        """Call the handler, then say what becomes of the delivery. Lock not held."""
        reason: str | None = None
        permanent = False
        self._here.handling = True
        began = time.perf_counter()
        try:
            s.handler(delivery[0])
        except BaseException as error:
            if not in_worker and not isinstance(error, Exception):
                self._give_back(s, delivery)  # Ctrl+C stops whoever runs the bus; the delivery is not lost
                raise
            reason, permanent = named(error), isinstance(error, Permanent)
        finally:
            self._here.handling = False
        self._end(s, delivery, time.perf_counter() - began, reason, permanent)

    def _end(self, s: Subscription, delivery: Delivery, took: float, reason: str | None, permanent: bool) -> None:
        item, number, last = delivery
        event = item if isinstance(item, Event) else item.event
        with self.lock:
            s.running = False
            self._running.discard(s)
            outcome: Outcome = "handled"
            if reason is not None:  # a cancelled subscription gets no retry: its dead letter says what was lost
                outcome = "dead" if permanent or number >= last or s.cancelled else "failed"
            s.counts[outcome] += 1
            self.attempts.append(Attempt(event, s.name, number, outcome, took, reason))
            if outcome == "failed":
                due = self.clock.now() + timedelta(seconds=s.retry.wait(number - (last - s.retry.attempts)))
                heappush(self._retries, (due, next(self._order), s, (item, number + 1, last)))
                s.held = s.ordered
            else:
                self.open -= 1
            if outcome == "dead":
                letter = DeadLetter(event, s.name, number, str(reason))
                self.dead.append((letter, s, item))
                if isinstance(item, Event):  # a handler of dead letters that fails must not feed itself
                    for listener in self.dead_letter_subscriptions:
                        self.add(listener, letter)
            self._list(s)
            self._tell()

    def _give_back(self, s: Subscription, delivery: Delivery) -> None:
        with self.lock:
            s.running = False
            self._running.discard(s)
            if s.cancelled:
                self.open -= 1
            else:
                s.queue.appendleft(delivery)
                self._list(s)
            self._tell()

    def step(self, deadline: float | None = None) -> bool:
        """One attempt in the calling thread; waits for a retry if that is all that is left. False: nothing to do."""
        self.refuse_inside_a_handler("Deliveries can't be run")
        if self.has_workers:
            raise WrongPlace("The worker threads deliver already: call drain() to wait for them.")
        with self.lock:
            due = self._wake_retries()
            while not self._ready and due is not None and (deadline is None or time.monotonic() < deadline):
                left = due if deadline is None else min(due, deadline - time.monotonic())
                self._rest(max(left, 0))
                due = self._wake_retries()
            task = self._take()
        if task is None:
            return False
        self.attempt(*task)
        return True

    @property
    def workers(self) -> int:
        return sum(worker.is_alive() for worker in self._workers)

    @property
    def has_workers(self) -> bool:
        return self.workers > 0

    def start(self, threads: int) -> None:
        if self.has_workers:
            raise WrongPlace("The worker threads run already.")
        self._stopping = False
        self._workers = []
        try:
            for n in range(1, threads + 1):
                worker = threading.Thread(target=self._serve, name=f"bus worker {n}", daemon=True)
                worker.start()
                self._workers.append(worker)
        except RuntimeError:  # the machine has no more threads, or none at all
            self.stop(timeout=5)
            raise

    def stop(self, timeout: float) -> None:
        """Running deliveries end; those that wait stay in their queues. Raises `NotDrained` where one does not."""
        self.refuse_inside_a_handler("The bus can't be stopped")
        with self.lock:
            self._stopping = True
            self._work.notify_all()
        deadline = time.monotonic() + timeout
        for worker in self._workers:
            worker.join(max(deadline - time.monotonic(), 0))
        self._workers = [worker for worker in self._workers if worker.is_alive()]
        if self._workers:
            raise NotDrained(f"{len(self._workers)} handlers still run after {timeout:g} s.")

    def _serve(self) -> None:
        while True:
            with self.lock:
                while not self._stopping:
                    due = self._wake_retries()
                    task = self._take()
                    if task is not None:
                        break
                    self._rest(due)
                else:
                    return
            self.attempt(*task, in_worker=True)

    def _rest(self, seconds: float | None) -> None:
        """Lock held. Wait until something may be ready."""
        self._idle += 1
        try:
            self._work.wait(seconds)
        finally:
            self._idle -= 1

    def _tell(self) -> None:
        """Lock held. Wake those whose condition has come true."""
        if self._awaited and any(holds() for holds in self._awaited):
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[], bool], deadline: float) -> bool:
        """Block until `condition` holds (it is asked under the lock) or `deadline` (of `time.monotonic`) is past."""
        with self.lock:
            self._awaited.append(condition)
            try:
                return self._changed.wait_for(condition, max(deadline - time.monotonic(), 0))
            finally:
                self._awaited.remove(condition)

    def left(self) -> list[str]:
        """The subscriptions whose deliveries have not all ended, a cancelled one that still runs included."""
        with self.lock:
            busy = {*self._running, *self._ready, *(entry[2] for entry in self._retries)}
            return sorted(f"{s.name} (running)" if s.running else s.name for s in busy)

    @property
    def inside_a_handler(self) -> bool:
        return getattr(self._here, "handling", False)

    def refuse_inside_a_handler(self, what: str) -> None:
        if self.inside_a_handler:
            raise WrongPlace(f"{what} inside a handler: it would wait for itself.")
