"""The RabbitMQ that a lesson works on: the one that is named, or a node of the lesson's own, or none and why."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from ecomlib.amqp import channel_to
from ecomlib.broker import PrivateNode, find_server
from ecomlib.errors import BrokerError
from ecomlib.lab.depths import Management
from ecomlib.services.notifications import PATIENT
from ecomlib.settings import read_settings
from ecomlib.topology import SERVICES, Topology, pauses
from ecomlib.workers import FAILURES

NONE = (
    "There is no RabbitMQ here, so the cells of this lesson can't run yet. There are three ways to one. "
    "1. `docker compose up -d --wait` in the project's folder. "
    "2. Install the server (apt-get install rabbitmq-server, or brew install rabbitmq): the lesson starts a node of "
    "its own. 3. Set ECOMLIB_RABBITMQ_URL to any RabbitMQ that you may use, as amqp://user:password@host:5672/. "
    "Then run this cell again."
)
_opened: list[LessonBroker] = []
_one_at_a_time = threading.Lock()


class LessonBroker:
    """True where there is a RabbitMQ. Its `repr` is the same sentence at every run: no version, no port, no address."""

    def __init__(self, url: str | None, management_url: str | None = None, node: PrivateNode | None = None) -> None:
        self._url, self.management_url, self.node = url, management_url, node

    @property
    def url(self) -> str:
        """Raises `BrokerError` where there is none: it says the three ways to one."""
        if self._url is None:
            raise BrokerError(NONE)
        return self._url

    def page(self) -> str:
        """Where a person finds the management page, and how they get in. The port is another one at every run."""
        if self.management_url is None:
            return "The management page of this RabbitMQ is not known: it may be switched off."
        who = "user guest, password guest" if self.node else "user and password as in the broker's address"
        return f"{self.management_url} ({who})"

    def clean(self, exchange: str = "shop") -> None:
        """Deletes the queues and exchanges of this name, with all that is in them: see `clean`."""
        clean(self.url, exchange, management_url=self.management_url)

    def close(self) -> None:
        """Ends the node, if it is the lesson's own. Nobody needs its data any more."""
        if self.node is not None:
            self.node.kill()

    def __bool__(self) -> bool:
        return self._url is not None

    def __repr__(self) -> str:
        return "RabbitMQ is ready for this lesson." if self else NONE


def open_broker(folder: Path | str | None = None) -> LessonBroker:
    """The broker that ECOMLIB_RABBITMQ_URL names; else a node of our own, which ends with this process; else the one
    that runs on this machine; else one that is false, and says how to get one.

    Blocks for some seconds while a node starts; a second call gives the same one. Raises `BrokerError` where the one
    that is named can't be reached. `folder` is where a node keeps its data: without it, in a temporary one.
    """
    with _one_at_a_time:
        if not _opened:
            found = _named() or _own(folder) or _on_this_machine()
            if found is None:
                return LessonBroker(None)  # by the next call there may be one
            _opened.append(found)
        return _opened[0]


def clean(url: str, exchange: str = "shop", *, management_url: str | None = None) -> None:
    """Deletes the queues and exchanges that are called `exchange`, or so with a dot after it, with what is in them.

    A lesson begins so on a broker that keeps its data. Where the management API does not answer, those that ecomlib
    itself makes. Raises `BrokerError`.
    """
    topology = Topology(exchange)
    delays = {topology.delay(pause) for pause in pauses(PATIENT)}
    queues = {*map(topology.queue, (*SERVICES, FAILURES)), topology.dead, *delays}
    exchanges = {exchange, topology.dead, *delays}
    with suppress(BrokerError):
        known = Management(url, management_url)
        queues |= {name for name in known.names("queues") if name.startswith(f"{exchange}.")}
        exchanges |= {name for name in known.names("exchanges") if name == exchange or name.startswith(f"{exchange}.")}
    with channel_to(url) as channel:
        for queue in sorted(queues):
            channel.queue_delete(queue)
        for name in sorted(exchanges):
            channel.exchange_delete(name)


def _named() -> LessonBroker | None:
    settings = read_settings()
    return None if settings.rabbitmq_url is None else _reached(settings.broker_url)


def _own(folder: Path | str | None) -> LessonBroker | None:
    if find_server() is None:
        return None
    node = PrivateNode(Path(folder or tempfile.mkdtemp(prefix="ecomlib-rabbitmq-")))
    node.start()
    atexit.register(_end, node, forget=folder is None)
    return LessonBroker(node.url, node.management_url, node)


def _end(node: PrivateNode, *, forget: bool) -> None:
    """The node dies with this process in any case, but would then leave its folder behind."""
    node.kill()
    for _ in range(20 if forget else 0):  # for what dies with the node may still be writing
        shutil.rmtree(node.folder, ignore_errors=True)
        if not node.folder.exists():
            return
        threading.Event().wait(0.05)


def _on_this_machine() -> LessonBroker | None:
    """As `docker compose up` starts it."""
    try:
        return _reached(read_settings().broker_url)
    except BrokerError:
        return None


def _reached(url: str) -> LessonBroker:
    with channel_to(url):
        pass
    management = Management(url)
    return LessonBroker(url, management.url if management.answers() else None)
