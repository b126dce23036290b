"""The time machine: at every offset it stands where a replay up to there would stand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomlib.errors import BadInput, LogError
from ecomlib.events import Event
from ecomlib.lab import History, TimeMachine
from ecomlib.log import FileLog
from ecomlib.replay import replay
from ecomlib.services.analytics import Analytics
from ecomlib.shop import Shop
from ecomlib.traffic import run, simulate


@cache
def year() -> tuple[Event, ...]:
    shop = Shop()
    run(shop.orders, shop.clock, simulate(80), settle=shop.run)
    return shop.bus.history


@cache
def busy() -> History:
    """With a snapshot every 7 events, so that most steps cross one."""
    return History(year(), every=7)


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """The log of the original's story: six events."""
    shop = Shop(tmp_path / "day", durability="system")
    shop.story()
    shop.close()
    return tmp_path / "day"


def folded(events: tuple[Event, ...]) -> Analytics:
    analytics = Analytics()
    for event in events:
        analytics.apply(event)
    return analytics


@settings(max_examples=25)
@given(offsets=st.lists(st.integers(0, len(year())), min_size=1, max_size=8))
def test_wherever_one_comes_from_a_moment_is_what_a_replay_makes_of_it(offsets: list[int]) -> None:
    for offset in offsets:
        assert busy().at(offset).state() == folded(year()[:offset]).state()


@settings(max_examples=25)
@given(seconds=st.integers(-10, 400 * 86_400))
def test_a_time_leads_to_what_had_happened_by_then(seconds: int) -> None:
    time = year()[0].time + timedelta(seconds=seconds)
    offset = busy().offset_at(time)
    assert all(event.time <= time for event in year()[:offset])
    assert all(event.time > time for event in year()[offset : offset + 1])


def test_events_that_were_reported_late_dont_hide_what_came_before_them() -> None:
    at = datetime(2026, 1, 5, tzinfo=UTC)
    times = [at, at + timedelta(days=2), at + timedelta(days=1), at + timedelta(days=3)]
    history = History([Event("coffee.spilled", time=time) for time in times])
    assert [history.offset_at(time) for time in times] == [1, 3, 1, 4]


def test_a_log_a_folder_records_events_and_a_shop_are_all_a_source(day: Path) -> None:
    with FileLog(day) as log:
        records = list(log.read("shop"))
        sources: list[Any] = [log, day, str(day), records, [record.event for record in records], iter(records)]
        shop = Shop()
        shop.story()
        for source in [*sources, shop, Shop(log)]:
            machine = TimeMachine(source)
            assert repr(machine) == "TimeMachine: event 6 of 6 | orders 2, paid 1, revenue 50.00"


def test_go_shows_the_totals_of_a_replay_to_the_same_offset(day: Path) -> None:
    machine = TimeMachine(day)
    for offset in (3, 0, 6, 1, 5, 2, 4):
        machine.go(offset)
        analytics = Analytics()
        with FileLog(day) as log:
            replay(log, "shop", analytics, end=offset)
        assert machine.totals == analytics.totals()
        assert machine.slider.value == offset
        assert machine.totals["events"] == offset
        assert f"Event {offset} of 6" in machine._said.value
        assert f"<td>{machine.totals['revenue']}</td>" in machine._table.value


def test_moving_the_slider_does_what_go_does(day: Path) -> None:
    slid, gone = TimeMachine(day), TimeMachine(day)
    slid.slider.value = 2
    gone.go(2)
    assert repr(slid) == repr(gone) == "TimeMachine: event 2 of 6 | orders 1, paid 1, revenue 50.00"
    assert slid.image.value == gone.image.value != TimeMachine(day).image.value


@pytest.mark.parametrize("offset", [-1, 7, "x", 2.5, None])
def test_an_offset_that_is_not_there_changes_nothing_and_is_said(day: Path, offset: Any) -> None:
    machine = TimeMachine(day)
    machine.go(2)
    machine.go(offset)
    assert machine.offset == machine.slider.value == 2
    assert repr(machine).endswith(f"| ✗ There is no event {offset!r}: the history goes from 0 to 6.")
    machine.go(3)
    assert "✗" not in repr(machine)


def test_go_to_takes_a_time_with_its_zone(day: Path) -> None:
    machine = TimeMachine(day)
    machine.go_to(datetime(2026, 1, 5, 8, 59, tzinfo=UTC))
    assert machine.offset == 0
    machine.go_to(datetime(2030, 1, 1, tzinfo=UTC))
    assert machine.offset == 6
    machine.go_to(datetime(2026, 1, 1))
    assert "has no time zone" in repr(machine)
    assert machine.offset == 6


def test_go_to_takes_a_time_as_text_which_is_utc_unless_it_names_a_zone() -> None:
    machine = TimeMachine(year())
    middle = year()[len(year()) // 2].time
    machine.go_to(middle)
    offset = machine.offset
    assert 0 < offset < len(year())
    for text in (
        middle.isoformat(),
        f"{middle:%Y-%m-%d %H:%M:%S.%f}",
        f"{middle:%Y-%m-%dT%H:%M:%S.%fZ}",
        middle.astimezone(timezone(timedelta(hours=2))).isoformat(),
    ):
        machine.go(0)
        machine.go_to(text)
        assert machine.offset == offset
        assert "✗" not in repr(machine)


@pytest.mark.parametrize("time", ["yesterday", "", 5, None, date(2026, 1, 5)])
def test_what_is_no_time_changes_nothing_and_is_said(day: Path, time: Any) -> None:
    machine = TimeMachine(day)
    machine.go(2)
    machine.go_to(time)
    assert machine.offset == 2
    assert repr(machine).endswith(f"| ✗ {time!r} is no time: write it like 2026-01-05T09:00:00Z.")


@pytest.mark.parametrize("source", [5, None, object])
def test_what_holds_no_events_is_refused_with_a_sentence(source: Any) -> None:
    with pytest.raises(BadInput, match="holds no events: name a log, its folder, a shop, or a list of events"):
        TimeMachine(source)


def test_a_list_of_something_else_is_refused_with_a_sentence() -> None:
    with pytest.raises(BadInput, match="7 is no event: a list holds events, or the records of a log"):
        TimeMachine([Event("coffee.spilled"), 7])  # type: ignore[list-item]


def test_every_chart_can_be_chosen(day: Path) -> None:
    machine = TimeMachine(day)
    names = set()
    for chart in machine.chart.options:
        machine.chart.value = chart[1]
        names.add(machine.image.tooltip.partition(":")[0])
    assert len(names) == len(machine.chart.options) == 6


def test_the_first_chart_fits_how_long_the_history_is(day: Path) -> None:
    assert TimeMachine(day).chart.value == "Orders by hour"
    assert TimeMachine(year()).chart.value == "Orders by month"


def test_a_history_of_nothing_can_be_opened() -> None:
    assert repr(TimeMachine([])) == "TimeMachine: event 0 of 0 | orders 0, paid 0, revenue 0.00"


def test_a_damaged_log_is_shown_up_to_the_damage_which_is_named(day: Path) -> None:
    [file] = day.rglob("*.log")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:3], lines[3][:50] + b"#" + lines[3][51:], *lines[4:]]))
    machine = TimeMachine(day)
    assert len(machine.history) == 3
    assert machine.history.damage
    assert machine.history.damage in repr(machine)
    machine.go(2)
    assert machine.totals["events"] == 2


def test_a_shop_without_a_log_says_what_it_has_forgotten() -> None:
    shop = Shop()
    shop.bus._history = type(shop.bus._history)(maxlen=4)
    shop.story()
    machine = TimeMachine(shop)
    assert len(machine.history) == 4
    assert "Only the latest 4 of 6 events are here" in repr(machine)


def test_what_is_no_log_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="There is no log at"):
        TimeMachine(tmp_path / "nowhere")
    with FileLog(tmp_path / "other") as log:
        log.append("coffee", Event("coffee.spilled"))
        with pytest.raises(BadInput, match="has no topic 'shop': it has coffee"):
            TimeMachine(log)


def test_days_are_those_of_the_shops_zone() -> None:
    shop = Shop(zone="America/Sao_Paulo")
    shop.story()
    assert History(shop).at(6).orders_by_hour()[6] == 2  # nine in the morning by UTC


def test_a_saved_notebook_shows_it_without_a_kernel(day: Path) -> None:
    bundle, _ = TimeMachine(day)._repr_mimebundle_()
    assert bundle["text/plain"] == "TimeMachine: event 6 of 6 | orders 2, paid 1, revenue 50.00"
    assert bundle["image/png"]


def test_a_step_back_starts_from_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(year(), every=50)
    history.at(len(history))
    applied: list[Event] = []
    monkeypatch.setattr(history._analytics, "apply", applied.append)
    history.at(len(history) - 1)
    assert len(applied) < 50
