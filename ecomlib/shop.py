"""The whole shop in one line: `shop = Shop()`. The only module that picks engines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from ecomlib.bus import EventBus
from ecomlib.checkout import Checkout
from ecomlib.clock import OPENING, Clock, SimulatedClock, SystemClock
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.faults import Faults
from ecomlib.folders import no_log_yet
from ecomlib.ids import new_id, seeded_ids
from ecomlib.locks import FileLocks
from ecomlib.log import FileLog
from ecomlib.ports import Bus, Durability, Log, Retry
from ecomlib.replay import replay
from ecomlib.saga import TOPIC as SAGAS
from ecomlib.services import audit
from ecomlib.services.analytics import Analytics
from ecomlib.services.notifications import CHANNELS as CHANNELS
from ecomlib.services.notifications import FOR_EVER, PATIENT, NotificationService
from ecomlib.services.orders import OrderService
from ecomlib.services.senders import RecordingSender, Sender
from ecomlib.topology import SERVICES

TOPIC = "shop"
ANALYTICS = "analytics"
LATEST = 1_000  # attempts, dead letters, messages and events for the live page that a server keeps in memory


class Shop:
    """A bus with the order, email, SMS, audit and analytics services on it.

    Without worker threads, `run()` makes the deliveries; `with shop:` starts threads. The same seed gives the same
    ids and times at every run; `seed=None` gives ids that nobody else has. With a log that has events already, orders
    and analytics start from what they say; no service sees them again, so no email goes out twice.
    """

    def __init__(
        self,
        log: Log | Path | str | None = None,
        *,
        clock: Clock | None = None,
        seed: int | None = 0,
        sender: Sender | None = None,
        zone: str = "UTC",
        threads: int = 4,
        durability: Durability = "batch",
        keep: int = 10_000,
        store: Path | str = ":memory:",
        patient: bool = False,
    ) -> None:
        """`keep` is how many attempts, dead letters and audit lines stay in memory: the latest ones.

        `store` is the SQLite file that remembers which messages were sent. A `patient` shop
        tries for minutes to tell a customer, and lets no other customer wait for that.
        """
        self._own_log = FileLog(log, durability=durability) if isinstance(log, str | Path) else None
        self.log: Log | None = self._own_log or (log if not isinstance(log, str | Path) else None)
        self.clock: Clock = clock or SimulatedClock(max((e.time for e in self._past()), default=OPENING))
        # A log that goes on needs ids that it does not have yet, so where it ends is part of the seed.
        ids = new_id if seed is None else seeded_ids(f"{seed} from {sum(1 for _ in self._past())}")
        self.new_event = EventFactory("/shop", self.clock, ids)
        retry = PATIENT if patient else Retry()
        self.bus = EventBus(log=self.log, topic=TOPIC, clock=self.clock, retry=retry, threads=threads, keep=keep)
        self.faults = Faults()
        self.sender: Sender = sender or RecordingSender()
        self.orders = OrderService(self.bus, self.new_event)
        self.notifications = NotificationService(self.bus, self.sender, self.new_event, store=store)
        self.audit = audit.AuditService(keep)
        self.analytics = Analytics(zone)
        for event in self._past():
            self.orders.apply(event)
            self.analytics.apply(event)
        self._subscribe(ordered=not patient)

    def _subscribe(self, *, ordered: bool) -> None:
        for name, patterns, handler in (
            ("email", SERVICES["email"], self.notifications.send_email),
            ("sms", SERVICES["sms"], self.notifications.send_sms),
            ("audit", audit.PATTERNS, self.audit.record),
            (ANALYTICS, SERVICES[ANALYTICS], self.analytics.apply),
        ):
            in_turn = ordered or name not in CHANNELS
            self.bus.subscribe(*patterns, handler=self.faults.wrap(name, handler), name=name, ordered=in_turn)
        # Only our own disk or bus can fail a notice. That passes, and the notice must not be lost with it.
        patient = replace(self.bus.retry, attempts=FOR_EVER.attempts)
        tell = self.notifications.tell_of_failure
        self.bus.subscribe_dead_letters(handler=tell, name="failure notices", retry=patient)

    def _past(self) -> Iterator[Event]:
        if self.log is None or (isinstance(self.log, FileLog) and no_log_yet(self.log.folder)):
            return
        if TOPIC in self.log.topics():
            yield from (record.event for record in self.log.read(TOPIC))

    def run(self, timeout: float = 60.0) -> None:
        """Return when every delivery has ended. Raises `NotDrained` after `timeout` seconds."""
        self.bus.drain(timeout)

    def story(self) -> None:
        """The original's day: order 1 is paid; order 2 is placed by user 501, whose email bounces."""
        self.orders.create(1, user_id=100, amount=50)
        self.orders.pay(1)
        self.orders.create(2, user_id=501, amount=100)
        self.run()

    def totals(self) -> dict[str, int | str]:
        return self.analytics.totals()

    def close(self) -> None:
        """Closes what the shop opened itself: a log that it was handed stays open."""
        self.notifications.close()
        if self._own_log is not None:
            self._own_log.close()

    def __enter__(self) -> Self:
        self.bus.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.bus.__exit__(*exc)  # type: ignore[arg-type]
        self.close()


def open_shop(
    folder: Path | str,
    *,
    clock: Clock | None = None,
    seed: int | None = None,
    sender: Sender | None = None,
    zone: str = "UTC",
    durability: Durability = "batch",
) -> Shop:
    """A shop that may run for months: what was sent is remembered beside its log, and memory grows by little an event.

    The log is made if need be. Ids are nobody else's, unless a seed is given. Closing the shop closes the log.
    """
    with FileLog(folder, durability=durability) as log:
        if not (log.folder / TOPIC).exists():
            log.create(TOPIC, partitions=1)  # first, for it makes the folder a log
    stores = Path(folder) / "_stores"
    stores.mkdir(exist_ok=True)
    return Shop(
        folder,
        clock=clock or SystemClock(),
        seed=seed,
        sender=sender or RecordingSender(keep=LATEST),
        zone=zone,
        durability=durability,
        keep=LATEST,
        store=stores / "notifications.db",
        patient=True,
    )


def open_checkout(
    log: FileLog | Path | str,
    *,
    clock: Clock | None = None,
    seed: int | str | None = None,
    durability: Durability = "batch",
    bus: Bus | None = None,
    **more: Any,
) -> Checkout:
    """The checkout in a log's folder, which it makes if need be: facts in the topic `shop`, sagas in `saga_log`.

    Without a seed its ids are nobody else's. Handed a bus, it publishes its facts there, and this log has none. `more`
    is what `Checkout` takes. Closing it closes the log too.
    """
    log = log if isinstance(log, FileLog) else FileLog(log, durability=durability)
    if not (log.folder / SAGAS).exists():
        log.create(SAGAS, partitions=1)  # first, for it makes the folder a log
    clock = clock or SystemClock()
    # As for a shop: where its log ends is part of the seed, so that no id comes again.
    ends = [log.end(topic, n) for topic, partitions in log.topics().items() for n in range(partitions)]
    ids = new_id if seed is None else seeded_ids(f"{seed} from {ends}")
    return Checkout(
        log.folder / "_stores",
        log,
        FileLocks(log.folder / "_sagas"),
        bus or EventBus(log=log, topic=TOPIC, clock=clock),
        EventFactory("/checkout", clock, ids),
        durability=log.durability,
        on_close=log.close,
        **more,
    )


def replayed(log: Log, *, zone: str = "UTC", until: datetime | None = None) -> Analytics:
    """What the log of a shop says, folded again from the beginning, up to `until`. Raises what `Log.read` raises."""
    analytics = Analytics(zone)
    replay(log, TOPIC, analytics, until=until)
    return analytics
