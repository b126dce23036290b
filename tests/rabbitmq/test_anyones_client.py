"""Anybody may write to the shop's exchange and read from it, with any AMQP client: the bodies are CloudEvents' JSON."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pika
import pytest
from amqpstorm.message import Message
from amqpstorm.uri_connection import UriConnection
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from ecomlib.broker import PrivateNode
from ecomlib.events import Event
from ecomlib.rabbitmq import RabbitBus
from tests.support.webhook import wait_until

CONTENT_TYPE = "application/cloudevents+json"
MOMENT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
ORDER = {"order_id": "9", "amount": "3.10", "user_id": "7", "note": "grün"}
Publish = Callable[[str, str, str, bytes], None]
Read = Callable[[str, str, Callable[[], object]], tuple[bytes, str, str]]


def pika_publishes(url: str, exchange: str, key: str, body: bytes) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    properties = pika.BasicProperties(content_type=CONTENT_TYPE)
    connection.channel().basic_publish(exchange, key, body, properties)
    connection.close()


def amqpstorm_publishes(url: str, exchange: str, key: str, body: bytes) -> None:
    with UriConnection(url) as connection, connection.channel() as channel:
        channel.basic.publish(body, key, exchange, properties={"content_type": CONTENT_TYPE})


def pika_reads(url: str, exchange: str, meanwhile: Callable[[], object]) -> tuple[bytes, str, str]:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, exchange, "order.#")
    meanwhile()
    method, properties, body = next(channel.consume(queue, auto_ack=True, inactivity_timeout=30))
    connection.close()
    return body, method.routing_key, properties.content_type


def amqpstorm_reads(url: str, exchange: str, meanwhile: Callable[[], object]) -> tuple[bytes, str, str]:
    with UriConnection(url) as connection, connection.channel() as channel:
        queue = channel.queue.declare("", exclusive=True)["queue"]
        channel.queue.bind(queue, exchange, "order.#")
        meanwhile()
        found: list[Any] = []  # its types allow for what it does not return here
        wait_until(lambda: found.append(got) if (got := channel.basic.get(queue, no_ack=True)) else found)
        return found[0]._body, found[0].method["routing_key"], found[0].properties["content_type"]


@pytest.fixture
def exchange() -> str:
    return f"test.{uuid.uuid4().hex[:8]}"


def theirs(**attributes: Any) -> CloudEvent:
    said = {"type": "order.created", "source": "https://partner.example/orders", "id": "17", "time": MOMENT}
    return CloudEvent({**said, "datacontenttype": "application/json", **attributes}, ORDER)


@pytest.mark.parametrize("publish", [pika_publishes, amqpstorm_publishes])
def test_what_the_official_package_writes_comes_to_our_subscriber(
    rabbitmq: PrivateNode, exchange: str, recorder: list[Event], publish: Publish
) -> None:
    with RabbitBus(rabbitmq.url, exchange=exchange) as bus:
        bus.subscribe("order.*", handler=recorder.append)
        body = JSONFormat().write(theirs(subject="größer 9%", correlationid="a"))
        publish(rabbitmq.url, exchange, "order.created", body)
        wait_until(lambda: recorder or bus.dead_letters)
    (event,) = recorder
    assert (event.id, event.type, event.source, event.time) == (
        "17",
        "order.created",
        "https://partner.example/orders",
        MOMENT,
    )
    assert (event.subject, event.correlationid) == ("größer 9%", "a")
    assert (event.data.order_id, event.data.amount, event.data.note) == ("9", Decimal("3.10"), "grün")


@pytest.mark.parametrize("read", [pika_reads, amqpstorm_reads])
def test_what_we_publish_the_official_package_reads(rabbitmq: PrivateNode, exchange: str, read: Read) -> None:
    event = Event("order.created", ORDER, subject="größer 9%", time=MOMENT)
    with RabbitBus(rabbitmq.url, exchange=exchange) as bus:
        body, key, content_type = read(rabbitmq.url, exchange, lambda: bus.publish(event))
    assert (key, content_type) == ("order.created", CONTENT_TYPE)
    found = JSONFormat().read(CloudEvent, body)
    assert (found.get_id(), found.get_type(), found.get_source()) == (event.id, event.type, event.source)
    assert (found.get_subject(), found.get_time()) == ("größer 9%", MOMENT)
    data = found.get_data()
    assert (data if isinstance(data, dict) else json.loads(data or b"")) == ORDER


def test_a_script_of_anybodys_shares_the_work_of_our_workers(
    rabbitmq: PrivateNode, exchange: str, recorder: list[Event]
) -> None:
    """Of one queue each event goes to one reader, whatever that is written with."""
    with RabbitBus(rabbitmq.url, exchange=exchange, prefetch=1) as bus:
        bus.subscribe("order.created", handler=recorder.append, name="email")
        with UriConnection(rabbitmq.url) as connection, connection.channel() as channel:
            bodies: list[Any] = []

            def take(message: Message) -> None:
                bodies.append(message._body)
                message.ack()

            channel.basic.qos(1)
            channel.basic.consume(take, f"{exchange}.email")
            sent = {bus.publish(Event("order.created", {**ORDER, "order_id": n})).event.id for n in range(20)}

            def all_of_them() -> bool:
                channel.process_data_events()
                return len(recorder) + len(bodies) >= len(sent)

            wait_until(all_of_them)
            bus.drain(10)
    ids = [event.id for event in recorder] + [Event.from_json(body).id for body in bodies]
    assert sorted(ids) == sorted(sent)
    assert bodies
    assert recorder
