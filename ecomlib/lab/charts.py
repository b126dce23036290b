"""The charts: pure functions from a data frame to a figure. They draw what they are given, and keep nothing.

Where a chart takes `whole`, the frame of a whole history, it draws that as a pale outline behind, and keeps the axes:
so a time machine shows how far the day has come.
"""

# ruff: noqa: I001  (two lines of names read better than one name a line)

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Affine2D, Transform

from ecomlib.lab.desk import WORDS
from ecomlib.lab.figures import ABOVE, BLUE, FAINT, GREEN, INK, NORMAL, ORANGE, PRESENTER, VERMILION
from ecomlib.lab.figures import Size, alt, blank, card, describe, picture, png, points, settings, show
from ecomlib.lab.frames import attempts_frame, frames
from ecomlib.ports import Outcome

__all__ = [
    "NORMAL", "PRESENTER", "Size", "alt", "attempts", "attempts_frame", "delays", "frames", "orders_by_day",
    "orders_by_hour", "orders_by_month", "picture", "png", "revenue_by_day", "revenue_by_month", "show",
]  # fmt: skip

# Neither colour nor hatch has to be seen: the words say the same.
STYLES: dict[Outcome, tuple[str, str]] = {"handled": (BLUE, ""), "failed": (ORANGE, "//"), "dead": (VERMILION, "xx")}
TICKS = {"1 min": 1 / 60, "1 hour": 1.0, "1 day": 24.0, "10 days": 240.0}
SHORTEST, LARGEST = 1 / 60, 24 * 120.0  # hours: a delay outside is drawn at the edge
BARS = 62  # more than these are drawn as one area


def attempts(frame: pd.DataFrame, *, size: Size = NORMAL, title: str = "Attempts by service") -> Figure:
    """One bar for each service: how many attempts it handled, failed and retried, and gave up."""
    left, em = 8.4 * size.font, float(size.font)
    with settings():
        figure, pixels = card(title, size, left=left)
        most = max([*frame.sum(axis=1), 1])
        room = 1 - 9.6 * em / (size.width - 7.6 * em)  # what the numbers leave of the width to the bars
        width = (size.width - left - 14) * max(room, 0.3) / most
        height = (size.height - (ABOVE + 2.4) * em) / max(len(frame), 5)
        rows = Affine2D().scale(width, -height).translate(left, size.height - ABOVE * em - height / 2) + pixels
        text: dict[str, Any] = {"fontsize": points(size), "color": INK}
        for place, (name, *counts) in enumerate(frame[[*STYLES]].itertuples()):
            start = 0
            for count, style in zip(counts, STYLES.values(), strict=True):
                figure.add_artist(_bar((start, place - 0.33), count, 0.66, style, rows))
                start += count
            said = "  ".join(f"{n} {WORDS[o].split()[0]}" for o, n in zip(STYLES, counts, strict=True) if n) or "0"
            figure.text(-most * 0.02, place, str(name), va="center", ha="right", transform=rows, **text)
            figure.text(start + most * 0.02, place, said, va="center", transform=rows, **text)
        ems = Affine2D().scale(em) + pixels
        for x, (outcome, style) in zip((0.4, 7.6, 14.95), STYLES.items(), strict=True):
            figure.add_artist(_bar((x, 0.64), 1, 0.7, style, ems))
            figure.text(x + 1.3, 0.64, WORDS[outcome], transform=ems, **text)
    parts = (f"{name} {h} handled, {f} failed and tried again, {d} dead" for name, h, f, d in frame.itertuples())
    return describe(figure, f"{title}: {'; '.join(parts)}.")


def _bar(corner: tuple[float, float], width: float, height: float, style: tuple[str, str], place: Transform) -> Patch:
    colour, hatch = style
    bar = Rectangle(
        corner, width, height, facecolor=colour, hatch=hatch, edgecolor="white", linewidth=0, transform=place
    )
    bar.set_visible(width > 0)  # hatching nothing takes as long as hatching something
    return bar


def orders_by_hour(hours: pd.DataFrame, *, whole: pd.DataFrame | None = None, size: Size = NORMAL) -> Figure:
    figure, axes = _bars("Orders by hour of day", hours["orders"], whole, BLUE, size)
    axes.set_xticks(range(0, 24, 3), [f"{hour}:00" for hour in range(0, 24, 3)])
    return describe(figure, _summary("Orders by hour", hours["orders"], lambda hour: f"{hour}:00"))


def orders_by_day(days: pd.DataFrame, *, whole: pd.DataFrame | None = None, size: Size = NORMAL) -> Figure:
    return _calendar("Orders by day", days["orders"], whole, BLUE, size)


def revenue_by_day(days: pd.DataFrame, *, whole: pd.DataFrame | None = None, size: Size = NORMAL) -> Figure:
    return _calendar("Revenue by day", days["revenue"], whole, GREEN, size)


def orders_by_month(months: pd.DataFrame, *, whole: pd.DataFrame | None = None, size: Size = NORMAL) -> Figure:
    return _calendar("Orders by month", months["orders"], whole, BLUE, size)


def revenue_by_month(months: pd.DataFrame, *, whole: pd.DataFrame | None = None, size: Size = NORMAL) -> Figure:
    return _calendar("Revenue by month", months["revenue"], whole, GREEN, size)


def delays(frame: pd.DataFrame, *, whole: pd.DataFrame | None = None, size: Size = NORMAL) -> Figure:
    """How long each stage took, as three distributions over one logarithmic axis, each with its median."""
    figure, axes = blank("How long each stage takes", size, left=11.6 * size.font)
    stages = ["created to paid", "paid to shipped", "shipped to delivered"]
    edges = np.geomspace(SHORTEST, LARGEST, 61)
    labels, said = [], []
    for place, stage in enumerate(stages):
        floor = float(len(stages) - 1 - place)
        counts = _histogram(frame, stage, edges)
        scale = 0.72 / max(counts.max() if whole is None else _histogram(whole, stage, edges).max(), 1)
        if whole is not None:
            axes.stairs(floor + _histogram(whole, stage, edges) * scale, edges, baseline=floor, fill=True, color=FAINT)
        axes.stairs(floor + counts * scale, edges, baseline=floor, fill=True, color=(BLUE, ORANGE, GREEN)[place])
        hours = frame.loc[frame["stage"] == stage, "hours"]
        words = f"median {_duration(hours.median())}" if len(hours) else "none yet"
        labels.append(f"{stage}\n{words}")
        said.append(f"{stage}: {words}, {len(hours)} orders")
    axes.set(xscale="log", xlim=(SHORTEST, LARGEST), ylim=(0, 3))
    axes.set_xticks(list(TICKS.values()), list(TICKS), minor=False)
    axes.set_xticks([], minor=True)
    axes.set_yticks([2.38, 1.38, 0.38], labels)
    axes.grid(axis="x", color=FAINT)
    return describe(figure, f"How long each stage takes: {'; '.join(said)}.")


def _histogram(frame: pd.DataFrame, stage: str, edges: Any) -> Any:
    hours = frame.loc[frame["stage"] == stage, "hours"].to_numpy(float)
    return np.histogram(np.clip(hours, SHORTEST, LARGEST * 0.999), edges)[0]


def _duration(hours: float) -> str:
    if hours < 1:
        return f"{hours * 60:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def _calendar(title: str, values: pd.Series[Any], whole: pd.DataFrame | None, colour: str, size: Size) -> Figure:
    if whole is not None:
        values = values.reindex(whole.index, fill_value=0)
    figure, axes = _bars(title, values, whole, colour, size)
    step = max(1, -(-len(values) * size.font * 7 // size.width))
    places = range(0, len(values), step)
    axes.set_xticks(list(places), [str(values.index[place]) for place in places], ha="center")
    return describe(figure, _summary(title, values, str))


def _bars(
    title: str, values: pd.Series[Any], whole: pd.DataFrame | None, colour: str, size: Size
) -> tuple[Figure, Axes]:
    figure, axes = blank(title, size, left=4.2 * size.font)
    heights = values.to_numpy(float)
    outline = whole[values.name].to_numpy(float) if whole is not None else heights[:0]
    edges = np.arange(len(values) + 1) - 0.5
    wide = len(values) > BARS
    for y, shade in ((outline, FAINT), (heights, colour)):
        if len(y) and wide:
            axes.stairs(y, edges, fill=True, color=shade)
        elif len(y):
            axes.bar(range(len(y)), y, color=shade, width=0.8)
    top = max([*heights, *outline, 1.0])
    axes.set(xlim=(-0.6, max(len(values), 1) - 0.4), ylim=(0, top * 1.08))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(axis="y", color=FAINT)
    return figure, axes


def _summary(title: str, values: pd.Series[Any], name: Any) -> str:
    if not len(values) or not values.sum():
        return f"{title}: nothing yet."
    most = int(values.to_numpy(float).argmax())
    return f"{title}: {values.sum()} in all, most in {name(values.index[most])} ({values.iloc[most]})."
