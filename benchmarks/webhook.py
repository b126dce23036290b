"""The webhook, as `ecomlib serve` runs it, beside a FastAPI route that checks the same reports and forgets them.

Both run under uvicorn with asyncio's loop and h11, in a process each; 32 connections of a third process keep them busy.
Ours answers when a report is in the log; its services are served, too, while it goes on taking reports.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import benchmarks.bare_app as bare  # imported here too, so that one that lacks its packages says so at once
from benchmarks.measuring import Bench, Goal, Race, Side

ROOT = Path(__file__).parent.parent
CONNECTIONS = 32
LIMIT = 30.0  # seconds until a server runs, and until its services have caught up
SYSTEM, BATCH, MAILS = "durability system", "durability batch", "durability system, an email for each report"
ROUTE = "FastAPI, an async route"


def races(bench: Bench) -> Iterator[Race]:
    many, fewer = bench.count(1_500, least=40), bench.count(500, least=40)
    names = (f"run{n}" for n in count())
    with ExitStack() as stack:
        begun = [stack.enter_context(_serving(bench.folder / f"webhook-{d}", d)) for d in ("system", "batch")]
        peers = stack.enter_context(_process([sys.executable, "-m", bare.__name__], ROOT, {}))
        system, batch = (ours() for ours in begun)
        assert peers.stdout
        in_loop, in_threads, hello = map(int, peers.stdout.readline().split())

        def ours(port: int, requests: int, kind: str) -> Callable[[], float]:
            def run() -> float:
                found = _load(port, requests, next(names), kind)
                _caught_up(port)  # untimed: the next side must have the machine for itself
                return found

            return run

        def peer(port: int) -> Callable[[], float]:
            return lambda: _load(port, many, next(names), "parcels")

        sides = (
            Side(SYSTEM, "ours", ours(system, many, "parcels")),
            Side(BATCH, "ours", ours(batch, many, "parcels")),
            Side(MAILS, "ours", ours(system, fewer, "orders")),
            Side(ROUTE, "peer", peer(in_loop)),
            Side("FastAPI, a route in threads", "peer", peer(in_threads)),
            Side("uvicorn, an app that does nothing", "limit", peer(hello)),
        )
        goals = (Goal(SYSTEM, ROUTE, 0.8), Goal(BATCH, ROUTE, 0.5))
        yield Race(f"webhook, {CONNECTIONS} connections, log on", "reports", sides, goals, rounds=5)


@contextmanager
def _process(command: list[str], folder: Path, settings: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ECOMLIB_")}
    process = subprocess.Popen(
        command, cwd=folder, env=clean | settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.kill()  # its log is nobody's
        process.communicate()


@contextmanager
def _serving(folder: Path, durability: str) -> Iterator[Callable[[], int]]:
    """Begins to start; what it gives waits until reports are taken, and returns the port."""
    folder.mkdir()
    settings = {"ECOMLIB_DURABILITY": durability, "ECOMLIB_RATE": "1e9", "ECOMLIB_BURST": "1000000000"}
    command = [sys.executable, "-m", "ecomlib", "serve", "--port", "0", "--log", str(folder / "log")]
    with _process(command, folder, settings) as process:

        def port() -> int:
            assert process.stdout
            said = ""
            for line in process.stdout:
                said += line
                if found := re.search(r"webhook is at http://\S+:(\d+)/", line):
                    return int(found[1])
            raise RuntimeError(f"The server did not start: {said}")

        yield port


def _load(port: int, requests: int, name: str, kind: str) -> float:
    command = [sys.executable, "-m", "benchmarks.load", str(port), str(CONNECTIONS), str(requests), name, kind]
    return float(subprocess.check_output(command, cwd=ROOT, text=True))


def _caught_up(port: int) -> None:
    deadline = time.monotonic() + LIMIT
    while _waiting(port):
        if time.monotonic() > deadline:
            raise TimeoutError(f"The services are not through after {LIMIT:g} s.")
        time.sleep(0.01)


def _waiting(port: int) -> float:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://127.0.0.1:{port}/metrics") as said:
        return sum(float(n) for n in re.findall(rb"^ecomlib_deliveries_waiting\{.*\} (\S+)", said.read(), re.MULTILINE))
