"""The controls that panels share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets

from ecomlib.lab import view
from ecomlib.lab.desk import Message


class Clickable:
    """What a panel has that stands over a desk, and shows the desk's message in a line of its own."""

    desk: Any
    _message: Any

    def _button(self, name: str, label: str, action: Callable[[], None], style: str = "") -> Any:
        button = widgets.Button(description=label, button_style=style)
        button.add_class(f"ecomlib-{name}")
        button.on_click(lambda _: self._safely(action))
        return button

    def _safely(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # a callback has no other place to show it
            self.desk.message = Message(f"{type(error).__name__}: {error}", ok=False)
            self._message.value = view.message(self.desk.message)


def choice(name: str, label: str, options: Sequence[tuple[str, object]]) -> Any:
    """One of a few, as buttons side by side.

    Not a drop-down list or radio buttons: in a notebook JupyterLab takes their arrow keys for itself.
    """
    buttons = widgets.ToggleButtons(
        options=options, description=label, style={"description_width": "auto", "button_width": "auto"}
    )
    buttons.add_class(f"ecomlib-{name}")
    return buttons


def row(*children: Any) -> Any:
    box = widgets.HBox(children)
    box.add_class("ecomlib-row")
    return box


def board(**places: Any) -> Any:
    """Each widget at the place of its name: `style.css` says where that is in a wide panel, and in a narrow one."""
    for name, widget in places.items():
        widget.add_class(f"ecomlib-at-{name}")
    box = widgets.Box(list(places.values()))
    box.add_class("ecomlib-board")
    return box


def columns(left: Sequence[Any], right: Sequence[Any]) -> Any:
    """Side by side where there is room, else the right one below."""
    box = widgets.HBox([widgets.VBox(left), widgets.VBox(right)])
    for part, name in ((box, "columns"), (box.children[0], "left"), (box.children[1], "right")):
        part.add_class(f"ecomlib-{name}")
    return box
