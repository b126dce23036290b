"""What the webhook's desk shows, as plain rows: how far each request came, what was counted, what is in the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable
from typing import Literal, NamedTuple, get_args

from ecomlib.events import Event
from ecomlib.lab.wire import Exchange, Verdict

Place = Literal["caller", "webhook", "log", "customer"]
PLACES: tuple[Place, ...] = get_args(Place)
SIGNS: dict[Verdict, str] = {"taken": "✓", "again": "↶", "refused": "✗", "no answer": "?"}


class Path(NamedTuple):
    """How far a request came, and what its caller was told: a status code, or none."""

    what: str
    reached: Place
    code: int | None
    verdict: Verdict


class Arrived(NamedTuple):
    """An event of the log, with the key of the report that brought it."""

    type: str
    order: str
    key: str
    caused_by: str  # what brought it: "a report", or the type of the event that it answers


def paths(exchanges: Iterable[Exchange], events: Iterable[Event]) -> list[Path]:
    told = {event.causationid for event in events if event.type == "notification.sent"}
    return [Path(each.what, _reached(each, told), each.status, each.verdict) for each in exchanges]


def _reached(exchange: Exchange, told: Container[str | None]) -> Place:
    if not exchange.truth:
        return "caller"
    event = exchange.truth.get("event_id")
    if event is None or exchange.verdict == "again":
        return "webhook"
    return "customer" if event in told else "log"


def counted(exchanges: Iterable[Exchange]) -> dict[str, int]:
    """By verdict."""
    counts = Counter(exchange.verdict for exchange in exchanges)
    return {verdict: counts[verdict] for verdict in SIGNS}


def arrived(events: Iterable[Event]) -> list[Arrived]:
    types: dict[str, str] = {}
    rows = []
    for event in events:
        types[event.id] = event.type
        cause = types.get(event.causationid or "", "a report")
        order, key = getattr(event.data, "order_id", None), event.extensions.get("idempotencykey", "")
        rows.append(Arrived(event.type, str(order or ""), str(key), cause))
    return rows


def told(exchange: Exchange) -> str:
    """What the caller knows now, in a sentence: of a refusal only the first one, for the exchange has them all."""
    if exchange.status is None:
        return f"{exchange.trouble[0].upper()}{exchange.trouble[1:]}. All that the caller can do is send it again."
    if exchange.verdict == "again":
        return f"{exchange.status} again: the first answer. Nothing happened a second time."
    if exchange.verdict == "taken":
        return f"{exchange.status}: {exchange.said['message']}"
    wait = exchange.headers.get("Retry-After")
    first, end, _ = exchange.said["detail"].partition(". ")
    return f"{exchange.status}: {first}{end.rstrip()}{f' Retry after {wait} s.' if wait else ''}"
