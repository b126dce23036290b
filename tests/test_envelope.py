"""The two ways in which an event's JSON is read make the same of it, and what ecomlib writes goes the quick one."""

from __future__ import annotations

import json
from datetime import UTC
from decimal import Decimal
from typing import Any, get_type_hints

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ecomlib.catalogue import CATALOGUE, Data, Id, Money, UnsaidMoney
from ecomlib.envelope import NO_EXTENSIONS, as_allowed, as_written
from ecomlib.errors import BadEvent
from ecomlib.events import Event
from tests.test_events import extensions, json_objects, json_values, texts, times

quickly = as_written(Event)
KINDS = [(type, n + 1) for type, models in CATALOGUE.items() for n in range(len(models))]


def told(event: Event) -> dict[str, Any]:
    """All that anybody could tell of it; for two events are equal even where some of this is not."""
    said = {name: getattr(event, name) for name in Event.__slots__}
    return said | {
        "json": event.to_json(),
        "repr": repr(event),
        "hash": hash(event),
        "is": (type(event), type(event.data), type(event.extensions), event.time.tzinfo),
        "given": event.data.model_fields_set,
        "kinds": [(name, repr(value), type(value)) for name, value in event.data],
    }


def outcome(read: Any, text: str) -> dict[str, Any] | str:
    try:
        return told(read(text))
    except BadEvent as error:
        return str(error)


def slowly(text: str) -> Event:
    return Event(**as_allowed(text))


def written(pairs: list[tuple[str, Any]]) -> str:
    """A JSON object that may have a key twice."""
    return "{" + ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in pairs) + "}"


# Values as they should be, nearly so, and not at all; a key may come twice, or be missing.
amounts = st.sampled_from(
    ["50.00", "0.00", "-0.00", "007.00", "50.0", "50", "1000000000.00", "٥٠.٠٠", " 5.00", "5.00\n"]
)
ids = st.sampled_from(["7", "", " ", "\x1c", "ключ", "a b", "x" * 100, "x" * 101, "😀" * 100, "\x7f"]) | texts
values = amounts | ids | json_values
instants = st.sampled_from(
    [
        "2026-01-05T09:00:00Z",
        "2026-01-05T09:00:00.123456Z",
        "2026-01-05T09:00:00.123Z",
        "2026-01-05T09:00:00.1234567Z",
        "2026-01-05T09:00:00+00:00",
        "2026-01-05T10:00:00+01:00",
        "2026-01-05t09:00:00z",
        "2026-01-05 09:00:00Z",
        "2026-02-30T09:00:00Z",
        "2026-01-05T24:00:00Z",
        "2026-01-05T23:59:60Z",
        "0000-01-05T09:00:00Z",
        "２026-01-05T09:00:00Z",
        "2026-01-05T09:00:00Z\n",
        "2026-01-05",
        "1767603600",
    ]
)
KNOWN = {
    "specversion": st.sampled_from(["1.0", "0.3", 1.0]),
    "id": ids,
    "source": ids,
    "type": st.sampled_from([*CATALOGUE, "coffee.spilled", "", None]),
    "subject": ids | st.none(),
    "time": instants,
    "correlationid": ids | st.none(),
    "causationid": ids | st.none(),
    "partitionkey": ids | st.none(),
    "dataversion": st.sampled_from([0, 1, 2, 3, 2**31 - 1, 2**31, -1, True, 1.0, "1", None]),
    "datacontenttype": st.sampled_from(
        ["application/json", "Application/JSON", "application/json; charset=utf-8", None]
    ),
    "data": json_objects | json_values,
    "extensions": json_values,
    "data_base64": st.just("AA=="),
    "traceparent": texts,
    "x1": st.sampled_from([1, True, 2**31, -(2**31), -(2**31) - 1, 1.0, "", "\n", "\x7f", "ключ", None]) | json_values,
    "X": texts,
    "": texts,
    "a b": texts,
    "ключ": texts,
}
fields = sorted({name for models in CATALOGUE.values() for model in models for name in model.model_fields})
data = st.lists(st.tuples(st.sampled_from([*fields, "gift"]), values), max_size=6)
others = st.lists(
    st.sampled_from(sorted(KNOWN)).flatmap(lambda name: st.tuples(st.just(name), KNOWN[name])), max_size=2
)


@st.composite
def lines(draw: st.DrawFn) -> str:
    """An event's JSON that is right but for a thing or two."""
    type, version = draw(st.sampled_from(KINDS))
    event = whole(type, version)
    said = list(json.loads(event.to_json()).items())
    inner = [*said.pop()[1].items(), *draw(data)]
    shuffled = draw(st.permutations([*said, *draw(others)])) if draw(st.booleans()) else [*said, *draw(others)]
    return written(shuffled)[:-1] + ',"data":' + written(inner) + "}"


GOOD: dict[Any, Any] = {
    Id: "7",
    Id | None: "8",
    Money: Decimal("49.90"),
    UnsaidMoney: Decimal("0.00"),
    str: "ключ\n",
    str | None: "why",
    int: 3,
    Data: {"order_id": "7", "items": [1, {"of": "them"}]},
}


def whole(type: str, version: int, **more: Any) -> Event:
    """An event that says everything that its type may say."""
    hints = get_type_hints(CATALOGUE[type][version - 1], include_extras=True)
    said = {name: GOOD[hints[name]] for name in CATALOGUE[type][version - 1].model_fields}
    given = {"subject": "7", "correlationid": "c", "causationid": "b", "partitionkey": "k"}
    return Event(type, said, dataversion=version, **(given | more))


LINE = (
    '{"specversion":"1.0","id":"1","source":"/x","type":"inventory.deducted","subject":"1","time":"2026-01-05T09:00:00Z",'
    '"dataversion":1,"datacontenttype":"application/json",%s"data":{"order_id":"7","quantity":%s}}'
)


@settings(max_examples=200)
@given(lines())
@example(LINE % ("", "1"))
@example(LINE % ("", "true"))
@example(LINE % ("", '"1"'))
@example(LINE % ("", '1,"quantity":2'))
@example(LINE % ("", '1,"gift":[1]'))
@example(LINE % ("", '1,"gift":1e999'))
@example(LINE % ("", '1,"gift":null'))
@example(LINE % ("", '1,"gift":true'))
@example(LINE % ("", '1,"gift":-0'))
@example(LINE % ("", '1,"gift":1.0'))
@example(LINE % ("", f'1,"gift":{2**63 - 1}'))
@example(LINE % ("", f'1,"gift":{2**63}'))
@example(LINE % ("", f'1,"gift":{-(2**63)}'))
@example(LINE % ('"dataversion":true,', "1"))
@example(LINE % ('"extensions":null,', "1"))
@example(LINE % ('"extensions":{},', "1"))
@example(LINE % ('"extensions":"1","b":2,"a":true,"b":3,"c":null,"d":1,"d":null,', "1"))
@example(LINE % ('"a":NaN,', "1"))
@example(LINE % ('"a":1e999,', "1"))
@example(LINE % ('"a":2147483648,', "1"))
@example(LINE % ('"a":%s,' % ("9" * 5000), "1"))
@example(LINE % ('"a":"\\ud800",', "1"))
@example(LINE % ('"a\\u0000":1,', "1"))
@example(LINE % ('"data_base64":null,', "1"))
@example(LINE % ('"data_base64":1,', "1"))
@example(LINE % ('"id":"2","type":"order.shipped",', "1"))
def test_both_ways_make_the_same_of_it_or_refuse_it_with_the_same_words(line: str) -> None:
    assert outcome(Event.from_json, line) == outcome(slowly, line)
    try:
        quick = quickly(line)
    except ValidationError:
        return
    assert told(quick) == outcome(slowly, line)


@pytest.mark.parametrize(("type", "version"), KINDS)
@given(times, st.none() | st.just("c"), st.booleans())
def test_what_ecomlib_writes_of_its_own_types_is_read_the_quick_way(
    type: str, version: int, time: Any, cause: str | None, spare: bool
) -> None:
    event = whole(type, version, time=time, correlationid=cause, causationid=cause, partitionkey=cause)
    if spare:
        needed = {name for name, field in CATALOGUE[type][version - 1].model_fields.items() if field.is_required()}
        event = Event(type, {name: event.data[name] for name in needed}, subject="7", time=time, dataversion=version)
    quick = quickly(event.to_json())
    assert told(quick) == told(event) == told(slowly(event.to_json()))
    assert quick.time.tzinfo is UTC
    assert quick.extensions is NO_EXTENSIONS


@given(extensions)
@example({"requesthash": "0" * 64, "idempotencykey": "7", "signed": "1.0"})
@example({"extensions": "1"})
def test_extensions_are_read_the_quick_way_and_in_their_order(more: dict[str, Any]) -> None:
    event = whole("order.created", 1, extensions=more)
    quick = quickly(event.to_json())
    assert told(quick) == told(event) == told(slowly(event.to_json()))
    assert list(quick.extensions.items()) == list(more.items())
    assert (quick.extensions is NO_EXTENSIONS) == (not more)


@pytest.mark.parametrize("gift", ["a rose", None, True, -7, 2**63 - 1])
def test_a_field_that_no_model_names_is_read_the_quick_way(gift: Any) -> None:
    event = Event("order.shipped", {"order_id": "7", "gift": gift}, subject="7")
    assert told(quickly(event.to_json())) == told(event)


def test_what_both_ways_make_cant_be_changed() -> None:
    event = quickly(whole("saga.started", 1, extensions={"x": 1}).to_json())
    with pytest.raises(ValueError, match="frozen"):
        event.data.request.order_id = "8"
    with pytest.raises(ValueError, match="frozen"):
        event.data.saga = "another"
    with pytest.raises(AttributeError):
        event.id = "another"  # type: ignore[misc]
    with pytest.raises(TypeError):
        event.extensions["x"] = 2  # type: ignore[index]
