"""A log as a data frame: what its columns are, that both engines make the same, and that no damage is passed over."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ecomlib.errors import BadInput, DamagedRecord, NotALog
from ecomlib.events import Event
from ecomlib.lab import log_frame
from ecomlib.lab.log_frame import Engine, events_frame
from ecomlib.lab.plain_columns import PlainColumns
from ecomlib.log import FileLog

NOON = datetime(2026, 1, 5, 12, 0, 0, 250_000, tzinfo=UTC)
ORDERS = (
    Event("order.created", {"order_id": 1, "amount": "49.90", "user_id": 'é\n"},{'}, time=NOON),
    Event("order.paid", {"order_id": 1, "amount": "49.90"}, time=NOON.replace(microsecond=0)),
    Event("order.cancelled", {"order_id": 1, "reason": None}, time=NOON, correlationid="2026-01-05T12:00:00Z"),
    Event("coffee.brewed", subject=None, extensions={"cups": 2}, time=NOON),
)
without_arrow = pytest.mark.skipif(find_spec("pyarrow") is None, reason="pyarrow is an extra")
ENGINES = [pytest.param("python"), pytest.param("pyarrow", marks=without_arrow)]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[FileLog]:
    with FileLog(tmp_path / "log", durability="system") as log:
        yield log


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.param
    return found


def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PlainColumns, "block", 500)
    if find_spec("pyarrow"):
        from ecomlib.lab.arrow_columns import ArrowColumns

        monkeypatch.setattr(ArrowColumns, "block", 500)


def brewed(**data: Any) -> Event:
    return Event("coffee.brewed", data, time=NOON)


def test_a_row_is_an_event_and_a_column_a_field(log: FileLog, engine: Engine) -> None:
    log.append("shop", *ORDERS)
    frame = events_frame(log, engine=engine)
    assert [*frame] == ["offset", "id", "type", "subject", "time", "amount_cents", "order_id", "reason", "user_id"]
    assert frame["offset"].tolist() == [0, 1, 2, 3]
    assert frame["id"].tolist() == [event.id for event in ORDERS]
    assert frame["time"].tolist() == [event.time for event in ORDERS]
    assert frame["subject"].isna().tolist() == [False, False, False, True]
    assert frame["user_id"][0] == 'é\n"},{'
    assert str(frame["time"].dtype) == "datetime64[us, UTC]"


def test_money_is_exact(log: FileLog, engine: Engine) -> None:
    amounts = [Decimal(n) / 100 for n in (0, 1, 10, 29, 57, 99_999_999_999)]
    log.append("shop", *[Event("order.created", {"order_id": n, "amount": a}) for n, a in enumerate(amounts)])
    frame = events_frame(log, engine=engine)
    assert str(frame["amount_cents"].dtype) == "Int64"
    assert frame["amount_cents"].sum() == sum(amounts) * 100
    assert events_frame(log, money=(), engine=engine)["amount"].tolist() == [f"{a:.2f}" for a in amounts]


@pytest.mark.parametrize("amount", ["1.005", "a lot", -1, 0.001, {"cents": 3}, True])
def test_what_is_no_amount_is_said_with_its_place(log: FileLog, engine: Engine, amount: Any) -> None:
    log.append("shop", ORDERS[0], brewed(amount=amount))
    with pytest.raises(BadInput, match="money=\\(\\)"):
        events_frame(log, engine=engine)
    assert len(events_frame(log, money=(), engine=engine)) == 2


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, None, 2**62 + 1], "Int64"),
        ([1, 0.5, -3], "Float64"),
        ([True, None], "boolean"),
        (["2026-01-05", "2026-01-05T12:00:00Z"], pd.Series(["text"]).dtype.name),
        ([None, None], pd.Series(["text"]).dtype.name),
        ([2**53 + 1, 0.5], "object"),
        ([2**64, 1], "object"),
        ([1, "one"], "object"),
        ([{"deep": [1, {"er": None}]}, {}], "object"),
        ([[1, 2], [3, 4]], "object"),
    ],
)
def test_a_column_is_of_the_kind_of_its_values(
    log: FileLog, engine: Engine, values: list[Any], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch)  # so that values stand in several of them
    log.append("shop", *[brewed(note="x" * 400, value=value) for value in values], brewed())
    column = events_frame(log, engine=engine)["value"]
    assert column.dtype.name == dtype
    assert [None if said is None or said is pd.NA or said != said else said for said in column] == [*values, None]


@without_arrow
def test_the_engines_make_equal_frames(log: FileLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.create("shop", 3)
    log.append("shop", *ORDERS, *[brewed(id=n, type="t", n=n, f=n / 7, b=n % 2 == 0, late="x") for n in range(50)])
    log.append("shop", *[brewed(new=f"{n}", zero="\0é😀") for n in range(50)], *[brewed(n=None) for _ in range(9)])
    whole = [events_frame(log, engine=engine) for engine in ("python", "pyarrow")]
    small_blocks(monkeypatch)
    blocks = [events_frame(log, engine=engine) for engine in ("python", "pyarrow")]
    for other in (whole[1], *blocks):
        pd.testing.assert_frame_equal(whole[0], other)
    assert {"data.id", "data.type"} <= {*whole[0]}


def test_no_field_takes_the_place_of_another(log: FileLog, engine: Engine) -> None:
    log.append("shop", ORDERS[0], brewed(amount_cents=5))
    with pytest.raises(BadInput, match="one column"):
        events_frame(log, engine=engine)
    assert events_frame(log, money=(), engine=engine)["amount_cents"][1] == 5


def test_all_partitions_are_read(log: FileLog, engine: Engine) -> None:
    log.create("shop", 3)
    events = [Event("order.created", {"order_id": n}) for n in range(40)]
    places = log.append("shop", *events)
    frame = events_frame(log, engine=engine)
    said = {
        id: (number, offset)
        for id, number, offset in zip(frame["id"], frame["partition"], frame["offset"], strict=True)
    }
    assert said == {event.id: (place.partition, place.offset) for event, place in zip(events, places, strict=True)}


def test_a_topic_without_events_has_no_rows(log: FileLog, engine: Engine) -> None:
    log.create("shop", 2)
    frame = events_frame(log, engine=engine)
    assert frame.empty
    assert [*frame] == ["partition", "offset", "id", "type", "subject", "time"]


def test_there_must_be_such_a_topic(log: FileLog, engine: Engine) -> None:
    log.append("shop", *ORDERS)
    with pytest.raises(NotALog):
        events_frame(log, "shopping", engine=engine)


def test_every_damaged_byte_is_reported_as_the_log_reports_it(
    log: FileLog, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch)
    log.append("shop", *ORDERS)
    file = log.folder / "shop" / "0.log"
    sound = file.read_bytes()
    before = events_frame(log, engine=engine)
    for place in range(len(sound)):
        file.write_bytes(sound[:place] + bytes([sound[place] ^ 0x20]) + sound[place + 1 :])
        try:
            read = [*log.read("shop")]
        except DamagedRecord as error:
            with pytest.raises(DamagedRecord, match=f"^{re.escape(str(error))}$"):
                events_frame(log, engine=engine)
        else:  # between two records, or behind the last
            assert [event.id for _, event in read] == events_frame(log, engine=engine)["id"].tolist()
    file.write_bytes(sound)
    pd.testing.assert_frame_equal(events_frame(log, engine=engine), before)


@pytest.mark.parametrize("missing", [1, 2, 40])
def test_a_torn_last_line_is_not_read(log: FileLog, engine: Engine, missing: int) -> None:
    log.append("shop", *ORDERS)
    file = log.folder / "shop" / "0.log"
    file.write_bytes(file.read_bytes()[:-missing])
    read = [event.id for _, event in log.read("shop")]
    assert events_frame(log, engine=engine)["id"].tolist() == read
    assert len(read) == (4 if missing == 1 else 3)  # one that lacks only its line's end is whole


def test_a_record_that_is_gone_is_missed(log: FileLog, engine: Engine) -> None:
    log.append("shop", *ORDERS)
    file = log.folder / "shop" / "0.log"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:1] + lines[2:]))
    with pytest.raises(DamagedRecord, match="Offset 1 "):
        events_frame(log, engine=engine)


def test_pyarrow_is_not_needed(log: FileLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append("shop", *ORDERS)
    monkeypatch.setattr(log_frame, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "ecomlib.lab.arrow_columns", None)
    assert len(events_frame(log)) == 4


def test_amounts_that_others_wrote_as_numbers_are_cents_too(log: FileLog, engine: Engine) -> None:
    log.append("shop", *[brewed(amount=amount) for amount in (5, 7, 1_000_000)])
    assert events_frame(log, engine=engine)["amount_cents"].tolist() == [500, 700, 100_000_000]
    log.append("shop", brewed(amount="0.5"))
    assert events_frame(log, engine=engine)["amount_cents"].tolist() == [500, 700, 100_000_000, 50]


@pytest.mark.parametrize("values", [[-(2**53) - 1, 0.5], [-(2**63) - 1, 1]])
def test_below_zero_too_a_number_that_is_too_big_for_its_column_stays_exact(
    log: FileLog, engine: Engine, values: list[Any]
) -> None:
    log.append("shop", *[brewed(value=value) for value in values])
    assert events_frame(log, engine=engine)["value"].tolist() == values
