"""Publisher confirms: a message is kept until the broker says that it has it, over however many connections."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from pika import BasicProperties
from pika.exceptions import AMQPError, ChannelClosedByBroker
from pika.spec import Basic

from ecomlib.amqp import Link
from ecomlib.errors import BadEvent, BrokerAway, BrokerError, BusFull, WrongPlace, named
from ecomlib.events import Event
from ecomlib.patterns import MAX_BYTES
from ecomlib.ports import Receipt

CONTENT_TYPE = "application/cloudevents+json"  # CloudEvents' structured mode: the body is all of the event
LARGEST = 1_000_000  # bytes of an event
NOT_FOUND = 404
WINDOW = 1_000  # messages on their way at once; whoever wants to send more waits
GLANCE = 0.1  # seconds between looks whether there is anybody to wait for


@dataclass(eq=False)
class Message:
    exchange: str
    key: str
    body: bytes
    properties: BasicProperties
    result: Callable[[bool], Any] = bool  # of `confirmed`, made from whether any queue took the message
    confirmed: Future[Any] = field(default_factory=Future)


def short(id: str) -> str:
    """The message's id: the event's own, or what stands for it where that is longer than AMQP allows."""
    return id if len(id.encode()) <= MAX_BYTES else str(uuid.uuid5(uuid.NAMESPACE_URL, id))


class Publisher:
    """Any thread may send. What is sent again after a lost connection has the same id."""

    def __init__(self, link: Link) -> None:
        self._link, self.stopping = link, False
        self._lock = threading.Lock()
        self._room = threading.Semaphore(WINDOW)
        self._outbox: deque[Message] = deque()  # in order; not yet handed to a channel
        self._unconfirmed: dict[int, Message] = {}  # by the channel's delivery tag
        self._returned: set[tuple[str, str, str]] = set()  # that no queue took; their confirms come right after
        self._channel: Any = None
        self._tag = 0

    def send(self, message: Message, patience: float) -> Future[Any]:
        """Returns at once, unless a thousand messages are on their way. Raises `BrokerAway` after `patience` seconds.

        The future ends with `BusFull` where the broker refuses the message, and with `BrokerError` where it breaks off.
        """
        if not self._room.acquire(timeout=patience):
            raise BrokerAway(
                f"{WINDOW} messages were not confirmed within {patience:g} s. {self._link.trouble}".strip()
            )
        with self._lock:
            first = not self._outbox
            self._outbox.append(message)
        if first:  # what waits already will be sent, and this with it
            self._link.call(self._flush)
        return message.confirmed

    def send_event(self, exchange: str, event: Event, takers: tuple[str, ...], patience: float) -> Future[Receipt]:
        """As `send`. Raises `BadEvent` for what is no event, or too large for one."""
        if not isinstance(event, Event):
            raise BadEvent(f"{event!r:.40} is no event: publish(Event('order.created', {{'order_id': 1}})).")
        if not self._link.started:
            raise WrongPlace("This bus is not connected: publish inside `with bus:`.")
        body = event.to_json().encode()
        if len(body) > LARGEST:
            raise BadEvent(
                f"{event.type} {event.id} has {len(body)} bytes: on RabbitMQ an event has at most {LARGEST}."
            )

        def receipt(routed: bool) -> Receipt:
            return Receipt(event, takers if routed else (), routed=routed)

        persistent = BasicProperties(CONTENT_TYPE, message_id=short(event.id), delivery_mode=2)
        return self.send(Message(exchange, event.type, body, persistent, receipt), patience)

    def wait_for(self, event: Event, confirmed: Future[Receipt], patience: float) -> Receipt:
        """Raises what the future raises; `BrokerAway` after `patience` seconds, and then it is not sent again."""
        try:
            receipt: Receipt = self.answer(confirmed, patience)
            return receipt
        except TooLate:
            if not confirmed.cancel():
                return confirmed.result()  # it came at the last moment
        by_then = "before the bus stopped" if self.stopping else f"within {patience:g} s"
        raise BrokerAway(
            f"{event.type} {event.id} was not confirmed {by_then}, though RabbitMQ may have it. Publish it again: "
            f"its id stays the same. {self._link.trouble}".strip()
        )

    def answer(self, confirmed: Future[Any], patience: float) -> Any:
        """Raises what the future raises, and `TooLate` after `patience` seconds. Who stops waits for no lost broker."""
        deadline = time.monotonic() + patience
        while (left := deadline - time.monotonic()) > 0 and (self._link.connected or not self.stopping):
            try:
                return confirmed.result(min(left, GLANCE))
            except TooLate:
                pass  # look again
        return confirmed.result(0)

    # --- in the I/O thread --------------------------------------------------------------------------------

    def open(self, connection: Any) -> None:
        """At a new connection: what the last one left unconfirmed goes out again, first and in order."""
        self._channel = None
        connection.channel(on_open_callback=self._opened)

    def _opened(self, channel: Any) -> None:
        channel.add_on_close_callback(self._closed)
        channel.add_on_return_callback(self._note_return)
        channel.confirm_delivery(self._confirm, callback=lambda _: self._begin(channel))

    def _begin(self, channel: Any) -> None:
        self._channel, self._tag = channel, 0
        self._returned.clear()
        with self._lock:
            self._outbox.extendleft(reversed(self._unconfirmed.values()))
            self._unconfirmed.clear()
        self._flush()

    def _flush(self) -> None:
        if self._channel is not None and self._channel.is_open:
            self._channel.connection.together(self._send_all)

    def _send_all(self) -> None:
        while self._channel.is_open:
            with self._lock:
                if not self._outbox:
                    return
                message = self._outbox.popleft()
            if message.confirmed.cancelled():  # its sender has given it up
                self._end(message, None)
                continue
            self._unconfirmed[self._tag + 1] = message
            try:  # mandatory, always: so the confirm tells whether a queue took it
                self._channel.basic_publish(
                    message.exchange, message.key, message.body, message.properties, mandatory=True
                )
                self._tag += 1
            except (AMQPError, ValueError, TypeError) as error:
                if not self._channel.is_open:
                    raise  # it is sent again over the next connection
                del self._unconfirmed[self._tag + 1]  # AMQP has no form for it, and that must not stop the others
                self._end(message, BrokerError(f"It can't be sent over AMQP: {named(error)}."))

    def _note_return(self, channel: Any, method: Any, properties: BasicProperties, body: bytes) -> None:
        self._returned.add((method.exchange, method.routing_key, properties.message_id))

    def _confirm(self, frame: Any) -> None:
        method = frame.method
        tags = [method.delivery_tag]
        if method.multiple:  # all up to this one; they are in order
            tags = list(takewhile(lambda tag: tag <= method.delivery_tag, self._unconfirmed))
        for message in filter(None, [self._unconfirmed.pop(tag, None) for tag in tags]):
            id = message.properties.message_id
            sent = (message.exchange, message.key, id)
            routed = sent not in self._returned
            self._returned.discard(sent)
            if isinstance(method, Basic.Nack):
                said = f"RabbitMQ refused {id}: a queue that it goes to is full or in trouble. Publish it again later."
                self._end(message, BusFull(said))
            else:
                self._end(message, message.result(routed))

    def _end(self, message: Message, answer: Any) -> None:
        """It is on its way no more. An exception for an answer is raised by whoever asks the future."""
        self._room.release()
        try:
            if isinstance(answer, Exception):
                message.confirmed.set_exception(answer)
            else:
                message.confirmed.set_result(answer)
        except InvalidStateError:  # its sender has given it up
            message.confirmed.set_running_or_notify_cancel()

    def _closed(self, channel: Any, reason: BaseException) -> None:
        """Where the broker closes a channel, something that was sent is to blame: to send it again would repeat it."""
        if not isinstance(reason, ChannelClosedByBroker) or channel is not self._channel:
            return
        if reason.reply_code == NOT_FOUND:  # somebody has deleted the exchange: a new connection declares it again
            channel.connection.close(reply_text="an exchange was deleted")
            return
        left, self._unconfirmed = list(self._unconfirmed.values()), {}
        for message in left:
            id = message.properties.message_id
            said = f"RabbitMQ broke off: {reason.reply_code} {reason.reply_text}. It may have {id} all the same."
            self._end(message, BrokerError(said))
        self.open(channel.connection)
