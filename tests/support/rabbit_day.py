"""A day of the shop on a real RabbitMQ: `produce` and the workers as processes, and a real mail server."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

from aiosmtpd.controller import Controller

from ecomlib import traffic
from ecomlib.amqp import channel_to
from ecomlib.clock import SimulatedClock
from ecomlib.errors import BrokerError
from ecomlib.services.senders import BOUNCES, RecordingSender
from ecomlib.services.shared_analytics import SharedAnalytics
from ecomlib.shop import Shop
from ecomlib.topology import SERVICES, Topology
from ecomlib.workers import FAILURES
from tests.conftest import ROOT
from tests.support.webhook import wait_until

LIMIT = 60.0  # seconds, for a machine that is busy with something else
QUEUES = tuple(Topology().queue(name) for name in (*SERVICES, FAILURES))


class Expected(NamedTuple):
    totals: dict[str, int | str]
    messages: set[str]  # the Message-IDs of all emails and SMS


def in_memory(orders: int, seed: int, bounces: Iterable[str] = BOUNCES) -> Expected:
    """What the shop in one process makes of the day that `produce --orders --seed` sends."""
    day = traffic.simulate(orders, seed, datetime(2026, 1, 5), days=1)
    sender = RecordingSender(bounces)
    shop = Shop(clock=SimulatedClock(day[0].created), seed=seed, sender=sender, keep=1)
    traffic.run(shop.orders, shop.clock, day, settle=shop.run)
    shop.close()
    return Expected(shop.totals(), {f"<{message.id}>" for message in sender.sent})


class Mailbox:
    """The end of a mail server: counts each Message-ID, and refuses whom a `RecordingSender` refuses."""

    def __init__(self, bounces: Iterable[str]) -> None:
        self.mails: Counter[str] = Counter()
        self._bounces = frozenset(bounces)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address.partition("@")[0] in self._bounces:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        found = re.search(rb"^Message-ID:\s*(<[^>]*>)", envelope.content, re.MULTILINE)
        self.mails[found[1].decode() if found else "none"] += 1
        return "250 OK"

    @property
    def copies(self) -> int:
        """Mails that somebody has already."""
        return self.mails.total() - len(self.mails)


class Verb:
    """A verb as a process of its own, in a folder of its own. What it says goes into a file there."""

    def __init__(self, folder: Path, name: str, *arguments: str | Path) -> None:
        self.said_in = folder / f"{name}.said"
        clean = {key: value for key, value in os.environ.items() if not key.startswith("ECOMLIB_")}
        with self.said_in.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ecomlib", *map(str, arguments), "--json"],
                cwd=folder,
                env={**clean, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )

    @property
    def said(self) -> str:
        return self.said_in.read_text(encoding="utf-8", errors="replace")

    @property
    def attempts(self) -> list[dict[str, Any]]:
        """Its structured log. A line that a kill has torn is left out."""
        found = []
        for line in self.said.splitlines():
            if line.startswith("{"):
                with suppress(json.JSONDecodeError):
                    found.append(json.loads(line))
        return found

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def ready(self) -> None:
        """Waits until a worker serves its queue."""
        wait_until(lambda: "Ctrl+C stops it" in self.said or not self.runs, LIMIT)
        assert self.runs, self.said

    def result(self, limit: float = LIMIT) -> dict[str, Any]:
        """Waits for its end, which must be a good one."""
        out, _ = self.process.communicate(timeout=limit)
        assert self.process.returncode == 0, f"{self.said_in.name} ended with {self.process.returncode}: {self.said}"
        assert "Traceback" not in self.said, self.said
        found = json.loads(out)
        assert isinstance(found, dict)
        return found

    def stop(self, how: signal.Signals = signal.SIGTERM) -> dict[str, Any]:
        self.process.send_signal(how)
        return self.result()

    def kill(self) -> None:
        """As a crash does."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


class Day:
    """Workers of both kinds with the stores in `folder`, on empty queues. At the end of the block none of them runs."""

    def __init__(self, folder: Path, url: str, bounces: Iterable[str] = BOUNCES) -> None:
        self.folder, self.url, self.mailbox = folder, url, Mailbox(bounces)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.workers: dict[str, Verb] = {}
        self.ended: list[Verb] = []
        self._verbs, self._number = ExitStack(), 0
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._smtp = Controller(self.mailbox, hostname="127.0.0.1", port=port)
        self._store = folder / "analytics.sqlite3"

    def __enter__(self) -> Self:
        with channel_to(self.url) as channel:
            Topology().declare(channel)
            Topology().declare_letters(channel, QUEUES[-1])
            for queue in (*QUEUES, Topology().dead):
                channel.queue_purge(queue)
        self._smtp.start()
        self._verbs.callback(self._smtp.stop)
        self._analytics = self._verbs.enter_context(SharedAnalytics(self._store))
        return self

    def __exit__(self, *exc: object) -> None:
        self._verbs.close()

    def open(self, name: str, *arguments: str | Path) -> Verb:
        """In a terminal of its own."""
        self._number += 1
        verb = Verb(self.folder, f"{self._number}-{name}", *arguments, "--url", self.url)
        self._verbs.callback(verb.kill)
        return verb

    def worker(self, name: str, *more: str) -> Verb:
        """`name` is the service, and what tells it from others: "email 2"."""
        service, smtp = name.split()[0], f"127.0.0.1:{self._smtp.port}"
        mail = ("--smtp", smtp) if service == "email" else ()
        store = self.folder / f"{service}.sqlite3"
        self.workers[name] = self.open(name, "worker", service, "--store", store, *mail, *more)
        return self.workers[name]

    def staff(self, each: int) -> None:
        """So many workers of each kind, and all of them serve when this returns."""
        for number in range(each):
            for service in ("email", "analytics"):
                self.worker(f"{service} {number + 1}")
        for worker in self.workers.values():
            worker.ready()

    def replace(self, name: str) -> None:
        """Kills a worker; the next one begins at once."""
        self.workers[name].kill()
        self.ended.append(self.workers[name])
        self.worker(name)

    def produce(self, orders: int, seed: int) -> Verb:
        return self.open("produce", "produce", "--orders", str(orders), "--seed", str(seed))

    def totals(self) -> dict[str, int | str]:
        return self._analytics.totals()

    def left(self) -> dict[str, int]:
        """Messages in the queues that no worker has in hand, where there are any; all queues while nobody answers."""
        try:
            with channel_to(self.url) as channel:
                depths = {queue: channel.queue_declare(queue, passive=True).method.message_count for queue in QUEUES}
        except BrokerError:
            return dict.fromkeys(QUEUES, 1)
        return {queue: depth for queue, depth in depths.items() if depth}

    def served(self, expected: Expected, limit: float = LIMIT) -> None:
        """Waits until the analytics have counted so much at least, and the queues are empty. Raises AssertionError."""

        def enough() -> bool:
            return int(self.totals()["events"]) >= int(expected.totals["events"]) and not self.left()

        try:
            wait_until(enough, limit)
        except AssertionError:
            raise AssertionError(f"not served: {self.totals()} of {expected.totals}, left {self.left()}") from None

    def close(self) -> dict[str, dict[str, Any]]:
        """Every worker's totals: it is stopped, finishes what it has in hand, and gives back the rest."""
        for worker in self.workers.values():
            worker.process.send_signal(signal.SIGTERM)
        totals = {name: worker.result() for name, worker in self.workers.items()}
        self.ended += self.workers.values()
        self.workers = {}
        return totals
