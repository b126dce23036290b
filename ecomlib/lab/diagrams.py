"""Pictures that explain, and show no data."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from ecomlib.lab.figures import BLUE, FAINT, GREEN, INK, ORANGE, Size, blank, describe, points

SIZE = Size(760, 280, 14)
WORDS = (
    "Queue or log. Left, a queue: it held 6 messages; worker A has taken 0 and worker B has taken 1, and both are gone "
    "from the queue, where 2 to 5 wait. Right, a log: all 6 records stay; the group email has its bookmark before "
    "record 5, the group analytics before record 2."
)


def queue_or_log(*, size: Size = SIZE) -> Figure:
    """A queue, which workers empty, and a log, in which each group has a bookmark."""
    figure, axes = blank("Queue or log", size, left=10, right=10, bottom=0.4)
    axes.set(xlim=(0, 16.4), ylim=(5.4, -1.5))
    axes.set_axis_off()
    _title(axes, 0.1, "A queue", "taken is gone; workers compete", size)
    _title(axes, 8.6, "A log", "records stay; each group has a bookmark", size)
    for n in range(6):
        _box(axes, n + 0.6, 1, str(n), BLUE if n > 1 else None, size)
        _box(axes, n + 9.1, 1, str(n), BLUE, size)
    for x, name, n in ((0.6, "worker A", 0), (3.6, "worker B", 1)):
        _box(axes, x + 0.6, 3.4, str(n), ORANGE, size)
        axes.text(x + 1.1, 4.9, name, ha="center", va="center", fontsize=points(size), color=INK)
        _arrow(axes, (n + 1.1, 1.6), (x + 1.1, 2.95))
    for offset, name, colour, y in ((5, "email", GREEN, 3.2), (2, "analytics", ORANGE, 3.2)):
        x = offset + 9.1
        _arrow(axes, (x, y - 0.1), (x, 1.65), colour)
        axes.text(x, y + 0.3, f"{name}:\nnext is {offset}", ha="center", va="top", fontsize=points(size), color=INK)
    axes.plot((8.0, 8.0), (-1.4, 5.4), color=FAINT, linewidth=2)
    return describe(figure, WORDS)


def _title(axes: Axes, x: float, name: str, says: str, size: Size) -> None:
    axes.text(x, -1.1, name, va="center", fontsize=points(size) * 1.2, color=INK, fontweight="bold")
    axes.text(x, -0.2, says, va="center", fontsize=points(size), color=INK)


def _box(axes: Axes, x: float, y: float, said: str, colour: str | None, size: Size) -> None:
    """Without a colour, an empty place."""
    axes.add_patch(Rectangle((x + 0.06, y - 0.45), 0.88, 0.9, facecolor=colour or "white", edgecolor=colour or INK,
                             linestyle="-" if colour else ":", linewidth=1))  # fmt: skip
    if colour:
        box = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none"}
        axes.text(x + 0.5, y, said, ha="center", va="center", fontsize=points(size), color=INK, bbox=box)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = INK) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=16, linewidth=2, color=colour))
