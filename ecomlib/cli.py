"""The command `ecomlib`: one verb for each thing that can be done without a notebook.

Results go to standard output (with `--json` as one object on its last line), all else to standard error. The exit
code is 0 when the work is done, 1 when it failed, 2 for wrong usage or bad input; a sentence says what was wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from ecomlib import doctor, traffic
from ecomlib.clock import SimulatedClock
from ecomlib.errors import BadEvent, BadInput, BadPattern, EcomlibError
from ecomlib.log import FileLog
from ecomlib.olist import read_olist
from ecomlib.original import read_original
from ecomlib.settings import Settings, read_settings
from ecomlib.shop import TOPIC, Shop, replayed
from ecomlib.zones import zone_named

CHUNK = 1_000  # events to an append of an import: what was appended before an interruption stays


class Result(NamedTuple):
    """What a verb found out: for a program, and for a person."""

    data: dict[str, Any]
    text: str
    failed: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code. Ctrl+C and SIGTERM end it between two pieces of work."""
    try:
        settings = read_settings()
        options = parser(settings).parse_args(arguments)
        previous = signal.signal(signal.SIGTERM, _interrupt)
        try:
            result: Result = options.run(options, settings)
        finally:
            signal.signal(signal.SIGTERM, previous)
        print(json.dumps(result.data, ensure_ascii=False) if options.json else result.text, flush=True)
        return int(result.failed)
    except (BadInput, BadEvent, BadPattern) as error:
        return _say(str(error), 2)
    except EcomlibError as error:
        return _say(str(error), 1)
    except KeyboardInterrupt:
        return _say("Stopped. What was finished before stays.", 1)
    except BrokenPipeError:  # whoever read our output (`| head`) has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _say(f"{error.filename or 'The system'}: {error.strerror or error}.", 1)


def _say(sentence: str, code: int = 0) -> int:
    print(sentence, file=sys.stderr)
    return code


def _interrupt(signum: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


# --- the verbs --------------------------------------------------------------------------------------------


def demo(options: argparse.Namespace, settings: Settings) -> Result:
    """A day of the shop, then the same figures once more from its log."""
    day = datetime(2026, 1, 5)
    orders = traffic.simulate(options.orders, options.seed, day, days=1, zone=settings.zone) if options.orders else []
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
            text = [*_latest_attempts(shop), "", _table(shop.totals()), "", agree]
            if again != shop.totals():
                return Result(shop.totals(), f"The log says something else than the services: {again}.", failed=True)
            return Result(shop.totals(), "\n".join(text))
        finally:
            shop.close()


def _latest_attempts(shop: Shop) -> list[str]:
    """What each service did, the last of it."""
    marks = {"handled": "✓", "failed": "✗", "dead": "✗"}
    return [
        f"{marks[a.outcome]} {a.subscription:<10} {a.event!r}{f': {a.error}' if a.error else ''}"
        for a in shop.bus.attempts[-25:]
    ]


def import_(options: argparse.Namespace, settings: Settings) -> Result:
    """Append the facts of somebody else's files to a log. What the log has already is not appended again."""
    folder = _log_folder(options)
    olist = options.source == "olist"
    imported = read_olist(options.path) if olist else read_original(options.path, zone=options.zone)
    with FileLog(folder) as log:
        known = {r.event.id for r in log.read(TOPIC)} if folder.exists() and TOPIC in log.topics() else set()
        new = [event for event in imported.events if event.id not in known]
        for start in range(0, len(new), CHUNK):
            log.append(TOPIC, *new[start : start + CHUNK])
            _say(f"{min(start + CHUNK, len(new))} of {len(new)} events")
    found = imported.findings.sentences()
    data = {"events": len(imported.events), "appended": len(new), "findings": found}
    text = f"Appended {len(new)} of {len(imported.events)} events to {folder}."
    return Result(data, "\n".join([text, *(f"- {sentence}" for sentence in found)]))


def replay_(options: argparse.Namespace, settings: Settings) -> Result:
    until = None if options.until is None else _time(options.until, settings.zone)
    with FileLog(_log_folder(options)) as log:
        totals = replayed(log, zone=settings.zone, until=until).totals()
    return Result(totals, _table(totals))


def log_topics(options: argparse.Namespace, settings: Settings) -> Result:
    with FileLog(_log_folder(options)) as log:
        topics = [{"topic": t, "partitions": n, "events": log.end(t)} for t, n in log.topics().items()]
    text = "\n".join(f"{t['topic']}: {t['events']} events, {t['partitions']} partition" for t in topics)
    return Result({"topics": topics}, text or "The log has no topics yet.")


def log_tail(options: argparse.Namespace, settings: Settings) -> Result:
    with FileLog(_log_folder(options)) as log:
        start = max(log.end(options.topic) - options.number, 0)
        records = list(log.read(options.topic, start))
    data = [{"offset": r.position.offset, "event": json.loads(r.event.to_json())} for r in records]
    return Result(
        {"topic": options.topic, "records": data},
        "\n".join(f"{r.position.offset:>6}  {r.event.time:%Y-%m-%d %H:%M:%S}  {r.event!r}" for r in records),
    )


def doctor_(options: argparse.Namespace, settings: Settings) -> Result:
    findings = doctor.examine(settings)
    text = "\n".join(
        f"{'✓' if f.good else '✗'} {f.what}: {f.found}{f'. {f.advice}' if f.advice else ''}" for f in findings
    )
    data = {"findings": [finding._asdict() for finding in findings]}
    return Result(data, text, failed=any(f.needed and not f.good for f in findings))


# --- the options ------------------------------------------------------------------------------------------


def parser(settings: Settings) -> argparse.ArgumentParser:
    top = argparse.ArgumentParser("ecomlib", description="A shop on an event bus, to learn from.")
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True)

    def verb(
        group: Any, name: str, run: Callable[..., Result], help: str, *, log: bool = True
    ) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = group.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
        made.add_argument("--json", action="store_true", help="print one JSON object, for programs")
        if log:
            default = f" (default: {settings.log}, from ECOMLIB_LOG)" if settings.log else ""
            made.add_argument(
                "--log", type=_folder, default=settings.log, metavar="DIR", help=f"the log's folder{default}"
            )
        made.set_defaults(run=run)
        return made

    one = verb(verbs, "demo", demo, "a day of the shop, then the same figures replayed from its log")
    one.add_argument("--orders", type=_count, metavar="N", help="so many simulated orders instead of the short story")
    one.add_argument("--seed", type=int, default=settings.seed, metavar="S", help="another day (default: %(default)s)")

    sources = verbs.add_parser("import", help="append the facts of other people's files to a log").add_subparsers(
        title="sources", metavar="SOURCE", required=True
    )
    one = verb(sources, "olist", import_, "the published Olist files, gzipped or not")
    one.add_argument("path", type=Path, metavar="DIR", help="the folder with olist_orders_dataset.csv and the others")
    one.set_defaults(source="olist")
    one = verb(sources, "original", import_, "an events.log of the original project")
    one.add_argument("path", type=Path, metavar="FILE")
    one.add_argument("--zone", default=settings.zone, help="of the times in the file (default: %(default)s)")
    one.set_defaults(source="original")

    one = verb(verbs, "replay", replay_, "fold a log into totals")
    one.add_argument("--until", metavar="TIME", help="only what had happened by then, like 2026-01-05T12:00")

    looks = verbs.add_parser("log", help="look into a log").add_subparsers(title="looks", metavar="LOOK", required=True)
    verb(looks, "topics", log_topics, "the topics of a log, with their events")
    one = verb(looks, "tail", log_tail, "the last records of a topic")
    one.add_argument("--topic", default=TOPIC, help="default: %(default)s")
    one.add_argument("-n", "--number", type=_count, default=10, help="how many (default: %(default)s)")

    verb(verbs, "doctor", doctor_, "what is installed, and what to do about what is not", log=False)
    return top


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r:.20} is not a whole number from 1 to 1000000")
    return int(text)


def _folder(text: str) -> Path:
    if not text:  # as from a shell's variable that isn't set: it would mean the current folder
        raise argparse.ArgumentTypeError("it is empty: name a folder")
    return Path(text)


def _log_folder(options: argparse.Namespace) -> Path:
    if options.log is None:
        raise BadInput("Which log? Name its folder with --log DIR, or set ECOMLIB_LOG.")
    return Path(options.log)


def _time(text: str, zone: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{text!r:.40} is no time: write it like 2026-01-05 or 2026-01-05T12:00:00Z.") from None
    return time if time.tzinfo else time.replace(tzinfo=zone_named(zone))


def _table(totals: dict[str, int | str]) -> str:
    return "\n".join(f"{name:>10}  {value}" for name, value in totals.items())
