"""The checkout on RabbitMQ, with real processes as its workers, which can be killed or told where to die."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Self

from ecomlib.amqp import channel_to
from ecomlib.catalogue import Purchase, read_model
from ecomlib.checkout import ITEM, STEPS
from ecomlib.checkout_worker import CUSTOMER, DIED, PLACES, PRICE
from ecomlib.errors import BadInput, EcomlibError, NotDrained
from ecomlib.lab import saga_rows
from ecomlib.lab.saga_rows import MACHINES, MONEY, Kept
from ecomlib.lab.saga_rows import PLACES as IN_THE_VAN
from ecomlib.lab.scratch import scratch
from ecomlib.rabbitmq import RabbitBus
from ecomlib.services.payments import SHOP
from ecomlib.shop import open_checkout
from ecomlib.topology import Topology

LIMIT = 60.0  # seconds, for a machine that is busy with something else


class RabbitCheckout:
    """Customer 100 has 500.00; there are 4 coffee machines at 50.00 each, and 3 places in the van.

    This process only takes orders and looks into the databases; the work is done by processes that it starts. They end
    with it at the latest. Its queues are new, and are deleted when it is closed, with what an earlier one left there.
    """

    def __init__(
        self,
        url: str,
        folder: Path | str | None = None,
        *,
        exchange: str = "shop",
        money: int = MONEY,
        machines: int = MACHINES,
        places: int = IN_THE_VAN,
    ) -> None:
        """Raises `BrokerError` where no RabbitMQ answers at `url`. Without a folder it has a temporary one."""
        self.url, self.exchange, self.workers = url, exchange, list[subprocess.Popen[str]]()
        self._first = (money, machines, places)
        self._delete_queues()
        self.bus = RabbitBus(url, exchange=exchange)
        self.folder = Path(folder) if folder is not None else scratch(self)
        self.checkout = open_checkout(
            self.folder,
            durability="system",
            bus=self.bus,
            accounts={CUSTOMER: money},
            stock={ITEM: machines},
            slots={"today": places},
        )
        try:
            self.bus.__enter__()
        except BaseException:
            self.checkout.close()
            raise
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed in `close`); what workers complain of

    # --- workers ------------------------------------------------------------------------------------------

    def dance(self, workers: int = 1, *, die_after: str | None = None) -> None:
        """Start workers of the choreography; returns when they are ready. Each does the work of all four services.

        `die_after="payment"`: it dies when it has moved the money, and before it has told anybody.
        """
        self._ready([self.start("dance", die_after=die_after) for _ in range(workers)])

    def serve(self, *services: str, workers: int = 1, die_after: str | None = None) -> None:
        """Start workers that obey the saga's commands to these services, or to all; returns when they are ready."""
        self._ready([self.start("serve", *services, die_after=die_after) for _ in range(workers)])

    def run(self, *orders: str, die_after: str | None = None) -> int:
        """Let a runner end the sagas that are open, and then run one for each order: "1:2" is order 1, two machines.

        Returns its exit code when it has ended: 0, or 137 where it died.
        """
        self.start("run", *orders, die_after=die_after)
        return self.end_of_worker()

    def start(self, *does: str, die_after: str | None = None) -> subprocess.Popen[str]:
        """A worker as a process (`checkout_worker.py`), which may not be ready yet."""
        if die_after is not None and die_after not in PLACES:
            raise BadInput(f"A worker can't die after {die_after!r:.60}: choose one of {', '.join(PLACES)}.")
        command = [sys.executable, "-m", "ecomlib.checkout_worker", str(self.folder), *does]
        command += ["--exchange", self.exchange, *(["--die-after", die_after] if die_after else [])]
        settings = {"ECOMLIB_RABBITMQ_URL": self.url, "ECOMLIB_DURABILITY": "system"}  # seen by fewer than arguments
        worker = subprocess.Popen(
            command,
            env={**os.environ, **settings},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )
        self.workers.append(worker)
        return worker

    def end_of_worker(self) -> int:
        """Returns when the worker that was started last has ended, however: its exit code.

        Raises `NotDrained` where it lives on: nothing has come to it that was to kill it.
        """
        try:
            return self.workers[-1].wait(LIMIT)
        except subprocess.TimeoutExpired:
            said = f"The worker still lives after {LIMIT:g} s. Did another one take its work? Open the checkout anew."
            raise NotDrained(said) from None

    def kill(self) -> None:
        """Kill the worker that was started last, as `kill -9` does."""
        if not self.alive:
            raise BadInput("There is no worker to kill: start one first.")
        worker = self.alive[-1]
        worker.kill()
        worker.wait(LIMIT)

    @property
    def alive(self) -> list[subprocess.Popen[str]]:
        return [worker for worker in self.workers if worker.poll() is None]

    def _ready(self, workers: list[subprocess.Popen[str]]) -> None:
        for worker in workers:
            assert worker.stdout is not None
            if not worker.stdout.readline() and worker.wait(LIMIT) != DIED:  # that comes early where work waits
                self._said.seek(0)
                raise EcomlibError(f"A worker did not start. The workers say: {self._said.read().strip()}")

    # --- orders -------------------------------------------------------------------------------------------

    def buy(self, quantity: int = 1) -> str:
        """The next order of the choreography; returns its number when it is saved and published."""
        orders = self.checkout.orders
        number = str(orders.next_number())
        said = {"order_id": number, "user_id": CUSTOMER, "amount": PRICE * quantity, "item": ITEM, "quantity": quantity}
        orders.create(f"order-{number}.order", read_model(Purchase, "a purchase", said))
        orders.relay(self.bus)
        return number

    def settle(self, timeout: float = LIMIT) -> dict[str, str]:
        """Returns when every order is served wholly or not at all: `orders()`. Raises `NotDrained` after `timeout`."""
        deadline = time.monotonic() + timeout
        while problems := self.problems():
            if time.monotonic() > deadline:
                raise NotDrained(f"After {timeout:g} s: {' '.join(problems)}")
            threading.Event().wait(0.02)
        return self.orders()

    def orders(self) -> dict[str, str]:
        """Of each order: "served", "cancelled", or what of it is in effect."""
        return {order: told for order, (told, _) in self._orders().items()}

    def problems(self) -> list[str]:
        """Which orders are served by half, and what was lost or made up, in sentences. While workers work, some are."""
        found = [
            f"Order {order} is served by half: {told}." for order, (told, whole) in self._orders().items() if not whole
        ]
        charged, till = sum(self.checkout.payments.charged().values()), self.checkout.payments.balances()[SHOP]
        if charged != till:
            found.append(f"The shop's account holds {till}, and the orders were charged {charged}.")
        return found + [f"{kept.what}: together {kept.together}." for kept in self.kept() if not kept.conserved]

    def kept(self) -> list[Kept]:
        return saga_rows.kept(self.checkout, self._first)

    def _orders(self) -> dict[str, tuple[str, bool]]:
        """What is to be said of each order, and whether it is served wholly or not at all."""
        shop = self.checkout
        known = shop.orders.orders()
        standing = [order for order, status in known.items() if status == "created"]
        services: tuple[Collection[str], ...] = (
            standing,
            shop.payments.charged(),
            shop.inventory.deducted(),
            shop.delivery.sent(),
        )
        found = {}
        for order in dict.fromkeys(order for orders in (known, *services) for order in orders):
            have = [step for step, orders in zip(STEPS, services, strict=True) if order in orders]
            whole = {0: "cancelled", len(STEPS): "served"}.get(len(have))
            found[order] = (whole or ", ".join(have), whole is not None)
        return found

    # --- the end ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the workers, as soon as they have finished what is in hand."""
        for worker in self.workers:
            assert worker.stdin is not None
            worker.stdin.close()
        for worker in self.workers:
            try:
                worker.wait(LIMIT)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
            assert worker.stdout is not None
            worker.stdout.close()
        self._said.close()
        self.bus.stop(LIMIT)
        self.checkout.close()
        self._delete_queues()

    def _delete_queues(self) -> None:
        """Those of this checkout only: an order of an earlier one is not to meet one of the same number."""
        facts, commands = Topology(self.exchange), Topology(f"{self.exchange}.commands")
        with channel_to(self.url) as channel:
            for queue in (*map(facts.queue, PLACES), *map(commands.queue, STEPS)):
                channel.queue_delete(queue)

    def __repr__(self) -> str:
        counted = Counter(told if whole else "half served" for told, whole in self._orders().values())
        orders = ", ".join(f"{n} {told}" for told, n in sorted(counted.items())) or "none"
        money, machines, places = self.kept()
        return (
            f"orders: {orders} | customer {money.left}, shop {money.taken} | in stock {machines.left}, "
            f"places in the van {places.left} | workers {len(self.alive)} | problems {len(self.problems())}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
