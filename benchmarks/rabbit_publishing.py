"""Publishing to RabbitMQ: persistent messages, mandatory and confirmed, to one durable quorum queue, serialised."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import wait
from contextlib import ExitStack
from typing import Any

import aio_pika
import kombu as untyped_kombu
import pika
from faststream.rabbit import ExchangeType, RabbitBroker, RabbitExchange

from benchmarks.measuring import Bench, Goal, Race, Run, Side, rate
from benchmarks.rabbit_peers import KEY, PATIENCE, QUEUE, CloudEvent, broker, events, peers_events
from ecomlib.amqp import channel_to
from ecomlib.publishing import CONTENT_TYPE, WINDOW
from ecomlib.rabbitmq import RabbitBus
from ecomlib.topology import Topology

OURS_EACH, OURS_IN_FLIGHT = "ecomlib, confirm each", "ecomlib, in flight"
BARE_EACH, BARE_IN_FLIGHT = "bare pika, confirm each", "bare pika, in flight"
AIO_EACH, AIO_IN_FLIGHT = "aio-pika, confirm each", "aio-pika, in flight"
STREAM_EACH, STREAM_IN_FLIGHT = "FastStream, confirm each", "FastStream, in flight"
KOMBU_EACH, CONNECTION_EACH = "kombu, confirm each", "pika, a connection each"
kombu: Any = untyped_kombu
TOPOLOGY = Topology("publishing")
GOALS = (
    Goal(OURS_EACH, BARE_EACH, 0.9),
    Goal(OURS_EACH, CONNECTION_EACH, 5.0),
    Goal(OURS_IN_FLIGHT, OURS_EACH, 8.0),
    *(Goal(OURS_IN_FLIGHT, peer, 1.0) for peer in (BARE_IN_FLIGHT, AIO_IN_FLIGHT, STREAM_IN_FLIGHT)),
)


def races(bench: Bench, url: str | None = None) -> Iterator[Race]:
    """`few` are confirmed one by one, `many` are in flight. A side begins with an empty queue."""
    few, many, fewest = bench.count(300), bench.count(4_000), bench.count(30)
    with broker(bench, url) as url, ExitStack() as stack, channel_to(url) as channel:
        TOPOLOGY.declare(channel, {QUEUE: ("#",)})
        runs = {
            **ours(url, stack, few, many),
            **bare(url, stack, few, many),
            CONNECTION_EACH: connection_each(url, fewest),
            **with_aio_pika(url, stack, few, many),
            **with_faststream(url, stack, few, many),
            KOMBU_EACH: with_kombu(url, stack, few),
        }

        def side(name: str) -> Side:
            def run() -> float:
                channel.queue_purge(TOPOLOGY.queue(QUEUE))
                return runs[name]()

            return Side(name, "ours" if name in (OURS_EACH, OURS_IN_FLIGHT) else "peer", run)

        yield Race("RabbitMQ: publish", "messages", tuple(map(side, runs)), GOALS, rounds=4)


def ours(url: str, stack: ExitStack, few: int, many: int) -> dict[str, Run]:
    """`publish` waits for each confirm. `submit` does not: up to a thousand are on their way at once."""
    bus = stack.enter_context(RabbitBus(url, exchange=TOPOLOGY.exchange))
    some, lots = events(few), events(many)

    def each() -> None:
        for event in some:
            bus.publish(event, mandatory=True)

    def in_flight() -> None:
        confirmed = [bus.submit(event) for event in lots]
        wait(confirmed, PATIENCE)
        if not all(future.result(0).routed for future in confirmed):
            raise RuntimeError("A message was not routed.")

    return {OURS_EACH: lambda: rate(few, each), OURS_IN_FLIGHT: lambda: rate(many, in_flight)}


# --- pika: its blocking connection waits for each confirm; in flight takes its asynchronous one ---------------


def publish(channel: Any, message: CloudEvent) -> None:
    body = message.model_dump_json().encode()
    properties = pika.BasicProperties(content_type=CONTENT_TYPE, message_id=message.id, delivery_mode=2)
    channel.basic_publish(TOPOLOGY.exchange, KEY, body, properties, mandatory=True)


def bare(url: str, stack: ExitStack, few: int, many: int) -> dict[str, Run]:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    stack.callback(connection.close)
    channel = connection.channel()
    channel.confirm_delivery()
    some = peers_events(few)

    def each() -> None:
        for message in some:
            publish(channel, message)

    pipeline = Pipeline(url, peers_events(many))
    stack.callback(pipeline.close)
    return {BARE_EACH: lambda: rate(few, each), BARE_IN_FLIGHT: lambda: rate(many, pipeline.run)}


class Pipeline:
    """As pika's example of an asynchronous publisher, which keeps the tags; in one thread, with our window."""

    def __init__(self, url: str, messages: list[CloudEvent]) -> None:
        self._messages, self._left = messages, iter(messages)
        self._unconfirmed: dict[int, CloudEvent] = {}
        self._tag = 0
        self._channel: Any = None
        self._connection = pika.SelectConnection(pika.URLParameters(url), self._opened, self._failed, self._stop)
        self._connection.ioloop.start()

    def run(self) -> None:
        self._left = iter(self._messages)
        self._connection.ioloop.add_callback(self._go_on)
        self._connection.ioloop.start()

    def close(self) -> None:
        self._connection.close()
        self._connection.ioloop.start()

    def _opened(self, connection: Any) -> None:
        self._channel = connection.channel(on_open_callback=self._confirming)

    def _confirming(self, channel: Any) -> None:
        channel.add_on_return_callback(self._failed)
        channel.confirm_delivery(self._confirmed, callback=self._stop)

    def _failed(self, *what: object) -> None:
        raise RuntimeError(f"pika: {what}")

    def _stop(self, *_: object) -> None:
        self._connection.ioloop.stop()

    def _go_on(self) -> None:
        while len(self._unconfirmed) < WINDOW and (message := next(self._left, None)) is not None:
            self._tag += 1
            self._unconfirmed[self._tag] = message
            publish(self._channel, message)

    def _confirmed(self, frame: Any) -> None:
        last = frame.method.delivery_tag
        for tag in [tag for tag in self._unconfirmed if tag <= last] if frame.method.multiple else [last]:
            del self._unconfirmed[tag]
        self._go_on()
        if not self._unconfirmed:
            self._stop()


def connection_each(url: str, fewest: int) -> Run:
    """What a beginner writes: all of it for each message."""
    messages = peers_events(fewest)

    def work() -> None:
        for message in messages:
            with pika.BlockingConnection(pika.URLParameters(url)) as connection:
                channel = connection.channel()
                channel.confirm_delivery()
                publish(channel, message)

    return lambda: rate(fewest, work)


# --- the others: what their documentation shows ------------------------------------------------------------


def both_ways(loop: asyncio.Runner, send: Callable[[CloudEvent], Awaitable[None]], few: int, many: int) -> list[Run]:
    """One by one, and all at once."""
    some, lots = peers_events(few), peers_events(many)

    async def each() -> None:
        for message in some:
            await send(message)

    async def in_flight() -> None:
        await asyncio.gather(*map(send, lots))

    return [lambda: rate(few, lambda: loop.run(each())), lambda: rate(many, lambda: loop.run(in_flight()))]


def with_aio_pika(url: str, stack: ExitStack, few: int, many: int) -> dict[str, Run]:
    """A robust connection; its channels confirm by default, and each `publish` waits for that. In flight: `gather`."""
    loop = stack.enter_context(asyncio.Runner())

    async def connect() -> tuple[aio_pika.abc.AbstractConnection, aio_pika.abc.AbstractExchange]:
        connection = await aio_pika.connect_robust(url)
        channel = await connection.channel(on_return_raises=True)
        return connection, await channel.get_exchange(TOPOLOGY.exchange)

    connection, exchange = loop.run(connect())
    stack.callback(lambda: loop.run(connection.close()))

    async def send(message: CloudEvent) -> None:
        body = message.model_dump_json().encode()
        persistent = aio_pika.DeliveryMode.PERSISTENT
        sent = aio_pika.Message(body, content_type=CONTENT_TYPE, message_id=message.id, delivery_mode=persistent)
        await exchange.publish(sent, KEY, mandatory=True)

    return dict(zip((AIO_EACH, AIO_IN_FLIGHT), both_ways(loop, send, few, many), strict=True))


def with_faststream(url: str, stack: ExitStack, few: int, many: int) -> dict[str, Run]:
    """It is handed the models, and serialises them itself. In flight: `gather`."""
    loop = stack.enter_context(asyncio.Runner())
    rabbit = RabbitBroker(url, logger=None)
    loop.run(rabbit.start())
    stack.callback(lambda: loop.run(rabbit.stop()))
    exchange = RabbitExchange(TOPOLOGY.exchange, type=ExchangeType.TOPIC, durable=True, declare=False)

    async def send(message: CloudEvent) -> None:
        await rabbit.publish(
            message, exchange=exchange, routing_key=KEY, mandatory=True, persist=True, message_id=message.id
        )

    return dict(zip((STREAM_EACH, STREAM_IN_FLIGHT), both_ways(loop, send, few, many), strict=True))


def with_kombu(url: str, stack: ExitStack, few: int) -> Run:
    """With confirms `publish` waits for each; it has no other way."""
    connection = stack.enter_context(kombu.Connection(url, transport_options={"confirm_publish": True}))
    producer = connection.Producer()
    some = peers_events(few)

    def each() -> None:
        for message in some:
            producer.publish(
                message.model_dump_json(),
                routing_key=KEY,
                exchange=TOPOLOGY.exchange,
                content_type=CONTENT_TYPE,
                content_encoding="utf-8",
                delivery_mode=2,
                message_id=message.id,
                mandatory=True,
            )

    return lambda: rate(few, each)
