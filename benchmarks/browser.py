"""From a click to the picture that it changes, as a learner waits for it: JupyterLab, a kernel, and Chromium."""

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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nbformat
from playwright.sync_api import Page, Playwright, sync_playwright

from benchmarks.measuring import Bench, NotHere, Reading, Side

AT_MOST = 100.0  # milliseconds: what feels immediate
CLICKS = 15
PATIENCE = 60.0  # seconds
SHOP = """from ecomlib.shop import Shop
from ecomlib.traffic import run, simulate

shop = Shop()
run(shop.orders, shop.clock, simulate({orders}), settle=shop.run)
print(len(shop.bus.attempts), "records")"""
PANEL = "from ecomlib.lab import Panel\n\npanel = Panel(shop)\npanel"
READY = """() => {
    const kernel = window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel;
    return kernel?.connectionStatus === 'connected' && kernel.status === 'idle';
}"""
# From when the mouse button came up until the new picture was decoded, and the frame that shows it was drawn.
WATCH = """() => {
    const image = document.querySelector('.ecomlib-chart');
    window.took = new Promise(done => {
        let clicked;
        document.addEventListener('click', event => { clicked = event.timeStamp; }, { capture: true, once: true });
        new MutationObserver(async (changes, observer) => {
            observer.disconnect();
            await image.decode();
            requestAnimationFrame(() => setTimeout(() => done(performance.now() - clicked)));
        }).observe(image, { attributeFilter: ['src'] });
    });
}"""


def races(bench: Bench) -> Iterator[Reading]:
    """About 11 attempts come of an order, and the shop keeps the latest 10,000. A round is a click."""
    folder = bench.folder / "notebooks"
    folder.mkdir()
    cells = [nbformat.v4.new_code_cell(cell) for cell in (SHOP.format(orders=bench.count(1000)), PANEL)]  # type: ignore[no-untyped-call]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "panel.ipynb")  # type: ignore[no-untyped-call]
    with _lab(folder, bench.folder) as lab, _playwright() as playwright:  # the one starts while the other does
        browser = playwright.chromium.launch(
            executable_path=_chromium(), args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        bench.versions["Chromium"] = browser.version
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(PATIENCE * 1000)
        lab.wait()
        session = {"path": "panel.ipynb", "type": "notebook", "name": "", "kernel": {"name": "python3"}}
        lab.ask("/api/sessions", json.dumps(session).encode())  # so the kernel starts while the page loads
        page.goto(f"{lab.address}/doc/tree/panel.ipynb?reset&token={lab.token}")
        page.wait_for_function(READY)
        page.evaluate("() => jupyterapp.commands.execute('notebook:run-all-cells')")
        page.wait_for_function("() => document.querySelector('.ecomlib-chart')?.complete")
        _click(page)  # the first one loads what the next ones have
        sides = (Side("ours", "ours", lambda: _click(page)),)
        yield Reading("click to picture, with 10,000 records", "ms", sides, at_most=AT_MOST, rounds=CLICKS)
        browser.close()


def _click(page: Page) -> float:
    page.evaluate(WATCH)
    page.locator(".ecomlib-fire").click()
    return float(page.evaluate("() => window.took"))


@contextmanager
def _playwright() -> Iterator[Playwright]:
    driver = [sys.executable, "-m", "playwright", "--version"]
    if subprocess.run(driver, capture_output=True, timeout=PATIENCE).returncode:
        raise NotHere("Playwright does not start: apt-get install libatomic1.")
    with sync_playwright() as playwright:
        yield playwright


def _chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
    mac = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
    found = next((path for path in map(shutil.which, (*names, mac)) if path), None)
    if found is None:
        raise NotHere("Chromium is not installed: apt-get install chromium, or install Chrome.")
    return found


@dataclass(frozen=True)
class Lab:
    address: str
    token: str
    server: subprocess.Popen[bytes]
    log: Path

    def wait(self) -> None:
        """Until it answers. Raises `NotHere` where it has ended, or takes too long."""
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self.server.poll() is not None or time.monotonic() > deadline:
                raise NotHere(f"JupyterLab does not start. It says: {self.log.read_text()[-500:]}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            self.ask("/api/status")
        except OSError:
            return False
        return True

    def ask(self, path: str, data: bytes | None = None) -> None:
        headers = {"Authorization": f"token {self.token}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(f"{self.address}{path}", data, headers), timeout=PATIENCE):
            pass


@contextmanager
def _lab(folder: Path, home: Path) -> Iterator[Lab]:
    """A JupyterLab over the folder, as `make lab` starts it, but for an empty home. It may not answer yet."""
    token, port, said = secrets.token_hex(16), _free_port(), home / "lab.log"
    places = {f"JUPYTER_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    with said.open("wb") as log:
        server = subprocess.Popen(
            [
                sys.executable, "-m", "jupyterlab", "-y", "--allow-root", "--no-browser", "--ServerApp.ip=127.0.0.1",
                f"--ServerApp.port={port}", f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={token}",
                "--LanguageServerManager.autodetect=False", "--KernelManager.transport_encryption=auto",
                "--LabApp.expose_app_in_browser=True",
            ],
            stdout=log,
            stderr=log,
            env={**os.environ, **places, "HOME": str(home), "IPYTHONDIR": str(home / "ipython")},
        )  # fmt: skip
    try:
        yield Lab(f"http://127.0.0.1:{port}", token, server, said)
    finally:
        server.terminate()
        server.wait(timeout=PATIENCE)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
