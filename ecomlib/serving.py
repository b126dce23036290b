"""What becomes of one delivery from RabbitMQ: attempts, a pause in a delay queue, a dead letter."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from pika import BasicProperties

from ecomlib.amqp import Link
from ecomlib.dead_letters import LONGEST_ERROR, headed, read_letter, same
from ecomlib.errors import BadEvent, BadInput, BrokerAway, BrokerError, BusFull, Permanent, WrongPlace, named
from ecomlib.events import Event
from ecomlib.patterns import matches
from ecomlib.ports import Attempt, DeadLetter, Outcome, Retry
from ecomlib.publishing import CONTENT_TYPE, LARGEST, Message, Publisher
from ecomlib.topology import Topology

MOST_ATTEMPTS = 1_000_000_000  # what a header may say: beyond it somebody's number is nonsense
LATE = 5.0  # seconds after the end of its pause by which a delivery has surely left its delay queue
TROUBLE = 0.5  # seconds between tries to hand a delivery on, where the broker refuses it


class Delivery(NamedTuple):
    channel: Any  # the one it came over: on another, its tag means something else
    tag: int
    body: bytes
    properties: BasicProperties

    def header(self, name: str) -> int:
        """A number that another worker may have written, and anybody else."""
        value = (self.properties.headers or {}).get(name, 0)
        return value if type(value) is int and 0 <= value < MOST_ATTEMPTS else 0


@dataclass(eq=False)
class Shared:
    """What the subscriptions of one bus have in common. `changed` guards all that is counted, and tells of it."""

    link: Link
    publisher: Publisher
    topology: Topology
    retry: Retry
    prefetch: int
    patience: float
    on_attempt: Callable[[Attempt], object]
    keep: int
    changed: threading.Condition = field(default_factory=threading.Condition)
    here: threading.local = field(default_factory=threading.local)
    pausing: dict[tuple[str, str], float] = field(default_factory=dict)  # by queue and id: when it is surely back

    def __post_init__(self) -> None:
        for name, number, most in (("prefetch", self.prefetch, 65_535), ("keep", self.keep, 1_000_000_000)):
            if type(number) is not int or not 1 <= number <= most:
                raise BadInput(f"A bus on RabbitMQ needs {name} from 1 to {most}, not {number!r:.20}.")
        self.attempts: deque[Attempt] = deque(maxlen=self.keep)
        self.dead: deque[DeadLetter] = deque(maxlen=self.keep)

    @property
    def inside_a_handler(self) -> bool:
        return getattr(self.here, "handling", False)

    def refuse_inside_a_handler(self, what: str) -> None:
        if self.inside_a_handler:
            raise WrongPlace(f"{what} inside a handler: it would wait for itself.")

    def pause(self, seconds: float) -> None:
        """Wait, and see whether anything changes by then."""
        with self.changed:
            self.changed.wait(seconds)

    def forget(self, letter: DeadLetter) -> None:
        """It is taken up again, so it is no dead letter any more."""
        with self.changed:
            left = [other for other in self.dead if not same(other, letter)]
            self.dead = deque(left, maxlen=self.keep)

    def note(self, attempt: Attempt) -> None:
        with self.changed:
            self.attempts.append(attempt)
        self.on_attempt(attempt)


@dataclass(eq=False)
class Serving:
    """Makes the attempts of one subscription's deliveries, in its thread."""

    shared: Shared
    name: str
    queue: str
    patterns: tuple[str, ...]  # none: it takes dead letters, not events
    handler: Callable[[Any], object]
    ordered: bool
    retry: Retry
    temporary: bool
    cancelled: bool = False

    def deliver(self, delivery: Delivery) -> bool:
        """Returns when it has ended, or waits elsewhere for its next attempt. False: it goes back to its queue."""
        made = delivery.header("attempts")
        last = made + self.retry.attempts
        if said := delivery.header("last"):  # it comes back from a pause; or somebody else has written that
            last = min(max(said, made + 1), last)
        if self.shared.pausing:
            with self.shared.changed:
                self.shared.pausing.pop((self.queue, str(delivery.properties.message_id)), None)
        try:
            item = self._read(delivery)
        except BadEvent as error:
            return self._bury(delivery, None, made, named(error))
        while item is not None:
            made += 1
            outcome, reason = self._attempt(item, made, last)
            if outcome == "dead":
                return self._bury(delivery, item, made, reason)
            if outcome == "handled":
                break
            pause = self.retry.wait(self.retry.attempts - (last - made))
            if not self.ordered:
                return self._delay(delivery, made, last, pause)
            if not self._rest(delivery, pause):
                return False
        return True

    def _read(self, delivery: Delivery) -> Event | DeadLetter | None:
        """None where there is nothing for this handler. Raises `BadEvent` for what it can't be given."""
        if self.patterns:
            return read_event(delivery, self.patterns)
        letter = read_letter(self.shared.topology, delivery.body, delivery.properties)
        return None if letter is None or letter.subscription == self.name else letter

    def _attempt(self, item: Any, number: int, last: int) -> tuple[Outcome, str]:
        reason, permanent = None, False
        began = time.perf_counter()
        try:
            self.handler(item)
        except BaseException as error:  # whatever it is, it must not end this thread
            reason, permanent = named(error), isinstance(error, Permanent)
        took = time.perf_counter() - began
        lost = self.temporary and self.cancelled  # with its queue; so there is no next attempt
        outcome: Outcome = "handled" if reason is None else "dead" if permanent or number >= last or lost else "failed"
        event = item.event if isinstance(item, DeadLetter) else item
        self.shared.note(Attempt(event, self.name, number, outcome, took, reason))
        return outcome, reason or ""

    def _rest(self, delivery: Delivery, seconds: float) -> bool:
        """False where another attempt here has no point: it was cancelled, or the delivery will come again anyway."""
        with self.shared.changed:
            self.shared.changed.wait_for(lambda: self.cancelled or not delivery.channel.is_open, seconds)
        return not self.cancelled and bool(delivery.channel.is_open)

    def _declare_again(self, delivery: Delivery) -> None:
        """Somebody has deleted what the message was to go to. A new connection declares all of it."""
        self.shared.link.call(lambda: delivery.channel.is_open and delivery.channel.close())

    def _delay(self, delivery: Delivery, made: int, last: int, pause: float) -> bool:
        due = time.monotonic() + pause + LATE
        with self.shared.changed:
            self.shared.pausing[self.queue, str(delivery.properties.message_id)] = due
        properties = headed(delivery.properties, attempts=made, last=last)
        return self._hand_on(delivery, self.shared.topology.delay(pause), properties)

    def _bury(self, delivery: Delivery, item: Any, made: int, error: str) -> bool:
        """The message as it came, with the reason: even where it is no event, nothing of it is lost."""
        properties = headed(delivery.properties, error=error[:LONGEST_ERROR], attempts=made, subscription=self.name)
        if not self._hand_on(delivery, self.shared.topology.dead, properties):
            return False
        if item is not None and not isinstance(item, DeadLetter):
            with self.shared.changed:
                self.shared.dead.append(DeadLetter(item, self.name, made, error[:LONGEST_ERROR]))
        return True

    def _hand_on(self, delivery: Delivery, exchange: str, properties: BasicProperties) -> bool:
        """Put it elsewhere before it is acknowledged here: nobody's death in between loses it.

        False when the connection is lost, or when it was cancelled meanwhile: then it comes again.
        """
        while delivery.channel.is_open:
            confirmed: Future[Any] | None = None
            try:
                message = Message(exchange, self.queue, delivery.body, properties)
                confirmed = self.shared.publisher.send(message, self.shared.patience)
                if self.shared.publisher.answer(confirmed, self.shared.patience):
                    return True
                self._declare_again(delivery)
            except (BrokerError, BusFull, TooLate) as error:
                if isinstance(error, BrokerError) and not isinstance(error, BrokerAway):
                    self._declare_again(delivery)
                if confirmed is not None:
                    confirmed.cancel()
                with self.shared.changed:
                    self.shared.changed.wait_for(lambda: self.cancelled or not delivery.channel.is_open, TROUBLE)
                if self.cancelled:
                    return False
        return False


def read_event(delivery: Delivery, patterns: tuple[str, ...]) -> Event:
    """Anybody may write to an exchange, and anybody may bind a queue to it: so what comes is looked at."""
    content = str(delivery.properties.content_type or CONTENT_TYPE).partition(";")[0].strip().lower()
    if content not in (CONTENT_TYPE, "application/json"):
        raise BadEvent(f"Its content type is {content!r:.60}: this queue takes {CONTENT_TYPE}.")
    if len(delivery.body) > LARGEST:
        raise BadEvent(f"It has {len(delivery.body)} bytes: an event here has at most {LARGEST}.")
    event = Event.from_json(delivery.body)
    if not _wanted(patterns, event.type):
        raise BadEvent(f"{event.type} is not for this queue, which takes {', '.join(patterns)}: what is bound to it?")
    return event


@lru_cache(maxsize=1_000)
def _wanted(patterns: tuple[str, ...], type: str) -> bool:
    return any(matches(pattern, type) for pattern in patterns)
