"""The shop's exchanges and queues in RabbitMQ: which there are, with which arguments, and why.

publisher --> exchange shop --+-- order.created, user.registered --> queue shop.email -----> worker
              (topic)         +-- order.paid --------------------> queue shop.sms          |
                              +-- # -----------------------------> queue shop.analytics    | it failed
                                                                        ^                  v
                                                                        +--- after 100 ms, shop.retry.100ms
                                                                                           |
              exchange shop.dead --> queue shop.dead <------ when the attempts are used up +
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ecomlib.ports import Retry

# Each service's queue takes the events that these patterns match: an AMQP binding key is a pattern as it stands.
SERVICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"email": ("order.created", "user.registered"), "sms": ("order.paid",), "analytics": ("#",)}
)

# Replicated where there are several nodes, and on disk before a publisher hears of it. Since version 3.8; the
# queues of a quorum type are what RabbitMQ 4 has instead of mirrored ones.
QUORUM = {"x-queue-type": "quorum"}
# A full queue refuses, which its publisher is told, and what it dead-letters itself stays until the next queue has it.
SAFE = {"x-overflow": "reject-publish", "x-dead-letter-strategy": "at-least-once"}
# How often a message may come back to its queue, as it does when its worker dies over it. It also does when it was only
# near one that killed the worker, or when the worker was stopped before its turn: so the limit is far above the 20 that
# version 4 has by default (3.10 has none). With a prefetch of 1 no message is near another.
DELIVERY_LIMIT = 100
NO_LIMIT = 1_000_000_000  # for dead letters, which people take out and put back; 4 would drop them after 20 times
UNUSED = 60_000  # ms after which a temporary queue goes that nobody consumes: a reconnecting owner finds it again


def pauses(retry: Retry) -> list[float]:
    """In seconds, each once, the shortest first: they grow until they are all alike."""
    found: list[float] = []
    for failed in range(1, retry.attempts):
        seconds = retry.wait(failed)
        if seconds in found:
            break
        found.append(seconds)
    return found


@dataclass(frozen=True)
class Topology:
    """Names, and declarations on a channel of a `pika.BlockingConnection`. To declare what is there changes nothing.

    Where something of that name is there with other arguments, RabbitMQ closes the channel (406, precondition failed).
    """

    exchange: str = "shop"

    @property
    def dead(self) -> str:
        """The exchange of dead letters, and the queue that has them all."""
        return f"{self.exchange}.dead"

    def queue(self, name: str) -> str:
        """The queue that the workers of a service share."""
        return f"{self.exchange}.{name}"

    def delay(self, seconds: float) -> str:
        """Where a delivery waits for its next attempt: an exchange and a queue for each length of pause."""
        return f"{self.exchange}.retry.{round(seconds * 1000)}ms"

    def declare(self, channel: Any, services: Mapping[str, Iterable[str]] = SERVICES) -> None:
        """The exchanges, the dead letters, and the queue of each service: from now on no event of theirs is lost."""
        channel.exchange_declare(self.exchange, "topic", durable=True)
        channel.exchange_declare(self.dead, "topic", durable=True)
        channel.queue_declare(self.dead, durable=True, arguments={**QUORUM, "x-delivery-limit": NO_LIMIT})
        channel.queue_bind(self.dead, self.dead, "#")
        for name, patterns in services.items():
            self.declare_queue(channel, self.queue(name), patterns)

    def declare_letters(self, channel: Any, queue: str) -> None:
        """A queue for whoever is told of dead letters; it makes none itself, for it would be told of them, too."""
        channel.queue_declare(queue, durable=True, arguments={**QUORUM, "x-delivery-limit": NO_LIMIT})
        channel.queue_bind(queue, self.dead, "#")

    def declare_queue(self, channel: Any, queue: str, patterns: Iterable[str]) -> None:
        """A service's queue: it outlives workers and broker. Bindings are added, and none is taken away."""
        arguments = {
            **QUORUM,
            **SAFE,
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": self.dead,
            "x-dead-letter-routing-key": queue,
        }
        channel.queue_declare(queue, durable=True, arguments=arguments)
        for pattern in patterns:
            channel.queue_bind(queue, self.exchange, pattern)

    def declare_temporary(self, channel: Any, queue: str, patterns: Iterable[str]) -> None:
        """One subscriber's own queue, which goes when it has not been used for a minute."""
        channel.queue_declare(queue, durable=True, arguments={"x-expires": UNUSED})
        for pattern in patterns:
            channel.queue_bind(queue, self.exchange, pattern)

    def declare_delays(self, channel: Any, retry: Retry) -> None:
        """A queue has no pause before it gives a message again (RabbitMQ has one of its own only from 4.3 on). So there
        is a queue for each pause, which nobody consumes.

        What has been in it for so long goes to the default exchange, which knows every queue by its name: the routing
        key of a waiting message is the queue that it comes from.
        """
        for seconds in pauses(retry):
            name = self.delay(seconds)
            arguments = {**QUORUM, **SAFE, "x-message-ttl": round(seconds * 1000), "x-dead-letter-exchange": ""}
            channel.exchange_declare(name, "fanout", durable=True)
            channel.queue_declare(name, durable=True, arguments=arguments)
            channel.queue_bind(name, name)
