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
from ecomlib.errors import NotDrained, Permanent, WrongPlace
from ecomlib.events import Event
from ecomlib.ports import Attempt, DeadLetter, Outcome
from ecomlib.subscriptions import Delivery, Item, Subscription


class Scheduler:
    """Everything here may be called from any thread. Handlers run with no lock held."""

    def __init__(self, clock: Clock, keep: int) -> None:
        self.clock = clock
        self.lock = threading.Lock()
        self.attempts: deque[Attempt] = deque(maxlen=keep)
        self.dead: list[tuple[DeadLetter, Subscription, Item]] = []
        self.dead_letter_subscriptions: list[Subscription] = []
        self.open = 0  # deliveries that have not ended
        self._ready: deque[Subscription] = deque()
        self._retries: list[tuple[datetime, int, Subscription, Delivery]] = []  # a heap: what is due first, first
        self._order = itertools.count()
        self._running = 0
        self._work = threading.Condition(self.lock)  # for idle workers: something may be ready
        self._idle = 0
        self._ended = threading.Condition(self.lock)  # for those who wait for an end, or for room in a queue
        self._watchers = 0
        self._here = threading.local()
        self._workers: list[threading.Thread] = []
        self._stopping = False

    # --- putting in ---------------------------------------------------------------------------------------

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
            if s.listed:
                self._ready.remove(s)
            kept = [entry for entry in self._retries if entry[2] is not s]
            dropped = len(s.queue) + len(self._retries) - len(kept)
            heapify(kept)
            self._retries = kept
            s.queue.clear()
            self.open -= dropped
            self._ended.notify_all()
        return dropped

    # --- taking out ---------------------------------------------------------------------------------------

    def _wake_retries(self) -> float | None:
        """Lock held. Put what is due back into its queue. Returns the seconds until the next retry, if there is one."""
        if not self._retries:
            return None
        if not self._ready and not self._running:
            self.clock.advance_to(self._retries[0][0])  # all is idle, so a simulated clock may move on
        now = self.clock.now()
        while self._retries and self._retries[0][0] <= now:
            _, _, s, delivery = heappop(self._retries)
            s.held = False
            s.queue.appendleft(delivery)
            self._list(s)
        return (self._retries[0][0] - now).total_seconds() if self._retries else None

    def _take(self) -> tuple[Subscription, Delivery] | None:
        """Lock held."""
        if not self._ready:
            return None
        s = self._ready.popleft()
        s.listed, s.running = False, True
        self._running += 1
        if self._retries and self._idle:
            self._work.notify()  # this thread will be busy: another must watch for the next retry
        return s, s.queue.popleft()

    def attempt(self, s: Subscription, delivery: Delivery, *, in_worker: bool = False) -> None:
        """Call the handler, then say what becomes of the delivery. Lock not held."""
        item, number, last = delivery
        outcome: Outcome = "handled"
        reason: str | None = None
        self._here.handling = True
        began = time.perf_counter()
        try:
            s.handler(item)
        except BaseException as error:
            if not in_worker and not isinstance(error, Exception):
                self._give_back(s, delivery)  # Ctrl+C stops whoever runs the bus; the delivery is not lost
                raise
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            gone = number >= last or s.cancelled or isinstance(error, Permanent)
            outcome = "dead" if gone else "failed"
        finally:
            self._here.handling = False
        self._end(s, delivery, outcome, time.perf_counter() - began, reason)

    def _end(self, s: Subscription, delivery: Delivery, outcome: Outcome, took: float, reason: str | None) -> None:
        item, number, last = delivery
        event = item if isinstance(item, Event) else item.event
        with self.lock:
            s.running = False
            self._running -= 1
            s.counts[outcome] += 1
            self.attempts.append(Attempt(event, s.name, number, outcome, took, reason))
            if outcome == "failed" and not s.cancelled:
                due = self.clock.now() + timedelta(seconds=s.retry.wait(number - (last - s.retry.attempts)))
                heappush(self._retries, (due, next(self._order), s, (item, number + 1, last)))
                s.held = s.ordered
            else:
                self.open -= 1
            if outcome == "dead":
                letter = DeadLetter(event, s.name, number, reason or "")
                self.dead.append((letter, s, item))
                if isinstance(item, Event):  # a handler of dead letters that fails must not feed itself
                    for listener in self.dead_letter_subscriptions:
                        self.add(listener, letter)
            self._list(s)
            if self._watchers:
                self._ended.notify_all()

    def _give_back(self, s: Subscription, delivery: Delivery) -> None:
        with self.lock:
            s.running = False
            self._running -= 1
            if s.cancelled:
                self.open -= 1
            else:
                s.queue.appendleft(delivery)
                self._list(s)

    # --- without threads ----------------------------------------------------------------------------------

    def step(self, deadline: float | None = None) -> bool:
        """One attempt in the calling thread; waits for a retry if that is all that is left. False: nothing to do."""
        self.refuse_inside_a_handler("Deliveries can't be run")
        if self._workers:
            raise WrongPlace("The worker threads deliver already: call drain() to wait for them.")
        with self.lock:
            due = self._wake_retries()
            while not self._ready and due is not None and (deadline is None or time.monotonic() < deadline):
                left = due if deadline is None else min(due, deadline - time.monotonic())
                self._work.wait(max(left, 0))
                due = self._wake_retries()
            task = self._take()
        if task is None:
            return False
        self.attempt(*task)
        return True

    # --- with threads -------------------------------------------------------------------------------------

    @property
    def has_workers(self) -> bool:
        return bool(self._workers)

    def start(self, threads: int) -> None:
        if self._workers:
            raise WrongPlace("The worker threads run already.")
        self._stopping = False
        self._workers = [
            threading.Thread(target=self._serve, name=f"bus worker {n}", daemon=True) for n in range(1, threads + 1)
        ]
        for worker in self._workers:
            worker.start()

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
                    self._idle += 1
                    self._work.wait(due)
                    self._idle -= 1
                else:
                    return
            self.attempt(*task, in_worker=True)

    # --- waiting ------------------------------------------------------------------------------------------

    def wait_for(self, condition: Callable[[], bool], deadline: float) -> bool:
        """Block until `condition` holds (it is asked under the lock) or `deadline` (of `time.monotonic`) is past."""
        with self.lock:
            self._watchers += 1
            try:
                return self._ended.wait_for(condition, max(deadline - time.monotonic(), 0))
            finally:
                self._watchers -= 1

    @property
    def inside_a_handler(self) -> bool:
        return getattr(self._here, "handling", False)

    def refuse_inside_a_handler(self, what: str) -> None:
        if self.inside_a_handler:
            raise WrongPlace(f"{what} inside a handler: it would wait for itself.")
