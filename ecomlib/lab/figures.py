"""What all charts have in common: size, colours, and how a figure becomes the same bytes every time."""

from __future__ import annotations

import io
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Affine2D, Transform
from PIL import Image

# Okabe and Ito's colours, told apart with any kind of colour vision (https://jfly.uni-koeln.de/color/).
BLUE, ORANGE, VERMILION, GREEN = "#0072B2", "#E69F00", "#D55E00", "#009E73"
INK, FAINT = "#212529", "#D5DAE0"
ABOVE = 2.2  # lines of text: what the title takes
SHARPNESS = 2  # pixels of the picture for one of the page, so that it is crisp on any screen

# A reader's own settings of matplotlib change no chart.
_BACKEND = ("backend", "interactive", "toolbar", "timezone", "webagg", "tk.", "keymap", "figure.hooks")
_MATPLOTLIB: Any = {
    **{name: value for name, value in matplotlib.rcParamsDefault.items() if not name.startswith(_BACKEND)},
    "font.family": ["DejaVu Sans"],
    "hatch.linewidth": 1.2,
    "text.hinting": "none",  # at two pixels for one no letter is crisper for it, and it takes a fifth of the drawing
}
_checked = dict(matplotlib.RcParams(_MATPLOTLIB))  # once: matplotlib takes as long for it as for drawing some texts
# matplotlib's settings are those of the whole process, and some panels draw in a thread.
_one_at_a_time = threading.RLock()
_canvas = FigureCanvasAgg(Figure())  # for all figures, since it remembers how wide each text is


@dataclass(frozen=True)
class Size:
    """In pixels of the page; `font` is the smallest text."""

    width: int
    height: int
    font: int


NORMAL = Size(620, 300, 13)
PRESENTER = Size(600, 330, 20)


def card(title: str, size: Size, *, left: float = 60) -> tuple[Figure, Transform]:
    """A white card with a title, `left` pixels from its edge; to be called, and drawn upon, within `settings()`.

    With it comes the transform of a point that is given in pixels of the page, from below: a chart without axes needs
    no more, and axes alone take as long as all bars.
    """
    figure = _white(size)
    pixels = Affine2D().scale(1 / 100) + figure.dpi_scale_trans
    above = size.height - ABOVE * size.font + 6 * 100 / 72  # as far as matplotlib has a title from its axes
    figure.text(left, above, title, transform=pixels, fontsize=points(size) * 1.1, color=INK, fontweight="bold")
    return figure, pixels


def blank(title: str, size: Size, *, left: float = 60, right: float = 14, bottom: float = 2.6) -> tuple[Figure, Axes]:
    """A white card with a title and axes; `left` and `right` are margins in pixels, `bottom` in lines of text."""
    with settings():
        figure = _white(size)
        below, above = bottom * size.font / size.height, ABOVE * size.font / size.height
        axes = figure.add_axes((left / size.width, below, 1 - (left + right) / size.width, 1 - below - above))
    small = points(size)
    # A title that is told its height is not moved out of the ticks' way: looking for them takes as long as the drawing.
    axes.set_title(title, fontsize=small * 1.1, color=INK, loc="left", fontweight="bold", y=1.0)
    axes.tick_params(labelsize=small, colors=INK, length=0)
    axes.xaxis.label.set(fontsize=small, color=INK)
    axes.yaxis.label.set(fontsize=small, color=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.set_axisbelow(True)
    return figure, axes


def _white(size: Size) -> Figure:
    return Figure(figsize=(size.width / 100, size.height / 100), dpi=100 * SHARPNESS, facecolor="white")


def points(size: Size) -> float:
    """The size of the smallest text, as matplotlib counts it."""
    return size.font * 72 / 100


def describe(figure: Figure, text: str) -> Figure:
    """Give the figure the words that stand for it where it can't be seen."""
    figure.set_label(text)
    return figure


def alt(figure: Figure) -> str:
    """What the figure shows, in words and numbers."""
    return str(figure.get_label())


def png(figure: Figure) -> bytes:
    """The same figure gives the same bytes: no date and no program's version is in them."""
    buffer = io.BytesIO()
    with settings():
        _canvas.figure = figure
        figure.set_canvas(_canvas)
        _canvas.draw()  # type: ignore[no-untyped-call]
        pixels = _canvas.buffer_rgba()  # type: ignore[no-untyped-call]
        opaque = Image.frombuffer("RGBA", _canvas.get_width_height(), pixels, "raw", "RGBA", 0, 1).convert("RGB")
    # A quarter larger than at the level that matplotlib takes, and in half of the time.
    opaque.save(buffer, format="png", dpi=(figure.dpi, figure.dpi), compress_level=3)
    return buffer.getvalue()


@contextmanager
def settings() -> Iterator[None]:
    """Within it, a reader's own settings of matplotlib do nothing."""
    with _one_at_a_time, matplotlib.rc_context():
        dict.update(matplotlib.rcParams, _checked)
        yield


def picture(data: bytes) -> str:
    """A PNG as notebooks keep it."""
    return b64encode(data).decode("ascii")


def show(figure: Figure) -> None:
    """Display the picture, with its description for those who can't see it and for programs that compare outputs."""
    width, height = figure.get_size_inches() * 100
    bundle = {"image/png": picture(png(figure)), "text/plain": alt(figure)}
    about = {"alt": alt(figure), "width": round(width), "height": round(height), "needs_background": "light"}
    display(bundle, raw=True, metadata={"image/png": about})  # type: ignore[no-untyped-call]
