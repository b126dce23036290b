"""A process that takes part in the checkout on RabbitMQ. It can be told where to die, the same place at every run.

    python -m ecomlib.checkout_worker FOLDER dance            the choreography: it does the work of all four services
    python -m ecomlib.checkout_worker FOLDER serve payment    the saga: it obeys the commands for these services
    python -m ecomlib.checkout_worker FOLDER run 1:2 2:5      the saga: it ends what is open, then runs new ones,
                                                              side by side: two coffee machines in order 1, ...

The first two say `ready` on standard output when their queues are there, and work until standard input ends: so they
never outlive who started them. Each process has the services' databases from FOLDER, and RabbitMQ from the settings.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from ecomlib.catalogue import Purchase, read_model
from ecomlib.checkout import ITEM, ROWS, STEPS, remote_saga
from ecomlib.choreography import Choreography
from ecomlib.clock import SystemClock
from ecomlib.commands import Commands, serve
from ecomlib.errors import EcomlibError
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.locks import FileLocks
from ecomlib.log import FileLog
from ecomlib.ports import Receipt
from ecomlib.rabbitmq import RabbitBus
from ecomlib.saga import SagaRunner
from ecomlib.settings import Settings, read_settings
from ecomlib.shop import open_checkout

CUSTOMER, PRICE = "100", 50
DIED = 137  # what a shell says of a process that was ended by kill -9


class Place(NamedTuple):
    """Where a worker may die: when this fact is to be published, or that command has been answered."""

    fact: str
    command: str


PLACES = {
    **{service.name: Place(service.action, f"{service.name}.{action}") for service, action, _ in ROWS},
    **{
        f"{service.name} compensation": Place(service.compensation, f"{service.name}.{undo}")
        for service, _, undo in ROWS
    },
}


class MortalBus(RabbitBus):
    """The process ends at once when this fact is to be published: its effect is saved, and nobody knows of it."""

    dies_at: str | None = None

    def publish(self, event: Event, **how: Any) -> Receipt:
        if event.type == self.dies_at:
            os._exit(DIED)
        return super().publish(event, **how)


class MortalCommands(Commands):
    """The process ends at once when this command is obeyed and answered, before its saga can write that down."""

    dies_at: str | None = None

    def to(self, command: str) -> Callable[[str, Purchase], None]:
        ask = super().to(command)

        def ask_and_die(key: str, purchase: Purchase) -> None:
            ask(key, purchase)
            os._exit(DIED)

        return ask_and_die if command == self.dies_at else ask


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ecomlib.checkout_worker", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("does", choices=("dance", "serve", "run"))
    parser.add_argument("what", nargs="*", metavar="SERVICE | ORDER:QUANTITY")
    parser.add_argument("--exchange", default="shop", help="commands go over the one of this name with .commands")
    parser.add_argument("--die-after", choices=PLACES, metavar="PART", help='such as "payment": right after its effect')
    options = parser.parse_args(arguments)
    does: Callable[[argparse.Namespace, Settings], None] = {"dance": dance, "serve": obey, "run": run}[options.does]
    try:
        does(options, read_settings())
    except EcomlibError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def dance(options: argparse.Namespace, settings: Settings) -> None:
    facts = MortalBus(settings.broker_url, exchange=options.exchange)
    with open_checkout(options.folder, durability=settings.durability, bus=facts) as checkout, facts:
        facts.dies_at = PLACES[options.die_after].fact if options.die_after else None
        Choreography(checkout)
        for service in checkout.services:
            service.relay(facts)  # what a crash left
        until_input_ends()


def obey(options: argparse.Namespace, settings: Settings) -> None:
    facts = MortalBus(settings.broker_url, exchange=options.exchange)
    commands = RabbitBus(settings.broker_url, exchange=f"{options.exchange}.commands")
    with open_checkout(options.folder, durability=settings.durability, bus=facts) as checkout, facts, commands:
        facts.dies_at = PLACES[options.die_after].fact if options.die_after else None
        for service, (_, *names) in zip(checkout.services, ROWS, strict=True):
            if service.name in (options.what or STEPS):
                obeyed = [getattr(service, name) for name in names]
                serve(commands, facts, service, *obeyed, new_event=EventFactory(f"/{service.name}", SystemClock()))
        until_input_ends()


def run(options: argparse.Namespace, settings: Settings) -> None:
    """The runner has no database: what it knows stands in the sagas' log."""
    new_event = EventFactory("/checkout", SystemClock())
    with (
        FileLog(options.folder, durability=settings.durability) as log,
        RabbitBus(settings.broker_url, exchange=f"{options.exchange}.commands") as bus,
        MortalCommands(bus, new_event) as commands,
    ):
        commands.dies_at = PLACES[options.die_after].command if options.die_after else None
        runner = SagaRunner(remote_saga(commands), log, FileLocks(log.folder / "_sagas"), new_event)
        runner.recover()
        with ThreadPoolExecutor(8) as pool:
            for story in [pool.submit(runner.start, *asked(order)) for order in options.what]:
                story.result()


def asked(order: str) -> tuple[str, Purchase]:
    """The id of the saga, and what is bought in it."""
    number, _, quantity = order.partition(":")
    said = {"order_id": number, "user_id": CUSTOMER, "item": ITEM, "quantity": quantity}
    amount = PRICE * int(quantity) if quantity.isdecimal() else None
    return f"order-{number}", read_model(Purchase, f"the order {order!r}", {**said, "amount": amount})


def until_input_ends() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    raise SystemExit(main())
