"""How deep a broker's queues are: what it says at once over AMQP, and what its management API says some time later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx

from ecomlib.amqp import channel_to, parameters
from ecomlib.errors import BrokerError

PORT = 15672
TIMEOUT = 2.0  # seconds
# A quorum queue tells the management API its numbers every five seconds, however often the broker collects them.
FROM_API = "'ready' is counted now; the rates come from RabbitMQ's management API, some seconds late."
FROM_AMQP = "What is ready is as of now. No management API answers, so there are no rates."


class Depth(NamedTuple):
    """Of one queue. `ready` and `consumers` are as of now; the rest is None where nobody tells it."""

    ready: int
    consumers: int
    unacked: int | None = None
    rate_in: float | None = None  # messages a second
    rate_out: float | None = None


class Depths(NamedTuple):
    queues: Mapping[str, Depth]
    source: str  # who said it, and how old it is


class Management:
    """The HTTP API of the broker at this AMQP address: on the port that it has by default, unless `url` says where.

    Its user and password are those of the AMQP address. Raises `BrokerError` where it does not answer.
    """

    def __init__(self, amqp_url: str, url: str | None = None) -> None:
        asked = parameters(amqp_url)
        self.url = (url or f"http://{asked.host}:{PORT}").rstrip("/")
        self._host = quote(asked.virtual_host, safe="")
        self._who = (asked.credentials.username, asked.credentials.password)

    def queues(self) -> dict[str, dict[str, Any]]:
        """By name; what the broker has not counted yet is not there."""
        return {found["name"]: found for found in self._get(f"/api/queues/{self._host}")}

    def names(self, what: str) -> list[str]:
        """`what`: "queues" or "exchanges"."""
        return [found["name"] for found in self._get(f"/api/{what}/{self._host}")]

    def answers(self) -> bool:
        try:
            self._get("/api/overview")
        except BrokerError:
            return False
        return True

    def _get(self, path: str) -> Any:
        try:
            # Where nothing is encrypted no certificates are read: that would take longer than the whole answer.
            encrypted = self.url.startswith("https:")
            address = f"{self.url}{path}"
            answer = httpx.get(address, auth=self._who, timeout=TIMEOUT, trust_env=False, verify=encrypted)
            answer.raise_for_status()
            return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise BrokerError(f"The management API of RabbitMQ does not answer as it should: {error}") from error


def look(url: str, queues: Iterable[str], management: Management | None = None) -> Depths:
    """Ask for queues that are there. `management` adds what is unacknowledged, and the rates: up to five seconds old.

    Raises `BrokerError`, also where a queue is missing. Where the API alone fails, its numbers are None.
    """
    with channel_to(url) as channel:
        found = {}
        for queue in queues:
            method = channel.queue_declare(queue, passive=True).method
            found[queue] = Depth(method.message_count, method.consumer_count)
    if management is None:
        return Depths(found, FROM_AMQP)
    try:
        told = management.queues()
    except BrokerError:
        return Depths(found, FROM_AMQP)
    return Depths({name: _with(depth, told.get(name, {})) for name, depth in found.items()}, FROM_API)


def _with(depth: Depth, told: Mapping[str, Any]) -> Depth:
    rates = told.get("message_stats", {})

    def rate(what: str) -> float | None:
        value = rates.get(f"{what}_details", {}).get("rate")
        return None if value is None else float(value)

    return depth._replace(
        unacked=told.get("messages_unacknowledged"), rate_in=rate("publish"), rate_out=rate("deliver_get")
    )
