"""The broker as a picture: the exchange, its bindings, the queues with what is in them, and the workers."""

# ruff: noqa: I001  (two lines of names read better than one name a line)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ecomlib.lab.figures import BLUE, FAINT, GREEN, INK, NORMAL, ORANGE, VERMILION
from ecomlib.lab.figures import Size, blank, describe, points
from ecomlib.lab.rabbit_rows import SIGNS, QueueRow, Seen, WorkerRow
from ecomlib.lab.worker_processes import SERVES

GREY = "#6C757D"
COLOURS = {"alive": GREEN, "stopped": GREY, "killed": VERMILION, "ended": VERMILION}
CELLS = 8  # messages that are drawn of a queue; how many more there are is written
SHOWN = 4  # workers of a kind, the latest
# Places, in hundredths of the picture's width.
EXCHANGE, QUEUES, WORKERS = (0.5, 10.5), (32.0, 67.5), (74.5, 99.5)
SPINE = 12.5  # where the bindings part


def broker(seen: Seen, *, size: Size = NORMAL) -> Figure:
    """A cell is a message: filled while it waits, hatched while a worker has it in hand."""
    figure, axes = blank("Exchange, queues, workers", size, left=0.6 * size.font, right=0.6 * size.font, bottom=2.0)
    rows = len(seen.queues)
    axes.set(xlim=(0, 100), ylim=(rows + 0.42, -0.52))
    axes.set_axis_off()
    middle = (rows - 1) / 2
    _box(axes, EXCHANGE, middle, 0.62, INK)
    _text(axes, sum(EXCHANGE) / 2, middle - 0.14, "shop", size, weight="bold")
    _text(axes, sum(EXCHANGE) / 2, middle + 0.16, "topic", size)
    for y, row in enumerate(seen.queues):
        _binding(axes, middle, y, row, size)
        _queue(axes, y, row, size)
    for kind, queues in SERVES.items():
        places = [y for y, row in enumerate(seen.queues) if row.queue in queues]
        _workers(axes, places, [worker for worker in seen.workers if worker.kind == kind], kind, size)
    _dead(axes, rows, seen, size)
    _legend(figure, size)
    return describe(figure, f"{words(seen)}.")


def words(seen: Seen) -> str:
    """The picture in words and numbers."""
    said = [f"{row.queue}: {row.ready} ready, {row.in_hand} in hand, {row.consumers} consumers" for row in seen.queues]
    said += [f"{worker.name} {worker.state}" for worker in seen.workers] or ["no worker"]
    said += [f"{seen.delayed} wait for another attempt"] * bool(seen.delayed)
    return "; ".join([*said, f"{seen.dead} dead letters"])


def _binding(axes: Axes, start: float, y: int, row: QueueRow, size: Size) -> None:
    """Round a corner, so that each pattern has a line of its own to stand on."""
    axes.plot((EXCHANGE[1], SPINE, SPINE), (start, start, y), color=GREY, linewidth=1.8, zorder=1)
    _arrow(axes, (SPINE, y), (QUEUES[0], y), size)
    for place, pattern in enumerate(row.patterns):
        _text(axes, SPINE + 1, y + (0.15 if place else -0.15), pattern, size, align="left")


def _queue(axes: Axes, y: int, row: QueueRow, size: Size) -> None:
    left, right = QUEUES
    _box(axes, QUEUES, y, 0.74, INK)
    _text(axes, left + 1, y - 0.19, row.queue, size, align="left", weight="bold")
    number = f"{row.ready} ready, {row.in_hand} in hand"
    _text(axes, right - 1, y - 0.19, number, size, align="right")
    step = (right - left - 2) / (CELLS + 1.6)
    drawn = ["in hand"] * row.in_hand + ["ready"] * row.ready
    for place in range(CELLS):
        # The head of the queue is at the right, where the workers are.
        x = right - 1 - (place + 1) * step
        style = STYLES[drawn[place]] if place < len(drawn) else STYLES["none"]
        axes.add_patch(Rectangle((x, y + 0.04), step * 0.84, 0.25, linewidth=0.8, zorder=3, **style))
    if len(drawn) > CELLS:
        _text(axes, right - 1.4 - CELLS * step, y + 0.165, f"+{len(drawn) - CELLS}", size, align="right")


def _workers(axes: Axes, places: Sequence[int], workers: Sequence[WorkerRow], kind: str, size: Size) -> None:
    y = sum(places) / len(places)
    shown = _chosen(workers)
    height = 0.36
    top = y - height * (max(len(shown), 1) - 1) / 2
    if not shown:
        _text(axes, WORKERS[0], y, f"no {kind} worker", size, align="left", colour=GREY)
    for n, worker in enumerate(shown):
        at = top + n * height
        _box(axes, WORKERS, at, height * 0.84, COLOURS[worker.state])
        said = f"{SIGNS[worker.state]} {worker.name}" + f" {worker.state}" * (worker.state != "alive")
        _text(axes, WORKERS[0] + 1, at, said, size, align="left", colour=COLOURS[worker.state])
    if len(workers) > len(shown):
        _text(axes, WORKERS[1] - 1, top, f"+{len(workers) - len(shown)}", size, align="right", colour=GREY)
    living = [top + n * height for n, worker in enumerate(shown) if worker.state == "alive"]
    if living:
        for place in places:
            _arrow(axes, (QUEUES[1], place), (WORKERS[0], sum(living) / len(living)), size, GREEN)


def _chosen(workers: Sequence[WorkerRow]) -> list[WorkerRow]:
    """Those alive, and as many of the others as there is room for; the latest of each."""
    by_interest = sorted(range(len(workers)), key=lambda n: (workers[n].state == "alive", n))
    return [workers[n] for n in sorted(by_interest[-SHOWN:])]


def _dead(axes: Axes, y: int, seen: Seen, size: Size) -> None:
    colour = VERMILION if seen.dead else GREY
    axes.plot([sum(QUEUES) / 2] * 2, (y - 0.63, y - 0.18), color=colour, linewidth=1.8, linestyle=(0, (3, 2)), zorder=1)
    _box(axes, QUEUES, y + 0.05, 0.46, colour)
    _text(axes, QUEUES[0] + 1, y + 0.05, "dead letters", size, align="left", colour=colour, weight="bold")
    _text(axes, QUEUES[1] - 1, y + 0.05, f"{'✗ ' * bool(seen.dead)}{seen.dead}", size, align="right", colour=colour)
    if seen.delayed:
        _text(
            axes, WORKERS[0], y + 0.05, f"↻ {seen.delayed} wait to be\ntried again", size, align="left", colour=ORANGE
        )


STYLES: dict[str, dict[str, Any]] = {
    "ready": {"facecolor": BLUE, "edgecolor": INK},
    "in hand": {"facecolor": ORANGE, "edgecolor": INK, "hatch": "//"},
    "none": {"facecolor": "white", "edgecolor": FAINT},
}


def _legend(figure: Figure, size: Size) -> None:
    figure.legend(
        handles=[Patch(**STYLES["ready"], label="ready: it waits"),
                 Patch(**STYLES["in hand"], label="in hand: not acknowledged")],
        loc="lower left", ncols=2, frameon=False, fontsize=points(size), labelcolor=INK, handlelength=1.2,
        handletextpad=0.4, columnspacing=1.4, borderpad=0.2, borderaxespad=0.2, bbox_to_anchor=(0, 0),
    )  # fmt: skip


def _box(axes: Axes, x: tuple[float, float], y: float, height: float, colour: str) -> None:
    axes.add_patch(Rectangle((x[0], y - height / 2), x[1] - x[0], height, facecolor="white", edgecolor=colour,
                             linewidth=1.6, zorder=2))  # fmt: skip


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], size: Size, colour: str = GREY) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.8, "shrinkA": 0,
                  "shrinkB": 0, "mutation_scale": size.font * 0.9}, zorder=1)  # fmt: skip


def _text(
    axes: Axes, x: float, y: float, text: str, size: Size, *, align: str = "center", weight: str = "normal",
    colour: str = INK,
) -> None:  # fmt: skip
    axes.text(x, y, text, ha=align, va="center", fontsize=points(size), color=colour, fontweight=weight,
              linespacing=1.1, zorder=4, parse_math=False)  # fmt: skip
