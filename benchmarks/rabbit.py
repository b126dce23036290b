"""RabbitMQ, both ways, on one node: it takes some seconds to start."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import rabbit_consuming, rabbit_publishing
from benchmarks.measuring import Bench, Race
from benchmarks.rabbit_peers import broker
from ecomlib.amqp import channel_to


def races(bench: Bench, url: str | None = None) -> Iterator[Race]:
    """On a node of its own, or on the one at `url`."""
    with broker(bench, url) as url:
        with channel_to(url) as channel:
            bench.versions["RabbitMQ"] = channel.connection._impl.server_properties["version"]
        yield from rabbit_publishing.races(bench, url)
        yield from rabbit_consuming.races(bench, url)
