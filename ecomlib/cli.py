"""The command `ecomlib`: one verb for each thing that can be done without a notebook.

Results go to standard output (with `--json` as one object on its last line), all else to standard error. The exit
code is 0 when the work is done, 1 when it failed, 2 for wrong usage or bad input; a sentence says what was wrong.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import sys
from _thread import interrupt_main
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Timer, main_thread
from typing import Any, NoReturn

from ecomlib.checkout import STEPS
from ecomlib.errors import BadEvent, BadInput, BadPattern, EcomlibError
from ecomlib.settings import Settings, read_settings
from ecomlib.shop import TOPIC
from ecomlib.verbs.broker import DEFAULT_PORT, broker
from ecomlib.verbs.common import Result, say
from ecomlib.verbs.log import log_groups, log_tail, log_topics
from ecomlib.verbs.rabbitmq import produce, worker
from ecomlib.verbs.saga import saga
from ecomlib.verbs.serve import serve
from ecomlib.verbs.shop import demo, doctor_, import_, replay_


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code. Ctrl+C and SIGTERM end it between two pieces of work."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without ✓ shows a question mark
    try:
        settings = read_settings()
        options = parser(settings).parse_args(arguments)
        with _stoppable():
            result: Result = options.run(options, settings)
        print(json.dumps(result.data) if options.json else result.text, flush=True)
        return int(result.failed)
    except (BadInput, BadEvent, BadPattern) as error:
        return _end(str(error), 2)
    except EcomlibError as error:
        return _end(str(error), 1)
    except KeyboardInterrupt:
        return _end("Stopped. What was finished before stays.", 1)
    except BrokenPipeError:  # whoever read our output (`| head`) has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _end(f"{error.filename or 'The system'}: {error.strerror or error}.", 1)


def _end(sentence: str, code: int) -> int:
    say(sentence)
    return code


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM does what Ctrl+C does, and neither gets lost."""
    previous, hook = signal.signal(signal.SIGTERM, _interrupt), sys.unraisablehook
    sys.unraisablehook = _again
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
        sys.unraisablehook = hook


def _interrupt(signum: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _again(unraisable: Any) -> None:
    """Where code in C swallows what a signal raised (pydantic does, now and then), it comes again a moment later."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        Timer(0.01, _interrupt_main).start()
    else:
        sys.__unraisablehook__(unraisable)


def _interrupt_main() -> None:
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main_thread().ident or 0, signal.SIGINT)
    else:
        interrupt_main()


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

    one = verb(verbs, "saga", saga, "a checkout as a saga: order, payment, inventory, delivery, or none of them")
    one.add_argument("--fail", choices=STEPS, metavar="STEP", help=f"let a step fail: {', '.join(STEPS)}")
    other = one.add_mutually_exclusive_group()
    other.add_argument("--recover", action="store_true", help="no new order: end what a crash left open in the log")
    other.add_argument("--resume", metavar="SAGA", help="no new order: try a saga that is stuck again")

    one = verb(verbs, "serve", serve, "the webhook server and its live page, until it is stopped")
    one.add_argument("--host", type=_host, default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    one.add_argument("--port", type=_port, default=8000, help="0: any that is free (default: %(default)s)")

    one = verb(verbs, "replay", replay_, "fold a log into totals")
    one.add_argument("--until", metavar="TIME", help="only what had happened by then, like 2026-01-05T12:00")

    looks = verbs.add_parser("log", help="look into a log").add_subparsers(title="looks", metavar="LOOK", required=True)
    verb(looks, "topics", log_topics, "the topics of a log, with their events")
    one = verb(looks, "tail", log_tail, "the last records of a topic")
    one.add_argument("--topic", default=TOPIC, help="default: %(default)s")
    one.add_argument("-n", "--number", type=_count, default=10, help="how many (default: %(default)s)")

    verb(looks, "groups", log_groups, "the consumer groups of a log, with their offsets and lag")

    _add_rabbitmq(verbs, verb, settings)

    one = verb(verbs, "broker", broker, "a RabbitMQ of our own on this machine, until it is stopped", log=False)
    one.add_argument("--port", type=_port, default=DEFAULT_PORT, help="0: any that is free (default: %(default)s)")
    one.add_argument("--data", type=_folder, metavar="DIR", help="keeps its messages (default: a temporary folder)")

    verb(verbs, "doctor", doctor_, "what is installed, and what to do about what is not", log=False)
    return top


def _add_rabbitmq(verbs: Any, verb: Callable[..., argparse.ArgumentParser], settings: Settings) -> None:
    def url(one: argparse.ArgumentParser) -> None:
        said = "amqp://user:password@host:5672/ (default: ECOMLIB_RABBITMQ_URL, or the RabbitMQ of this machine)"
        one.add_argument("--url", type=_given, metavar="URL", help=said)

    said = "publish to RabbitMQ: two users who register, a day's orders, or a log"
    one = verb(verbs, "produce", produce, said, log=False)
    one.description = (
        f"{one.description} The queues of the shop are made first, so that nothing is lost where no worker runs yet. "
        "The same seed sends the same events, which change nothing the second time. A log is a history: whoever serves "
        "the emails sends those of its orders again, unless its store says that they are sent."
    )
    what = one.add_mutually_exclusive_group()
    what.add_argument("--orders", type=_count, metavar="N", help="the order events of `demo --orders N` with that seed")
    what.add_argument("--log", type=_folder, metavar="DIR", help="all events of the log in this folder, in its order")
    one.add_argument("--seed", type=int, default=settings.seed, metavar="S", help="default: %(default)s")
    url(one)

    services = verbs.add_parser("worker", help="serve a service's queue on RabbitMQ, until stopped").add_subparsers(
        title="services", metavar="SERVICE", required=True
    )
    for service, help in (
        ("email", "send emails and SMS, each once for an event"),
        ("analytics", "count every event, once, into totals"),
    ):
        one = verb(services, service, worker, f"{help}; several workers share the work", log=False)
        one.set_defaults(service=service)
        said = f"SQLite file that the workers of this service share (default: {service}.sqlite3 in the current folder)"
        one.add_argument("--store", type=_given, default=f"{service}.sqlite3", metavar="FILE", help=said)
        said = "makes each piece of work slower by so much"
        one.add_argument("--work", type=_seconds, default=0.0, metavar="SECONDS", help=said)
        said = "deliveries that it is given ahead (default: %(default)s)"
        one.add_argument("--prefetch", type=_prefetch, default=10, metavar="N", help=said)
        url(one)
        if service == "email":
            said = "the mail server (default: ECOMLIB_SMTP; without one they are only recorded)"
            one.add_argument("--smtp", type=_given, default=settings.smtp or None, metavar="HOST:PORT", help=said)


def _given(text: str) -> str:
    if not text:  # as from a shell's variable that isn't set
        raise argparse.ArgumentTypeError("it is empty: give it a value, or leave the option out")
    return text


def _prefetch(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:  # what AMQP has two bytes for
        raise argparse.ArgumentTypeError(f"{text!r:.20} is not a whole number from 1 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r:.20} is no number of seconds from 0 to 3600")
    return seconds


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r:.20} is not a whole number from 1 to 1000000")
    return int(text)


def _host(text: str) -> str:
    if not text:  # as from a shell's variable that isn't set: it would mean every address
        raise argparse.ArgumentTypeError("it is empty: name an address, like 127.0.0.1")
    return text


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r:.20} is not a port, 0 to 65535")
    return int(text)


def _folder(text: str) -> Path:
    if not text:  # as from a shell's variable that isn't set: it would mean the current folder
        raise argparse.ArgumentTypeError("it is empty: name a folder")
    return Path(text)
