"""The whole benchmark at a tiny size: it works, and its table is about what is measured. No time is asserted."""

from __future__ import annotations

import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import benchmarks.__main__ as command
from benchmarks.__main__ import AREAS, RESULTS, races_of
from benchmarks.measuring import TINY, Bench, Measured, NotHere, Race, measure
from tests.conftest import ROOT


@pytest.mark.parametrize("area", AREAS)
def test_each_area_measures_every_side(area: str, tmp_path: Path) -> None:
    """In a thread of its own: some areas run an event loop, and other tests may have left one running in this."""
    try:
        with ThreadPoolExecutor(1) as thread:
            found = thread.submit(measured_areas, area, tmp_path).result()
    except NotHere as error:
        pytest.skip(str(error))
    written = RESULTS.read_text(encoding="utf-8")
    assert found
    for measured in found:
        what = measured.of
        names = {side.name for side in what.sides}
        assert len(names) == len(what.sides)
        assert any(side.kind == "ours" for side in what.sides)
        for name in names:
            assert all(math.isfinite(figure) and figure > 0 for figure in measured.figures[name]), name
        if isinstance(what, Race):
            assert {name for goal in what.goals for name in goal[:2]} <= names
        assert what.title in written, "benchmarks/RESULTS.md is of another benchmark: run `make bench`"


def measured_areas(area: str, folder: Path) -> list[Measured]:
    return [measure(what, TINY) for what in races_of(area)(Bench(folder, TINY))]


def test_one_command_prints_the_table_and_writes_it(tmp_path: Path) -> None:
    out = tmp_path / "results.md"
    command = [sys.executable, "-m", "benchmarks", "--tiny", "--only", "appending", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert out.read_text(encoding="utf-8") == done.stdout
    assert "## The goals" in done.stdout
    assert "append" in done.stdout


def test_a_peer_that_is_missing_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "blinker", None)
    monkeypatch.delitem(sys.modules, "benchmarks.dispatch", raising=False)
    with pytest.raises(NotHere, match="blinker is not installed: `make peers`"):
        races_of("dispatch")


@pytest.mark.parametrize(
    ("options", "missing", "written", "code"),
    [
        ([], {}, True, 0),
        ([], {"rabbit": "RabbitMQ is not installed."}, True, 1),
        (["--tiny"], {}, False, 0),
        (["--only", "dispatch"], {}, False, 0),
    ],
    ids=["whole", "something is missing", "tiny", "a part"],
)
def test_only_a_whole_run_replaces_the_results(
    options: list[str],
    missing: dict[str, str],
    written: bool,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *options])
    monkeypatch.setattr(command, "RESULTS", tmp_path / "RESULTS.md")
    monkeypatch.setattr(command, "measure_areas", lambda areas, bench: ([], missing))
    assert command.main() == code
    assert (tmp_path / "RESULTS.md").exists() is written
