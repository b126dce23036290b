"""The timeline of a saga: its steps as rows, its attempts from left to right, and where it was killed and taken up."""

# ruff: noqa: I001  (two lines of names read better than one name a line)

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ecomlib.checkout import STEPS
from ecomlib.lab.figures import BLUE, FAINT, GREEN, INK, NORMAL, ORANGE, VERMILION
from ecomlib.lab.figures import Size, blank, describe, points
from ecomlib.lab.saga_rows import Moment

PIVOT = STEPS[-1]
COLUMNS = 9  # at least: so a short saga has no wide blocks
# The sign says it, the hatch says it too; the colour only helps. What a compensation gives back has its own colour.
STYLES: dict[str, tuple[str, str, str]] = {
    "done": ("✓", BLUE, ""),
    "compensated": ("↶", ORANGE, "//"),
    "failed": ("✗", VERMILION, "xx"),
    "in doubt": ("?", FAINT, ".."),
}
MARKS = {"killed": VERMILION, "recovered": GREEN, "resumed": GREEN}


def timeline(moments: Sequence[Moment], *, title: str, size: Size = NORMAL) -> Figure:
    """One column for each moment. `title` says which saga it is, and how it ended."""
    figure, axes = blank(title, size, left=6.2 * size.font, bottom=2.2)
    columns = max(len(moments), COLUMNS)
    axes.set(xlim=(0, columns), ylim=(len(STEPS) - 0.45, -1.15))
    axes.set_xticks([])
    axes.set_yticks(range(len(STEPS)), [f"{step}\n(pivot)" if step == PIVOT else step for step in STEPS])
    for row in range(len(STEPS)):
        axes.axhline(row, color=FAINT, linewidth=1, zorder=0)
    axes.axhline(len(STEPS) - 1.5, color=INK, linewidth=1, linestyle=(0, (2, 3)), zorder=0)
    before: tuple[float, float] | None = None
    for column, moment in enumerate(moments):
        if moment.what in MARKS:
            _mark(axes, column, columns, moment.what, size)
            continue
        here = (column + 0.5, float(STEPS.index(moment.step)))
        if before:
            axes.plot(*zip(before, here, strict=True), color=INK, linewidth=1, zorder=1)
        _block(axes, here, moment, size)
        before = here
    legend = [Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=f"{sign} {name}")
              for name, (sign, colour, hatch) in STYLES.items()]  # fmt: skip
    figure.legend(
        handles=legend, loc="lower left", ncols=4, frameon=False, fontsize=points(size), labelcolor=INK,
        handlelength=1.2, handletextpad=0.4, columnspacing=1.0, borderpad=0.2, borderaxespad=0.2,
    )  # fmt: skip
    return describe(figure, f"{title}: {'; '.join(map(words, moments)) or 'nothing yet'}.")


def words(moment: Moment) -> str:
    if moment.what in MARKS:
        return moment.what
    kind = " compensation" if moment.what == "compensation" else ""
    return f"{moment.step}{kind}, attempt {moment.attempt}: {moment.verdict}"


def style(moment: Moment) -> str:
    if moment.verdict == "done":
        return "compensated" if moment.what == "compensation" else "done"
    return "in doubt" if moment.verdict == "in doubt" else "failed"


def sign(moment: Moment) -> str:
    """As the timeline shows it: a compensation that failed has both signs."""
    back = "↶" if moment.what == "compensation" and moment.verdict != "done" else ""
    return back + STYLES[style(moment)][0]


def _block(axes: Axes, here: tuple[float, float], moment: Moment, size: Size) -> None:
    _, colour, hatch = STYLES[style(moment)]
    x, row = here
    axes.add_patch(Rectangle((x - 0.44, row - 0.32), 0.88, 0.64, facecolor=colour, hatch=hatch, edgecolor="white",
                             linewidth=0, zorder=2))  # fmt: skip
    said = sign(moment) + (str(moment.attempt) if moment.attempt > 1 else "")
    axes.text(x, row, said, ha="center", va="center", fontsize=points(size), color=INK, zorder=3,
              bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"})  # fmt: skip


def _mark(axes: Axes, column: int, columns: int, what: str, size: Size) -> None:
    """A line through all steps. The deaths' names stand above those of the new beginnings, so none hides another."""
    killed = what == "killed"
    x, row = column + (0.55 if killed else 0.45), -0.95 if killed else -0.55
    axes.plot((x, x), (row + 0.15, len(STEPS)), color=MARKS[what], linewidth=2.5, linestyle="--" if killed else "-")
    left = column > 1 if killed else column > columns - 3
    axes.text(x, row, "killed ✗" if killed else f"▶ {what}", ha="right" if left else "left", va="center",
              fontsize=points(size), color=INK, fontweight="bold")  # fmt: skip
