"""Real worker processes: `ecomlib worker`, started, stopped and killed, and what their logs say that they did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self

import ecomlib
from ecomlib.errors import BadInput, EcomlibError, NotDrained

KINDS = ("email", "analytics")  # what `ecomlib worker` knows
SERVES = {"email": ("email", "sms"), "analytics": ("analytics",)}  # by kind: the queues
LIMIT = 30.0  # seconds, for a machine that is busy with something else
# The verb, on a leash: its standard input is a pipe from us, and closes with us, however we end.
LEASHED = """
import os, sys, threading
from ecomlib.cli import main
def until_we_are_alone():
    while os.read(0, 1):  # and not sys.stdin, whose lock Python wants when it ends
        pass
    os._exit(1)
threading.Thread(target=until_we_are_alone, daemon=True).start()
sys.exit(main(sys.argv[1:]))
"""
READY = "Ctrl+C stops it"

State = Literal["alive", "stopped", "killed", "ended"]


def wait_until(condition: Callable[[], object], what: str, limit: float = LIMIT) -> None:
    """Raises `NotDrained` after so many seconds: `what` says what has not come to pass."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            raise NotDrained(f"After {limit:g} s {what}.")
        threading.Event().wait(0.02)


class WorkerProcess:
    """One process. What it did is known from its log, which a thread of ours reads; what it has in hand is not."""

    def __init__(self, kind: str, number: int, process: subprocess.Popen[str], tell: Callable[[], object]) -> None:
        """`tell` is called in the thread that reads, after each line, and when the process has ended."""
        self.kind, self.number, self.name, self.pid = kind, number, f"{kind}-{number}", process.pid
        self.attempts: list[dict[str, Any]] = []  # a line of its log each
        self.said: list[str] = []  # what else it wrote
        self.totals: dict[str, Any] = {}  # what it printed when it was stopped
        self._process, self._tell, self._ended_by = process, tell, ""
        self._reader = threading.Thread(target=self._read, name=f"reads {self.name}", daemon=True)
        self._reader.start()

    @property
    def state(self) -> State:
        """ "ended" is who was neither stopped nor killed by us."""
        if self._process.poll() is None:
            return "alive"
        return "killed" if self._ended_by == "kill" else "stopped" if self._ended_by == "stop" else "ended"

    @property
    def handled(self) -> int:
        """Deliveries that it finished, of all its queues. A copy of one that came before counts too."""
        return len(self.ids("handled"))

    def ids(self, outcome: str, service: str | None = None) -> list[str]:
        """Of the events that it handled, or gave up ("dead")."""
        return [
            line["event"]
            for line in tuple(self.attempts)
            if line["outcome"] == outcome and service in (None, line["service"])
        ]

    def stop(self) -> None:
        """SIGTERM: it finishes what it has begun, and gives back the rest. When this returns it has ended."""
        self._end("stop", self._process.terminate)

    def kill(self) -> None:
        """SIGKILL: it can't finish anything, and can't say goodbye. When this returns it is gone."""
        self._end("kill", self._process.kill)

    def wait_until_ready(self) -> None:
        """Raises `EcomlibError`, with its last words, where it does not come to work."""
        wait_until(lambda: self._is_ready() or not self._reader.is_alive(), f"{self.name} is not ready")
        if not self._is_ready():
            raise EcomlibError(f"{self.name} did not start. It says: {' '.join(self.said)[-500:]}")

    def _is_ready(self) -> bool:
        return any(READY in line for line in tuple(self.said))

    def _end(self, how: str, signal: Callable[[], None]) -> None:
        if self._process.poll() is None:
            self._ended_by = how
            signal()
        self._process.wait(LIMIT)
        self._reader.join(LIMIT)  # then the whole of its log is read

    def _read(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        assert self._process.stderr
        for line in self._process.stderr:
            try:
                self.attempts.append(json.loads(line))
            except ValueError:  # prose, or the last line of one who died while writing it
                self.said.append(line.strip())
            self._tell()
        if printed := self._process.stdout.read().strip():
            self.totals = json.loads(printed.splitlines()[-1])
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            pipe.close()
        self._process.wait()
        self._tell()


class WorkerProcesses:
    """The workers of the shop's services. Those of a kind share a store in `folder`. All end with this process."""

    def __init__(self, url: str, folder: Path, tell: Callable[[], object] = lambda: None) -> None:
        self.url, self.folder, self._tell = url, folder, tell
        self.all: list[WorkerProcess] = []  # in the order in which they were started

    def start(self, kind: str, *, work: float = 0.0, prefetch: int = 10) -> WorkerProcess:
        """Returns when it consumes. Raises `BadInput` for what is no worker, and `EcomlibError` where it fails."""
        if kind not in KINDS:
            raise BadInput(f"{kind!r:.40} is no worker: choose {' or '.join(KINDS)}.")
        self.folder.mkdir(parents=True, exist_ok=True)
        options = [
            "--url",
            self.url,
            "--store",
            str(self.store(kind)),
            "--work",
            str(work),
            "--prefetch",
            str(prefetch),
        ]
        process = subprocess.Popen(
            [sys.executable, "-c", LEASHED, "worker", kind, *options, "--json"],
            cwd=self.folder,  # so that no .env of the reader's has a say
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        worker = WorkerProcess(kind, 1 + sum(w.kind == kind for w in self.all), process, self._tell)
        self.all.append(worker)
        worker.wait_until_ready()
        return worker

    def store(self, kind: str) -> Path:
        """The SQLite file that all workers of this kind share."""
        return self.folder / f"{kind}.sqlite3"

    def alive(self, kind: str | None = None) -> list[WorkerProcess]:
        return [worker for worker in self.all if worker.state == "alive" and kind in (None, worker.kind)]

    def newest(self, kind: str) -> WorkerProcess:
        """Of those alive. Raises `BadInput` where there is none."""
        if not (alive := self.alive(kind)):
            raise BadInput(f"No {kind} worker is alive: start one first.")
        return alive[-1]

    def ids(self, outcome: str, service: str) -> set[str]:
        """Of the events with this outcome, whichever worker it was."""
        return {event for worker in self.all for event in worker.ids(outcome, service)}

    def close(self) -> None:
        """Kills those that are alive."""
        for worker in self.all:
            worker.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _environment() -> dict[str, str]:
    """No setting of the reader's, and this very ecomlib."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ECOMLIB_")}
    path = [str(Path(ecomlib.__file__).parent.parent), *filter(None, [clean.get("PYTHONPATH")])]
    return {**clean, "PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
