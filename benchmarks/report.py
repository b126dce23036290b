"""What was measured, as tables in Markdown: first the goals, then every figure."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.measuring import Measured, Race, Spread

PACKAGES = (  # ours and the peers, as far as they are installed
    *("ecomlib", "pydantic", "pika", "fastapi", "uvicorn", "pandas", "matplotlib", "jupyterlab", "nbval"),
    *("blinker", "pyee", "pymitter", "pyarrow", "polars", "duckdb", "aio-pika", "kombu", "faststream"),
)
ABOUT = """\
`make bench` made this. All sides of a comparison do the same work and take turns. A rate is the median of the rounds,
with the least and the most beside it; a ratio is taken round by round, so that a machine whose speed drifts does not
matter. *Ours* is this project, a *peer* what one would take instead, a *limit* what the machine allows.
"""


def report(measured: Iterable[Measured], missing: Mapping[str, str], versions: Mapping[str, str]) -> str:
    """`missing` says, by area, why it was not measured."""
    found = list(measured)
    parts = ["# Speed, side by side", ABOUT, machine(versions), "## The goals", goals(found), "## All figures"]
    parts.append(figures(found))
    if missing:
        parts += ["## Not measured", "\n".join(f"- {area}: {why}" for area, why in missing.items())]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def goals(measured: Iterable[Measured]) -> str:
    rows = []
    for m in measured:
        if isinstance(m.of, Race):
            for goal in m.of.goals:
                ratio = m.ratio(goal)
                mark = "✓" if ratio.median >= goal.times else "✗ missed"
                rows.append((m.of.title, goal.ours, goal.beside, _spread(ratio), f"≥ {goal.times:g}", mark))
        elif m.of.at_most is not None:
            for side in (side for side in m.of.sides if side.kind == "ours"):
                spread = m.spread(side.name)
                mark = "✓" if spread.median <= m.of.at_most else "✗ missed"
                least = f"≤ {m.of.at_most:g} {m.of.unit}"
                rows.append((m.of.title, side.name, "–", f"{_spread(spread)} {m.of.unit}", least, mark))
    return _table(("what", "ours", "beside", "ratio, or figure (least to most)", "goal", ""), rows)


def figures(measured: Iterable[Measured]) -> str:
    """Beside each peer and limit stands how many times faster the first of ours is."""
    rows = []
    for m in measured:
        first = next((side.name for side in m.of.sides if side.kind == "ours"), None)
        race = isinstance(m.of, Race)
        for side in m.of.sides:
            ratio = ""
            if race and first is not None and side.name != first:
                pairs = zip(m.figures[first], m.figures[side.name], strict=True)
                ratio = _spread(Spread.of([ours / other for ours, other in pairs]))
            unit = f"{m.of.unit} a second" if race else m.of.unit
            rows.append((m.of.title, side.name, side.kind, f"{_spread(m.spread(side.name))} {unit}", ratio))
    return _table(("what", "side", "", "figure (least to most)", "the first of ours is so many times as fast"), rows)


def machine(versions: Mapping[str, str]) -> str:
    known = {name: found for name in PACKAGES if (found := _version(name))}
    lines = [
        f"Measured on {datetime.now(UTC):%Y-%m-%d}, with Python {platform.python_version()} on {platform.system()} "
        f"({platform.machine()}), {os.cpu_count()} × {_processor()}.",
        ", ".join(f"{name} {number}" for name, number in (known | dict(versions)).items()) + ".",
    ]
    return "\n\n".join(lines)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def _spread(spread: Spread) -> str:
    middle = _number(spread.median)
    least, most = _number(spread.least), _number(spread.most)
    return middle if least == most else f"{middle} ({least} to {most})"


def _number(value: float) -> str:
    """Three digits that say something."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    digits = max(2 - math.floor(math.log10(abs(value))), -10)
    return f"{round(value, digits):,.{max(digits, 0)}f}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
