"""The server's own numbers: what is counted, under which names, and that nobody outside can make them many."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import anyio
import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import Response
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from starlette.types import Message, Receive, Scope, Send

from ecomlib.bus import EventBus
from ecomlib.clock import SimulatedClock
from ecomlib.errors import Permanent
from ecomlib.events import Event
from ecomlib.ports import Retry
from ecomlib.web.metrics import Metrics

LIMIT = 10  # seconds that a test waits at most


class Numbers:
    """What the server would hand over."""

    workers, readers, dropped = 4, 0, 0

    def metrics(self, bus: EventBus) -> Metrics:
        return Metrics(bus, workers=lambda: self.workers, readers=lambda: self.readers, dropped=lambda: self.dropped)


@pytest.fixture
def bus(clock: SimulatedClock) -> EventBus:
    return EventBus(clock=clock)


@pytest.fixture
def metrics(bus: EventBus) -> Metrics:
    return Numbers().metrics(bus)


def families(metrics: Metrics) -> dict[str, Metric]:
    body, _ = metrics.text()
    return {family.name: family for family in parse_text(body.decode())}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """The sample with exactly these labels; None where there is none."""
    samples = (sample for family in families(metrics).values() for sample in family.samples)
    return next((s.value for s in samples if s.name == name and s.labels == labels), None)


def waiting(metrics: Metrics, subscription: str) -> float | None:
    return value(metrics, "ecomlib_deliveries_waiting", subscription=subscription)


def handled(metrics: Metrics, subscription: str) -> float | None:
    return value(metrics, "ecomlib_delivery_attempts_total", subscription=subscription, outcome="handled")


def order(n: int) -> Event:
    return Event("order.shipped", {"order_id": n})


def web(metrics: Metrics) -> FastAPI:
    app = FastAPI()
    app.add_middleware(metrics.around)

    @app.get("/orders/{order_id}")
    async def show(order_id: str) -> str:
        return order_id

    @app.post("/refuse")
    async def refuse() -> Response:
        return Response(status_code=422)

    @app.get("/break")
    async def fail() -> None:
        raise ZeroDivisionError

    return app


def ask(app: FastAPI, *requests: tuple[str, str]) -> None:
    async def run() -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            for method, path in requests:
                await client.request(method, path)

    anyio.run(run)


class TestRequests:
    def test_count_by_method_route_and_status(self, metrics: Metrics) -> None:
        ask(web(metrics), ("GET", "/orders/1"), ("GET", "/orders/2"), ("POST", "/refuse"), ("POST", "/orders/1"))
        count = "ecomlib_http_requests_total"
        assert value(metrics, count, method="GET", route="/orders/{order_id}", status="200") == 2
        assert value(metrics, count, method="POST", route="/refuse", status="422") == 1
        assert value(metrics, count, method="POST", route="/orders/{order_id}", status="405") == 1

    def test_leave_their_seconds(self, metrics: Metrics) -> None:
        ask(web(metrics), ("GET", "/orders/1"), ("GET", "/orders/2"))
        labels = {"method": "GET", "route": "/orders/{order_id}"}
        name = "ecomlib_http_request_duration_seconds"
        assert value(metrics, f"{name}_count", **labels) == 2
        seconds = value(metrics, f"{name}_sum", **labels)
        assert seconds is not None
        assert 0 < seconds < LIMIT

    def test_that_fail_count_too(self, metrics: Metrics) -> None:
        ask(web(metrics), ("GET", "/break"))
        assert value(metrics, "ecomlib_http_requests_total", method="GET", route="/break", status="none") == 1

    def test_count_when_the_answer_begins_since_a_stream_may_never_end(self, metrics: Metrics) -> None:
        seen = []

        async def stream(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            seen.append(value(metrics, "ecomlib_http_requests_total", method="GET", route="other", status="200"))
            await send({"type": "http.response.body", "body": b""})

        async def send(message: Message) -> None: ...

        async def receive() -> Message:
            return {"type": "http.request"}

        anyio.run(metrics.around(stream), {"type": "http", "method": "GET"}, receive, send)
        assert seen == [1]
        assert value(metrics, "ecomlib_http_requests_total", method="GET", route="other", status="200") == 1

    @given(
        st.lists(
            st.tuples(
                st.text("ABCXYZ-", min_size=1, max_size=9),
                st.text("abc/.%20", max_size=9).map(lambda path: f"/nowhere{path}"),
            ),
            max_size=20,
        )
    )
    def test_count_under_one_name_where_somebody_invents_paths_and_methods(self, asked: list[tuple[str, str]]) -> None:
        metrics = Numbers().metrics(EventBus(clock=SimulatedClock()))
        ask(web(metrics), *asked)
        samples = families(metrics)["ecomlib_http_requests"].samples
        named = {(s.labels["method"], s.labels["route"]) for s in samples}
        assert named == ({("other", "other")} if asked else set())
        assert sum(s.value for s in samples if s.name == "ecomlib_http_requests_total") == len(asked)


class TestTheBus:
    def test_shows_what_waits_what_was_tried_and_what_was_given_up(self, bus: EventBus, metrics: Metrics) -> None:
        def refuse(event: Event) -> None:
            raise Permanent("no")

        bus.subscribe("order.*", handler=lambda event: None, name="well")
        bus.subscribe("order.*", handler=refuse, name="ill")
        bus.publish(order(1))
        bus.publish(order(2))
        assert (waiting(metrics, "well"), waiting(metrics, "ill")) == (2, 2)
        bus.run_until_idle()
        assert (waiting(metrics, "well"), handled(metrics, "well")) == (0, 2)
        attempts = "ecomlib_delivery_attempts_total"
        assert value(metrics, attempts, subscription="ill", outcome="dead") == 2
        assert value(metrics, attempts, subscription="ill", outcome="failed") == 0
        assert value(metrics, "ecomlib_dead_letters", subscription="ill") == 2
        assert value(metrics, "ecomlib_dead_letters", subscription="well") == 0

    def test_shows_the_dead_letters_of_a_subscription_that_is_gone(self, bus: EventBus, metrics: Metrics) -> None:
        with bus.subscribe("order.*", handler=lambda event: 1 / 0, name="gone", retry=Retry(attempts=1)):
            bus.publish(order(1))
            bus.run_until_idle()
        assert value(metrics, "ecomlib_dead_letters", subscription="gone") == 1
        assert waiting(metrics, "gone") is None

    def test_can_be_read_while_a_handler_is_at_work(self, clock: SimulatedClock) -> None:
        bus = EventBus(clock=clock, threads=1)
        metrics = Numbers().metrics(bus)
        entered, opened = threading.Event(), threading.Event()

        def slow(event: Event) -> None:
            entered.set()
            assert opened.wait(LIMIT)

        bus.subscribe("#", handler=slow, name="slow")
        with bus:
            for n in range(3):
                bus.publish(order(n))
            assert entered.wait(LIMIT)
            assert (waiting(metrics, "slow"), handled(metrics, "slow")) == (2, 0)
            opened.set()
            bus.drain(LIMIT)
            assert (waiting(metrics, "slow"), handled(metrics, "slow")) == (0, 3)

    def test_can_be_read_while_all_is_in_motion(self, clock: SimulatedClock) -> None:
        bus = EventBus(clock=clock, threads=2)
        metrics = Numbers().metrics(bus)
        bus.subscribe("#", handler=lambda event: None, name="steady")

        def publish() -> None:
            for n in range(500):
                with bus.subscribe("#", handler=lambda event: 1 / 0, name="coming and going", retry=Retry(attempts=1)):
                    bus.publish(order(n))

        publisher = threading.Thread(target=publish)
        seen: list[float] = []
        with bus:
            publisher.start()
            while publisher.is_alive():
                seen.append(handled(metrics, "steady") or 0)
            publisher.join()
        assert seen == sorted(seen)
        assert handled(metrics, "steady") == 500


class TestTheText:
    def test_has_what_the_server_hands_over_as_it_is_now(self, bus: EventBus) -> None:
        numbers = Numbers()
        metrics = numbers.metrics(bus)
        assert value(metrics, "ecomlib_worker_threads") == 4
        numbers.workers, numbers.readers, numbers.dropped = 0, 50, 1
        assert value(metrics, "ecomlib_worker_threads") == 0
        assert value(metrics, "ecomlib_live_readers") == 50
        assert value(metrics, "ecomlib_dropped_readers_total") == 1

    def test_has_the_webhooks_answers_by_kind(self, metrics: Metrics) -> None:
        metrics.answered("accepted", 202)
        metrics.answered("replayed", 202)
        metrics.answered("refused", 401)
        metrics.answered("refused", 401)
        name = "ecomlib_webhook_answers_total"
        assert value(metrics, name, kind="accepted", status="202") == 1
        assert value(metrics, name, kind="replayed", status="202") == 1
        assert value(metrics, name, kind="refused", status="401") == 2

    def test_belongs_to_one_app(self, bus: EventBus) -> None:
        one, other = Numbers().metrics(bus), Numbers().metrics(bus)
        one.answered("accepted", 202)
        assert value(other, "ecomlib_webhook_answers_total", kind="accepted", status="202") is None

    @pytest.mark.parametrize(
        ("accept", "kind"),
        [
            ("", "text/plain"),
            ("text/plain", "text/plain"),
            ("*/*", "text/plain"),
            ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.1", "application/openmetrics-text"),
            ("Application/OpenMetrics-Text; version=never", "application/openmetrics-text"),
        ],
    )
    def test_comes_in_the_format_that_was_asked_for(self, metrics: Metrics, accept: str, kind: str) -> None:
        metrics.answered("accepted", 202)
        body, content_type = metrics.text(accept)
        parse = parse_text if kind == "text/plain" else parse_openmetrics
        names = {family.name for family in parse(body.decode())}
        assert content_type.split(";")[0] == kind
        assert "ecomlib_webhook_answers" in names
        assert body.endswith(b"# EOF\n") is (kind != "text/plain")

    def test_keeps_to_prometheus_names(self, bus: EventBus, metrics: Metrics) -> None:
        """Base units, `_total` at the end of what only grows, and of nothing else."""
        bus.subscribe("#", handler=lambda event: None, name="any")
        metrics.answered("accepted", 202)
        ask(web(metrics), ("GET", "/orders/1"))
        found = families(metrics)
        assert len(found) > 8
        for family, sample in all_samples(found):
            assert sample.startswith("ecomlib_")
            assert sample.endswith("_total") is (found[family].type == "counter"), sample
            assert found[family].type != "histogram" or family.endswith("_seconds")
        assert all(family.documentation.endswith(".") for name, family in found.items() if "_created" not in name)


def all_samples(found: dict[str, Metric]) -> Iterator[tuple[str, str]]:
    for name, family in found.items():
        for sample in family.samples:
            if not sample.name.endswith("_created"):  # the client library's own: when a number began
                yield name, sample.name
