"""The original project's events.log is read line by line, and no line is skipped in silence."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomlib.errors import BadInput, EcomlibError
from ecomlib.events import Event
from ecomlib.importing import Imported
from ecomlib.original import BACKWARDS, BAD_LINE, read_original

GOOD = [
    '{"timestamp": "05-12-2025 09:31:17", "event": "user.registered", "data": {"user_id": 7, "username": "зоя"}}',
    '{"timestamp": "05-12-2025 09:31:17", "event": "order.created", "data": {"order_id": 1001, "amount": 49.9}}',
    '{"timestamp": "05-12-2025 09:31:18", "event": "order.paid", "data": {"order_id": 1001}}',
    '{"timestamp": "06-12-2025 00:00:00", "event": "coffee.spilled", "data": {"cups": [1, 2], "hot": true}}',
]
STORY = [
    "<user.registered user_id='7', username='зоя'>",
    "<order.created order_id='1001', amount='49.90'>",
    "<order.paid order_id='1001'>",
    "<coffee.spilled cups=[1, 2], hot=True>",
]


def told(imported: Imported) -> list[str]:
    return [repr(event) for event in imported.events]


def read_bytes(content: bytes) -> Imported:
    """For many examples in one test: each gets a folder of its own."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "events.log")
        file.write_bytes(content)
        return read_original(file)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Imported]:
    def reader(lines: list[str], zone: str = "UTC") -> Imported:
        file = tmp_path / "events.log"
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return read_original(file, zone=zone)

    return reader


def test_each_line_becomes_an_event_in_the_order_of_the_file(read: Callable[..., Imported]) -> None:
    imported = read(GOOD)
    assert told(imported) == STORY
    assert not imported.findings
    assert [event.subject for event in imported.events] == ["7", "1001", "1001", None]


def test_days_come_before_months_and_times_are_local_to_the_zone(read: Callable[..., Imported]) -> None:
    assert read(GOOD).events[0].time == datetime(2025, 12, 5, 9, 31, 17, tzinfo=UTC)
    assert read(GOOD, zone="Europe/Kyiv").events[0].time == datetime(2025, 12, 5, 7, 31, 17, tzinfo=UTC)


def test_its_events_have_the_first_version_of_their_data(read: Callable[..., Imported]) -> None:
    assert {event.dataversion for event in read(GOOD).events} == {1}


def test_read_twice_it_gives_the_same_events_and_after_growing_the_same_first_ones(
    read: Callable[..., Imported],
) -> None:
    first = read(GOOD).events
    assert read(GOOD).events == first
    assert read([*GOOD, GOOD[-1]]).events[: len(first)] == first


def test_the_same_line_twice_is_two_events(read: Callable[..., Imported]) -> None:
    first, second = read([GOOD[1], GOOD[1]]).events
    assert first.id != second.id


def test_a_blank_line_is_nothing_but_counts_as_a_line(read: Callable[..., Imported]) -> None:
    imported = read([GOOD[0], "", "oops", *GOOD[1:]])
    assert told(imported) == STORY
    assert imported.findings.examples[BAD_LINE][0].startswith("line 3 (")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("oops", "it is not JSON"),
        (GOOD[1][:50], "it is not JSON"),
        ("[" * 10_000, "it is not JSON"),
        ("[1]", "it is no JSON object"),
        ("{}", "timestamp and event and data missing"),
        (GOOD[1].replace("05-12-2025", "2025-12-05"), "'2025-12-05 09:31:17' is no time like"),
        (GOOD[1].replace("05-12-2025", "31-02-2025"), "'31-02-2025 09:31:17' is no time like"),
        (GOOD[1].replace('"05-12-2025 09:31:17"', "17"), "17 is no time like"),
        (GOOD[1].replace("49.9", "-49.9"), "is negative"),
        (GOOD[1].replace("49.9", "NaN"), "it is not JSON"),
        (GOOD[1].replace('"order_id": 1001, ', ""), "order_id is missing"),
        (GOOD[1].replace("order.created", ""), "it is empty"),
        (GOOD[1].replace('"order.created"', "7"), "it is not text"),
        (GOOD[1].replace("order.created", "order.*"), "belong in patterns"),
        ('{"timestamp": "05-12-2025 09:31:17", "event": "order.paid", "data": null}', "must be a JSON object"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_with_its_number_and_costs_no_other(
    read: Callable[..., Imported], line: str, why: str
) -> None:
    imported = read([*GOOD[:2], line, *GOOD[2:]])
    assert told(imported) == STORY
    (example,) = imported.findings.examples[BAD_LINE]
    assert example.startswith("line 3 (")
    assert why in example


def test_a_line_from_before_the_one_above_is_kept_and_named(read: Callable[..., Imported]) -> None:
    imported = read([GOOD[3], *GOOD[:3]])
    assert told(imported) == [STORY[3], *STORY[:3]]
    assert str(imported.findings) == f"1 of the {BACKWARDS}: line 2."


def test_an_empty_file_has_no_events_and_says_so(read: Callable[..., Imported]) -> None:
    assert str(read([]).findings) == "events.log holds no events."


@pytest.mark.parametrize("place", ["nowhere/events.log", "."])
def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, place: str) -> None:
    with pytest.raises(BadInput, match=r"is not there|can't be read"):
        read_original(tmp_path / place)


def test_a_zone_that_is_not_one_is_named(read: Callable[..., Imported]) -> None:
    with pytest.raises(BadInput, match="'Middle/Earth' is no time zone"):
        read(GOOD, zone="Middle/Earth")


def test_ten_megabytes_of_noise_are_no_log() -> None:
    with pytest.raises(BadInput, match=r"is no events.log of the original.*line 1 ") as error:
        read_bytes(random.Random(1).randbytes(10_000_000))
    assert len(str(error.value)) < 1000


@given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from(GOOD).map(str.encode)), max_size=6))
def test_any_bytes_at_all_end_in_an_import_or_in_a_sentence(lines: list[bytes]) -> None:
    with suppress(EcomlibError):
        read_bytes(b"\n".join(lines))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(json_values, json_values, json_values, st.integers(0, len(GOOD)))
def test_every_line_is_an_event_or_a_finding(timestamp: object, event: object, data: object, place: int) -> None:
    lines = list(GOOD)
    lines.insert(place, json.dumps({"timestamp": timestamp, "event": event, "data": data}))
    imported = read_bytes("\n".join(lines).encode())
    assert told(imported) == STORY
    assert imported.findings.counts[BAD_LINE] == 1


@given(json_values, st.sampled_from(["order.created", "order.paid", "user.registered", "coffee.spilled"]))
def test_whatever_the_data_says_every_line_is_an_event_or_a_finding(data: object, type: str) -> None:
    line = json.dumps({"timestamp": "05-12-2025 09:31:17", "event": type, "data": data})
    imported = read_bytes("\n".join([*GOOD, line]).encode())
    assert len(imported.events) + imported.findings.counts[BAD_LINE] == len(GOOD) + 1
    for event in imported.events:
        assert Event.from_json(event.to_json()) == event
