"""The time machine: a slider over all that happened, with totals and a chart as they stood then."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import ipywidgets as widgets

from ecomlib.errors import EcomlibError
from ecomlib.lab import charts, view
from ecomlib.lab.controls import choice, columns
from ecomlib.lab.desk import Message
from ecomlib.lab.frames import FRAMES
from ecomlib.lab.history import History, Source
from ecomlib.lab.picture import Picture

CHARTS: dict[str, tuple[str, Callable[..., Any]]] = {
    "Orders by hour": ("hours", charts.orders_by_hour),
    "Orders by day": ("days", charts.orders_by_day),
    "Revenue by day": ("days", charts.revenue_by_day),
    "Orders by month": ("months", charts.orders_by_month),
    "Revenue by month": ("months", charts.revenue_by_month),
    "How long each stage takes": ("delays", charts.delays),
}
NORMAL, LARGE = charts.Size(740, 320, 13), charts.Size(780, 400, 20)


class TimeMachine(widgets.VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """Opens at the end. The pale outline behind the chart is the whole history; what had happened is drawn over it.

    `source` is a log, its folder, a shop, or a list of records or events; it is read once. Raises what reading raises.
    """

    def __init__(self, source: Source, *, presenter: bool = False) -> None:
        self.history = History(source)
        end = len(self.history)
        self.offset, self._error = end, self.history.damage
        self._whole = charts.frames(self.history.at(end))
        self._size = LARGE if presenter else NORMAL
        self.slider = widgets.IntSlider(
            end, 0, max(end, 1), description="Event", disabled=not end, layout={"width": "auto"}
        )
        self.slider.add_class("ecomlib-slider")
        self.chart = choice("which-chart", "", [(name, name) for name in CHARTS])
        self.chart.value = self._telling()
        self.image = Picture(self._size)
        self._said, self._table = widgets.HTML(), widgets.HTML()
        place = columns([self._table], [self.chart, self.image])
        super().__init__([widgets.HTML(view.style()), self.slider, self._said, place])
        for name in ("lab", "time-machine", *(["presenter"] if presenter else [])):
            self.add_class(f"ecomlib-{name}")
        self.refresh()
        self.slider.observe(lambda change: self.go(change.new), "value")
        self.chart.observe(lambda _: self.refresh(), "value")

    def go(self, offset: int) -> None:
        """Show the shop after that many events. An offset that is not there changes nothing, and is said."""
        try:
            self.history.at(offset)
        except EcomlibError as error:
            self._error = str(error)
        else:
            self.offset, self._error = offset, None
            if self.slider.value != offset:
                self.slider.value = offset  # which leads here again
                return
        self.refresh()

    def go_to(self, time: datetime | str) -> None:
        """Show the shop as it was at that time, such as "2026-01-05": before the first event that happened later."""
        try:
            self.go(self.history.offset_at(time))
        except EcomlibError as error:
            self._error = str(error)
            self.refresh()

    @property
    def totals(self) -> dict[str, int | str]:
        return self.history.at(self.offset).totals()

    def refresh(self) -> None:
        analytics = self.history.at(self.offset)
        self._said.value = view.message(Message(self._error, ok=False)) if self._error else view.status(self._latest())
        rows = [(name, str(value)) for name, value in analytics.totals().items()]
        self._table.value = view.table("Totals", ("What", "How many"), rows, empty="", name="totals")
        name, draw = CHARTS[self.chart.value]
        self.image.show(draw(FRAMES[name](analytics), whole=self._whole[name], size=self._size))

    def _latest(self) -> str:
        place = f"Event {self.offset} of {len(self.history)}"
        if not self.offset:
            return f"{place}: nothing has happened yet"
        event = self.history.events[self.offset - 1]
        return f"{place}: {event.time:%Y-%m-%d %H:%M}, {event.type} {event.subject or ''}"

    def _telling(self) -> str:
        days = len(self._whole["days"])
        return "Orders by hour" if days < 3 else "Orders by day" if days < 40 else "Orders by month"

    def __repr__(self) -> str:
        t = self.totals
        place = f"event {self.offset} of {len(self.history)}"
        said = f"TimeMachine: {place} | orders {t['orders']}, paid {t['paid']}, revenue {t['revenue']}"
        return f"{said} | ✗ {self._error}" if self._error else said

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """With a picture, so that a saved notebook shows it where no kernel runs."""
        bundle = super()._repr_mimebundle_(**kwargs)
        return {**bundle, "text/plain": repr(self), "image/png": self.image.as_text()}, self.image.about()
