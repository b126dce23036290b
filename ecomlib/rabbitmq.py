"""The bus on RabbitMQ: the same promises, over processes and machines. `topology.py` says which queues there are."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import replace
from typing import Any, Self

from ecomlib import errors
from ecomlib.amqp import Link
from ecomlib.consuming import QueueSubscription, listener
from ecomlib.dead_letters import send_again
from ecomlib.draining import drain
from ecomlib.events import Event
from ecomlib.patterns import check_patterns, matches
from ecomlib.ports import Attempt, DeadLetter, Handler, Log, Receipt, Retry
from ecomlib.publishing import Publisher
from ecomlib.serving import Shared
from ecomlib.topology import Topology


class RabbitBus:
    """`with bus:` connects. A lost connection is made again, for ever; a publisher waits for it `patience` seconds.

    A subscription with a name shares the durable queue of that name with other processes, and has up to `prefetch`
    deliveries in hand; one without has a queue of its own. Handlers run in threads, one a subscription. At least once:
    an event comes again after a lost connection, a death, or half an hour in a handler. Any thread may call a method.
    """

    def __init__(
        self,
        url: str,
        *,
        exchange: str = "shop",
        log: Log | None = None,
        topic: str = "shop",
        retry: Retry = Retry(),  # noqa: B008  (immutable)
        prefetch: int = 10,
        patience: float = 30.0,
        keep: int = 10_000,
        on_attempt: Callable[[Attempt], object] = lambda attempt: None,
    ) -> None:
        """`keep` bounds the attempts and dead letters in memory; `on_attempt` is called in the handler's thread."""
        self.url, self.topology, self.log, self.topic, self.patience = url, Topology(exchange), log, topic, patience
        self.link = Link(url, self._declare, self._open)
        self._publisher = Publisher(self.link)
        self._shared = Shared(self.link, self._publisher, self.topology, retry, prefetch, patience, on_attempt, keep)
        self._subscriptions: list[QueueSubscription] = []

    def publish(self, event: Event, *, mandatory: bool = False, wait: float = 0.0) -> Receipt:
        """Returns when the broker has the event on disk. The log, if there is one, gets it after that.

        Raises `BusFull` where the broker refuses it, after up to `wait` seconds; `NoSubscriber` where it is `mandatory`
        and no queue took it; `BrokerAway` after `patience` seconds without an answer: it may have been taken then, and
        to publish it again is safe, for its id stays the same.
        """
        deadline = time.monotonic() + (0 if self._shared.inside_a_handler else wait)
        while True:
            try:
                receipt = self._publisher.wait_for(event, self.submit(event), self.patience)
                break
            except errors.BusFull:
                if time.monotonic() >= deadline:
                    raise
                self._shared.pause(0.05)
        if mandatory and not receipt.routed:
            raise errors.NoSubscriber(f"Nobody subscribes to {event.type!r}: no queue took {event.id}.")
        return receipt if self.log is None else replace(receipt, position=self.log.append(self.topic, event)[0])

    def submit(self, event: Event) -> Future[Receipt]:
        """Send without waiting for the confirm, up to a thousand at once. The log gets nothing.

        The future ends as `publish` does, but for ever waits for a broker that is away: `result(timeout)` bounds that.
        """
        takers = tuple(s.name for s in self._listening() if any(matches(p, event.type) for p in s.patterns))
        return self._publisher.send_event(self.topology.exchange, event, takers, self.patience)

    def subscribe(
        self,
        *patterns: str,
        handler: Handler,
        name: str | None = None,
        ordered: bool = True,
        retry: Retry | None = None,
    ) -> QueueSubscription:
        """The same name in another process means the same queue: each event goes to one of them.

        Ordered, a delivery that fails is tried again in place. Otherwise it waits in a delay queue, and whoever shares
        its queue may get it next. Raises `BadPattern`, `AlreadySubscribed`, and `BrokerError` where it can't be made.
        """
        return self._add(name, check_patterns(patterns), handler, ordered, retry)

    def subscribe_dead_letters(
        self, *, handler: Callable[[DeadLetter], object], name: str, retry: Retry | None = None
    ) -> QueueSubscription:
        """Call `handler` with every dead letter from now on, whichever process gave it up, from a queue of this name.

        Dead letters that are no events, and those of this very subscription, are not handed to it.
        """
        return self._add(name, (), handler, True, retry)

    def _add(self, name: str | None, patterns: tuple[str, ...], handler: Any, *how: Any) -> QueueSubscription:
        with self._shared.changed:
            taken = {s.name for s in self._listening()}
            made = listener(self._shared, taken, name, patterns, handler, *how)
            self._subscriptions = [*(s for s in self._subscriptions if s.in_hand or not s.cancelled), made]
        try:
            self.link.extend(made.declare, made.open)
        except errors.EcomlibError:
            made.cancel()
            raise
        return made

    def drain(self, timeout: float = 5.0) -> None:
        self._shared.refuse_inside_a_handler("The bus can't be drained")
        if left := drain(self._shared, lambda: self._subscriptions, timeout):
            raise errors.NotDrained(f"After {timeout:g} s deliveries are left for: {', '.join(left)}. They go on.")

    def redeliver(self, letter: DeadLetter) -> None:
        """From the queue of dead letters, whichever process gave it up. Raises `NotSubscribed` and `BrokerError`."""
        send_again(self.url, self.topology, letter)
        self._shared.forget(letter)

    def stop(self, timeout: float = 30.0) -> None:
        """Handlers that run finish; what else is in hand is given back. Raises `NotDrained` where one does not end."""
        self._shared.refuse_inside_a_handler("The bus can't be stopped")
        deadline = time.monotonic() + timeout
        self._publisher.stopping = True
        wait([s.leave() for s in self._subscriptions], min(timeout, 5) if self.link.connected else 0)
        running = [s.name for s in self._subscriptions if not s.join(max(deadline - time.monotonic(), 0))]
        self.link.stop(min(timeout + 1, 5))
        if running:
            raise errors.NotDrained(f"After {timeout:g} s handlers still run: {', '.join(running)}.")

    def __enter__(self) -> Self:
        self.link.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        return tuple(self._shared.attempts)

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """Those that this object gave up, and has not taken up again."""
        return tuple(self._shared.dead)

    def _listening(self) -> list[QueueSubscription]:
        return [s for s in self._subscriptions if not s.cancelled]

    def _declare(self, channel: Any) -> None:
        self.topology.declare(channel, {})
        for subscription in self._listening():
            subscription.declare(channel)

    def _open(self, connection: Any) -> None:
        self._publisher.open(connection)
        for subscription in self._listening():
            subscription.open(connection)
