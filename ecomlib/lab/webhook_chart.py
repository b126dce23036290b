"""The requests to the webhook, each as an arrow that says how far it came, and an answer that comes back or not."""

# ruff: noqa: I001  (two lines of names read better than one name a line)

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ecomlib.lab.figures import BLUE, FAINT, GREEN, INK, NORMAL, VERMILION
from ecomlib.lab.figures import Size, blank, describe, points
from ecomlib.lab.wire import Verdict
from ecomlib.lab.webhook_rows import PLACES, SIGNS, Path

COLOURS: dict[Verdict, str] = {"taken": BLUE, "again": GREEN, "refused": VERMILION, "no answer": INK}
ENDS = {"caller": "✗", "webhook": "✗", "log": "■", "customer": "✉"}  # what stands where a request came to its end
LINE = 2.4  # lines of text that a row is high: the request, and the answer below it
LOST = 0.6  # where an answer is lost, on its way from the webhook to the caller
LEAST = 4  # rows: so that a few requests stay together at the top


def journeys(paths: Sequence[Path], *, size: Size = NORMAL) -> Figure:
    """One row for each of the latest requests, as many as there is room for; the latest one is the lowest."""
    room = max(int((size.height / size.font - 4.4) / LINE), 1)
    shown = paths[-room:]
    title = "No request yet" if not paths else "One request" if len(paths) == 1 else f"{len(paths)} requests"
    title += f", the latest {len(shown)}" * (len(shown) < len(paths))
    figure, axes = blank(title, size, left=9.2 * size.font, right=3.2 * size.font, bottom=0.4)
    axes.set(xlim=(-0.12, 3.05), ylim=(max(len(shown), LEAST) - 0.4, -0.95))
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_yticks(range(len(shown)), [path.what for path in shown], parse_math=False)
    for x, place in enumerate(PLACES):
        axes.plot((x, x), (-0.55, max(len(shown), LEAST)), color=FAINT, linewidth=2, zorder=0)
        axes.text(x, -0.75, place, ha="center", va="center", fontsize=points(size), color=INK, fontweight="bold")
    for row, path in enumerate(shown):
        _request(axes, row, path, size)
        if path.reached != "caller":
            _answer(axes, row, path, size)
    return describe(figure, f"{title}: {'; '.join(map(words, shown)) or 'nothing yet'}.")


def words(path: Path) -> str:
    if path.reached == "caller":
        return f"{path.what}: no connection"
    far = {"webhook": "to the webhook", "log": "into the log", "customer": "to the customer"}[path.reached]
    return f"{path.what}: {far}, {answer(path)}"


def answer(path: Path) -> str:
    """A sign, and the status code if one came back."""
    return f"{SIGNS[path.verdict]} {path.code or path.verdict}"


def _request(axes: Axes, row: int, path: Path, size: Size) -> None:
    colour, y = COLOURS[path.verdict], row - 0.17
    end = PLACES.index(path.reached) or LOST
    axes.annotate("", (end, y), (0, y), arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 2.2,
                  "mutation_scale": size.font, "shrinkA": 0, "shrinkB": size.font * 0.35})  # fmt: skip
    for x in range(1, int(end)):
        axes.plot(x, y, "o", color=colour, markersize=size.font * 0.4, zorder=3)
    sign = "↶" if path.verdict == "again" else ENDS[path.reached]
    axes.text(end, y, sign, ha="center", va="center", fontsize=points(size) * 1.15, color=colour, zorder=4,
              bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none"})  # fmt: skip


def _answer(axes: Axes, row: int, path: Path, size: Size) -> None:
    colour, y = COLOURS[path.verdict], row + 0.2
    lost = path.code is None
    axes.annotate("", (LOST if lost else 0, y), (1, y), arrowprops={"arrowstyle": "-" if lost else "-|>",
                  "color": colour, "linewidth": 1.4, "linestyle": (0, (3, 2)), "shrinkA": 0, "shrinkB": 0,
                  "mutation_scale": size.font * 0.8})  # fmt: skip
    axes.text(LOST if lost else 0.5, y, "✗ lost" if lost else answer(path), ha="right" if lost else "center",
              va="center", fontsize=points(size), color=INK, zorder=4, bbox={"boxstyle": "round,pad=0.15",
              "facecolor": "white", "edgecolor": colour, "linewidth": 1})  # fmt: skip
