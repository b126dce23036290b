"""Events: what they refuse, what they say on the wire, and that they never change."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ecomlib.catalogue import CATALOGUE, MAX_DEPTH, Data
from ecomlib.clock import SimulatedClock
from ecomlib.errors import BadEvent
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.ids import new_id, seeded_ids

texts = st.text(st.characters(codec="utf-8"), max_size=20)
# Names that a model, a class or CloudEvents uses itself: nobody's data may stumble over them.
awkward = st.sampled_from(
    [
        "model_config",
        "model_fields_set",
        "__pydantic_extra__",
        "__class__",
        "__dict__",
        "self",
        "to_dict",
        "data",
        "id",
        "type",
        "order_id",
        "user_id",
        "offset",
        "checksum",
        "_private",
        "",
        "ключ",
        "a.b",
        "\n",
        "\u2028",
    ]
)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(awkward | texts, inner, max_size=4),
    max_leaves=6,
)
json_objects = st.dictionaries(awkward | texts, json_values, max_size=6)
printable = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12)
kyiv = timezone(timedelta(hours=2))
times = st.datetimes(
    min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.sampled_from([UTC, kyiv])
)
extensions = st.dictionaries(
    st.from_regex(r"x[a-z0-9]{0,10}", fullmatch=True), printable | st.integers(-(2**31), 2**31 - 1) | st.booleans()
)
events = st.builds(
    Event,
    st.sampled_from(["coffee.spilled", "a", "order", "kaffee.verschüttet"]),
    json_objects,
    id=printable,
    source=printable,
    subject=st.none() | printable,
    time=times,
    correlationid=st.none() | printable,
    causationid=st.none() | printable,
    partitionkey=st.none() | printable,
    dataversion=st.integers(1, 5),
    extensions=extensions,
)
amounts = st.decimals(min_value=0, max_value=Decimal("999999999.99"), places=2)


# --- the wire ---------------------------------------------------------------------------------------------


@given(events)
def test_any_json_object_comes_back_from_the_wire_as_it_was(event: Event) -> None:
    again = Event.from_json(event.to_json())
    assert again == event
    assert again.data.to_dict() == event.data.to_dict()
    assert Event.from_json(event.to_json().encode()) == again
    assert again.to_json() == event.to_json()


@given(json_objects)
def test_data_says_what_it_was_made_from(said: dict[str, Any]) -> None:
    assert Event("coffee.spilled", said).data.to_dict() == said


@given(events)
def test_the_wire_form_is_a_cloudevent_on_one_line(event: Event) -> None:
    line = event.to_json()
    assert "\n" not in line
    assert "\r" not in line
    said = json.loads(line)
    assert said["specversion"] == "1.0"
    assert isinstance(said["data"], dict)
    assert said["datacontenttype"] == "application/json"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", said["time"])
    for required in ("id", "source", "type"):
        assert isinstance(said[required], str)
        assert said[required]
    for name, value in said.items():
        assert re.fullmatch("[a-z0-9]+", name), "CloudEvents names attributes in lower-case letters and digits"
        if name != "data":
            assert isinstance(value, str | bool | int)
            assert isinstance(value, str) or -(2**31) <= value < 2**31
    assert list(event.extensions.items()) == [(name, said[name]) for name in event.extensions]


def test_an_event_from_another_writer_is_read_as_cloudevents_allows_it() -> None:
    foreign = {
        "specversion": "1.0",
        "type": "com.example.someevent",
        "source": "urn:example",
        "id": "A234-1234-1234",
        "time": "2018-04-05t17:31:00+02:00",
        "subject": None,
        "datacontenttype": "Application/JSON; charset=utf-8",
        "dataschema": "https://example.com/schema",
        "traceparent": "00-1",
        "data": None,
    }
    event = Event.from_json(json.dumps(foreign, indent=2))
    assert event.time == datetime(2018, 4, 5, 15, 31, tzinfo=UTC)
    assert event.data.to_dict() == {}
    assert event.subject is None
    assert event.extensions == {"dataschema": "https://example.com/schema", "traceparent": "00-1"}


WHOLE = '{"specversion":"1.0","id":"1","source":"/x","type":"coffee.spilled"'


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        ("\ud800", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "specversion is not '1.0'"),
        ('{"specversion":"0.3","id":"1","source":"/x","type":"a"}', "specversion is not '1.0'"),
        ('{"specversion":"1.0","type":"a"}', "id and source missing"),
        ('{"specversion":"1.0","id":null,"source":"/x","type":"a"}', "id missing"),
        ('{"specversion":"1.0","id":"","source":"/x","type":"a"}', "id must be printable text"),
        ('{"specversion":"1.0","id":"1","source":7,"type":"a"}', "source must be printable text"),
        ('{"specversion":"1.0","id":"1","source":"/x","type":"order.*"}', "is no event type"),
        ('{"specversion":"1.0","id":"1","source":"/x","type":["a"]}', "is no event type"),
        (WHOLE + ',"data":[1]}', "must be a JSON object"),
        (WHOLE + ',"data":0}', "must be a JSON object"),
        (WHOLE + ',"data":""}', "must be a JSON object"),
        (WHOLE + ',"data":false}', "must be a JSON object"),
        (WHOLE + ',"data_base64":"AA=="}', "carries no JSON object"),
        (WHOLE + ',"datacontenttype":"text/plain","data":"hello"}', "carries no JSON object (text/plain)"),
        (WHOLE + ',"time":"yesterday"}', "is no time"),
        (WHOLE + ',"time":5}', "is no time"),
        (WHOLE + ',"time":"2026-01-05T09:00:00"}', "with a time zone"),
        (WHOLE + ',"time":"0001-01-01T00:00:00+14:00"}', "outside the calendar"),
        (WHOLE + ',"dataversion":"two"}', "dataversion is a whole number"),
        (WHOLE + ',"dataversion":true}', "dataversion is a whole number"),
        (WHOLE + ',"dataversion":-1}', "dataversion is a whole number"),
        (WHOLE + ',"note":1.5}', "'note' is no CloudEvents extension"),
        (WHOLE + ',"note":{"a":1}}', "'note' is no CloudEvents extension"),
        (WHOLE + ',"Note":"x"}', "'Note' is no CloudEvents extension"),
        (WHOLE + ',"data":{"a":1e999}}', "no JSON number"),
        (WHOLE + ',"data":{"a":' + "9" * 400 + "}}", "beyond 1.8e308"),
        (WHOLE + ',"data":' + '{"a":' * 40 + "1" + "}" * 41, "nested more than 32"),
    ],
)
def test_what_is_no_event_is_refused_with_a_sentence(line: str | bytes, says: str) -> None:
    with pytest.raises(BadEvent) as refused:
        Event.from_json(line)
    assert says in str(refused.value)
    assert len(str(refused.value)) < 300


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_no_bytes_and_no_text_raise_anything_but_a_bad_event(noise: bytes | str) -> None:
    with pytest.raises(BadEvent):
        Event.from_json(noise)


attribute_names = st.sampled_from(["id", "source", "type", "subject", "time", "data", "dataversion", "datacontenttype"])


@given(
    st.sampled_from(sorted(CATALOGUE)) | st.just("coffee.spilled"),
    st.dictionaries(attribute_names | texts, json_values),
    st.dictionaries(st.sampled_from(["order_id", "user_id", "amount", "saga_id", "quantity"]), json_values),
)
@example("order.paid", {"dataversion": 10**30}, {})
@example("order.paid", {"dataversion": 1}, {"order_id": "\n"})
def test_no_json_raises_anything_but_a_bad_event(type: str, said: dict[str, Any], data: dict[str, Any]) -> None:
    line = json.dumps({"specversion": "1.0", "id": "1", "source": "/x", "type": type, "data": data, **said})
    try:
        event = Event.from_json(line)
    except BadEvent:
        return
    assert Event.from_json(event.to_json()).data == event.data  # what was taken can be passed on


# --- versions ---------------------------------------------------------------------------------------------


def test_the_old_version_of_order_paid_which_had_no_amount_is_still_read() -> None:
    old = '{"specversion":"1.0","id":"1","source":"/shop","type":"order.paid","dataversion":1,"data":{"order_id":7}}'
    event = Event.from_json(old)
    assert (event.data.order_id, event.data.amount, event.dataversion) == ("7", None, 1)
    assert event.data.to_dict() == {"order_id": "7"}
    assert Event.from_json(event.to_json()) == event  # and stays what it is


def test_an_event_without_a_version_has_the_first_one() -> None:
    line = '{"specversion":"1.0","id":"1","source":"/shop","type":"order.paid","data":{"order_id":7}}'
    assert Event.from_json(line).dataversion == 1


def test_a_new_event_has_the_newest_version_which_asks_for_an_amount() -> None:
    assert Event("order.paid", {"order_id": 1, "amount": 5}).dataversion == 2
    with pytest.raises(BadEvent, match=r"order\.paid: amount is missing"):
        Event("order.paid", {"order_id": 1})


@given(st.integers(3, 2**31 - 1), json_objects)
def test_a_newer_version_than_any_known_is_read_and_loses_nothing(version: int, more: dict[str, Any]) -> None:
    data = {**more, "order_id": "7", "amount": "5.00", "user_id": "100"}
    newer = Event("order.paid", data, dataversion=version)
    again = Event.from_json(newer.to_json())
    assert again.data.amount == 5
    assert again.dataversion == version
    assert again.data.to_dict() == data


# --- immutable --------------------------------------------------------------------------------------------


def test_nothing_in_an_event_can_be_changed_however_deep() -> None:
    cup: dict[str, Any] = {"size": "large", "sugar": [1, {"brown": True}]}
    event = Event("coffee.spilled", {"cup": cup}, extensions={"room": "12"})
    before = event.to_json()
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.type = "tea.spilled"  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        event.data.cup = None
    with pytest.raises(ValueError, match="frozen"):
        event.data.cup.size = "small"
    with pytest.raises(TypeError):
        event.data["cup"] = None
    with pytest.raises(TypeError):
        event.data.cup["sugar"][1]["brown"] = False
    with pytest.raises(TypeError):
        event.data.cup.sugar[0] = 2
    with pytest.raises(TypeError):
        event.extensions["room"] = "13"  # type: ignore[index]
    cup["sugar"].append(2)  # what it was made from is not what it holds
    event.data.to_dict()["cup"]["size"] = "small"
    assert event.to_json() == before


def test_data_is_read_by_name_and_by_key() -> None:
    data = Event("order.created", {"order_id": 1, "amount": 50, "gift": {"card": "happy birthday"}}).data
    assert data.amount == data["amount"] == Decimal("50.00")
    assert data.gift.card == data["gift"]["card"] == "happy birthday"
    with pytest.raises(KeyError):
        data["nothing"]
    with pytest.raises(AttributeError):
        data.nothing  # noqa: B018


def test_events_are_equal_when_all_they_say_is_and_fit_into_a_set() -> None:
    event = Event("coffee.spilled", {"cup": 1})
    assert event == Event.from_json(event.to_json())
    assert len({event, Event.from_json(event.to_json())}) == 1
    assert event != dataclasses.replace(event, data={"cup": 2})


# --- money and ids ----------------------------------------------------------------------------------------


@given(amounts)
def test_an_amount_is_exact_to_the_cent_however_it_is_written(amount: Decimal) -> None:
    for written in (amount, str(amount), f" {amount} "):
        event = Event("order.created", {"order_id": 1, "amount": written})
        assert event.data.amount == amount
        assert isinstance(event.data.amount, Decimal)
        assert event.data.to_dict()["amount"] == f"{abs(amount):.2f}"
        assert Event.from_json(event.to_json()) == event


@pytest.mark.parametrize("written", [50, 50.0, "50", "5e1", Decimal("50.0")])
def test_fifty_is_fifty(written: object) -> None:
    assert Event("order.created", {"order_id": 1, "amount": written}).data.to_dict()["amount"] == "50.00"


def test_a_float_is_taken_for_what_it_shows() -> None:
    assert Event("order.created", {"order_id": 1, "amount": 49.9}).data.amount == Decimal("49.90")
    assert str(Event("order.created", {"order_id": 1, "amount": -0.0}).data.amount) == "0.00"


@pytest.mark.parametrize(
    ("amount", "says"),
    [
        (-1, "is negative"),
        ("-0.01", "is negative"),
        ("0.001", "more than two decimal places"),
        (0.1 + 0.2, "more than two decimal places"),
        (10**9, "not below a thousand million"),
        ("1e999999", "is no amount"),
        ("1e-999999", "more than two decimal places"),
        (float("nan"), "is no amount"),
        (float("inf"), "is no amount"),
        ("sNaN", "is no amount"),
        ("fifty", "is no amount"),
        ("", "is no amount"),
        (True, "is no amount"),
        (None, "is no amount"),
        ([50], "is no amount"),
    ],
)
def test_an_amount_that_is_none_is_refused_with_a_sentence(amount: object, says: str) -> None:
    with pytest.raises(BadEvent, match=rf"order\.created: amount: .*{says}"):
        Event("order.created", {"order_id": 1, "amount": amount})


@given(st.integers())
def test_an_order_id_is_text_and_a_whole_number_is_taken_as_one(number: int) -> None:
    event = Event("order.shipped", {"order_id": number})
    assert event.data.order_id == str(number) == event.subject


@pytest.mark.parametrize("order_id", ["", "  ", "x" * 101, True, 1.5, None, ["1"], "\ud800"])
def test_what_is_no_id_is_refused_with_a_sentence(order_id: object) -> None:
    with pytest.raises(BadEvent, match=r"order\.shipped: order_id: "):
        Event("order.shipped", {"order_id": order_id})


def test_every_field_that_is_wrong_is_named() -> None:
    with pytest.raises(BadEvent, match=r"order\.created: order_id is missing; amount: .* is negative\."):
        Event("order.created", {"amount": -1})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"a": {1: 2}}, "keys are text"),
        ({"a": {1, 2}}, "is no JSON value"),
        ({"a": object()}, "is no JSON value"),
        ({"a": float("nan")}, "no JSON number"),
        ({"a": 10**400}, "beyond 1.8e308"),
        ({"a": "\ud800"}, "half a character"),
        ({"\ud800": 1}, "."),
        ([1], "must be a JSON object"),
        ("text", "must be a JSON object"),
        (None, "must be a JSON object"),
    ],
)
def test_data_that_json_cant_carry_is_refused_with_a_sentence(data: Any, says: str) -> None:
    with pytest.raises(BadEvent, match=says):
        Event("coffee.spilled", data)


def test_data_that_holds_itself_is_refused() -> None:
    snake: dict[str, Any] = {}
    snake["tail"] = snake
    with pytest.raises(BadEvent, match="nested more than 32"):
        Event("snake.bitten", snake)


@given(st.integers(1, MAX_DEPTH + 5))
def test_data_may_be_nested_32_levels_deep(depth: int) -> None:
    data: dict[str, Any] = {"end": True}
    for _ in range(depth - 1):
        data = {"in": data}
    if depth <= MAX_DEPTH:
        assert Event("doll.opened", data).data.to_dict() == data
    else:
        with pytest.raises(BadEvent):
            Event("doll.opened", data)


# --- what an event is made with ---------------------------------------------------------------------------


def test_an_event_needs_no_more_than_type_and_data() -> None:
    event = Event("order.created", {"order_id": 1, "amount": 50})
    assert (event.source, event.subject, event.key, event.dataversion) == ("/shop", "1", "1", 1)
    assert event.time.tzinfo is UTC
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", event.id)
    assert isinstance(event.data, Data)


def test_its_repr_shows_no_id_and_no_time_so_that_every_run_of_a_lesson_shows_the_same() -> None:
    shown = repr(Event("order.created", {"order_id": 1, "amount": 50}))
    assert shown == "<order.created order_id='1', amount='50.00'>"
    assert repr(Event("coffee.spilled")) == "<coffee.spilled>"


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": None},
        {"id": 5},
        {"source": "a\nb"},
        {"subject": ""},
        {"partitionkey": 3},
        {"time": "now"},
        {"time": datetime(2026, 1, 5)},
        {"time": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))},
        {"dataversion": -1},
        {"dataversion": 1.0},
        {"dataversion": 2**31},
        {"extensions": {"id": "another"}},
        {"extensions": {"data": "another"}},
        {"extensions": {"specversion": "2.0"}},
        {"extensions": {"With Space": "x"}},
        {"extensions": {"": "x"}},
        {"extensions": {1: "x"}},
        {"extensions": {"x": None}},
        {"extensions": {"x": 1.0}},
        {"extensions": {"x": 2**31}},
        {"extensions": {"x": "two\nlines"}},
        {"extensions": {"x": "\ud800"}},
    ],
)
def test_an_attribute_that_cloudevents_forbids_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadEvent, match=r"coffee\.spilled: "):
        Event("coffee.spilled", {}, **wrong)


def test_seeded_ids_are_the_same_in_every_run_and_never_twice_the_same() -> None:
    first, second, other = seeded_ids(1), seeded_ids(1), seeded_ids(2)
    ids = [first() for _ in range(1000)]
    assert ids == [second() for _ in range(1000)]
    assert len({*ids, *(other() for _ in range(1000)), new_id()}) == 2001
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", ids[0])


def test_a_factory_joins_an_answer_to_the_story_of_its_cause(clock: SimulatedClock) -> None:
    make = EventFactory("/orders", clock, seeded_ids(1))
    first = make("order.created", {"order_id": 1, "amount": 5})
    second = make("order.paid", {"order_id": 1, "amount": 5}, cause=first)
    third = make("order.shipped", {"order_id": 1}, cause=second)
    assert (first.correlationid, first.causationid) == (None, None)
    assert (second.correlationid, second.causationid) == (first.id, first.id)
    assert (third.correlationid, third.causationid) == (first.id, second.id)
    assert third.source == "/orders"
    assert third.time == clock.now()


def test_an_invented_event_with_an_empty_id_is_about_nothing() -> None:
    assert Event("coffee.spilled", {"user_id": ""}).subject is None
