"""The verbs of the shop: a day of it, other people's orders, its figures, and what this machine has for it."""

from __future__ import annotations

import argparse
import tempfile
from datetime import datetime
from pathlib import Path

from ecomlib import doctor, traffic
from ecomlib.clock import SimulatedClock
from ecomlib.errors import BadInput
from ecomlib.log import FileLog
from ecomlib.olist import read_olist
from ecomlib.original import read_original
from ecomlib.settings import Settings
from ecomlib.shop import TOPIC, Shop, replayed
from ecomlib.verbs.common import Result, log_folder, say, table, time_of

CHUNK = 1_000  # events to an append of an import: what was appended before an interruption stays


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
                traffic.run(shop.orders, shop.clock, orders, settle=shop.run)
            else:
                shop.story()
            with FileLog(log) as written:
                again = replayed(written, zone=settings.zone).totals()
            agree = f"The log says the same: {again['events']} events, revenue {again['revenue']}."
            text = [*_latest_attempts(shop), "", table(shop.totals()), "", agree]
            if again != shop.totals():
                return Result(shop.totals(), f"The log says something else than the services: {again}.", failed=True)
            return Result(shop.totals(), "\n".join(text))
        finally:
            shop.close()


def simulated_day(orders: int, seed: int, settings: Settings) -> list[traffic.SimulatedOrder]:
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
        known = {r.event.id for r in log.read(TOPIC)} if folder.exists() and TOPIC in log.topics() else set()
        new = [event for event in imported.events if event.id not in known]
        for start in range(0, len(new), CHUNK):
            log.append(TOPIC, *new[start : start + CHUNK])
            say(f"{min(start + CHUNK, len(new))} of {len(new)} events")
    found = imported.findings.sentences()
    data = {"events": len(imported.events), "appended": len(new), "findings": found}
    text = f"Appended {len(new)} of {len(imported.events)} events to {folder}."
    return Result(data, "\n".join([text, *(f"- {sentence}" for sentence in found)]))


def replay_(options: argparse.Namespace, settings: Settings) -> Result:
    until = None if options.until is None else time_of(options.until, settings.zone)
    with FileLog(log_folder(options)) as log:
        totals = replayed(log, zone=settings.zone, until=until).totals()
    return Result(totals, table(totals))


def doctor_(options: argparse.Namespace, settings: Settings) -> Result:
    findings = doctor.examine(settings)
    text = "\n".join(
        f"{'✓' if f.good else '✗'} {f.what}: {f.found}{f'. {f.advice}' if f.advice else ''}" for f in findings
    )
    data = {"findings": [finding._asdict() for finding in findings]}
    return Result(data, text, failed=any(f.needed and not f.good for f in findings))
