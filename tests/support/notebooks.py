"""Put lessons into the one form in which they are committed: executed in order, the same bytes everywhere.

    python tests/support/notebooks.py notebooks/01_event_bus.ipynb             # normalise what is there
    python tests/support/notebooks.py --execute notebooks/01_event_bus.ipynb   # run every cell first

A lesson that fails is left as it was; the sentence on standard error says which cell of which lesson failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

CELL_TIMEOUT = 60  # seconds; nbval allows a cell the same
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},  # its version would differ from one Python to the next
}
CELL_METADATA = {"tags", "jupyter", "slideshow"}
# It names a model by a random id; the PNG beside it stays.
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def read(path: Path) -> nbformat.NotebookNode:
    """The notebook, each cell with an id of its own; where there was none, it follows from place and text."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content["nbformat_minor"] = max(5, content["nbformat_minor"])
    taken: set[str] = set()
    for number, cell in enumerate(content["cells"]):
        if cell.get("id") in taken | {None}:
            said = f"{number} {cell['cell_type']} {''.join(cell['source'])}"
            cell["id"] = hashlib.sha256(said.encode()).hexdigest()[:8]
        taken.add(cell["id"])
    return nbformat.reads(json.dumps(content), as_version=4)  # type: ignore[no-untyped-call, no-any-return]


def execute(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Run every cell in a new kernel, in `folder`. Raises what nbclient raises when a cell fails."""
    NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],  # a kernel of one's own needs no advice about encryption
    ).execute()


def normalise(notebook: nbformat.NotebookNode) -> None:
    """Drop what differs between two runs, two machines or two Pythons, and keep what a reader sees."""
    notebook.metadata = nbformat.from_dict(METADATA)  # type: ignore[no-untyped-call]
    for cell in notebook.cells:
        cell.metadata = {key: cell.metadata[key] for key in sorted(CELL_METADATA & set(cell.metadata))}
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET_VIEW, None)
            if output.output_type == "error":  # its frames name the machine's folders and the library's lines
                output.traceback = [f"{output.ename}: {output.evalue}"]


def text(notebook: nbformat.NotebookNode) -> str:
    """As nbformat writes it, with a newline at the end. Raises its ValidationError for anything else."""
    nbformat.validate(notebook)
    return str(nbformat.writes(notebook)) + "\n"  # type: ignore[no-untyped-call]


def replace(path: Path, content: str) -> bool:
    """Write whole or not at all; say whether anything changed."""
    if path.read_text(encoding="utf-8") == content:
        return False
    new = path.with_suffix(".new")
    new.write_text(content, encoding="utf-8", newline="\n")
    os.replace(new, path)
    return True


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Normalise lessons in place; a second run changes no byte.")
    parser.add_argument("--execute", action="store_true", help="run every cell first")
    parser.add_argument("lessons", nargs="+", type=Path, metavar="NOTEBOOK")
    options = parser.parse_args(arguments)
    failed = 0
    for path in options.lessons:
        notebook = read(path)
        try:
            if options.execute:
                execute(notebook, path.parent)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            print(f"{path}: left as it was, for a cell failed:\n{error}", file=sys.stderr)
            failed += 1
            continue
        normalise(notebook)
        print(f"{path}: {'written' if replace(path, text(notebook)) else 'unchanged'}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
