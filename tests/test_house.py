"""The house: who may import whom, how much there is to read, and the form of a lesson."""

from __future__ import annotations

import ast
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "ecomlib"
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))

# A module imports from its own floor downwards. A new module gets its place here first.
FLOORS: tuple[set[str], ...] = (
    {
        "errors",
        "events",
        "envelope",
        "ids",
        "factory",
        "catalogue",
        "patterns",
        "pattern_index",
        "values",
        "ports",
        "settings",
        "clock",
        "zones",
    },
    {
        "subscriptions",
        "scheduler",
        "worker_threads",
        "interrupts",
        "bus",
        "files",
        "records",
        "sharing",
        "partition",
        "log",
        "locks",
        "membership",
        "positions",
        "offsets",
        "folders",
        "assignment",
        "groups",
        "replay",
        "topology",
        "amqp",
        "sending",
        "publishing",
        "dead_letters",
        "serving",
        "consuming",
        "draining",
        "rabbitmq",
    },
    {
        "shop",
        "saga",
        "story",
        "steps",
        "checkout",
        "choreography",
        "commands",
        "services",
        "traffic",
        "habits",
        "sampling",
        "olist",
        "original",
        "importing",
        "faults",
        "workers",
    },
    {"lab", "web", "webhook", "live", "checkout_worker", "broker"},
    {"cli", "verbs", "__main__", "doctor"},
)
ENGINES = FLOORS[1] - {"replay", "topology"}  # a fold over any log, and the names of queues: no engines
READING_LIST = ("events", "patterns", "ports", "bus", "log", "groups", "saga", "rabbitmq")
JUPYTER = {"IPython", "ipykernel", "ipywidgets", "traitlets", "jupyter_core", "jupyter_client", "jupyterlab"}


def modules() -> list[Path]:
    return sorted(path for path in LIBRARY.rglob("*.py") if path != LIBRARY / "__init__.py")


def name_of(path: Path) -> str:
    """The place in the house: `bus` for bus.py, `services` for all that is in services/."""
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


def floor_of(name: str) -> int:
    for number, names in enumerate(FLOORS):
        if name in names:
            return number
    raise AssertionError(f"ecomlib/{name} has no floor yet: see FLOORS in tests/test_house.py")


def imports(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, wherever in the file it stands, with its full name."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def neighbours(path: Path) -> set[str]:
    """The parts of the house that a file imports."""
    parts = (name.split(".") for name in imports(path))
    known = set().union(*FLOORS)
    return {part[1] for part in parts if part[0] == "ecomlib" and len(part) > 1 and part[1] in known}


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", modules(), ids=shown)
def test_a_module_imports_from_its_own_floor_downwards(path: Path) -> None:
    floor = floor_of(name_of(path))
    upwards = {name for name in neighbours(path) if floor_of(name) > floor}
    assert not upwards, f"{shown(path)} stands on floor {floor} and imports {upwards} from above"


def test_of_the_business_only_the_shop_picks_engines() -> None:
    for path in modules():
        if floor_of(name_of(path)) == 2 and name_of(path) != "shop":
            assert not neighbours(path) & ENGINES, f"{shown(path)} is handed an engine, and imports none"


def test_only_the_lab_imports_widgets_or_matplotlib() -> None:
    for path in modules():
        roots = {name.partition(".")[0] for name in imports(path)}
        assert name_of(path) == "lab" or not roots & {"ipywidgets", "matplotlib"}, shown(path)


def test_the_library_is_cheap_to_import_and_starts_no_thread() -> None:
    """In a process of its own: floors 0 to 2 bring neither Jupyter, matplotlib nor pandas with them."""
    low = ["ecomlib"]
    for path in modules():
        if floor_of(name_of(path)) <= 2:
            low.append(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    program = (
        f"import importlib, json, sys, threading\nfor name in {low}: importlib.import_module(name)\n"
        "print(json.dumps([threading.active_count(), list(sys.modules)]))"
    )
    run = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, timeout=60)
    threads, names = json.loads(run.stdout)
    loaded = {name.partition(".")[0] for name in names}
    assert set(low) <= set(names)
    assert not loaded & (JUPYTER | {"matplotlib", "pandas", "numpy"})
    assert threads == 1


def test_the_first_lessons_wait_for_no_web_server_and_no_client_of_a_broker() -> None:
    program = "import sys\nfrom ecomlib.lab import Panel, check, show_code\ncheck('01.1', ...)\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, timeout=60)
    loaded = set(run.stdout.decode().split())
    assert "ecomlib.lab.panel" in loaded
    assert not loaded & {"fastapi", "uvicorn", "httpx", "pika"}


def test_the_core_can_be_read_in_an_afternoon() -> None:
    files = [LIBRARY / f"{name}.py" for name in READING_LIST]
    lines = {path.stem: len(path.read_text(encoding="utf-8").splitlines()) for path in files if path.exists()}
    assert sum(lines.values()) < 1200, lines


def test_only_the_doors_print() -> None:
    for path in modules():
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        lines = [node.lineno for node in nodes if isinstance(node, ast.Name) and node.id == "print"]
        assert not lines or name_of(path) in {"cli", "verbs", "__main__", "doctor"}, shown(path)


def code_cells(lesson: Path) -> list[dict[str, Any]]:
    cells = json.loads(lesson.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


@pytest.mark.parametrize("lesson", LESSONS, ids=shown)
class TestALesson:
    def test_is_committed_as_it_was_run_from_top_to_bottom(self, lesson: Path) -> None:
        counts = [cell["execution_count"] for cell in code_cells(lesson)]
        assert counts == list(range(1, len(counts) + 1)), "make notebooks"

    def test_begins_with_its_title(self, lesson: Path) -> None:
        first = json.loads(lesson.read_text(encoding="utf-8"))["cells"][0]
        assert first["cell_type"] == "markdown"
        assert source(first).startswith("# ")

    def test_has_short_cells(self, lesson: Path) -> None:
        lengths = {cell["id"]: len(source(cell).splitlines()) for cell in code_cells(lesson)}
        assert statistics.median(lengths.values()) <= 5
        assert not {cell: length for cell, length in lengths.items() if length > 20}

    def test_keeps_no_widget_state(self, lesson: Path) -> None:
        assert "widget-state+json" not in lesson.read_text(encoding="utf-8")

    def test_shows_an_error_only_where_it_means_to(self, lesson: Path) -> None:
        for cell in code_cells(lesson):
            failed = any(output["output_type"] == "error" for output in cell["outputs"])
            assert not failed or "raises-exception" in cell["metadata"].get("tags", []), source(cell)

    def test_never_sleeps(self, lesson: Path) -> None:
        for cell in code_cells(lesson):
            tree = ast.parse(TransformerManager().transform_cell(source(cell)))  # type: ignore[no-untyped-call]
            names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
            assert "sleep" not in names, source(cell)
