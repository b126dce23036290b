"""Consuming from RabbitMQ: a durable quorum queue that is full beforehand, bodies parsed, a handler that counts."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any
from unittest.mock import patch

import aio_pika
import kombu as untyped_kombu
import pika
from faststream import AckPolicy, StreamMessage
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

from benchmarks.measuring import Bench, Goal, Race, Side
from benchmarks.rabbit_peers import PATIENCE, PREFETCH, QUEUE, CloudEvent, Stopwatch, broker, events
from ecomlib.amqp import channel_to
from ecomlib.consuming import QueueSubscription
from ecomlib.events import Event
from ecomlib.rabbitmq import RabbitBus
from ecomlib.services.shared_analytics import SharedAnalytics
from ecomlib.serving import Delivery
from ecomlib.topology import Topology

OURS_EACH, OURS = "ecomlib, acknowledgement each", "ecomlib, flushed together"
ONCE = "ecomlib, flushed together, ids remembered"
BARE_EACH, BARE = "bare pika, acknowledgement each", "bare pika, 50 flushed together"
AIO, STREAM, KOMBU = (f"{peer}, acknowledgement each" for peer in ("aio-pika", "FastStream", "kombu"))
TOPOLOGY = Topology("consuming")
NAME = TOPOLOGY.queue(QUEUE)
GOALS = (
    Goal(OURS_EACH, BARE_EACH, 0.9),
    *(Goal(OURS_EACH, peer, 1.0) for peer in (AIO, STREAM, KOMBU)),
    Goal(OURS, OURS_EACH, 1.5),
)
kombu: Any = untyped_kombu
Consume = Callable[[str, Stopwatch], None]


def races(bench: Bench, url: str | None = None) -> Iterator[Race]:
    """A side begins with a full queue, and leaves it empty: all that was handled was acknowledged, or it raises."""
    count = bench.count(2_000)
    with broker(bench, url) as url, channel_to(url) as channel, RabbitBus(url, exchange=TOPOLOGY.exchange) as filler:
        TOPOLOGY.declare(channel, {QUEUE: ("#",)})
        sent = events(count)

        def side(name: str, consume: Consume) -> Side:
            def run() -> float:
                channel.queue_purge(NAME)
                wait([filler.submit(event) for event in sent], PATIENCE)
                watch = Stopwatch(count)
                consume(url, watch)
                left = channel.queue_declare(NAME, passive=True).method.message_count
                if left:
                    raise RuntimeError(f"{name} left {left} messages in the queue.")
                return watch.rate()

            return Side(name, "ours" if name in (OURS, OURS_EACH, ONCE) else "peer", run)

        sides = {
            OURS_EACH: ours_each,
            OURS: ours,
            BARE_EACH: bare,
            BARE: bare_together,
            AIO: with_aio_pika,
            STREAM: with_faststream,
            KOMBU: with_kombu,
            ONCE: once(bench),
        }
        yield Race(
            f"RabbitMQ: consume, prefetch {PREFETCH}",
            "messages",
            tuple(side(name, consume) for name, consume in sides.items()),
            GOALS,
            rounds=5,
        )


def ours(url: str, watch: Stopwatch) -> None:
    """In the subscription's thread. An acknowledgement says that all up to this one is done."""
    with RabbitBus(url, exchange=TOPOLOGY.exchange, prefetch=PREFETCH) as bus:
        bus.subscribe("#", handler=watch, name=QUEUE)
        watch.wait()


def ours_each(url: str, watch: Stopwatch) -> None:
    """The bus never does this. Here, for comparison with the peers, the handler's thread has each message acknowledged
    by itself, as pika's documentation shows it for threads."""
    done: deque[Delivery] = deque()

    def note(subscription: QueueSubscription, delivery: Delivery | None) -> None:
        if delivery is not None:
            done.append(delivery)

    def acknowledge(subscription: QueueSubscription) -> None:
        if done:  # at the end it is called once more
            delivery = done.popleft()
            delivery.channel.basic_ack(delivery.tag)

    with (
        patch.object(QueueSubscription, "_done", property(lambda subscription: None, note), create=True),
        patch.object(QueueSubscription, "_acknowledge", acknowledge),
    ):
        ours(url, watch)


def once(bench: Bench) -> Consume:
    """The handler remembers the id in the transaction of its change: an event that comes twice counts once."""

    def consume(url: str, watch: Stopwatch) -> None:
        with tempfile.TemporaryDirectory(dir=bench.folder) as folder, SharedAnalytics(Path(folder) / "db") as store:

            def handle(event: Event) -> None:
                store.apply(event)
                watch(event)

            with RabbitBus(url, exchange=TOPOLOGY.exchange, prefetch=PREFETCH) as bus:
                bus.subscribe("#", handler=handle, name=QUEUE)
                watch.wait()

    return consume


def bare(url: str, watch: Stopwatch, *, every: int = 1) -> None:
    """What pika's documentation shows; `every` so many messages are acknowledged together."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=PREFETCH)

        def handle(channel: Any, method: Any, properties: object, body: bytes) -> None:
            watch(CloudEvent.model_validate_json(body))
            if method.delivery_tag % every == 0 or watch.ended:
                channel.basic_ack(method.delivery_tag, multiple=every > 1)
            if watch.ended:
                channel.stop_consuming()

        channel.basic_consume(NAME, handle)
        channel.start_consuming()


def bare_together(url: str, watch: Stopwatch) -> None:
    bare(url, watch, every=PREFETCH // 2)


def with_aio_pika(url: str, watch: Stopwatch) -> None:
    """Its queue's iterator, and `process` as in its documentation: acknowledged at the end of the block."""

    async def consume() -> None:
        async with await aio_pika.connect_robust(url) as connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=PREFETCH)
            queue = await channel.get_queue(NAME)
            async with queue.iterator() as messages:
                async for message in messages:
                    async with message.process():
                        watch(CloudEvent.model_validate_json(message.body))
                    if watch.ended:
                        break

    asyncio.run(consume())


def with_faststream(url: str, watch: Stopwatch) -> None:
    """A subscriber with a model for its argument, acknowledged when it returns."""
    rabbit = RabbitBroker(url, logger=None, default_channel=Channel(prefetch_count=PREFETCH))

    async def consume() -> None:
        done = asyncio.Event()

        async def decode(message: StreamMessage[Any]) -> Any:  # its own one knows only application/json
            return json.loads(message.body)

        queue = RabbitQueue(NAME, declare=False)

        @rabbit.subscriber(queue, decoder=decode, ack_policy=AckPolicy.REJECT_ON_ERROR)
        async def handle(event: CloudEvent) -> None:
            watch(event)
            if watch.ended:
                done.set()

        async with rabbit:
            await rabbit.start()
            await done.wait()

    asyncio.run(consume())


def with_kombu(url: str, watch: Stopwatch) -> None:
    with kombu.Connection(url) as connection:

        def handle(message: Any) -> None:
            watch(CloudEvent.model_validate_json(message.body))
            message.ack()

        queue = kombu.Queue(NAME, no_declare=True)
        accept = ["application/cloudevents+json"]
        with connection.Consumer(queue, on_message=handle, prefetch_count=PREFETCH, accept=accept):
            while not watch.ended:
                connection.drain_events(timeout=PATIENCE)
