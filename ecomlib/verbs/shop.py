"""The verbs of the shop: a day of it, other people's orders, its figures, and what this machine has for it."""

from __future__ import annotations

import argparse
import tempfile
from datetime import datetime
from pathlib import Path

from ecomlib import doctor, traffic
from ecomlib.clock import SimulatedClock
from ecomlib.errors import BadInput
from ecomlib.folders import no_log_yet
from ecomlib.log import FileLog
from ecomlib.olist import read_olist
from ecomlib.original import read_original
from ecomlib.replay import replay
from ecomlib.services.analytics import Analytics
from ecomlib.settings import Settings
from ecomlib.shop import TOPIC, Shop
from ecomlib.verbs.common import Result, log_folder, say, table, time_of
from ecomlib.verbs.progress import progress

CHUNK = 1_000  # events to an append of an import: what was appended before an interruption stays
PIECE = 5_000  # events that are replayed between two looks at the clock
MANY = 100_000  # orders: making the day takes a while


def demo(options: argparse.Namespace, settings: Settings) -> Result:
    """A day of the shop, then the same figures once more from its log."""
    orders = simulated_day(options.orders, options.seed, settings) if options.orders else []
    clock = SimulatedClock(orders[0].created) if orders else None
    with tempfile.TemporaryDirectory() as folder:
        log = options.log or Path(folder) / "log"
        shop = Shop(log, clock=clock, seed=options.seed, zone=settings.zone, durability="system")
        try:
            if shop.totals()["events"]:
                raise BadInput(f"The log at {log} holds events already: name a new folder with --log.")
            if orders:
                kept = f"What is in the log stays: ecomlib replay --log {log}" if options.log else "Nothing was kept."
                _serve(shop, orders, kept)
            else:
                shop.story()
            with FileLog(log) as written:
                again = _replayed(written, settings.zone).totals()
            agree = f"The log says the same: {again['events']} events, revenue {again['revenue']}."
            text = [*_latest_attempts(shop), "", table(shop.totals()), "", agree]
            if again != shop.totals():
                return Result(shop.totals(), f"The log says something else than the services: {again}.", failed=True)
            return Result(shop.totals(), "\n".join(text))
        finally:
            shop.close()


def _serve(shop: Shop, orders: list[traffic.SimulatedOrder], kept: str) -> None:
    commands = sum(1 + sum(map(bool, (o.paid, o.shipped, o.delivered, o.cancelled))) for o in orders)
    with progress("Serving", commands, "commands", stopped=kept) as served:

        def settle() -> None:
            shop.run()
            served.add()

        traffic.run(shop.orders, shop.clock, orders, settle=settle)


def simulated_day(orders: int, seed: int, settings: Settings) -> list[traffic.SimulatedOrder]:
    if orders >= MANY:
        say(f"Making a day of {orders} orders: about a minute for a million.")
    return traffic.simulate(orders, seed, datetime(2026, 1, 5), days=1, zone=settings.zone)


def _latest_attempts(shop: Shop) -> list[str]:
    """What each service did, the last of it."""
    marks = {"handled": "✓", "failed": "✗", "dead": "✗"}
    return [
        f"{marks[a.outcome]} {a.subscription:<10} {a.event!r}{f': {a.error}' if a.error else ''}"
        for a in shop.bus.attempts[-25:]
    ]


def import_(options: argparse.Namespace, settings: Settings) -> Result:
    """Append the facts of somebody else's files to a log. What the log has already is not appended again."""
    folder = log_folder(options)
    olist = options.source == "olist"
    imported = read_olist(options.path) if olist else read_original(options.path, zone=options.zone)
    with FileLog(folder) as log:
        known = {r.event.id for r in log.read(TOPIC)} if not no_log_yet(folder) and TOPIC in log.topics() else set()
        new = [event for event in imported.events if event.id not in known]
        kept = "What was appended stays, and the same import goes on from there."
        with progress("Appending", len(new), "events", stopped=kept) as appended:
            for start in range(0, len(new), CHUNK):
                appended.add(len(log.append(TOPIC, *new[start : start + CHUNK])))
    found = imported.findings.sentences()
    data = {"events": len(imported.events), "appended": len(new), "findings": found}
    text = f"Appended {len(new)} of {len(imported.events)} events to {folder}."
    return Result(data, "\n".join([text, *(f"- {sentence}" for sentence in found)]))


def replay_(options: argparse.Namespace, settings: Settings) -> Result:
    until = None if options.until is None else time_of(options.until, settings.zone)
    with FileLog(log_folder(options)) as log:
        totals = _replayed(log, settings.zone, until).totals()
    return Result(totals, table(totals))


def _replayed(log: FileLog, zone: str, until: datetime | None = None) -> Analytics:
    """Piece by piece, so that it can be said how far it has come."""
    analytics, end = Analytics(zone), log.end(TOPIC)
    with progress("Replaying", end, "events", stopped="The log is as it was.") as read:
        for start in range(0, max(end, 1), PIECE):  # of an empty log one piece, which refuses what can't be replayed
            read.add(replay(log, TOPIC, analytics, start=start, end=min(start + PIECE, end), until=until) - start)
    return analytics


def doctor_(options: argparse.Namespace, settings: Settings) -> Result:
    findings = doctor.examine(settings)
    text = "\n".join(
        f"{'✓' if f.good else '✗'} {f.what}: {f.found}{f'. {f.advice}' if f.advice else ''}" for f in findings
    )
    data = {"findings": [finding._asdict() for finding in findings]}
    return Result(data, text, failed=any(f.needed and not f.good for f in findings))
