"""The one place on a panel where its charts appear, one after the other, without flicker."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
from matplotlib.figure import Figure
from traitlets import Unicode

from ecomlib.lab.figures import Size, alt, picture, png


class Picture(widgets.Image):  # type: ignore[misc]  # ipywidgets ships no types
    """Shows the figure that it is given, with the figure's description as its accessible name."""

    # The browser's side of `tooltip` looks for a description, which an Image lacks.
    description = Unicode("").tag(sync=True)

    def __init__(self, size: Size) -> None:
        super().__init__(format="png", width=size.width, height=size.height)
        self.add_class("ecomlib-chart")

    def show(self, figure: Figure) -> None:
        with self.hold_sync():  # one message, so that the browser draws once
            self.value = png(figure)
            self.tooltip = alt(figure)

    def as_text(self) -> str:
        """The PNG as notebooks keep it."""
        return picture(self.value)

    def about(self) -> dict[str, Any]:
        """What a notebook keeps beside the PNG: without its size it would show every pixel of it, twice too large."""
        size = {"width": int(self.width), "height": int(self.height)}
        return {"image/png": {"alt": self.tooltip, **size, "needs_background": "light"}}
