"""Messages of all sizes leave as they are: in one frame, in several, and many in one piece."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from pika import BasicProperties

from ecomlib.amqp import channel_to
from ecomlib.broker import PrivateNode
from ecomlib.errors import BrokerError
from ecomlib.events import Event
from ecomlib.publishing import WINDOW, Message
from ecomlib.rabbitmq import RabbitBus
from ecomlib.sending import PIECE
from tests.support.webhook import wait_until

LIMIT = 20.0
FRAME = 131_072 - 8  # bytes of a body that fit into one, as the broker and pika agree


@pytest.fixture
def bus(rabbitmq: PrivateNode) -> Iterator[RabbitBus]:
    with RabbitBus(rabbitmq.url, exchange=f"test.{uuid.uuid4().hex[:8]}") as bus:
        yield bus


@pytest.fixture
def channel(rabbitmq: PrivateNode) -> Iterator[Any]:
    with channel_to(rabbitmq.url) as channel:
        yield channel


def test_messages_of_all_sizes_come_out_as_they_went_in(bus: RabbitBus, channel: Any) -> None:
    bus.topology.declare(channel, {"all": ("#",)})
    sizes = [0, 1, 300, PIECE - 1, PIECE, PIECE + 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME, 1_000_000, 0, 5]
    sent = [
        Message(
            bus.topology.exchange,
            f"order.größe{number % 3}",
            bytes([number]) * size,
            BasicProperties(message_id=f"{number}", delivery_mode=2, headers={"number": number}),
        )
        for number, size in enumerate(sizes)
    ]
    confirmed = [bus._publisher.send(message, LIMIT) for message in sent]
    assert all(future.result(LIMIT) for future in confirmed)
    for message in sent:
        method, properties, body = channel.basic_get(bus.topology.queue("all"), auto_ack=True)
        assert (method.exchange, method.routing_key, body) == (message.exchange, message.key, message.body)
        assert (properties.message_id, properties.headers["number"]) == (
            message.properties.message_id,
            message.properties.headers["number"],
        )


def test_mandatory_and_not_are_told_apart(bus: RabbitBus, channel: Any) -> None:
    """Both go to the same place; only of the first is its sender told that no queue took it."""
    confirmed = bus._publisher.send(
        Message(bus.topology.exchange, "nobody", b"1", BasicProperties(message_id="1")), LIMIT
    )
    assert confirmed.result(LIMIT) is False
    returned: list[Any] = []

    def send() -> None:
        publisher = bus._publisher
        publisher._channel.add_on_return_callback(lambda *what: returned.append(what))
        publisher._tag += 1  # it is confirmed like any other
        publisher._channel.basic_publish(bus.topology.exchange, "nobody", b"2", BasicProperties(message_id="2"))

    bus.link.call(send)
    again = bus._publisher.send(Message(bus.topology.exchange, "nobody", b"3", BasicProperties(message_id="3")), LIMIT)
    assert again.result(LIMIT) is False
    assert [properties.message_id for _, _, properties, _ in returned] == ["3"]


def test_however_a_message_ends_there_is_room_for_another(bus: RabbitBus) -> None:
    def send(**said: Any) -> Any:
        return bus._publisher.send(Message(bus.topology.exchange, "key", b"{}", BasicProperties(**said)), LIMIT)

    assert not bus.publish(Event("order.created", {"order_id": 1})).routed
    with pytest.raises(BrokerError, match="can't be sent"):  # AMQP has no form for it
        send(headers={"set": {1}}).result(LIMIT)
    with pytest.raises(BrokerError, match="broke off"):  # so the broker closes the channel
        send(expiration="never").result(LIMIT)
    busy, go_on = threading.Event(), threading.Event()

    def hold_up() -> None:
        busy.set()
        go_on.wait(LIMIT)

    bus.link.call(hold_up)
    assert busy.wait(LIMIT)
    given_up = [send(message_id=f"{number}") for number in range(10)]
    assert all(future.cancel() for future in given_up)
    go_on.set()
    assert send(message_id="last").result(LIMIT) is False
    wait_until(lambda: bus._publisher._room._value == WINDOW)
    assert bus._publisher._room.acquire(blocking=False)
