"""A subscription's queue in RabbitMQ, and the thread that serves it, one delivery after the other."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from functools import partial
from typing import Any, Self

from pika import BasicProperties

from ecomlib.errors import AlreadySubscribed, BadInput, BrokerError
from ecomlib.patterns import MAX_BYTES
from ecomlib.ports import Retry
from ecomlib.serving import Delivery, Serving, Shared
from ecomlib.subscriptions import check_handler, name_of


class QueueSubscription:
    """The handler is called in this subscription's own thread. An acknowledgement says: all up to this one is done.

    That is right because the deliveries of one channel are served in turn. What is in hand when the connection is
    lost comes again, over the next one.
    """

    def __init__(self, serving: Serving) -> None:
        self.name, self.queue, self.patterns = serving.name, serving.queue, serving.patterns
        self.arrivals = 0  # deliveries, from the first one on
        self._serving, self._shared, self._changed = serving, serving.shared, serving.shared.changed
        self._waiting: deque[Delivery] = deque()
        self._running = False
        self._done: Delivery | None = None  # the latest that has ended, and is not acknowledged yet
        self._declared = False
        self._to_finish = 2
        self._dropped: Future[int] | None = None  # what `cancel` waits for
        self._connection: Any = None
        self._channel: Any = None
        self._thread = threading.Thread(target=self._serve, name=f"serves {self.queue}", daemon=True)

    @property
    def cancelled(self) -> bool:
        return self._serving.cancelled

    @property
    def in_hand(self) -> int:
        return len(self._waiting) + self._running

    def declare(self, channel: Any) -> None:
        """Its queue, and where its deliveries wait for another attempt, on a blocking channel."""
        topology = self._shared.topology
        if self._serving.temporary:
            topology.declare_temporary(channel, self.queue, self.patterns)
        elif self.patterns:
            topology.declare_queue(channel, self.queue, self.patterns)
        else:
            topology.declare_letters(channel, self.queue)
        if not self._serving.ordered:
            topology.declare_delays(channel, self._serving.retry)
        self._declared = True

    def join(self, timeout: float) -> bool:
        """Whether its thread has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def cancel(self) -> int:
        """No delivery begins after this returns. A queue of its own goes, with what waited in it: that is the number.

        What waits in a named queue stays there for others, so that number is 0.
        """
        try:
            return self.leave().result(self._shared.patience if self._shared.link.connected else 0)
        except (TooLate, BrokerError):
            return 0  # no connection: a named queue has it all back already, one of its own goes by itself

    def leave(self) -> Future[int]:
        """As `cancel`, and does not wait for the broker: a frozen one must not hold up whoever stops."""
        dropped: Future[int] = Future()
        with self._changed:
            if self.cancelled:
                dropped.set_result(0)
                return dropped
            self._serving.cancelled = True
            self._changed.notify_all()
        self._dropped = dropped
        self._shared.link.call(lambda: self._leave(dropped))
        return dropped

    def __repr__(self) -> str:
        said = ", ".join(self.patterns) or "dead letters"
        return f"<QueueSubscription {self.name} to {said}{' (cancelled)' if self.cancelled else ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.cancel()

    # --- in the thread of the handler ---------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            while (delivery := self._next()) is not None:
                self._shared.here.handling = True
                ended = self._serving.deliver(delivery)
                self._shared.here.handling = False
                with self._changed:
                    self._running = False
                    flushing = self._done is not None and self._done.channel is delivery.channel  # this one, too
                    if ended:
                        self._done = delivery
                    self._changed.notify_all()
                if not ended:
                    self._shared.link.call(partial(_give_back, delivery))
                elif not flushing:
                    self._shared.link.call(self._acknowledge)
        except BaseException:  # of `on_attempt`: nobody serves the queue here any more, so others should
            self._running = False
            self.cancel()
            raise
        finally:
            self._shared.link.call(self._finish)

    def _next(self) -> Delivery | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self.cancelled)
            if self.cancelled:
                return None
            self._running = True
            return self._waiting.popleft()

    # --- in the I/O thread --------------------------------------------------------------------------------

    def open(self, connection: Any) -> None:
        """Begin to consume over this connection, unless that was begun already."""
        wanted = not self.cancelled or self._serving.temporary  # one that was cancelled already must yet go
        if wanted and self._declared and connection is not None and connection is not self._connection:
            self._connection = connection
            connection.channel(on_open_callback=self._opened)

    def _opened(self, channel: Any) -> None:
        if self.cancelled:
            if self._serving.temporary:
                channel.queue_delete(self.queue)
            channel.close()
            return
        if self._thread.ident is None:
            self._thread.start()
        self._channel = channel
        channel.add_on_close_callback(self._closed)
        channel.add_on_cancel_callback(lambda _: channel.close())  # the queue was deleted
        channel.basic_qos(prefetch_count=self._shared.prefetch)
        channel.basic_consume(self.queue, self._arrived, consumer_tag=self.queue)

    def _arrived(self, channel: Any, method: Any, properties: BasicProperties, body: bytes) -> None:
        with self._changed:
            self._waiting.append(Delivery(channel, method.delivery_tag, body, properties))
            self.arrivals += 1
            self._changed.notify_all()

    def _closed(self, channel: Any, reason: BaseException) -> None:
        """With the channel, all that is not acknowledged goes back to the queue."""
        with self._changed:
            self._waiting = deque(d for d in self._waiting if d.channel is not channel)
            self._changed.notify_all()
        if self._dropped is not None and not self._dropped.done():
            self._dropped.set_exception(BrokerError("The connection was lost."))
        if channel.connection.is_open and not self.cancelled:  # a new connection declares the queue again
            channel.connection.close(reply_text=f"the queue {self.queue} was deleted"[:200])

    def _acknowledge(self) -> None:
        with self._changed:
            done, self._done = self._done, None
        if done is not None and done.channel.is_open:
            done.channel.basic_ack(done.tag, multiple=True)

    def depth(self, answer: Future[int]) -> None:
        """How many messages wait. Asked twice: what was given out before the first answer is here before the second."""

        def again(_: Any) -> None:
            self._channel.queue_declare(self.queue, passive=True, callback=tell)

        def tell(frame: Any) -> None:
            answer.set_result(frame.method.message_count)

        if self._channel is not None and self._channel.is_open:
            self._channel.queue_declare(self.queue, passive=True, callback=again)
        else:
            answer.set_exception(BrokerError("There is no connection."))

    def _leave(self, dropped: Future[int]) -> None:
        """Stop what comes, then give back what waits, or delete the queue with it."""
        channel = self._channel
        if channel is None or not channel.is_open:
            dropped.set_exception(BrokerError("There is no connection."))
            return

        def stopped(_: Any) -> None:
            with self._changed:
                waiting, self._waiting = self._waiting, deque()
                self._changed.notify_all()
            if self._serving.temporary:
                channel.queue_delete(self.queue, callback=lambda frame: left(len(waiting) + frame.method.message_count))
                return
            for delivery in waiting:
                _give_back(delivery)
            left(0)

        def left(count: int) -> None:
            if not dropped.done():  # it is done where the connection was lost meanwhile
                dropped.set_result(count)
            self._finish()

        channel.basic_cancel(self.queue, callback=stopped)

    def _finish(self) -> None:
        """Called twice: when nothing comes any more, and when the last handler has ended. The later one closes."""
        self._to_finish -= 1
        if not self._to_finish:
            self._acknowledge()
            if self._channel.is_open:
                self._channel.close()


def listener(
    shared: Shared,
    taken: set[str],
    name: str | None,
    patterns: tuple[str, ...],
    handler: Callable[[Any], object],
    ordered: bool,
    retry: Retry | None,
) -> QueueSubscription:
    """Named, it shares a queue; nameless, it is called like its handler. Raises `AlreadySubscribed`."""
    check_handler(handler)
    if name in taken:
        raise AlreadySubscribed(f"There is a subscription named {name!r}: choose another name, or cancel that one.")
    if name is not None and not (name and name.isprintable()):
        raise BadInput(f"{name!r:.40} is no name of a queue: write one that can be seen.")
    own = name_of(handler)
    numbered = (f"{own}-{k}" for k in itertools.count(2))
    called = name or (own if own not in taken else next(other for other in numbered if other not in taken))
    queue = shared.topology.queue(name or f"{own}.{uuid.uuid4().hex[:12]}")
    if len(queue.encode()) > MAX_BYTES:
        raise BadInput(f"A queue named {queue!r:.40}… is too long for AMQP: {MAX_BYTES} bytes at most.")
    return QueueSubscription(
        Serving(shared, called, queue, patterns, handler, ordered, retry or shared.retry, temporary=name is None)
    )


def _give_back(delivery: Delivery) -> None:
    if delivery.channel.is_open:
        delivery.channel.basic_nack(delivery.tag, requeue=True)
