"""Who is served next: queues, the ready list, retries, and the worker threads that take from them.

Each subscription has one queue and at most one delivery running, so its events stay in order. A subscription that
can go on stands in the ready list; whoever is free takes the first. With worker threads or without any, this is the
same code, so both make the same deliveries in the same order to each subscription.

A delivery that goes well takes no lock, as long as its queue holds another. To take from a deque or to add to one is
a single step for all threads, and whoever took a subscription from the ready list is the only one to serve it.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush
from math import inf
from time import perf_counter

from ecomlib.clock import Clock
from ecomlib.errors import Permanent, WrongPlace, named
from ecomlib.events import Event
from ecomlib.interrupts import PutOff
from ecomlib.ports import DeadLetter, Outcome
from ecomlib.subscriptions import Delivery, Item, Recorded, Subscription, event_of
from ecomlib.worker_threads import WorkerThreads

LETTERS_KEPT = 10_000  # at least, however little else is kept
ALL = 1_000_000_000  # deliveries: numbers of the same kind compare faster than with infinity
GLANCE = 0.1  # seconds until who waits for a retry looks whether to stop


class Scheduler:
    """Everything here may be called from any thread. Handlers run with no lock held."""

    def __init__(self, clock: Clock, keep: int) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.attempts: deque[Recorded] = deque(maxlen=keep)
        self.dead: deque[tuple[DeadLetter, Subscription, Item]] = deque(maxlen=max(keep, LETTERS_KEPT))
        self.dead_letter_subscriptions: list[Subscription] = []
        self._recording = keep > 0
        self._ready: deque[Subscription] = deque()
        self._busy: set[Subscription] = set()  # those that are ready or being served; changes under the lock only
        self._retries: list[tuple[datetime, int, Subscription, Delivery]] = []  # a heap: what is due first, first
        self._order = itertools.count()
        self._work = threading.Condition(self.lock)  # for idle workers: something may be ready
        self._idle = 0
        self._room = threading.Condition(self.lock)  # for publishers: a full queue has room
        self._full: list[Subscription] = []  # whose room they wait for
        self._end = threading.Condition(self.lock)  # for those who wait until every delivery has ended
        self._here = threading.local()
        self._workers = WorkerThreads(self._work_on)

    def add(self, subscriptions: Iterable[Subscription], item: Item, before: int = 0) -> None:
        """Put a delivery at the end of the queue of each. `before` is how many attempts it had in an earlier life."""
        delivery = (item, before + 1, before)
        for s in subscriptions:
            s.queue.append(delivery)
            if s not in self._busy:  # looked at after the append, so either this or `_let_go` sees what the other did
                with self.lock:
                    self._list(s)

    def _list(self, s: Subscription) -> None:
        """Lock held."""
        if s.queue and not (s in self._busy or s.held):
            self._busy.add(s)
            self._ready.append(s)
            if self._idle:
                self._work.notify()

    def _let_go(self, s: Subscription) -> None:
        """Whoever serves it has nothing more to do for it."""
        with self.lock:
            self._busy.discard(s)
            self._list(s)
            if not self.open:
                self._end.notify_all()

    @property
    def open(self) -> bool:
        """Whether any delivery has not ended."""
        return bool(self._busy or self._retries)

    def cancel(self, s: Subscription) -> int:
        """Drop what waits. Returns how much that was."""
        with self.lock:
            if s.cancelled:
                return 0
            s.cancelled = s.held = True  # for good
            if s in self.dead_letter_subscriptions:
                self.dead_letter_subscriptions.remove(s)
            kept = [entry for entry in self._retries if entry[2] is not s]
            dropped = len(self._retries) - len(kept)
            heapify(kept)
            self._retries = kept
            with suppress(IndexError):  # one by one: each is either counted here or taken by a worker at this moment
                while True:
                    s.queue.popleft()
                    dropped += 1
            with suppress(ValueError):  # if it is not there, it is being served, and let go by whoever does that
                self._ready.remove(s)
                self._busy.discard(s)
            for waiting in (self._work, self._room, self._end):  # some for its retry, some for room, some for the end
                waiting.notify_all()
        return dropped

    def _wake_retries(self) -> float:
        """Lock held. Put what is due back into its queue. Returns the seconds until the next retry, if there is one."""
        if not self._retries:
            return inf
        if not self._busy:
            self.clock.advance_to(self._retries[0][0])  # all is idle, so a simulated clock may move on
        now, due = self.clock.now(), []
        while self._retries and self._retries[0][0] <= now:
            due.append(heappop(self._retries)[2:])
        for s, delivery in reversed(due):  # each goes to the front, so the first comes last
            s.queue.appendleft(delivery)
        for s, _ in due:
            s.held = False
            self._list(s)
        return (self._retries[0][0] - now).total_seconds() if self._retries else inf

    def _watch_retries(self) -> None:
        with self.lock:
            self._wake_retries()
            if self._idle:
                self._work.notify()  # this thread will be busy: another must watch for the next retry

    def _serve(self, until: PutOff | WorkerThreads, most: int = ALL, deadline: float = inf) -> int:
        """One delivery to whoever is first in the ready list, until that is empty. Returns the attempts made."""
        in_worker = until is self._workers
        ready, record, made = self._ready, self.attempts.append if self._recording else None, 0
        while ready and made < most:
            if until.stopping or (deadline < inf and time.monotonic() >= deadline):
                break
            if self._retries:
                self._watch_retries()
            try:
                s = ready.popleft()
            except IndexError:  # another thread was quicker
                break
            try:
                delivery = item, number, _ = s.queue.popleft()
            except IndexError:  # it was cancelled at this moment
                self._let_go(s)
                continue
            if self._full and s in self._full:
                with self.lock:
                    self._room.notify_all()
            began = perf_counter() if record else 0.0
            try:
                s.handler(item)
            except BaseException as error:
                if not in_worker and not isinstance(error, Exception):
                    self._give_back(s, delivery)  # Ctrl+C in a handler stops whoever runs the bus; nothing is lost
                    raise
                self._fail(s, delivery, perf_counter() - began, error)
            else:
                s.counts["handled"] += 1
                if record:
                    record((item, s.name, number, "handled", perf_counter() - began, None))
            finally:
                if s.queue and not s.held:
                    ready.append(s)  # no worker needs to be told: this one takes the next from the list at once
                else:
                    self._let_go(s)
            made += 1
        return made

    def _fail(self, s: Subscription, delivery: Delivery, took: float, error: BaseException) -> None:
        item, number, before = delivery
        reason = named(error)
        with self.lock:  # a cancelled subscription gets no retry: its dead letter says what was lost
            dead = isinstance(error, Permanent) or number - before >= s.retry.attempts or s.cancelled
            outcome: Outcome = "dead" if dead else "failed"
            s.counts[outcome] += 1
            self.attempts.append((item, s.name, number, outcome, took, reason))
            if dead:
                letter = DeadLetter(event_of(item), s.name, number, reason)
                self.dead.append((letter, s, item))
                if isinstance(item, Event):  # a handler of dead letters that fails must not feed itself
                    self.add(self.dead_letter_subscriptions, letter)
            else:
                due = self.clock.now() + timedelta(seconds=s.retry.wait(number - before))
                heappush(self._retries, (due, next(self._order), s, (item, number + 1, before)))
                s.held = s.ordered

    def _give_back(self, s: Subscription, delivery: Delivery) -> None:
        with self.lock:
            if not s.cancelled:
                s.queue.appendleft(delivery)

    def run(self, most: int = ALL, deadline: float = inf) -> int:
        """Deliver in the calling thread, and wait for retries if they are all that is left. Returns the attempts."""
        self.refuse_inside_a_handler("Deliveries can't be run")
        if self.workers:
            raise WrongPlace("The worker threads deliver already: call drain() to wait for them.")
        with PutOff(Scheduler._serve.__code__) as until:
            self._here.handling = True
            try:
                made = self._serve(until, most, deadline)
                while made < most and self._retries and time.monotonic() < deadline and self._rest(deadline):
                    if until.stopping:
                        break
                    made += self._serve(until, most - made, deadline)
                return made
            finally:
                self._here.handling = False
                if self._ready:  # it was not to deliver all: whoever waits for a retry may go on
                    with self.lock:
                        self._work.notify()

    @property
    def workers(self) -> int:
        return self._workers.alive

    def start(self, threads: int) -> None:
        if self.workers:
            raise WrongPlace("The worker threads run already.")
        try:
            self._workers.start(threads)
        except RuntimeError:
            self.stop(timeout=5)
            raise

    def stop(self, timeout: float) -> None:
        """Running deliveries end; those that wait stay in their queues. Raises `NotDrained` where one does not."""
        self.refuse_inside_a_handler("The bus can't be stopped")
        with self.lock:
            self._workers.stopping = True
            self._work.notify_all()
        self._workers.join(timeout)

    def _work_on(self) -> None:
        self._here.handling = True  # for good: whatever runs here that could ask is a handler
        while not self._workers.stopping:
            self._serve(self._workers)
            self._rest(in_worker=True)

    def _rest(self, deadline: float = inf, *, in_worker: bool = False) -> bool:
        """Wait until something may be ready. False, at once: there is nothing to wait for."""
        with self.lock:
            seconds = self._wake_retries()
            if self._ready:
                return True
            if self._workers.stopping if in_worker else seconds == inf:
                return False
            if not in_worker:
                seconds = min(seconds, max(deadline - time.monotonic(), 0), GLANCE)
            self._idle += 1
            try:
                self._work.wait(seconds if seconds < inf else None)
            finally:
                self._idle -= 1
        return True

    def wait_for_room(self, s: Subscription, limit: int, deadline: float) -> bool:
        """Block until fewer than `limit` deliveries wait there, or `deadline` (of `time.monotonic`) is past."""
        with self.lock:
            self._full.append(s)
            try:
                return self._room.wait_for(lambda: len(s.queue) < limit, max(deadline - time.monotonic(), 0))
            finally:
                self._full.remove(s)

    def wait_for_end(self, deadline: float) -> bool:
        """Block until every delivery has ended, or `deadline` is past."""
        with self.lock:
            return self._end.wait_for(lambda: not self.open, max(deadline - time.monotonic(), 0))

    def left(self) -> list[str]:
        """The subscriptions whose deliveries have not all ended, a cancelled one that still runs included."""
        with self.lock:
            busy = {*self._busy, *(entry[2] for entry in self._retries)}
            return sorted(s.name if s in self._ready or s not in self._busy else f"{s.name} (running)" for s in busy)

    @property
    def inside_a_handler(self) -> bool:
        return getattr(self._here, "handling", False)

    def refuse_inside_a_handler(self, what: str) -> None:
        if self.inside_a_handler:
            raise WrongPlace(f"{what} inside a handler: it would wait for itself.")
