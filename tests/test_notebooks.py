"""`make notebooks`: what it drops, what it keeps, and that a second run changes no byte."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.support import notebooks

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code(source: str, **rest: Any) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": "code", "source": source, "metadata": {}, "outputs": []}
    return cell | {"execution_count": None} | rest


@pytest.fixture
def lesson(tmp_path: Path) -> Path:
    """A lesson as an editor leaves it, with all that differs from one run to the next."""
    view = {"model_id": "0123456789abcdef", "version_major": 2, "version_minor": 0}
    widget = {
        "output_type": "display_data",
        "data": {notebooks.WIDGET_VIEW: view, "text/plain": "Panel(fired=1)"},
        "metadata": {},
    }
    cells = [
        {"cell_type": "markdown", "source": "# A lesson", "metadata": {"editable": True}},
        code("panel", id="panel", outputs=[widget], metadata={"tags": ["show"], "execution": {"a": "12:00"}}),
        code("print('Привіт')\nprint('×')", id="panel"),
        code("1 / 0", id="error", metadata={"tags": ["raises-exception"]}),
        code("import sys; sys.version_info > (3, 11)", id="kept"),
    ]
    metadata = {"language_info": {"name": "python", "version": "3.10.1"}, "widgets": {"state": {}}}
    path = tmp_path / "lesson.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}))
    return path


def test_what_differs_between_runs_is_dropped_and_what_is_read_stays(lesson: Path) -> None:
    assert notebooks.main([str(lesson)]) == 0
    content = json.loads(lesson.read_text(encoding="utf-8"))
    assert content["metadata"] == notebooks.METADATA
    title, panel, *_ = content["cells"]
    assert title["metadata"] == {}
    assert panel["metadata"] == {"tags": ["show"]}
    assert panel["outputs"][0]["data"] == {"text/plain": ["Panel(fired=1)"]}


def test_every_cell_has_an_id_of_its_own_and_keeps_it(lesson: Path) -> None:
    notebooks.main([str(lesson)])
    ids = [cell["id"] for cell in json.loads(lesson.read_text(encoding="utf-8"))["cells"]]
    assert len(set(ids)) == 5
    assert (ids[1], ids[3], ids[4]) == ("panel", "error", "kept")


def test_a_second_normalisation_changes_nothing(lesson: Path) -> None:
    notebooks.main([str(lesson)])
    once = lesson.read_bytes()
    notebooks.main([str(lesson)])
    assert lesson.read_bytes() == once
    assert once.endswith(b"}\n")


def test_an_error_that_is_meant_keeps_its_sentence_and_names_no_folder(lesson: Path) -> None:
    content = json.loads(lesson.read_text())
    del content["cells"][1]  # names a panel that isn't there
    lesson.write_text(json.dumps(content))
    assert notebooks.main(["--execute", str(lesson)]) == 0
    printed, error, value = json.loads(lesson.read_text(encoding="utf-8"))["cells"][1:]
    assert printed["outputs"][0]["text"] == ["Привіт\n", "×\n"]
    assert error["outputs"][0]["traceback"] == ["ZeroDivisionError: division by zero"]
    assert value["outputs"][0]["data"] == {"text/plain": ["True"]}
    assert [cell["execution_count"] for cell in (printed, error, value)] == [1, 2, 3]


def test_a_lesson_that_fails_is_left_as_it_was(lesson: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = lesson.read_bytes()
    assert notebooks.main(["--execute", str(lesson)]) == 1
    assert lesson.read_bytes() == before
    said = capsys.readouterr().err
    assert f"{lesson}: left as it was" in said
    assert "name 'panel' is not defined" in said


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_is_committed_normalised(path: Path) -> None:
    notebook = notebooks.read(path)
    notebooks.normalise(notebook)
    assert notebooks.text(notebook) == path.read_text(encoding="utf-8"), "make notebooks"


LOCKED = f"matplotlib=={version('matplotlib')} " in (ROOT / "requirements.lock").read_text(encoding="utf-8")


@pytest.mark.skipif(
    sys.platform != "linux" or not LOCKED,
    reason="a picture has the same bytes on Linux with the lock's matplotlib: make test",
)
def test_executing_the_first_lesson_again_changes_no_byte(tmp_path: Path) -> None:
    copy = tmp_path / LESSONS[0].name
    shutil.copyfile(LESSONS[0], copy)
    assert notebooks.main(["--execute", str(copy)]) == 0
    assert copy.read_bytes() == LESSONS[0].read_bytes(), "make notebooks"
