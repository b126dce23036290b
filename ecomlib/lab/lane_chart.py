"""The partitions of a topic as lanes: their records, what a group has done with them, and who holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from ecomlib.lab.figures import BLUE, FAINT, GREEN, INK, NORMAL, ORANGE, VERMILION, Size, blank, describe, points
from ecomlib.lab.lane import TOPIC, Lane

# The hatch says it too; the colour only helps.
DONE, IN_HAND, AGAIN, WAITING = "done", "handled, not committed", "comes again", "waiting"
STYLES: dict[str, tuple[str, str]] = {
    DONE: (BLUE, ""),
    IN_HAND: (ORANGE, "//"),
    AGAIN: (VERMILION, "xx"),
    WAITING: (FAINT, ""),
}
OUTLINES = {WAITING: INK}  # faint on a white card, fainter in a dark theme
FEWEST = 8  # columns: so a short log has no wide blocks


def lanes(rows: Sequence[Lane], *, title: str, size: Size = NORMAL) -> Figure:
    """A block is a record, with its offset; where there are many, only the latest ones, after three dots.

    Above a lane stands the group's committed offset and the offset that comes next, below it how far others are.
    """
    right = 11 * size.font
    figure, axes = blank(title, size, left=5.4 * size.font, right=right, bottom=4.2)
    room = int((size.width - 5.4 * size.font - right) / (1.7 * size.font))
    columns = min(max([FEWEST, *(lane.end for lane in rows)]), room)
    axes.set(xlim=(-0.6, columns + 0.6), ylim=(len(rows) - 0.4, -0.75))
    axes.set_xticks([])
    axes.set_yticks(range(len(rows)), [f"{TOPIC}/{lane.partition}" for lane in rows])
    axes.spines["bottom"].set_visible(False)
    for row, lane in enumerate(rows):
        first = max(lane.end - columns, 0)
        axes.plot((0, columns), (row, row), color=FAINT, linewidth=1, zorder=0)
        if first:
            axes.text(-0.08, row, "…", ha="right", va="center", fontsize=points(size), color=INK)
        for offset in range(first, lane.end):
            _block(axes, offset - first, row, offset, state(lane, offset), size)
        _marks(axes, row, lane, first, size)
        said = f"{lane.holder or 'nobody'}, lag {lane.lag}"
        axes.text(columns + 0.9, row, said, va="center", fontsize=points(size), color=INK)
    _legend(figure, size, [other for other, _ in rows[0].others] if rows else [])
    return describe(figure, f"{title}: {'; '.join(map(_words, rows)) or 'no partition, 0 records'}.")


def state(lane: Lane, offset: int) -> str:
    if offset < lane.done:
        return DONE
    if offset < lane.position:
        return IN_HAND
    return AGAIN if offset < lane.handled else WAITING


def _block(axes: Axes, column: int, row: int, offset: int, state: str, size: Size) -> None:
    colour, hatch = STYLES[state]
    axes.add_patch(Rectangle((column + 0.06, row - 0.2), 0.88, 0.4, facecolor=colour, hatch=hatch, edgecolor="white",
                             linewidth=0, zorder=2))  # fmt: skip
    if state in OUTLINES:
        axes.add_patch(Rectangle((column + 0.06, row - 0.2), 0.88, 0.4, fill=False, edgecolor=OUTLINES[state],
                                 linewidth=1, zorder=2))  # fmt: skip
    box = {"boxstyle": "round,pad=0.08", "facecolor": "white", "edgecolor": "none"}
    axes.text(column + 0.5, row, str(offset), ha="center", va="center", fontsize=points(size) * 0.85, color=INK,
              zorder=3, bbox=box)  # fmt: skip


def _marks(axes: Axes, row: int, lane: Lane, first: int, size: Size) -> None:
    """An offset stands before its record: between what is done and what is not. Left of the picture means: earlier."""
    style: Any = {"linestyle": "none", "markersize": points(size) * 0.58, "zorder": 4, "clip_on": False}
    axes.plot(max(lane.done - first, 0), row - 0.34, marker="v", color=BLUE, **style)
    if lane.position != lane.done:
        axes.plot(max(lane.position - first, 0), row - 0.32, marker=">", color=ORANGE, markeredgecolor=INK, **style)
    for _, offset in lane.others:
        axes.plot(max(offset - first, 0), row + 0.27, marker="^", color="white", markeredgecolor=GREEN, **style)


def _legend(figure: Figure, size: Size, others: Sequence[str]) -> None:
    blocks = [
        Patch(facecolor=colour, hatch=hatch, edgecolor=OUTLINES.get(name, "white"), label=name)
        for name, (colour, hatch) in STYLES.items()
    ]
    line: Any = {"linestyle": "none", "markersize": points(size) * 0.58}
    marks = [
        Line2D([], [], marker="v", color=BLUE, label="committed", **line),
        Line2D([], [], marker=">", color=ORANGE, markeredgecolor=INK, label="next", **line),
        *(
            Line2D([], [], marker="^", color="white", markeredgecolor=GREEN, label=f"{other} committed", **line)
            for other in others
        ),
    ]
    for handles, above in ((blocks, 1.5), (marks, 0.1)):
        figure.legend(
            handles=handles, loc="lower left", ncols=len(handles), frameon=False, fontsize=points(size),
            labelcolor=INK, handlelength=1.2, handletextpad=0.4, columnspacing=1.0, borderpad=0.2, borderaxespad=0.2,
            bbox_to_anchor=(0, above * size.font / size.height),
        )  # fmt: skip


def _words(lane: Lane) -> str:
    said = f"{TOPIC}/{lane.partition} held by {lane.holder or 'nobody'}, {lane.end} records, committed {lane.done}"
    return f"{said}, next {lane.position}, lag {lane.lag}" + (f", {lane.again} come again" if lane.again else "")
