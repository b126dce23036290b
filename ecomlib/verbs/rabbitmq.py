"""The verbs of the shop on RabbitMQ: one that publishes, and the workers, each a process of its own."""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from ecomlib import traffic
from ecomlib.amqp import channel_to, parameters
from ecomlib.clock import SimulatedClock, SystemClock
from ecomlib.errors import BadEvent, BadInput, BrokerAway, EcomlibError
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.ids import seeded_ids
from ecomlib.log import FileLog
from ecomlib.ports import Attempt, Receipt
from ecomlib.publishing import WINDOW
from ecomlib.rabbitmq import RabbitBus
from ecomlib.services.senders import RecordingSender, Sender, parse_smtp
from ecomlib.settings import Settings
from ecomlib.shop import LATEST, TOPIC, Shop
from ecomlib.topology import Topology
from ecomlib.verbs.common import Result, say, table
from ecomlib.verbs.shop import simulated_day
from ecomlib.workers import AnalyticsWorker, EmailWorker

LATEST_ATTEMPTS = 10  # are kept, with their events: here the log tells of all of them
LONGEST = 3_600.0  # seconds for which a worker that was told to stop waits for what it has in hand
USERS = {101: "Alice", 102: "Bob"}

Send = Callable[[Event], None]


# --- produce ----------------------------------------------------------------------------------------------


class Sending:
    """Hands events to the broker, many at once, and counts what it confirms."""

    def __init__(self, bus: RabbitBus) -> None:
        self._bus = bus
        self._on_their_way: deque[Future[Receipt]] = deque()
        self.sent = self.confirmed = self.unrouted = self.too_large = 0

    def send(self, event: Event) -> None:
        """Raises `BrokerAway` where the broker has confirmed nothing for as long as the bus has patience."""
        if len(self._on_their_way) >= WINDOW:
            self._confirm_one()
        self.sent += 1
        try:
            self._on_their_way.append(self._bus.submit(event))
        except BadEvent as error:  # one that is too large for an event here must not stop those behind it
            self.too_large += 1
            say(f"Not sent: {error}")

    def confirm_all(self) -> None:
        while self._on_their_way:
            self._confirm_one()

    def _confirm_one(self) -> None:
        try:
            receipt = self._on_their_way[0].result(self._bus.patience)
        except TimeoutError:
            raise BrokerAway(
                f"RabbitMQ has confirmed nothing for {self._bus.patience:g} s. When it is back, do this again: what "
                "it has already has the same ids, and counts once."
            ) from None
        self._on_their_way.popleft()
        self._count(receipt)

    def _count(self, receipt: Receipt) -> None:
        self.confirmed += 1
        self.unrouted += not receipt.routed

    def break_off(self) -> None:
        """Counts what is confirmed by now, and waits for no more."""
        for future in self._on_their_way:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._count(future.result())

    def totals(self) -> dict[str, int | str]:
        left = {"too_large": self.too_large} if self.too_large else {}
        return {"events": self.sent, "confirmed": self.confirmed, "unrouted": self.unrouted, **left}


def produce(options: argparse.Namespace, settings: Settings) -> Result:
    """Publish a day's orders, the events of a log, or two users who register."""
    url = options.url or settings.broker_url
    source = _source(options, settings)
    with channel_to(url) as channel:
        Topology().declare(channel)  # the queues are there before any worker is, so that nothing gets lost
    with RabbitBus(url) as bus:
        sending = Sending(bus)
        try:
            source(sending.send)
            sending.confirm_all()
        except (KeyboardInterrupt, EcomlibError):
            sending.break_off()
            say(f"{sending.confirmed} of {sending.sent} events were confirmed. The same command sends the same again.")
            raise
    if options.log is None:
        say("The same seed sends the same events again, with the same ids: a second time they change nothing.")
    return Result(sending.totals(), table(sending.totals()), failed=bool(sending.too_large))


def _source(options: argparse.Namespace, settings: Settings) -> Callable[[Send], object]:
    if options.log is not None:
        if not (options.log / TOPIC).is_dir():
            raise BadInput(f"{options.log} is no log of a shop: it has no topic {TOPIC!r}. Name its folder with --log.")
        return lambda send: _send_log(send, options.log)
    if options.orders:
        return lambda send: _send_day(send, options, settings)
    return lambda send: _send_users(send, options.seed)


def _send_log(send: Send, folder: Path) -> None:
    with FileLog(folder) as log:
        for partition in range(log.topics()[TOPIC]):
            for record in log.read(TOPIC, partition=partition):
                send(record.event)


def _send_day(send: Send, options: argparse.Namespace, settings: Settings) -> None:
    """The shop of `demo` lives its day in memory, and what its order service publishes goes to RabbitMQ as well."""
    orders = simulated_day(options.orders, options.seed, settings)
    made: list[Event] = []

    def settle() -> None:
        shop.run()
        for event in made:
            send(event)
        made.clear()

    clock = SimulatedClock(orders[0].created)
    shop = Shop(clock=clock, seed=options.seed, zone=settings.zone, sender=RecordingSender(keep=1), keep=1)
    try:
        shop.bus.subscribe("order.#", handler=made.append, name="to RabbitMQ")
        traffic.run(shop.orders, clock, orders, settle=settle)
    finally:
        shop.close()


def _send_users(send: Send, seed: int) -> None:
    new_event = EventFactory("/shop", SimulatedClock(), seeded_ids(f"{seed} users"))
    for user, name in USERS.items():
        send(new_event("user.registered", {"user_id": user, "username": name}))


# --- the workers ------------------------------------------------------------------------------------------


def worker(options: argparse.Namespace, settings: Settings) -> Result:
    """Serve the queues of one service until Ctrl+C or SIGTERM: what is in hand is finished, the rest given back."""
    url = options.url or settings.broker_url
    store = Path(options.store)
    run = _run_email if options.service == "email" else _run_analytics
    unread = threading.Event()
    bus = RabbitBus(url, prefetch=options.prefetch, keep=LATEST_ATTEMPTS, on_attempt=partial(_log, unread))
    with closing(run(bus, store, options, settings)) as made:  # closed last: a handler that still runs has its store
        try:
            asked = parameters(url)
            bus.link.start()
            say(f"It serves RabbitMQ at {asked.host}:{asked.port}; its store is {store.resolve()}. Ctrl+C stops it.")
            _watch(bus, unread)
        except KeyboardInterrupt:
            say("Stopping: what is in hand is finished, and the rest is given back.")
        finally:
            bus.stop(LONGEST)
        totals = dict[str, Any](made.totals())
    return Result(totals, table(totals))


def _run_email(bus: RabbitBus, store: Path, options: argparse.Namespace, settings: Settings) -> EmailWorker:
    sender: Sender = parse_smtp(options.smtp) if options.smtp else RecordingSender(keep=LATEST)
    if options.smtp:
        say(f"This worker sends emails and SMS by the mail server at {options.smtp}.")
    else:
        say("No mail server is set, so emails and SMS are only recorded. --smtp HOST:PORT names one.")
    return EmailWorker(bus, sender, EventFactory("/shop", SystemClock()), store=store, work=options.work)


def _run_analytics(bus: RabbitBus, store: Path, options: argparse.Namespace, settings: Settings) -> AnalyticsWorker:
    say("This worker counts every event. All analytics workers with the same store count together.")
    return AnalyticsWorker(bus, store=store, durability=settings.durability, work=options.work)


def _watch(bus: RabbitBus, unread: threading.Event) -> None:
    """Say when the broker goes, and when it is there again."""
    trouble = ""
    while not unread.wait(0.5):
        if bus.link.trouble != trouble:
            trouble = bus.link.trouble
            say(f"{trouble} The worker waits for it." if trouble else "The connection is there again.")


def _log(unread: threading.Event, attempt: Attempt) -> None:
    """One JSON object a line, for programs that collect logs. Where nobody reads them any more, the worker stops."""
    said = {
        "time": SystemClock().now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "service": attempt.subscription,
        "event": attempt.event.id,
        "type": attempt.event.type,
        "attempt": attempt.number,
        "outcome": attempt.outcome,
        "ms": round(attempt.duration * 1000, 1),
        **({"error": attempt.error} if attempt.error else {}),
    }
    try:
        sys.stderr.write(f"{json.dumps(said)}\n")  # in one piece: several threads write here
    except OSError:
        unread.set()
