"""JupyterLab as a learner opens it, in a real Chromium: one server and one browser for all browser tests."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Browser, Locator, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 60_000  # milliseconds: for a machine that is busy with something else
READY = """() => {
    const kernel = window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel;
    return kernel?.connectionStatus === 'connected' && kernel.status === 'idle';
}"""
# Cells that are far from the screen aren't drawn, so they are asked by way of the notebook's model.
CELLS = """
    const cells = [...jupyterapp.shell.currentWidget.content.model.cells].filter(c => c.type === 'code').map(c => ({
        count: c.executionState === 'running' ? 0 : c.executionCount,
        meant: (c.getMetadata('tags') ?? []).includes('raises-exception'),
        errors: c.outputs.toJSON().filter(o => o.output_type === 'error').map(o => `${o.ename}: ${o.evalue}`),
    }));
    const failed = cells.filter(c => !c.meant).flatMap(c => c.errors);
"""
THEMES = "/lab/api/settings/@jupyterlab/apputils-extension:themes"


@dataclass(frozen=True)
class Lab:
    folder: Path
    address: str
    token: str

    def ask(self, path: str, **options: Any) -> Any:
        request = urllib.request.Request(
            f"{self.address}{path}", headers={"Authorization": f"token {self.token}"}, **options
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()

    def theme(self, name: str) -> None:
        """For pages that are opened from now on."""
        said = json.dumps({"raw": json.dumps({"theme": name})})
        self.ask(THEMES, method="PUT", data=said.encode())

    def write(self, name: str, *cells: str) -> None:
        notebook = nbformat.v4.new_notebook(  # type: ignore[no-untyped-call]
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],  # type: ignore[no-untyped-call]
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        )
        nbformat.write(notebook, self.folder / name)  # type: ignore[no-untyped-call]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A server with a token, an empty home, and a copy of the lessons."""
    home = tmp_path_factory.mktemp("home")
    folder = home / "notebooks"
    if (ROOT / "notebooks").exists():
        shutil.copytree(ROOT / "notebooks", folder)
    folder.mkdir(exist_ok=True)
    lab = Lab(folder, f"http://127.0.0.1:{free_port()}", secrets.token_hex(16))
    places = {f"JUPYTER_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    log = home / "log"
    server = subprocess.Popen(
        [
            sys.executable, "-m", "jupyterlab", "-y", "--allow-root", "--no-browser", "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={lab.address.rpartition(':')[2]}", f"--IdentityProvider.token={lab.token}",
            f"--ServerApp.root_dir={folder}", "--LanguageServerManager.autodetect=False",
            "--KernelManager.transport_encryption=auto",
            "--LabApp.expose_app_in_browser=True",
        ],
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
        env={**os.environ, **places, "HOME": str(home), "IPYTHONDIR": str(home / "ipython")},
    )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE / 1000
        while True:
            with suppress(OSError):
                lab.ask("/api/status")
                break
            with suppress(subprocess.TimeoutExpired):
                server.wait(timeout=0.1)
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
        yield lab
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.fixture(scope="package")  # no longer: while Playwright runs, no other test of this thread can use asyncio
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield running
        running.close()


@dataclass(frozen=True)
class Notebook:
    page: Page

    def run_all(self) -> None:
        """As the menu's Run All Cells does; returns when every code cell has run, or one has failed."""
        self.page.evaluate(
            "() => { for (const c of jupyterapp.shell.currentWidget.content.model.cells) c.executionCount = null; }"
        )
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.locator('[data-command="runmenu:run-all"]').click()
        self.page.wait_for_function(f"() => {{ {CELLS} return cells.every(c => c.count) || failed.length; }}")

    def errors(self) -> list[str]:
        """Of cells that aren't marked as meant to fail."""
        return [str(error) for error in self.page.evaluate(f"() => {{ {CELLS} return failed; }}")]

    def find(self, name: str) -> Locator:
        return self.page.locator(f".ecomlib-{name}").first

    def choose(self, name: str, option: str) -> None:
        self.find(name).get_by_role("button", name=option, exact=True).click()

    def text(self, name: str) -> str:
        return self.find(name).inner_text()

    def picture(self) -> str:
        return str(self.find("chart").get_attribute("src"))

    def picture_bytes(self) -> bytes:
        script = "async e => Array.from(new Uint8Array(await (await fetch(e.src)).arrayBuffer()))"
        return bytes(self.find("chart").evaluate(script))

    def name_of_picture(self) -> str:
        """What a screen reader says."""
        return self.page.get_by_role("img").and_(self.page.locator(".ecomlib-chart")).get_attribute("title") or ""

    def wait_for_name_of_picture(self, words: str) -> None:
        self.page.wait_for_function(
            "words => document.querySelector('.ecomlib-chart').title.includes(words)", arg=words, timeout=PATIENCE
        )

    def focused(self) -> str:
        return str(self.page.evaluate("() => document.activeElement.innerText"))

    def focus_is_visible(self) -> bool:
        return bool(self.page.evaluate("() => parseFloat(getComputedStyle(document.activeElement).outlineWidth) >= 2"))

    def is_on_screen(self, name: str) -> bool:
        """All of it, and in front: not behind a toolbar."""
        return bool(
            self.find(name).evaluate("""e => {
                const box = e.getBoundingClientRect();
                return [[box.left + 2, box.top + 2], [box.right - 2, box.bottom - 2]].every(([x, y]) => {
                    const top = document.elementFromPoint(x, y);
                    return top && (e.contains(top) || top.contains(e));
                });
            }""")
        )

    def wait(self, name: str, expected: str) -> None:
        """Until the text is there."""
        self.page.wait_for_function(
            "([name, text]) => document.querySelector(`.ecomlib-${name}`)?.innerText.includes(text)",
            arg=[name, expected],
            timeout=PATIENCE,
        )

    def wait_for_another_picture(self, than: str) -> None:
        self.page.wait_for_function(
            "before => document.querySelector('.ecomlib-chart').src !== before", arg=than, timeout=PATIENCE
        )

    def shot(self, name: str) -> None:
        """Into the folder that ECOMLIB_SHOTS names; nowhere without it."""
        folder = os.environ.get("ECOMLIB_SHOTS")
        if folder:
            self.page.screenshot(path=Path(folder, f"{name}.png"))


@pytest.fixture
def open_notebook(lab: Lab, browser: Browser) -> Iterator[Callable[..., Notebook]]:
    """Open a notebook of the lab's folder at 1280x800, its kernel idle: alone, or in `lab` beside the list of files."""
    pages: list[Page] = []

    def open_(name: str, view: str = "doc") -> Notebook:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(PATIENCE)
        pages.append(page)
        page.goto(f"{lab.address}/{view}/tree/{name}?reset&token={lab.token}")
        page.wait_for_function(READY)
        return Notebook(page)

    yield open_
    for page in pages:
        page.close()
    for session in json.loads(lab.ask("/api/sessions")):
        lab.ask(f"/api/sessions/{session['id']}", method="DELETE")


Open = Callable[..., Notebook]


def opened(open_notebook: Open, name: str, view: str = "doc") -> Notebook:
    notebook = open_notebook(name, view)
    notebook.run_all()
    assert not notebook.errors()
    notebook.page.wait_for_function("() => document.querySelector('.ecomlib-chart')?.complete")
    return notebook


def click(notebook: Notebook, button: str, said: str) -> None:
    """And wait until the panel says so, with another picture."""
    before = notebook.picture()
    notebook.find(button).click()
    notebook.wait("said", said)
    notebook.wait_for_another_picture(before)
