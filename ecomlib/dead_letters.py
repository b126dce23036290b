"""The dead letters in RabbitMQ: how one is written, read, and taken up again."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pika import BasicProperties
from pika.exceptions import ChannelClosedByBroker, UnroutableError

from ecomlib.amqp import channel_to
from ecomlib.errors import BadEvent, BrokerError, NotSubscribed
from ecomlib.events import Event
from ecomlib.ports import DeadLetter
from ecomlib.topology import DELIVERY_LIMIT, Topology

LONGEST_ERROR = 2_000  # characters: a header is no place for more
LEFT_OUT = ("last", "CC", "BCC")  # by the last two, RabbitMQ would send a copy to more queues, at each attempt again
LONGEST_HEADERS = 50_000  # bytes of all of them: they must fit into one frame, with what we add
LOCKED = 405  # AMQP's code for what belongs to another connection
TURN = 60.0  # seconds to wait until nobody else reads the dead letters
PAUSE = 1.0  # seconds without a message, when there should be one: somebody else has taken it


def headed(properties: BasicProperties, **added: object) -> BasicProperties:
    """The same properties with more headers; what the broker itself wrote about the way so far is left out."""
    headers = {k: v for k, v in (properties.headers or {}).items() if not k.startswith("x-") and k not in LEFT_OUT}
    if len(str(headers).encode(errors="replace")) > LONGEST_HEADERS:
        headers = {}
    return BasicProperties(
        content_type=properties.content_type,
        message_id=properties.message_id,
        delivery_mode=2,  # persistent
        headers={**headers, **added},
    )


def read_letter(topology: Topology, body: bytes, properties: BasicProperties) -> DeadLetter | None:
    """None where the message is no event: then there is nothing that a handler could be given again."""
    try:
        event = Event.from_json(body)
    except BadEvent:
        return None
    headers: dict[str, Any] = properties.headers or {}
    if "error" in headers:
        made = headers.get("attempts")  # what anybody may have written
        return DeadLetter(
            event, str(headers.get("subscription")), made if type(made) is int else 0, str(headers["error"])
        )
    # The broker itself gave it up, and says where and why: since it came back that often, nobody lived to write more.
    name = str(headers.get("x-first-death-queue", "")).removeprefix(f"{topology.exchange}.")
    reason = headers.get("x-first-death-reason")
    if reason != "delivery_limit":
        return DeadLetter(event, name, 0, f"RabbitMQ gave it up ({reason or 'it does not say why'}).")
    why = f"RabbitMQ gave it up ({reason}): it came back more than {DELIVERY_LIMIT} times. Did it kill each worker?"
    return DeadLetter(event, name, DELIVERY_LIMIT + 1, why)


def same(one: DeadLetter, other: DeadLetter) -> bool:
    """By the event's id, for one that says no time has another one each time that it is read."""
    return _words(one) == _words(other)


def _words(letter: DeadLetter) -> tuple[str, str, str, int, str]:
    return letter.event.source, letter.event.id, letter.subscription, letter.attempts, letter.error


@contextmanager
def _reading(url: str, topology: Topology) -> Iterator[Any]:
    """A channel that alone looks through the dead letters: who does has them all in hand, and others would see none.

    The lock is a queue that belongs to one connection, so it goes with whoever dies. Raises `BrokerError` for whom it
    is not free within a minute.
    """
    deadline = time.monotonic() + TURN
    while True:
        with channel_to(url) as channel:
            try:
                channel.queue_declare(f"{topology.dead}.reader", exclusive=True)
            except ChannelClosedByBroker as refused:
                if refused.reply_code != LOCKED:
                    raise
                if time.monotonic() > deadline:
                    said = f"Others have been reading {topology.dead!r} for {TURN:g} s: try again when they are done."
                    raise BrokerError(said) from refused
            else:
                try:
                    yield channel
                finally:
                    if channel.is_open:  # all that is in hand goes back, before the next one looks
                        channel.basic_nack(0, multiple=True, requeue=True)
                return
        time.sleep(random.uniform(0.01, 0.05))


def _all(channel: Any, queue: str) -> Iterator[Any]:
    """Every message that is in the queue now. None is acknowledged, so all go back."""
    left = channel.queue_declare(queue, passive=True).method.message_count
    while left:
        method, properties, body = next(channel.consume(queue, inactivity_timeout=PAUSE))
        if method is None:
            return
        yield method, properties, body
        left -= 1


def waiting_messages(url: str, topology: Topology) -> list[tuple[Any, BasicProperties, bytes]]:
    """Every dead letter, also one that is no event, oldest first. They stay where they are. Raises `BrokerError`."""
    with _reading(url, topology) as channel:
        return list(_all(channel, topology.dead))


def waiting_letters(url: str, topology: Topology) -> list[DeadLetter]:
    """Those that are events."""
    letters = (read_letter(topology, body, properties) for _, properties, body in waiting_messages(url, topology))
    return [letter for letter in letters if letter is not None]


def send_again(url: str, topology: Topology, letter: DeadLetter) -> None:
    """Take the letter out of the dead letters and put it into the queue that it came from; its attempts count on.

    First it is put, then taken: whoever dies in between leaves it in both places, and it has the same id. Raises
    `NotSubscribed` where there is no such letter, or its queue is gone; `BrokerError` for trouble with the broker.
    """
    with _reading(url, topology) as channel:
        channel.confirm_delivery()
        for method, properties, body in _all(channel, topology.dead):
            found = read_letter(topology, body, properties)
            if found is not None and same(found, letter):
                try:
                    again = headed(properties, attempts=letter.attempts)
                    channel.basic_publish("", method.routing_key, body, again, mandatory=True)
                except UnroutableError:
                    gone = f"The queue {method.routing_key!r} is gone: subscribe under {letter.subscription!r} first."
                    raise NotSubscribed(gone) from None
                channel.basic_ack(method.delivery_tag)
                return
    raise NotSubscribed(f"{letter.subscription!r} has no such dead letter: was it redelivered already?")
