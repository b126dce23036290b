"""With worker threads and without: the same deliveries to each subscription, in the same order, none lost or doubled.

Hypothesis writes programs of subscribe, publish, run, cancel and redeliver. Each runs on a bus without threads, on a
bus with worker threads, and in a model of a few lines that says what should have happened, so that two buses that are
wrong in the same way are found too. Deliveries are compared by event, attempt and outcome. Which attempts fail stands
in the event itself.

ECOMLIB_PROGRAMS says how many programs each of the two tests writes (300).
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from ecomlib.bus import EventBus
from ecomlib.clock import SimulatedClock
from ecomlib.errors import NotSubscribed, Permanent
from ecomlib.events import Event
from ecomlib.patterns import matches
from ecomlib.ports import Attempt, DeadLetter, Retry
from ecomlib.ports import Subscription as AnySubscription

PROGRAMS = settings(
    max_examples=int(os.environ.get("ECOMLIB_PROGRAMS", "300")),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
NAMES = ("a", "b", "c", "relay")
PAUSE, LONGEST = 1, 2  # seconds of the simulated clock

Seen = tuple[str, int, str]  # event id, attempt, outcome
Letter = tuple[str, str, int]  # subscription, event id, attempts


def fails(event: Event, name: str, attempt: int) -> bool:
    return attempt <= int(event.data.failing[name])


def answer_to(event: Event) -> Event | None:
    """What the relay publishes when it has handled the event; it does not answer answers."""
    if event.type == "answer.given":
        return None
    return Event("answer.given", event.data, id=f"answer to {event.id}")


# --- what should happen -----------------------------------------------------------------------------------


@dataclass(eq=False)
class Modelled:
    name: str
    patterns: list[str]
    ordered: bool
    attempts: int
    queue: deque[tuple[Event, int, int]] = field(default_factory=deque)  # event, attempt, the last attempt it gets
    waits: bool = False  # for the retry of its first delivery


class Model:
    """The bus as one would explain it: everything happens in one place, one thing after the other."""

    def __init__(self) -> None:
        self.now = 0
        self.subscriptions: list[Modelled] = []
        self.retries: list[tuple[int, Modelled, tuple[Event, int, int]]] = []  # when it is due, whose, what
        self.seen: dict[str, list[Seen]] = defaultdict(list)
        self.dead: dict[Letter, Event] = {}

    def publish(self, event: Event) -> list[str]:
        reached = [s for s in self.subscriptions if any(matches(pattern, event.type) for pattern in s.patterns)]
        for s in reached:
            s.queue.append((event, 1, s.attempts))
        return [s.name for s in reached]

    def cancel(self, s: Modelled) -> int:
        self.subscriptions.remove(s)
        return len(s.queue)

    def redeliver(self, key: Letter) -> bool:
        taker = next((s for s in self.subscriptions if s.name == key[0]), None)  # it, or who took its name since
        if taker is None:
            return False
        taker.queue.append((self.dead.pop(key), key[2] + 1, key[2] + taker.attempts))
        return True

    def run(self) -> None:
        while True:
            while ready := [s for s in self.subscriptions if s.queue and not s.waits]:
                for s in ready:
                    self._attempt(s, *s.queue.popleft())
            if not self.retries:
                return
            self.now = min(due for due, _, _ in self.retries)
            woken = [entry for entry in self.retries if entry[0] == self.now]
            self.retries = [entry for entry in self.retries if entry[0] != self.now]
            for _, s, delivery in reversed(woken):
                s.queue.appendleft(delivery)
                s.waits = False

    def _attempt(self, s: Modelled, event: Event, attempt: int, last: int) -> None:
        if not fails(event, s.name, attempt):
            self.seen[s.name].append((event.id, attempt, "handled"))
            answer = answer_to(event) if s.name == "relay" else None
            if answer:
                self.publish(answer)
        elif attempt < last and not event.data.permanent:
            self.seen[s.name].append((event.id, attempt, "failed"))
            failed = attempt - (last - s.attempts)
            self.retries.append((self.now + min(PAUSE * 2 ** (failed - 1), LONGEST), s, (event, attempt + 1, last)))
            s.waits = s.ordered
        else:
            self.seen[s.name].append((event.id, attempt, "dead"))
            self.seen["letters"].append((event.id, 1, "handled"))
            self.dead[s.name, event.id, attempt] = event


# --- what does happen -------------------------------------------------------------------------------------


class Driven:
    """A bus with the handlers that the program subscribes to it."""

    def __init__(self, threads: int, run: Callable[[EventBus], None]) -> None:
        self.clock = SimulatedClock()
        self.start = self.clock.now()
        self.bus = EventBus(clock=self.clock, threads=threads)
        self.subscriptions: dict[str, AnySubscription] = {}
        self.calls = Counter[tuple[str, str]]()  # by name, for a name that is taken again takes up its dead letters
        self._run = run
        self.bus.subscribe_dead_letters(handler=lambda letter: None, name="letters")

    def subscribe(self, name: str, patterns: list[str], ordered: bool, attempts: int) -> None:
        def handler(event: Event) -> None:
            self.calls[name, event.id] += 1
            if fails(event, name, self.calls[name, event.id]):
                raise Permanent("for good") if event.data.permanent else RuntimeError("this time")
            answer = answer_to(event) if name == "relay" else None
            if answer:
                self.bus.publish(answer)

        retry = Retry(attempts=attempts, pause=PAUSE, longest=LONGEST)
        self.subscriptions[name] = self.bus.subscribe(
            *patterns, handler=handler, name=name, ordered=ordered, retry=retry
        )

    def redeliver(self, key: Letter) -> bool:
        try:
            self.bus.redeliver(next(letter for letter in self.bus.dead_letters if key_of(letter) == key))
        except NotSubscribed:
            return False
        return True

    def run(self) -> None:
        self._run(self.bus)

    def seen(self) -> dict[str, list[Seen]]:
        found: dict[str, list[Seen]] = defaultdict(list)
        for a in self.bus.attempts:
            found[a.subscription].append(seen_of(a))
        return found


def seen_of(attempt: Attempt) -> Seen:
    return attempt.event.id, attempt.number, attempt.outcome


def key_of(letter: DeadLetter) -> Letter:
    return letter.subscription, letter.event.id, letter.attempts


def without_threads(bus: EventBus) -> None:
    bus.run_until_idle()


def with_threads_for_the_moment(bus: EventBus) -> None:
    with bus:
        pass


def with_threads_all_the_time(bus: EventBus) -> None:
    bus.drain(30)


# --- programs ---------------------------------------------------------------------------------------------

patterns = st.lists(st.sampled_from(["tea.*", "tea.made", "*.made", "#", "answer.#"]), min_size=1, max_size=3)
plans = st.fixed_dictionaries(
    {
        "failing": st.fixed_dictionaries({name: st.sampled_from([0, 0, 0, 1, 2, 3, 5]) for name in NAMES}),
        "permanent": st.sampled_from([False, False, False, True]),
    }
)
batches = st.lists(st.tuples(st.sampled_from(["tea.made", "tea.drunk", "cup.made"]), plans), min_size=1, max_size=4)
picks = st.integers(0, 10)


class Programs(RuleBasedStateMachine):
    """Each step is done to the buses and to the model; after each run the three are compared."""

    names: tuple[str, ...]
    threaded: Driven

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.free = Driven(0, without_threads)
        self.published = 0

    @property
    def buses(self) -> tuple[Driven, Driven]:
        return self.free, self.threaded

    def before_a_change(self) -> None:
        """What must happen before a step whose result depends on how far the deliveries are."""

    @rule(pick=picks, patterns=patterns, ordered=st.booleans(), attempts=st.integers(1, 4))
    def subscribe(self, pick: int, patterns: list[str], ordered: bool, attempts: int) -> None:
        name = self.names[pick % len(self.names)]
        if any(s.name == name for s in self.model.subscriptions):
            return
        self.model.subscriptions.append(Modelled(name, patterns, ordered, attempts))
        for driven in self.buses:
            driven.subscribe(name, patterns, ordered, attempts)

    @rule(batch=batches)
    def publish(self, batch: list[tuple[str, dict[str, Any]]]) -> None:
        for type, plan in batch:
            self.published += 1
            event = Event(type, plan, id=f"event {self.published}")
            reached = self.model.publish(event)
            for driven in self.buses:
                assert list(driven.bus.publish(event).subscriptions) == reached

    @rule()
    def run(self) -> None:
        self.model.run()
        for driven in self.buses:
            driven.run()
        self.compare()

    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        self.before_a_change()
        if self.model.subscriptions:
            s = self.model.subscriptions[pick % len(self.model.subscriptions)]
            dropped = self.model.cancel(s)
            for driven in self.buses:
                assert driven.subscriptions[s.name].cancel() == dropped

    @rule(pick=picks)
    def redeliver(self, pick: int) -> None:
        self.before_a_change()
        if self.model.dead:
            key = sorted(self.model.dead)[pick % len(self.model.dead)]
            taken = self.model.redeliver(key)
            for driven in self.buses:
                assert driven.redeliver(key) == taken

    def compare(self) -> None:
        expected = self.model.seen
        for driven in self.buses:
            seen = driven.seen()
            assert set(seen) == set(expected)
            for name in expected:
                assert self.comparable(name, seen[name]) == self.comparable(name, expected[name]), name
            assert Counter(map(key_of, driven.bus.dead_letters)) == Counter(list(self.model.dead))

    def comparable(self, name: str, seen: list[Seen]) -> list[Seen]:
        """Two subscriptions may give up a delivery at the same moment: whose letter comes first is left open."""
        return sorted(seen) if name == "letters" else seen

    def teardown(self) -> None:
        try:
            self.run()
            for driven in self.buses:
                driven.bus.drain(0)  # nothing is left
        finally:
            for driven in self.buses:
                driven.bus.stop()


class ThreadsForTheMoment(Programs):
    """All that was published is there when the threads start: the order is exact, and so is the simulated time."""

    names = NAMES

    def __init__(self) -> None:
        super().__init__()
        self.threaded = Driven(3, with_threads_for_the_moment)

    def compare(self) -> None:
        super().compare()
        for driven in self.buses:
            assert (driven.clock.now() - driven.start).total_seconds() == self.model.now


class ThreadsAllTheTime(Programs):
    """Deliveries are made while the program goes on to publish: without order, what overtakes what is left open."""

    names = NAMES[:3]  # the relay's answers would come between the program's own events at any place

    def __init__(self) -> None:
        super().__init__()
        self.threaded = Driven(3, with_threads_all_the_time)
        self.unordered: set[str] = set()
        self.threaded.bus.start()

    def before_a_change(self) -> None:
        self.run()

    @rule(pick=picks, patterns=patterns, ordered=st.booleans(), attempts=st.integers(1, 4))
    def subscribe(self, pick: int, patterns: list[str], ordered: bool, attempts: int) -> None:
        super().subscribe(pick, patterns, ordered, attempts)
        self.unordered |= {s.name for s in self.model.subscriptions if not s.ordered}

    def comparable(self, name: str, seen: list[Seen]) -> list[Seen]:
        if name in self.unordered:
            return sorted(seen, key=lambda one: one[0])  # the attempts of each event stay in their order
        return super().comparable(name, seen)


@pytest.mark.parametrize("programs", [ThreadsForTheMoment, ThreadsAllTheTime])
def test_worker_threads_change_neither_what_is_delivered_nor_in_which_order(programs: type[Programs]) -> None:
    run_state_machine_as_test(programs, settings=PROGRAMS)
