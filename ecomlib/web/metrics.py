"""The server's own numbers, as Prometheus reads them. Names follow https://prometheus.io/docs/practices/naming/."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from functools import cache
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ecomlib.bus import EventBus
from ecomlib.ports import Outcome

OPENMETRICS = "application/openmetrics-text"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"  # the one name for all methods and paths that the server does not know: anyone may invent new ones
UNANSWERED = "none"

Answer = Literal["accepted", "replayed", "refused"]
Number = Callable[[], float]


class Metrics:
    """Counts requests and webhook answers; reads the bus and the callables at each scrape, in the scraper's thread.

    Each object has numbers of its own, however many apps there are in a process. May be called from any thread.
    """

    def __init__(self, bus: EventBus, *, workers: Number, readers: Number, dropped: Number) -> None:
        """The worker threads that are alive, the live readers there are, and how many were dropped since the start."""
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "ecomlib_http_requests",
            "Requests by method, route and status of the answer.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "ecomlib_http_request_duration_seconds",
            # Not to the last ones: a stream of events ends when its reader leaves.
            "Seconds from a request to the first bytes of its answer.",
            ["method", "route"],
            registry=self._registry,
        )
        self._answers = Counter(
            "ecomlib_webhook_answers",
            "Answers of the webhook: accepted, replayed (a delivery that came again) or refused, and their status.",
            ["kind", "status"],
            registry=self._registry,
        )
        # What `labels` finds stays the same object, and there are few: to find it costs more than to count.
        self._requests_of = cache(lambda *labels: self._requests.labels(*labels))
        self._seconds_of = cache(lambda *labels: self._seconds.labels(*labels))
        self._answers_of = cache(lambda *labels: self._answers.labels(*labels))
        self._registry.register(_Inside(bus, workers, readers, dropped))

    def answered(self, kind: Answer, status: int) -> None:
        """The webhook has answered."""
        self._answers_of(kind, str(status)).inc()

    def around(self, app: ASGIApp) -> ASGIApp:
        """The app, with its requests counted when their answers begin: `app.add_middleware(metrics.around)`.

        A request that ends without an answer, since its client left or the app failed, counts with the status "none".
        """

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                return await app(scope, receive, send)
            began, answered = time.perf_counter(), False

            async def sending(message: Message) -> None:
                nonlocal answered
                if message["type"] == "http.response.start":
                    answered = True
                    self._count(scope, str(message["status"]), time.perf_counter() - began)
                await send(message)

            try:
                await app(scope, receive, sending)
            finally:
                if not answered:
                    self._count(scope, UNANSWERED, time.perf_counter() - began)

        return counted

    def _count(self, scope: Scope, status: str, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else OTHER
        route = getattr(scope.get("route"), "path", OTHER)  # the template: /orders/{order_id}, not /orders/17
        self._requests_of(method, route, status).inc()
        self._seconds_of(method, route).observe(seconds)

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """The body and its content type: OpenMetrics for who accepts it, otherwise Prometheus' own text format."""
        # Never the header itself: a version in it that is no number is an error there.
        encode, content_type = choose_encoder(OPENMETRICS if OPENMETRICS in accept.lower() else "")
        return encode(self._registry), content_type


class _Inside(Collector):
    """What others keep count of, asked anew at each scrape."""

    def __init__(self, bus: EventBus, workers: Number, readers: Number, dropped: Number) -> None:
        self._bus, self._workers, self._readers, self._dropped = bus, workers, readers, dropped

    def collect(self) -> Iterator[Metric]:
        subscriptions = self._bus.subscriptions
        waiting = GaugeMetricFamily(
            "ecomlib_deliveries_waiting",
            "Deliveries in a subscription's queue; one that pauses before its retry is not there.",
            labels=["subscription"],
        )
        attempts = CounterMetricFamily(
            "ecomlib_delivery_attempts",
            "Attempts: handled, failed (there will be a retry) or dead.",
            labels=["subscription", "outcome"],
        )
        for s in subscriptions:
            waiting.add_metric([s.name], len(s.queue))
            for outcome in get_args(Outcome):
                attempts.add_metric([s.name, outcome], s.counts[outcome])
        dead = GaugeMetricFamily(
            "ecomlib_dead_letters", "Dead letters that nobody has redelivered.", labels=["subscription"]
        )
        letters = Tally({s.name: 0 for s in subscriptions})  # one that has none says so
        letters.update(letter.subscription for letter in self._bus.dead_letters)
        for name, number in letters.items():
            dead.add_metric([name], number)
        yield from (waiting, attempts, dead)
        yield GaugeMetricFamily("ecomlib_worker_threads", "Worker threads that are alive.", self._workers())
        yield GaugeMetricFamily("ecomlib_live_readers", "Readers of the live stream now.", self._readers())
        yield CounterMetricFamily(
            "ecomlib_dropped_readers", "Readers of the live stream dropped for being too slow.", self._dropped()
        )
