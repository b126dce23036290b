"""How long a learner waits for the first lesson, and whoever changes one for all its cells to have run."""

from __future__ import annotations

import ensurepip
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from urllib.request import urlopen

from benchmarks.measuring import FULL, Bench, NotHere, Race, Reading, Side
from ecomlib.broker import find_server

ROOT = Path(__file__).resolve().parent.parent
PYTHON = Path(sys.executable).resolve()  # not this environment's: the one that it was made with
PATIENCE = 300.0


def races(bench: Bench) -> Iterator[Race | Reading]:
    """At the tiny size nothing is fetched: the lab starts in the environment that is there, and one lesson runs."""
    if shutil.which("make") is None:
        raise NotHere("make is not installed: apt-get install make")
    log = bench.folder / "lab.log"
    if bench.scale < FULL:
        here = Path(sys.prefix, ".whole")
        if not here.exists():
            raise NotHere("This environment is not one that make made: make tools")
        venv = os.path.relpath(sys.prefix, ROOT)
        # Whether it is up to date is not asked: what runs in an environment must not make it anew.
        lab = partial(until_the_page, ROOT, log, f"VENV={venv}", f"--assume-old={venv}/.whole")
        yield Reading("make lab until the page is there", "s", (Side("make lab", "ours", lab),))
        yield nbval("notebooks/00_fire_an_order.ipynb")
        return

    bench.versions.update(uv=version("uv"), pip=ensurepip.version())
    clone = bench.folder / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    sides = (
        Side("make lab", "ours", partial(until_the_page, clone, log, f"PYTHON={PYTHON}")),
        Side("pip install of the same set, and no page yet", "peer", partial(with_pip, clone, bench.folder / "pip")),
    )
    yield Reading("make lab until the page is there, in a fresh clone, where the index is near", "s", sides, at_most=20)
    if find_server() is None:
        raise NotHere("RabbitMQ, for every cell of every lesson, is not installed: apt-get install rabbitmq-server")
    yield nbval("notebooks")


def nbval(lessons: str) -> Reading:
    """Every cell of these lessons, each held against its committed output."""
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", lessons]
    ours = Side("pytest --nbval", "ours", partial(seconds, pytest))
    return Reading("every cell of every lesson has run", "s", (ours,), at_most=60)


def with_pip(clone: Path, environment: Path) -> float:
    """What one types without make: an environment, then pip, which checks the same hashes. Neither finds a cache."""
    pip = [str(environment / "bin/python"), "-m", "pip", "install", "-qq", "--no-cache-dir", "--only-binary", ":all:"]
    made = seconds([str(PYTHON), "-m", "venv", str(environment)])
    return made + seconds([*pip, "--require-hashes", "-r", str(clone / "requirements.lock")])


def until_the_page(clone: Path, log: Path, *options: str) -> float:
    """Start the lab, wait until the address that it prints answers with the page, and end it. No browser opens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["make", "-C", str(clone), "lab", "BROWSER=no", f"PORT={port}", *options]
    with log.open("w") as output:
        began = time.perf_counter()
        lab = subprocess.Popen(command, stdout=output, stderr=output, env=outside_of_make(), start_new_session=True)
    try:
        while not (address := re.search(r"http://127\.0\.0\.1:\S+token=\w+", log.read_text())):
            if lab.poll() is not None or time.perf_counter() - began > PATIENCE:
                raise NotHere("`make lab` brought no page: is there a network, to fetch the packages from?")
            time.sleep(0.02)
        with urlopen(address[0], timeout=30) as page:
            if b"jupyter-config-data" not in page.read():
                raise RuntimeError("what answered is not JupyterLab's page")
        return time.perf_counter() - began
    finally:
        with suppress(ProcessLookupError):
            os.killpg(lab.pid, signal.SIGTERM)  # the group: make, and what it started
        lab.wait(timeout=30)


def outside_of_make() -> dict[str, str]:
    """The environment without what `make bench` hands down to its children."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}


def seconds(command: list[str]) -> float:
    """How long the command runs. Raises `RuntimeError` with the end of what it printed, if it fails."""
    began = time.perf_counter()
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ended.returncode:
        raise RuntimeError(f"{command[0]} failed: {ended.stdout[-2000:]}")
    return time.perf_counter() - began
