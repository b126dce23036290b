"""The AsyncAPI document: valid by the standard's validator, and true of the events that the library writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft7Validator  # type: ignore[import-untyped]
from pydantic import ValidationError
from starlette.datastructures import Headers

from ecomlib import traffic
from ecomlib.catalogue import CATALOGUE, newest_version
from ecomlib.clock import SimulatedClock
from ecomlib.errors import BadEvent
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.ids import seeded_ids
from ecomlib.shop import Shop, open_checkout
from ecomlib.web import asyncapi
from ecomlib.web.problems import Problem
from ecomlib.web.reports import OURS, TYPES, read_report

DOCUMENT = asyncapi.document("https://shop.example:8443/api")


def validate(document: dict[str, Any]) -> None:
    from asyncapi3 import AsyncAPI3  # type: ignore[import-untyped]  # it warns about itself while it is imported

    AsyncAPI3.model_validate(document)


def at(ref: str) -> Any:
    """What a reference within the document leads to."""
    place: Any = DOCUMENT
    for part in ref.removeprefix("#/").split("/"):
        place = place[part]
    return place


def refs(place: Any) -> Iterator[str]:
    if isinstance(place, dict):
        if isinstance(place.get("$ref"), str):
            yield place["$ref"]
        for value in place.values():
            yield from refs(value)
    elif isinstance(place, list):
        for value in place:
            yield from refs(value)


def messages(channel: str) -> dict[str, dict[str, Any]]:
    said = DOCUMENT["channels"][channel]["messages"]
    return {key: at(message["$ref"]) if "$ref" in message else message for key, message in said.items()}


ALL = [(channel, key) for channel in DOCUMENT["channels"] for key in messages(channel)]


@cache
def checker(channel: str, key: str) -> Any:
    """Checks what a message carries by its payload schema (JSON Schema draft 7, as AsyncAPI has it), formats too."""
    schema = {"allOf": [messages(channel)[key]["payload"]], "components": DOCUMENT["components"]}
    return Draft7Validator(schema, format_checker=Draft7Validator.FORMAT_CHECKER)


def wrong(event: Event, channel: str = "events") -> list[str]:
    """What the schema of the event's type has against it."""
    key = event.type.replace(".", "_") if event.type in CATALOGUE else "any_other"
    return [error.message for error in checker(channel, key).iter_errors(json.loads(event.to_json()))]


def sample(channel: str, key: str) -> dict[str, Any]:
    (example,) = messages(channel)[key]["examples"]
    payload: dict[str, Any] = json.loads(json.dumps(example["payload"]))
    return payload


@pytest.mark.filterwarnings("ignore:Field name:UserWarning")
class TestTheDocument:
    def test_is_valid(self) -> None:
        validate(DOCUMENT)
        validate(asyncapi.document())

    @pytest.mark.parametrize("part", ["info", "asyncapi"])
    def test_is_not_valid_without_what_it_needs(self, part: str) -> None:
        broken = json.loads(json.dumps(DOCUMENT))
        broken[part] = {"asyncapi": "2.6.0", "info": {}}[part]
        with pytest.raises(ValidationError):
            validate(broken)

    def test_is_the_same_at_every_call_and_nobody_can_change_the_next_one(self) -> None:
        text = json.dumps(asyncapi.document())
        asyncapi.document()["components"]["schemas"]["CloudEvent"]["properties"].clear()
        assert json.dumps(asyncapi.document()) == text

    def test_has_no_reference_that_leads_nowhere(self) -> None:
        found = set(refs(DOCUMENT))
        assert len(found) > len(CATALOGUE)
        for ref in found:
            assert at(ref)

    def test_has_schemas_that_are_schemas(self) -> None:
        for schema in DOCUMENT["components"]["schemas"].values():
            Draft7Validator.check_schema(schema)

    def test_says_where_the_server_is(self) -> None:
        assert DOCUMENT["servers"] == {"shop": {"host": "shop.example:8443", "protocol": "https", "pathname": "/api"}}
        assert asyncapi.document("http://127.0.0.1:8000/")["servers"] == {
            "shop": {"host": "127.0.0.1:8000", "protocol": "http"}
        }
        assert "servers" not in asyncapi.document()

    def test_says_who_sends_and_who_receives(self) -> None:
        said = {
            DOCUMENT["channels"][op["channel"]["$ref"].split("/")[-1]]["address"]: op["action"]
            for op in DOCUMENT["operations"].values()
        }
        assert said == {"/events": "send", "/webhook/order": "receive"}


class TestTheMessages:
    def test_are_all_types_of_the_catalogue_and_one_for_any_other(self) -> None:
        assert [message["name"] for message in messages("events").values()] == [*CATALOGUE, "any.other"]

    def test_of_the_webhook_are_what_it_takes(self) -> None:
        assert [message["name"] for message in messages("webhook").values()] == list(TYPES)

    def test_each_have_words_of_their_own(self) -> None:
        told = list(messages("events").values())
        for part in ("title", "summary"):
            assert len({message[part] for message in told}) == len(told)
        assert set(asyncapi.WORDS) == {*CATALOGUE, "any.other"}
        assert set(asyncapi.REASONS) <= set(CATALOGUE)

    @pytest.mark.parametrize(("channel", "key"), ALL)
    def test_have_an_example_that_is_true(self, channel: str, key: str) -> None:
        payload = sample(channel, key)
        assert not list(checker(channel, key).iter_errors(payload))
        event = Event.from_json(json.dumps(payload))
        assert json.loads(event.to_json()) == payload
        assert event.dataversion == newest_version(event.type)

    @pytest.mark.parametrize(("channel", "key"), ALL)
    def test_exclude_one_another(self, channel: str, key: str) -> None:
        payload = sample(channel, key)
        assert [other for other in messages(channel) if checker(channel, other).is_valid(payload)] == [key]

    def test_of_the_webhook_have_examples_that_it_takes(self) -> None:
        new_event = EventFactory("/webhook", SimulatedClock(), seeded_ids(0))
        headers = Headers({"content-type": messages("webhook")["reported_order_paid"]["contentType"]})
        for key, message in messages("webhook").items():
            payload = sample("webhook", key)
            event = read_report(headers, json.dumps(payload).encode(), new_event).event
            assert (event.type, event.data.to_dict()) == (message["name"], payload["data"])
            assert wrong(event) == []  # and so it goes on into the stream

    @pytest.mark.parametrize(
        "change", [{"source": "/shop"}, {"source": "/webhook"}, *({name: "x"} for name in sorted(OURS))]
    )
    def test_of_the_webhook_speak_for_nobody_else(self, change: dict[str, str]) -> None:
        payload = {**sample("webhook", "reported_order_paid"), **change}
        assert not checker("webhook", "reported_order_paid").is_valid(payload)
        new_event = EventFactory("/webhook", SimulatedClock(), seeded_ids(0))
        with pytest.raises(Problem):
            read_report(Headers({"content-type": asyncapi.CONTENT_TYPE}), json.dumps(payload).encode(), new_event)


class TestASchema:
    @pytest.mark.parametrize(
        "change",
        [
            {"specversion": "0.3"},
            {"type": "order.created"},
            {"id": ""},
            {"id": 7},
            {"source": "no such\nthing"},
            {"time": "yesterday"},
            {"dataversion": 0},
            {"dataversion": "2"},
            {"data": None},
            {"data": {"order_id": "1"}},
            {"data": {"amount": "50.00"}},
            {"data": {"order_id": "1", "amount": 50.0}},
            {"data": {"order_id": "1", "amount": "50"}},
            {"data": {"order_id": "1", "amount": "50.001"}},
            {"data": {"order_id": "1", "amount": "1000000000.00"}},
            {"data": {"order_id": "1", "amount": None}},
            {"data": {"order_id": 1, "amount": "50.00"}},
            {"data": {"order_id": " ", "amount": "50.00"}},
            {"data": {"order_id": "1" * 101, "amount": "50.00"}},
            {"data_base64": "e30="},
            {"Upper": "case"},
            {"extension": {"of": "many parts"}},
            {"extension": 1.5},
            {"extension": 2**31},
        ],
    )
    def test_refuses_what_is_no_such_event(self, change: dict[str, Any]) -> None:
        paid = checker("events", "order_paid")
        assert paid.is_valid(sample("events", "order_paid"))
        assert not paid.is_valid({**sample("events", "order_paid"), **change})

    @pytest.mark.parametrize("name", ["id", "source", "specversion", "type", "data"])
    def test_refuses_an_event_without_what_every_event_has(self, name: str) -> None:
        payload = sample("events", "order_paid")
        del payload[name]
        assert not checker("events", "order_paid").is_valid(payload)

    def test_knows_the_versions_of_the_data(self) -> None:
        """The first `order.paid` said only which order. A log may hold such ones, and the webhook makes them."""
        assert wrong(Event("order.paid", {"order_id": 1}, dataversion=1)) == []
        payload = json.loads(Event("order.paid", {"order_id": 1}, dataversion=1).to_json())
        paid = checker("events", "order_paid")
        assert not paid.is_valid({**payload, "dataversion": 2})
        del payload["dataversion"]  # as a sender who knows nothing of versions writes it
        assert paid.is_valid(payload)
        assert paid.is_valid({**payload, "data": {"order_id": "1", "amount": "50.00"}})

    def test_lets_extensions_through(self) -> None:
        event = Event("order.paid", {"order_id": 1, "amount": 5}, extensions={"a": "", "b": True, "c": -(2**31)})
        assert wrong(event) == []

    @given(st.integers(0, 1000), st.integers(1, 12), st.booleans())
    def test_fits_all_that_happens_on_a_simulated_day(self, seed: int, orders: int, refuse: bool) -> None:
        shop = Shop(seed=seed)
        if refuse:
            shop.faults.fail("email")
        simulated = traffic.simulate(orders, seed, start=date(2026, 1, 5), days=1)
        traffic.run(shop.orders, shop.clock, simulated, settle=shop.run)
        events = shop.bus.history
        assert len(events) >= orders
        assert [(event, found) for event in events if (found := wrong(event))] == []

    def test_fits_the_story(self) -> None:
        shop = Shop()
        shop.story()
        shop.bus.publish(Event("coffee.spilled", {"table": 4}))
        assert len(shop.bus.history) == 7
        assert [found for event in shop.bus.history if (found := wrong(event))] == []

    def test_fits_what_a_checkout_and_its_saga_write(self, tmp_path: Path) -> None:
        with open_checkout(tmp_path, clock=SimulatedClock(), seed=0, accounts={"100": "60.00"}) as checkout:
            for number in (1, 2):  # the second is refused, for the account is empty by then
                checkout.buy(number, user_id=100, amount=50)
            events = [record.event for topic in checkout.log.topics() for record in checkout.log.read(topic)]
        assert {"saga.completed", "saga.compensated", "step.failed", "compensation.done"} <= {e.type for e in events}
        assert [(event, found) for event in events if (found := wrong(event))] == []

    @given(st.data())
    def test_fits_whatever_the_library_can_write(self, data: st.DataObject) -> None:
        """Any event that can be made at all, with values that are as odd as they may be, is as the document says."""
        assert wrong(made(data)) == []

    @given(st.data())
    def test_lets_nothing_through_that_the_library_can_not_read(self, data: st.DataObject) -> None:
        type, version = data.draw(kinds)
        payload = json.loads(asyncapi.example(type).to_json())
        payload |= {"dataversion": version, "data": data.draw(contents(type, version))}
        if checker("events", type.replace(".", "_")).is_valid(payload):
            Event.from_json(json.dumps(payload))


kinds = st.sampled_from([(type, n + 1) for type, models in CATALOGUE.items() for n in range(len(models))])
odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(-1e15, 1e15),  # to JSON Schema 1e19 is an integer, and to many a reader it is not
    st.text(),
    st.sampled_from(
        ["", " ", "1", "50.00", "50", "-1.00", "1e3", "0.001", "999999999.99", "1000000000.00", "x" * 100, "x" * 101]
    ),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def contents(type: str, version: int) -> st.SearchStrategy[dict[str, Any]]:
    """Data for that model: its own fields with values that may do or not, and perhaps others."""
    fields = CATALOGUE[type][version - 1].model_fields
    usual = {name: st.just(asyncapi.FIELDS.get(name, "why")) | odd for name in fields}
    required = {name: value for name, value in usual.items() if fields[name].is_required()}
    optional = {name: value for name, value in usual.items() if name not in required}
    return st.fixed_dictionaries(required, optional={**optional, "further": odd})


def made(data: st.DataObject) -> Event:
    type, version = data.draw(kinds)
    try:
        return Event(
            type, data.draw(contents(type, version)), dataversion=version, subject=data.draw(st.none() | st.text())
        )
    except BadEvent:
        assume(False)
        raise
