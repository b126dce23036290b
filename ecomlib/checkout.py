"""The checkout: four services, each with a database of its own, and the saga that makes them agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Self

from ecomlib.catalogue import Purchase, read_model
from ecomlib.commands import Commands
from ecomlib.factory import EventFactory
from ecomlib.faults import Faults
from ecomlib.ports import Bus, Durability, Locks, Log, Retry
from ecomlib.saga import SagaRunner
from ecomlib.services.delivery import DeliveryService
from ecomlib.services.inventory import InventoryService
from ecomlib.services.order_book import OrderBook
from ecomlib.services.orders import Amount, OrderId
from ecomlib.services.participant import Participant
from ecomlib.services.payments import SHOP, PaymentService
from ecomlib.steps import Action, Saga, Step
from ecomlib.story import Story

# The saga: the service of each step, its action and its compensation. The last one is the pivot.
ROWS: tuple[tuple[type[Participant], str, str], ...] = (
    (OrderBook, "create", "cancel"),
    (PaymentService, "reserve", "cancel"),
    (InventoryService, "deduct", "restore"),
    (DeliveryService, "request", "cancel"),
)
STEPS = tuple(service.name for service, _, _ in ROWS)
ITEM = "coffee machine"
ACCOUNTS: Mapping[str, Amount] = MappingProxyType({"100": "50000.00"})
STOCK: Mapping[str, int] = MappingProxyType({ITEM: 1000})
SLOTS: Mapping[str, int] = MappingProxyType({"today": 1000})


class Checkout:
    """`buy` serves a customer wholly or not at all; after a crash, `recover` ends what was begun.

    Every fact of a service goes to the bus, at least once, before the step counts as done. Faults are planned by the
    name of a step, or by `"<step> compensation"`. What is in the databases already wins over `accounts`, `stock` and
    `slots`. Every method may be called from any thread.
    """

    def __init__(
        self,
        stores: Path,
        log: Log,
        locks: Locks,
        bus: Bus,
        new_event: EventFactory,
        *,
        accounts: Mapping[str, Amount] = ACCOUNTS,
        stock: Mapping[str, int] = STOCK,
        slots: Mapping[str, int] = SLOTS,
        retry: Retry = Retry(),  # noqa: B008  (immutable)
        limit: float = 10.0,
        durability: Durability = "batch",
        on_close: Callable[[], object] | None = None,
    ) -> None:
        self.log, self.bus, self.faults, self._on_close = log, bus, Faults(), on_close
        self.orders = OrderBook(stores / "orders.sqlite3", new_event, durability=durability)
        self.payments = PaymentService(stores / "payments.sqlite3", new_event, accounts, durability=durability)
        self.inventory = InventoryService(stores / "inventory.sqlite3", new_event, stock, durability=durability)
        self.delivery = DeliveryService(stores / "delivery.sqlite3", new_event, slots, durability=durability)
        self.saga = self._table(retry, limit)
        self.runner = SagaRunner(self.saga, log, locks, new_event)

    def _table(self, retry: Retry, limit: float) -> Saga:
        services = {service.name: service for service in self.services}

        def local(name: str, command: str, part: str) -> Action:
            return self.faults.wrap(part, self._told(services[name], getattr(services[name], command)))

        return _table(local, retry, limit)

    def _told(self, service: Participant, command: Action) -> Callable[[str, Purchase], None]:
        def obey(key: str, purchase: Purchase) -> None:
            command(key, purchase)
            service.relay(self.bus)

        obey.__name__ = getattr(command, "__name__", service.name)
        return obey

    def buy(self, order_id: OrderId, *, user_id: OrderId, amount: Amount, item: str = ITEM, quantity: int = 1) -> Story:
        """Blocks until the saga `order-<order_id>` has ended. Raises `BadEvent` for impossible values."""
        said = {"order_id": order_id, "user_id": user_id, "amount": amount, "item": item, "quantity": quantity}
        purchase = read_model(Purchase, "a purchase", said)
        return self.runner.start(f"order-{purchase.order_id}", purchase)

    def resume(self, order_id: OrderId) -> Story:
        """Take up an order whose saga is stuck, once what was in its way is put right."""
        return self.runner.resume(f"order-{order_id}")

    def recover(self, threads: int = 8) -> list[Story]:
        """End every saga that a crash left open, and publish what waits in the outboxes."""
        stories = self.runner.recover(threads)
        for service in self.services:
            service.relay(self.bus)
        return stories

    @property
    def services(self) -> tuple[Participant, ...]:
        return self.orders, self.payments, self.inventory, self.delivery

    def problems(self) -> list[str]:
        """What is not as a checkout promises, in sentences; none once every saga in the log has ended.

        It asks one service after the other: while sagas run, what it says is of no one moment.
        """
        self.runner.catch_up()
        stories = [story for story in list(self.runner.stories.values()) if story.saga == self.saga.name]
        charged, deducted, sent = self.payments.charged(), self.inventory.deducted(), self.delivery.sent()
        standing = {order for order, status in self.orders.orders().items() if status == "created"}
        found = []
        if (till := self.payments.balances().get(SHOP, Decimal(0))) != sum(charged.values()):
            found.append(f"The shop's account holds {till}, and the orders were charged {sum(charged.values())}.")
        for story in stories:
            order = story.request.order_id
            services = {"order": standing, "payment": charged, "inventory": deducted, "delivery": sent}
            have = [step for step in STEPS if order in services[step]]
            due = {"completed": [*STEPS], "compensated": []}.get(story.outcome or "open")
            if have != due:
                found.append(f"Order {order} is {story.outcome or 'open'}; in effect: {', '.join(have) or 'nothing'}.")
        strange = {*charged, *deducted, *sent, *standing} - {story.request.order_id for story in stories}
        return [*found, *(f"Order {order} is nobody's saga." for order in sorted(strange))]

    def close(self) -> None:
        for service in self.services:
            service.close()
        if self._on_close:
            self._on_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def remote_saga(commands: Commands, *, retry: Retry = Retry(), limit: float = 10.0) -> Saga:  # noqa: B008  (immutable)
    """The checkout's saga for a runner whose services are elsewhere: each step sends a command, and waits."""
    return _table(lambda name, command, part: commands.to(f"{name}.{command}"), retry, limit)


def _table(do: Callable[[str, str, str], Action], retry: Retry, limit: float) -> Saga:
    """`do` makes what a step calls: it gets the service's name, the command, and what faults call the two."""

    def step(name: str, action: str, compensation: str) -> Step:
        undo = do(name, compensation, f"{name} compensation")
        return Step(name, do(name, action, name), undo, name == STEPS[-1], retry, limit)

    rows = [step(service.name, action, compensation) for service, action, compensation in ROWS]
    return Saga("checkout", tuple(rows), Purchase)
