"""The webhook's clients, its log as it must be, and its server: in this process, or in one of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self

import httpx
import pytest

from ecomlib.clock import SystemClock
from ecomlib.events import Event
from ecomlib.files import LogFile
from ecomlib.log import FileLog
from ecomlib.shop import TOPIC, Shop, open_shop
from ecomlib.web.server import Server
from ecomlib.web.signatures import HEADER, sign
from ecomlib.webhook import Rules

LIMIT = 30.0  # seconds, for a machine that is busy with something else
PATH = "/webhook/order"
PLAIN, STRUCTURED = "application/json", "application/cloudevents+json"
SECRET, OLD_SECRET, TOKEN = "the secret of the tests", "the one that was before", "the-token-of-the-tests"
MANY: dict[str, Any] = {"rate": 1e6, "burst": 10**6}  # requests: no test but those of the limit wants to meet it
FREE = Rules(**MANY)
GUARDED = Rules(secrets=(SECRET,), token=TOKEN, **MANY)


class Client:
    """Sends orders to a server. A body that is no bytes becomes JSON."""

    def __init__(self, url: str, *, secret: str | None = None) -> None:
        self.http = httpx.Client(base_url=url, timeout=LIMIT, trust_env=False)
        self.secret = secret

    def post(
        self, body: Any, key: str | None = None, *, kind: str | None = PLAIN, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Signed now, where the client has a secret and the headers hold no signature."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {**({"Content-Type": kind} if kind else {}), **(headers or {})}
        if key is not None:
            sent["Idempotency-Key"] = key
        if self.secret is not None and HEADER not in sent:
            sent[HEADER] = sign(self.secret, content, int(time.time()), sent)
        return self.http.post(PATH, content=content, headers=sent)

    def get(self, path: str, *, token: str | None = None) -> httpx.Response:
        return self.http.get(path, headers={"Authorization": f"Bearer {token}"} if token else {})

    def totals(self) -> dict[str, Any]:
        found = self.get("/analytics", token=TOKEN).json()
        assert isinstance(found, dict)
        return found

    def close(self) -> None:
        self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@contextmanager
def served(shop: Shop | Path, rules: Rules = FREE, *, secret: str | None = None) -> Iterator[Client]:
    """A server in this process, and a client of it. `secret` signs what the client sends."""
    server = Server(shop if isinstance(shop, Shop) else open_shop(shop), rules)
    with server, Client(server.url, secret=secret) as client:
        yield client


@contextmanager
def on_disk(folder: Path, disk: Callable[[Path], LogFile], rules: Rules = FREE) -> Iterator[Client]:
    """A server whose log lies on a disk that fails when it is told to."""
    open_shop(folder).close()  # makes the log
    with (
        FileLog(folder, files=disk) as log,
        served(Shop(log, seed=None, clock=SystemClock()), rules) as client,
    ):
        yield client


def wait_until(condition: Callable[[], object], limit: float = LIMIT) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "it has not come to pass"
        threading.Event().wait(0.005)


def logged(folder: Path) -> list[Event]:
    with FileLog(folder) as log:
        return [record.event for record in log.read(TOPIC)] if TOPIC in log.topics() else []


def taken(folder: Path) -> list[Event]:
    """The events that came by the webhook: without what the shop itself added to them."""
    return [event for event in logged(folder) if "requesthash" in event.extensions]


def refused(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem (RFC 9457) that the answer must be."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert {"type", "title", "status", "detail"} <= problem.keys() <= {"type", "title", "status", "detail", "errors"}
    assert (problem["type"], problem["status"]) == ("about:blank", status)
    assert problem["title"]
    assert problem["detail"].endswith((".", ")")), "a sentence"
    if status in (429, 503):
        assert int(answer.headers["retry-after"]) >= 1
    assert isinstance(problem, dict)
    return problem


def cloudevent(**more: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "1",
        "source": "https://partner.example",
        "type": "order.created",
        "data": {"order_id": "9", "amount": "3.00", "user_id": "7"},
        **more,
    }


class Process:
    """`ecomlib serve` as a process of its own. At the end of the block it is dead in any case."""

    def __init__(self, folder: Path, *arguments: str, port: int | None = 0, log: bool = True, **settings: str) -> None:
        """`settings` are ECOMLIB_... variables, without that prefix. Runs in `folder`, its log is `folder/log`."""
        if os.name == "nt":
            pytest.skip("Windows has no signals to send, so no process can be asked to stop")
        self.log = folder / "log"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ECOMLIB_")}
        wide = {"ECOMLIB_RATE": "1000000", "ECOMLIB_BURST": "1000000"}
        mine = {f"ECOMLIB_{name.upper()}": value for name, value in settings.items()}
        command = [sys.executable, "-m", "ecomlib", "serve", *arguments]
        command += [] if port is None else ["--port", str(port)]
        command += ["--log", str(self.log)] if log else []
        self._said: IO[bytes] = (folder / f"said.{time.monotonic_ns()}").open("w+b")
        self.process = subprocess.Popen(
            command, cwd=folder, env={**clean, **wide, **mine}, stdout=subprocess.PIPE, stderr=self._said, text=True
        )

    @property
    def said(self) -> str:
        """Its standard error so far."""
        return Path(self._said.name).read_text(encoding="utf-8")

    @property
    def url(self) -> str:
        """Waits until requests are taken."""
        wait_until(lambda: "Ctrl+C" in self.said or self.process.poll() is not None)
        found = re.search(r"webhook is at (http://\S+)/webhook/order", self.said)
        assert found, f"it does not serve: {self.said}"
        return found[1]

    def tell(self, by: signal.Signals) -> None:
        self.process.send_signal(by)

    def end(self) -> tuple[int, str]:
        """Waits for its end: the exit code and standard output."""
        out, _ = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, out

    def stop(self, by: signal.Signals = signal.SIGTERM) -> str:
        self.tell(by)
        code, out = self.end()
        assert code == 0, self.said
        assert "Traceback" not in self.said
        return out

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(LIMIT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.wait(LIMIT)
        if self.process.stdout:
            self.process.stdout.close()
        self._said.close()
