"""What the RabbitMQ panel does, without the panel: orders, real worker processes, a poison message, what came of it."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pandas as pd
import pika

from ecomlib.amqp import channel_to
from ecomlib.clock import SimulatedClock
from ecomlib.errors import BadInput, BrokerError, EcomlibError, NotDrained, Refused
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.ids import seeded_ids
from ecomlib.lab.depths import Depths, Management, look
from ecomlib.lab.desk import Message
from ecomlib.lab.lane import many
from ecomlib.lab.lesson_broker import LessonBroker
from ecomlib.lab.rabbit_ledger import Ledger, dead_rows
from ecomlib.lab.rabbit_rows import DeadRow, QueueRow, Seen, WorkerRow
from ecomlib.lab.scratch import scratch
from ecomlib.lab.worker_processes import LIMIT, SERVES, WorkerProcess, WorkerProcesses, wait_until
from ecomlib.publishing import CONTENT_TYPE
from ecomlib.rabbitmq import RabbitBus
from ecomlib.services.notifications import CHANNELS, PATIENT
from ecomlib.services.senders import BOUNCES
from ecomlib.services.shared_analytics import SharedAnalytics
from ecomlib.topology import SERVICES, Topology, pauses

EXCHANGE = "shop"  # the one that worker processes serve
WORK, PREFETCH = 0.3, 2  # so that one sees messages in hand, and others that wait
CUSTOMERS, AMOUNT = ("100", "200", "300"), "50.00"
POISON = b"This is no event."


class RabbitDesk:
    """Its queues are new, so it deletes what is in those of the exchange `shop`. Until `close`, or until it is dropped.

    An action returns when RabbitMQ has confirmed it, or when the process is there, or gone; what workers then do goes
    on, and `settle` waits for it. What an action led to, an error too, stands in `message`. `changed` is set by
    whatever may change the picture, in any thread.
    """

    def __init__(self, broker: LessonBroker, *, work: float = WORK, prefetch: int = PREFETCH, seed: int = 0) -> None:
        """`work` seconds of each worker for a delivery, `prefetch` deliveries ahead. Raises `BrokerError`."""
        self.broker, self.work, self.prefetch, self.seed = broker, work, prefetch, seed
        self.topology, self.changed = Topology(EXCHANGE), threading.Event()
        self._management = Management(broker.url, broker.management_url) if broker.management_url else None
        self._begin()
        self.message = Message("Produce some orders, and start a worker.")

    def _begin(self) -> None:
        self.broker.clean(EXCHANGE)
        with channel_to(self.broker.url) as channel:
            self.topology.declare(channel)
            self.topology.declare_delays(channel, PATIENT)
        self.workers = WorkerProcesses(self.broker.url, scratch(self), self.changed.set)
        self.bus = RabbitBus(self.broker.url, exchange=EXCHANGE)
        self.bus.__enter__()
        self._dropped = weakref.finalize(self, _end, self.workers, self.bus)
        self._new_event = EventFactory("/shop", SimulatedClock(), seeded_ids(f"rabbit desk {self.seed}"))
        self.orders, self.ledger = 0, Ledger(self.workers)
        self.seen = self.look()

    # --- what is sent -------------------------------------------------------------------------------------

    def produce(self, orders: int = 5, *, paid: int = 0) -> None:
        """The next orders, the first `paid` of which are paid too. Returns when RabbitMQ has confirmed them all."""

        def publish() -> str:
            if type(orders) is not int or not 1 <= orders <= 1000:
                raise BadInput(f"{orders!r:.40} orders can't be produced: ask for a whole number from 1 to 1000.")
            for n in range(orders):
                self._order(CUSTOMERS[self.orders % len(CUSTOMERS)], is_paid=n < paid)
            return (
                f"{many(orders, 'order')} sent, and confirmed: RabbitMQ has {'it' if orders == 1 else 'them'} on disk."
            )

        self._act(publish)

    def publish(self, event: Event) -> None:
        """An event of your own. Returns when RabbitMQ has confirmed it."""

        def send() -> str:
            receipt = self._send(event)
            return f"{event.type} is sent, and confirmed." + " No queue took it." * (not receipt)

        self._act(send)

    def poison(self) -> None:
        """A message that is no event, with the routing key `order.created`: who takes it can never handle it."""

        def send() -> str:
            with channel_to(self.broker.url) as channel:
                channel.confirm_delivery()
                properties = pika.BasicProperties(content_type=CONTENT_TYPE, delivery_mode=2)
                channel.basic_publish(EXCHANGE, "order.created", POISON, properties, mandatory=True)
            self.ledger.poisoned += 1
            return "A message that is no event went to the queues of email and analytics. Who takes it can't handle it."

        self._act(send)

    def bounce(self) -> None:
        """An order of a customer whose mailbox does not exist: every worker would fail with it."""

        def send() -> str:
            [user] = BOUNCES
            self._order(user)
            return f"An order of user {user} is sent. That mailbox does not exist."

        self._act(send)

    # --- workers ------------------------------------------------------------------------------------------

    def start_worker(self, kind: str = "email", *, work: float | None = None, prefetch: int | None = None) -> None:
        """A process of its own: "email" serves the queues email and sms. Returns when it consumes."""

        def start() -> str:
            worker = self.workers.start(
                kind,
                work=self.work if work is None else work,
                prefetch=self.prefetch if prefetch is None else prefetch,
            )
            self._until_the_broker_knows(kind)
            return f"{worker.name} is a process of its own, and takes from {' and '.join(SERVES[kind])}."

        self._act(start)

    def stop_worker(self, kind: str = "email") -> None:
        """SIGTERM to the newest one. Returns when it has ended."""

        def stop() -> str:
            worker = self._end_of(kind, WorkerProcess.stop)
            return f"{worker.name} was asked to stop: it finished what it had begun, and gave back the rest."

        self._act(stop)

    def kill_worker(self, kind: str = "email") -> None:
        """SIGKILL to the newest one. Returns when RabbitMQ has put back what it had in hand."""

        def kill() -> str:
            worker = self._end_of(kind, WorkerProcess.kill)
            return f"{worker.name} was killed (kill -9). What it had in hand is back in the queue."

        self._act(kill)

    # --- waiting ------------------------------------------------------------------------------------------

    def settle(self, timeout: float = LIMIT) -> None:
        """Returns when living workers have nothing left to do, and what dead ones had in hand is back in its queue.

        Then the numbers are the same at every run. Raises `NotDrained` after `timeout` seconds.
        """
        self._wait(self._is_quiet, timeout)

    def wait_for(self, queue: str, *, timeout: float = LIMIT, **numbers: int) -> None:
        """Returns when this queue's row has these numbers: `wait_for("email", ready=3, in_hand=2)`."""
        if queue not in SERVICES or not numbers.keys() <= set(QueueRow._fields):
            raise BadInput(f"{queue!r:.40} with {', '.join(numbers)} can't be waited for: see rows().")
        self._wait(lambda: all(getattr(self.row(queue), name) == n for name, n in numbers.items()), timeout)

    def _wait(self, condition: Callable[[], bool], timeout: float) -> None:
        def come_true() -> bool:
            self._see()
            return condition()

        try:
            wait_until(come_true, "it has not come to that", timeout)
        except NotDrained:
            left = "; ".join(f"{r.queue}: {r.ready} ready, {r.in_hand} in hand" for r in self.seen.queues)
            raise NotDrained(f"After {timeout:g} s it has not come to that: {left}.") from None
        finally:
            self.changed.set()

    def _is_quiet(self) -> bool:
        if self.seen.delayed:
            return False
        for kind, queues in SERVES.items():
            alive = len(self.workers.alive(kind))
            for row in map(self.row, queues):
                left = self.ledger.outstanding(row.queue)
                if (row.ready or left or row.consumers < alive) if alive else row.ready < left:
                    return False
        return not (self.workers.alive("email") and self.ledger.untold())

    # --- parts --------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        return not self._dropped.alive

    def _act(self, action: Callable[[], str]) -> None:
        try:
            if self.closed:
                raise Refused("The workers are gone, and nobody sends any more: click Reset to begin anew.")
            self.message = Message(action())
            self._see()
        except EcomlibError as error:
            self.message = Message(str(error), ok=False)
        self.changed.set()

    def _order(self, user: str, *, is_paid: bool = False) -> None:
        self.orders += 1
        data = {"order_id": self.orders, "user_id": user, "amount": AMOUNT}
        self._send(self._new_event("order.created", data))
        if is_paid:
            self._send(self._new_event("order.paid", data))

    def _send(self, event: Event) -> bool:
        receipt = self.bus.publish(event)
        self.ledger.published.append(event)
        return bool(receipt.routed)

    def _end_of(self, kind: str, how: Callable[[WorkerProcess], None]) -> WorkerProcess:
        worker = self.workers.newest(kind)
        how(worker)
        self._until_the_broker_knows(kind)
        return worker

    def _until_the_broker_knows(self, kind: str) -> None:
        alive = len(self.workers.alive(kind))
        queues = [self.topology.queue(name) for name in SERVES[kind]]
        wait_until(
            lambda: all(depth.consumers == alive for depth in look(self.broker.url, queues).queues.values()),
            f"RabbitMQ does not count {alive} consumers of {kind}",
            5.0,
        )

    # --- what came of it ----------------------------------------------------------------------------------

    def look(self) -> Seen:
        """What is to be seen now. Raises `BrokerError` where RabbitMQ does not answer."""
        delays = {self.topology.delay(pause) for pause in pauses(PATIENT)}
        queues = {name: self.topology.queue(name) for name in SERVICES}
        depths = look(self.broker.url, (*queues.values(), self.topology.dead, *delays), self._management)
        dead = depths.queues[self.topology.dead].ready
        if dead != len(self.ledger.dead):
            self.ledger.dead = dead_rows(self.broker.url, self.topology)
        delayed = sum(depths.queues[delay].ready for delay in delays)
        return Seen(
            tuple(self._row(name, depths, queue, delayed) for name, queue in queues.items()),
            tuple(WorkerRow(w.name, w.kind, w.state, w.handled) for w in self.workers.all),
            dead,
            delayed,
            depths.source,
        )

    def _see(self) -> None:
        self.seen = self.look()

    def _row(self, name: str, depths: Depths, queue: str, delayed: int) -> QueueRow:
        depth = depths.queues[queue]
        waits = depth.ready + (delayed if name in CHANNELS else 0)
        return QueueRow(
            name,
            tuple(SERVICES[name]),
            depth.ready,
            max(self.ledger.outstanding(name) - waits, 0),
            depth.consumers,
            self.ledger.handled(name),
            self.ledger.buried(name),
            depth.rate_in,
            depth.rate_out,
        )

    def rows(self) -> tuple[QueueRow, ...]:
        """Of each queue, as of now."""
        self._see()
        return self.seen.queues

    def row(self, queue: str) -> QueueRow:
        """As it was seen last."""
        return next(row for row in self.seen.queues if row.queue == queue)

    def frame(self) -> pd.DataFrame:
        """The rows, without those numbers that are old when they come."""
        columns = ["queue", "ready", "in_hand", "consumers", "handled", "dead"]
        rows: list[Any] = [row[:1] + row[2:7] for row in self.rows()]
        return pd.DataFrame(rows, columns=columns).set_index("queue")

    def dead_letters(self) -> tuple[DeadRow, ...]:
        """All that are in the queue of dead letters, by the queue that they come from. They stay there."""
        self._see()
        return self.ledger.dead

    @property
    def emails(self) -> int:
        """Events that an email was sent for."""
        return self.ledger.handled("email")

    def totals(self) -> dict[str, int | str]:
        """What the analytics workers' shared store says."""
        self.workers.folder.mkdir(parents=True, exist_ok=True)
        with SharedAnalytics(self.workers.store("analytics"), durability="system") as shared:
            return shared.totals()

    @property
    def folder(self) -> Path:
        """Where the workers' stores are."""
        return self.workers.folder

    # --- the end ------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Kills all workers; new queues, with nothing in them. The orders begin at 1 again."""
        self.close()
        self._begin()
        self.message = Message("New queues, with nothing in them, and no workers.")
        self.changed.set()

    def close(self) -> None:
        """Kills the workers. What is in the queues stays there, for the next desk to delete. `reset` begins anew."""
        self._dropped()
        self.changed.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        try:
            self._see()
        except BrokerError as error:
            return f"{many(self.orders, 'order')} sent | ✗ {error}"
        queues = ", ".join(f"{row.queue}: {row.handled} handled, {row.ready} ready" for row in self.seen.queues)
        states = Counter(worker.state for worker in self.seen.workers)
        workers = ", ".join(f"{n} {state}" for state, n in sorted(states.items())) or "none"
        said = f"{many(self.orders, 'order')} sent | {queues} | dead letters {self.seen.dead} | workers: {workers}"
        return said if self.message.ok else f"{said} | {self.message}"


def _end(workers: WorkerProcesses, bus: RabbitBus) -> None:
    workers.close()
    bus.stop(5.0)
