"""The webhook's panel: send, send again, forge, stop the server; how far each request came, and what it led to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from typing import Any

import ipywidgets as widgets

from ecomlib.lab import view, webhook_rows
from ecomlib.lab.controls import Clickable, choice, columns, row
from ecomlib.lab.figures import Size
from ecomlib.lab.picture import Picture
from ecomlib.lab.webhook_chart import answer, journeys
from ecomlib.lab.webhook_desk import WebhookDesk
from ecomlib.lab.wire import Exchange

STATUSES = ("created", "paid", "shipped")
KEYS = {"with a key": True, "without a key": False}
CHART, LARGE_CHART = Size(560, 300, 13), Size(690, 350, 20)
SHOWN = 12  # rows of a table
NUMBERS = {
    "sent": "requests sent",
    "taken": "✓ taken",
    "again": "↶ first answer again",
    "refused": "✗ refused",
    "no answer": "? no answer",
    "events": "events in the log",
    "emails": "emails",
    "sms": "SMS",
}


class WebhookPanel(Clickable, widgets.VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """Every button calls the method of its name; a method returns when the answer is there and all is delivered.

    The shop's server runs on a free port of this machine until `close`, or until the kernel ends. An error is shown in
    the panel, and stands in its `repr`. `presenter` makes everything large, for a projector.
    """

    def __init__(self, *, presenter: bool = False) -> None:
        self.desk = WebhookDesk()
        self._large = presenter
        self._status = choice("which-status", "Order", [(status, status) for status in STATUSES])
        self._key = choice("which-key", "", list(KEYS.items()))
        self._message, self._state, self._numbers = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self._exchange, self._exchanges, self._events = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.image = Picture(LARGE_CHART if presenter else CHART)
        super().__init__([widgets.HTML(view.style()), *(self._presenter() if presenter else self._controls())])
        for name in ("lab", "panel", "webhook-panel", *(["presenter"] if presenter else [])):
            self.add_class(f"ecomlib-{name}")
        self.refresh()

    # --- actions: the desk's ------------------------------------------------------------------------------

    # In place of a widget's own `send`, by which ipywidgets asks the browser to set the focus. Nobody asks for it here.
    def send(self, status: str = "created", **more: Any) -> None:
        """A new report. `more` is what the desk's `send` takes: order, amount, user, key."""
        self._do(partial(self.desk.send, status, **more))

    def send_again(self) -> None:
        self._do(self.desk.send_again)

    def send_twice(self, key: bool = True) -> None:
        """A new report, and at once the same again."""
        self.desk.send(key=key)
        self._do(self.desk.send_again)

    def lose_answer(self, status: str = "created", **more: Any) -> None:
        """A new report whose answer is lost. `more` is what the desk's `lose_answer` takes: order, key."""
        self._do(partial(self.desk.lose_answer, status, **more))

    def other_body(self) -> None:
        self._do(self.desk.other_body)

    def nonsense(self) -> None:
        self._do(self.desk.nonsense)

    def forge(self) -> None:
        self._do(self.desk.forge)

    def unsigned(self) -> None:
        self._do(self.desk.unsigned)

    def overhear(self) -> None:
        self._do(self.desk.overhear)

    def send_late(self) -> None:
        self._do(self.desk.send_late)

    def stall(self) -> None:
        self._do(self.desk.stall)

    def repair(self) -> None:
        self._do(self.desk.repair)

    def stop(self) -> None:
        self._do(self.desk.stop)

    def start(self) -> None:
        self._do(self.desk.start)

    def restart(self) -> None:
        self._do(self.desk.restart)

    def reset(self) -> None:
        self._do(self.desk.reset)

    def close(self) -> None:
        """The server's port is free when it returns."""
        self.desk.close()
        super().close()

    def _do(self, action: Callable[[], None]) -> None:
        action()
        self.refresh()

    # --- what is shown ------------------------------------------------------------------------------------

    def refresh(self) -> None:
        desk = self.desk
        self._message.value = view.message(desk.message)
        self._state.value = view.note(desk.state(), "state")
        numbers = [(NUMBERS[name], str(number)) for name, number in desk.numbers().items()]
        self._numbers.value = view.table("What came of it", ("", "number"), numbers, empty="", name="numbers")
        self._exchange.value = _exchange(desk.last)
        self.image.show(journeys(paths := desk.paths(), size=LARGE_CHART if self._large else CHART))
        rows = [
            (path.what, each.key or "—", answer(path), path.reached)
            for path, each in zip(paths, desk.exchanges, strict=True)
        ]
        heads = ("Request", "Key", "Answer", "Came to")
        self._exchanges.value = _latest("Requests", heads, rows, "exchanges")
        events = [
            (each.type, each.order, each.key or "—", each.caused_by) for each in webhook_rows.arrived(desk.events())
        ]
        heads = ("Event", "Order", "Key", "Because of")
        self._events.value = _latest("The log", heads, events, "events")

    def __repr__(self) -> str:
        return f"WebhookPanel: {self.desk!r}"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """With a picture, so that a saved notebook shows the panel where no kernel runs."""
        bundle = super()._repr_mimebundle_(**kwargs)
        return {**bundle, "text/plain": repr(self), "image/png": self.image.as_text()}, self.image.about()

    # --- layout -------------------------------------------------------------------------------------------

    def _controls(self) -> list[Any]:
        """In the order in which Tab visits them."""
        return [
            row(self._status, self._key, *self._sending(), self._lose()),
            row(widgets.Label("Mistakes"), *self._mistakes(), widgets.Label("Others"), *self._others()),
            row(widgets.Label("Server"), *self._stopping(), self._stall(), *self._starting(), self._reset()),
            self._message,
            columns([self.image], [self._numbers, self._state]),
            self._exchange,
            columns([self._exchanges], [self._events]),
        ]

    def _presenter(self) -> list[Any]:
        """What is shown to a class comes first, and fits on one screen; the rest is below."""
        faults: list[tuple[str, Callable[[], None]]] = [
            ("Send it twice without a key", partial(self.send_twice, key=False)),
            ("Forge one", self.forge),
            ("Lose the answer of one", self.lose_answer),
        ]
        one_click = [self._button(f"fault-{n}", label, act, "danger") for n, (label, act) in enumerate(faults, 1)]
        return [
            row(*self._sending(), *self._copying(), self._stall(), *self._starting(), self._reset()),
            row(*one_click),
            self._message,
            columns([self.image], [self._numbers, self._state]),
            self._exchange,
            row(self._status, self._key),
            row(widgets.Label("Mistakes"), *self._mistakes(), self._lose()),
            row(widgets.Label("Others"), *self._forging()),
            row(widgets.Label("Server"), *self._stopping()),
            self._exchanges,
            self._events,
        ]

    def _sending(self) -> list[Any]:
        return [
            self._button("send", "Send", self._send_chosen, "primary"),
            self._button("again", "Send again", self.send_again),
        ]

    def _lose(self) -> Any:
        return self._button("lose", "Lose the answer", self._lose_chosen, "warning")

    def _mistakes(self) -> list[Any]:
        return [
            self._button("other", "Same key, other body", self.other_body, "warning"),
            self._button("nonsense", "Nonsense", self.nonsense, "warning"),
        ]

    def _forging(self) -> list[Any]:
        return [
            self._button("forge", "Forge", self.forge, "danger"),
            self._button("unsigned", "Unsigned", self.unsigned, "danger"),
        ]

    def _others(self) -> list[Any]:
        return [*self._forging(), *self._copying()]

    def _copying(self) -> list[Any]:
        return [
            self._button("overhear", "Overhear", self.overhear, "danger"),
            self._button("late", "Send late", self.send_late, "danger"),
        ]

    def _starting(self) -> list[Any]:
        return [
            self._button("restart", "Restart", self.restart),
            self._button("repair", "Repair", self.repair),
        ]

    def _stopping(self) -> list[Any]:
        return [
            self._button("stop", "Stop", self.stop),
            self._button("start", "Start", self.start),
        ]

    def _stall(self) -> Any:
        return self._button("stall", "Stall", self.stall, "warning")

    def _reset(self) -> Any:
        return self._button("reset", "Reset", self.reset)

    def _send_chosen(self) -> None:
        self.send(self._status.value, key=self._key.value)

    def _lose_chosen(self) -> None:
        self.lose_answer(self._status.value, key=self._key.value)


def _exchange(last: Exchange | None) -> str:
    """The request and its answer, side by side."""
    parts = {
        "The request": last.request if last else "Nothing yet.",
        "The answer": last.answer if last else "Nothing yet.",
    }
    said = "".join(
        f"<figure><figcaption>{name}</figcaption><pre>{escape(text)}</pre></figure>" for name, text in parts.items()
    )
    return f'<div class="ecomlib-exchange">{said}</div>'


def _latest(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], name: str) -> str:
    """The latest first, and no more than a screen can hold."""
    about = f"the latest {SHOWN} of {len(rows)}" if len(rows) > SHOWN else "the latest first"
    return view.table(f"{caption}, {about}", heads, rows[: -SHOWN - 1 : -1], empty="None yet.", name=name)
