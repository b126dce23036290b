"""The charts: the numbers that they draw, the words that stand for them, and that the bytes are the same every time."""

from __future__ import annotations

import io
import subprocess
import sys
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from ecomlib.clock import SimulatedClock
from ecomlib.factory import EventFactory
from ecomlib.ids import seeded_ids
from ecomlib.lab import charts, figures, panel, time_machine
from ecomlib.lab.desk import Desk
from ecomlib.services.analytics import Analytics

START = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)


@pytest.fixture
def analytics() -> Analytics:
    """Three orders: two on the first day at nine, paid after an hour; one three days later at eleven at night."""
    analytics, clock = Analytics(), SimulatedClock(START)
    new_event = EventFactory("/shop", clock, seeded_ids(1))

    def tell(type: str, order: int, **data: Any) -> None:
        analytics.apply(new_event(type, {"order_id": order, **data}))

    tell("order.created", 1, amount="10.10")
    tell("order.created", 2, amount="20.20")
    clock.advance(hours=1)
    tell("order.paid", 1, amount="10.10")
    tell("order.paid", 2, amount="20.20")
    clock.advance(hours=48)
    tell("order.shipped", 1)
    clock.advance_to(START + timedelta(days=3, hours=14))
    tell("order.created", 3, amount="5.00")
    return analytics


@pytest.fixture
def frames(analytics: Analytics) -> dict[str, pd.DataFrame]:
    return charts.frames(analytics)


def heights(figure: Figure) -> list[float]:
    return [round(patch.get_height(), 6) for patch in figure.axes[0].patches]  # type: ignore[attr-defined]


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text()]


def test_a_frame_has_every_hour_and_every_day_also_those_on_which_nothing_happened(
    frames: dict[str, pd.DataFrame],
) -> None:
    assert {hour: n for hour, n in enumerate(frames["hours"]["orders"]) if n} == {9: 2, 23: 1}
    assert len(frames["hours"]) == 24
    assert list(frames["days"].index) == [date(2026, 1, day) for day in (5, 6, 7, 8)]
    assert list(frames["days"]["orders"]) == [2, 0, 0, 1]
    assert list(frames["days"]["revenue"]) == [Decimal("30.30"), 0, 0, 0]
    assert frames["months"].to_dict("index") == {"2026-01": {"orders": 3, "revenue": Decimal("30.30")}}


def test_revenue_in_a_frame_is_exact(frames: dict[str, pd.DataFrame]) -> None:
    assert all(isinstance(amount, Decimal) for amount in frames["days"]["revenue"])
    assert str(frames["days"]["revenue"].sum()) == "30.30"


def test_delays_are_in_hours_one_row_for_an_order_and_stage(frames: dict[str, pd.DataFrame]) -> None:
    assert frames["delays"].values.tolist() == [["created to paid", 1], ["created to paid", 1], ["paid to shipped", 48]]


def test_a_month_without_orders_is_there_too(analytics: Analytics) -> None:
    new_event = EventFactory("/shop", SimulatedClock(datetime(2026, 4, 1, tzinfo=UTC)), seeded_ids(2))
    analytics.apply(new_event("order.created", {"order_id": 9, "amount": 1}))
    months = charts.frames(analytics)["months"]
    assert dict(months["orders"]) == {"2026-01": 3, "2026-02": 0, "2026-03": 0, "2026-04": 1}


def test_a_history_of_centuries_makes_no_endless_frame(analytics: Analytics) -> None:
    new_event = EventFactory("/shop", SimulatedClock(datetime(9999, 4, 1, tzinfo=UTC)), seeded_ids(2))
    analytics.apply(new_event("order.created", {"order_id": 9, "amount": 1}))
    frames = charts.frames(analytics)
    assert list(frames["days"].index) == [date(2026, 1, 5), date(2026, 1, 8), date(9999, 4, 1)]
    assert charts.png(charts.orders_by_day(frames["days"]))


def test_bars_are_as_high_as_the_numbers(frames: dict[str, pd.DataFrame]) -> None:
    assert heights(charts.orders_by_hour(frames["hours"])) == list(frames["hours"]["orders"])
    assert heights(charts.orders_by_day(frames["days"])) == [2, 0, 0, 1]
    assert heights(charts.revenue_by_day(frames["days"])) == [30.3, 0, 0, 0]
    assert heights(charts.orders_by_month(frames["months"])) == [3]
    assert heights(charts.revenue_by_month(frames["months"])) == [30.3]


def test_the_whole_history_is_an_outline_behind_and_keeps_the_axes(frames: dict[str, pd.DataFrame]) -> None:
    first_day = frames["days"].head(1)
    figure, whole = charts.orders_by_day(first_day, whole=frames["days"]), charts.orders_by_day(frames["days"])
    assert heights(figure) == [2, 0, 0, 1, 2, 0, 0, 0]
    assert figure.axes[0].get_xlim() == whole.axes[0].get_xlim()
    assert figure.axes[0].get_ylim() == whole.axes[0].get_ylim()


def test_a_year_of_days_is_drawn_as_one_area() -> None:
    days = [date(2026, 1, 1) + timedelta(days=n) for n in range(365)]
    frame = pd.DataFrame({"orders": range(365)}, index=pd.Index(days, name="day", dtype=object))
    [area] = charts.orders_by_day(frame).axes[0].patches
    values, edges, _ = area.get_data()  # type: ignore[attr-defined]
    assert list(values) == list(range(365))
    assert len(edges) == 366


def test_the_delays_chart_says_each_stages_median(frames: dict[str, pd.DataFrame]) -> None:
    figure = charts.delays(frames["delays"])
    assert "created to paid\nmedian 1.0 h" in words(figure)
    assert "paid to shipped\nmedian 2.0 days" in words(figure)
    assert "shipped to delivered\nnone yet" in words(figure)
    assert charts.alt(figure) == (
        "How long each stage takes: created to paid: median 1.0 h, 2 orders; "
        "paid to shipped: median 2.0 days, 1 orders; shipped to delivered: none yet, 0 orders."
    )


def test_a_delay_beyond_the_axis_is_drawn_at_its_edge() -> None:
    frame = pd.DataFrame({"stage": ["created to paid"] * 3, "hours": [0.0, 1.0, 1e6]})
    areas = charts.delays(frame).axes[0].patches
    drawn = np.asarray(areas[0].get_data()[0]) - 2  # type: ignore[attr-defined]
    assert np.count_nonzero(drawn) == 3


def test_attempts_are_told_apart_by_colour_hatch_and_words() -> None:
    desk = Desk()
    desk.fire()
    desk.fail("email", range(1, 9))
    desk.fire()
    frame = charts.attempts_frame(desk.attempts_by_service())
    assert frame.loc["email"].to_dict() == {"handled": 1, "failed": 2, "dead": 1}
    figure = charts.attempts(frame)
    bars = [artist for artist in figure.artists if isinstance(artist, Rectangle)]
    bars, legend = bars[: frame.size], bars[frame.size :]
    assert [bar.get_width() for bar in bars] == [n for counts in frame.values for n in counts]
    assert all(bar.get_visible() == (bar.get_width() > 0) for bar in bars)
    assert [bar.get_x() for bar in bars[:3]] == [0, 1, 3], "each begins where the one before ends"
    looks = [(bar.get_facecolor(), bar.get_hatch()) for bar in legend]
    assert [(bar.get_facecolor(), bar.get_hatch()) for bar in bars] == looks * len(frame)
    assert len(set(looks)) == 3
    assert "1 ✓  2 ✗↻  1 ✗" in words(figure)
    assert {"✓ handled", "✗↻ retried", "✗ dead letter"} <= set(words(figure))
    assert charts.alt(figure).startswith("Attempts by service: email 1 handled, 2 failed and tried again, 1 dead; sms")


def every_chart(frames: dict[str, pd.DataFrame], size: charts.Size) -> dict[str, Figure]:
    desk = Desk()
    desk.fail("email", range(1, 9))
    desk.fire_many(300)
    return {
        "hour": charts.orders_by_hour(frames["hours"], size=size),
        "day": charts.orders_by_day(frames["days"], size=size),
        "revenue": charts.revenue_by_day(frames["days"], size=size),
        "month": charts.orders_by_month(frames["months"], size=size),
        "revenue by month": charts.revenue_by_month(frames["months"], size=size),
        "delays": charts.delays(frames["delays"], size=size),
        "attempts": charts.attempts(charts.attempts_frame(desk.attempts_by_service()), size=size),
    }


SIZES = {
    "normal": charts.NORMAL,
    "presenter": charts.PRESENTER,
    "panel": panel.CHART,
    "large panel": panel.LARGE_CHART,
    "time machine": time_machine.NORMAL,
    "large time machine": time_machine.LARGE,
}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_every_text_is_inside_the_picture_and_not_smaller_than_it_says(
    size: charts.Size, frames: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Text] = []
    draw = Text.draw

    def recorded(text: Text, renderer: Any, *rest: Any, **options: Any) -> None:
        if text.get_visible() and text.get_text():
            drawn.append(text)
        draw(text, renderer, *rest, **options)

    monkeypatch.setattr(Text, "draw", recorded)
    for name, figure in every_chart(frames, size).items():
        if size in (panel.CHART, panel.LARGE_CHART) and name != "attempts":
            continue
        drawn.clear()
        charts.png(figure)
        assert len(drawn) > 5
        for text in drawn:
            box = text.get_window_extent()
            said = f"{name}: {text.get_text()!r}"
            assert -1 <= box.x0 <= box.x1 <= figure.bbox.width + 1, said
            assert -1 <= box.y0 <= box.y1 <= figure.bbox.height + 1, said
            assert float(text.get_fontsize()) * 100 / 72 > size.font - 0.01, said


@pytest.mark.parametrize("name", ["hours", "days", "months"])
def test_a_chart_of_nothing_says_so(name: str) -> None:
    frame = charts.frames(Analytics())[name]
    draw = {"hours": charts.orders_by_hour, "days": charts.orders_by_day, "months": charts.orders_by_month}[name]
    assert charts.alt(draw(frame)).endswith(": nothing yet.")
    assert charts.png(draw(frame))


def test_the_same_numbers_make_the_same_bytes(frames: dict[str, pd.DataFrame]) -> None:
    once, again = (every_chart(frames, charts.NORMAL) for _ in range(2))
    for name in once:
        data = charts.png(once[name])
        assert data == charts.png(again[name]), name
        assert data.startswith(b"\x89PNG")
        assert b"Software" not in data
        assert b"Creation" not in data


def test_a_picture_is_what_matplotlib_itself_would_save(frames: dict[str, pd.DataFrame]) -> None:
    for name, figure in every_chart(frames, charts.NORMAL).items():
        data = io.BytesIO()
        with figures.settings():
            figure.savefig(data)
        ours, its = (Image.open(one) for one in (io.BytesIO(charts.png(figure)), data))
        assert ours.info["dpi"] == its.info["dpi"]
        assert np.array_equal(np.asarray(ours), np.asarray(its.convert("RGB"))), name


def test_a_readers_own_matplotlib_settings_change_no_byte(frames: dict[str, pd.DataFrame]) -> None:
    data = charts.png(charts.orders_by_hour(frames["hours"]))
    attempts = charts.png(charts.attempts(charts.attempts_frame(Desk().attempts_by_service())))
    with matplotlib.rc_context({"font.family": ["monospace"], "savefig.dpi": 10, "axes.facecolor": "red"}):
        assert charts.png(charts.orders_by_hour(frames["hours"])) == data
        assert charts.png(charts.attempts(charts.attempts_frame(Desk().attempts_by_service()))) == attempts
        assert matplotlib.rcParams["font.family"] == ["monospace"], "and they stay the reader's"


def test_no_chart_touches_pyplot() -> None:
    program = "import sys, ecomlib.lab; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_show_displays_the_picture_with_its_words(
    frames: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch, recorder: list[Any]
) -> None:
    monkeypatch.setattr(figures, "display", lambda bundle, raw, metadata: recorder.append((bundle, metadata)))
    charts.show(charts.orders_by_hour(frames["hours"]))
    [(bundle, about)] = recorder
    assert bundle["text/plain"] == "Orders by hour: 3 in all, most in 9:00 (2)."
    assert b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert about["image/png"]["alt"] == bundle["text/plain"]


def test_threads_draw_side_by_side_and_each_gets_its_own_picture(frames: dict[str, pd.DataFrame]) -> None:
    def hours(_: int) -> bytes:
        return charts.png(charts.orders_by_hour(frames["hours"]))

    def delays(_: int) -> bytes:
        return charts.png(charts.delays(frames["delays"]))

    alone = hours(0), delays(0)
    with ThreadPoolExecutor(4) as pool:
        drawn = [*zip(pool.map(hours, range(10)), pool.map(delays, range(10)), strict=True)]
    assert drawn == [alone] * 10
