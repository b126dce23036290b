"""The webhook server, run: on a port of this machine, in a thread of its own, until it is stopped."""

from __future__ import annotations

import socket
import threading
from typing import Self

import uvicorn

from ecomlib.errors import BadInput, Refused
from ecomlib.locks import FileLock, FileLocks
from ecomlib.log import FileLog
from ecomlib.ports import Log
from ecomlib.shop import ANALYTICS, LATEST, TOPIC, Shop
from ecomlib.web.app import create_app
from ecomlib.web.connections import bounded, room
from ecomlib.web.feed import Feed
from ecomlib.web.following import Following
from ecomlib.web.health import FOLDER
from ecomlib.webhook import Rules, Webhook

BACKLOG = 100  # asyncio accepts so many at once, before any of them can be refused: fewer than SPARE open files
GRACE = 10  # seconds for requests that have begun
PAUSE = 0.01  # seconds by which the totals may be late, so that they need not read the log for each event


class Server:
    """A context manager. Started, it takes requests; stopped, it has finished what it took, and closed the shop.

    Port 0 is any that is free; `url` says which. One server a log: two would not know of each other's keys.
    """

    def __init__(
        self,
        shop: Shop,
        rules: Rules | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        listener: socket.socket | None = None,
        proxies: str = "",
    ) -> None:
        """`listener` is a socket of `listen`, for who wants to know first whether the port can be had.

        `proxies` are addresses whose `X-Forwarded-For` is believed, with commas between them.
        """
        self.shop, self.rules, self.host, self.port = shop, rules or Rules(), host, port
        self._listener, self._proxies = listener, proxies
        self._lock: FileLock | None = None
        self._running = False
        # Not the thread's join(): in Python 3.11 and 3.12 a signal that comes while it waits lets it take a living one
        # for dead.
        self._ended = threading.Event()

    def start(self) -> Self:
        """Returns when requests are taken. Raises `BadInput` where the port can't be had, `Refused` where the log
        has a server already.
        """
        listener = self._listener or listen(self.host, self.port)
        self.port = listener.getsockname()[1]
        try:
            if isinstance(self.shop.log, FileLog):
                self.shop.log.create(TOPIC, partitions=1)  # first, for it makes the folder a log
                self._lock = FileLocks(self.shop.log.folder / FOLDER).take("server")
                if self._lock is None:
                    raise Refused(
                        f"Another server has the log at {self.shop.log.folder}: stop it, or name another log."
                    )
            self.webhook = Webhook(self.shop, self.rules)
            assert self.shop.log is not None
            most = room()
            totals = self._follow(self.shop.log)
            readers = min(most // 2, 1_000)
            self.feed = Feed(self.shop.log, TOPIC, keep=LATEST, readers=readers, on_news=totals.catch_up)
            self.shop.bus.start()
            self.webhook.owed.deliver(self.shop)
        except BaseException:
            listener.close()
            try:
                self.shop.bus.stop(timeout=5)  # before anybody closes the shop that its worker threads use
            finally:
                self._unlock()
            raise
        config = uvicorn.Config(
            create_app(self.webhook, self.feed),
            http=bounded(most, most if self._proxies else most // 2),
            ws="none",
            log_config=None,
            log_level="error",  # what strangers send wrong is answered, and fills no log
            access_log=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=GRACE,
            proxy_headers=bool(self._proxies),
            forwarded_allow_ips=self._proxies or None,
        )
        self._uvicorn = uvicorn.Server(config)
        self._running = True
        threading.Thread(target=self._run, args=(listener,), name="webhook server", daemon=True).start()
        while not (self._uvicorn.started or self._ended.wait(0.01)):
            pass
        if not self._uvicorn.started:
            self.stop()
            raise Refused("The server did not start; what it said above tells why.")
        return self

    def _follow(self, log: Log) -> Following:
        """Other processes may append, so the totals are folded from the log, not from what the bus delivers."""
        webhook = self.webhook
        totals = Following(log, TOPIC, self.shop.analytics, webhook.following, webhook.appended)
        next(s for s in self.shop.bus.subscriptions if s.name == ANALYTICS).cancel()
        handler = self.shop.faults.wrap(ANALYTICS, lambda _: totals.catch_up(PAUSE))
        self.shop.bus.subscribe("#", handler=handler, name=ANALYTICS)
        return totals

    def _run(self, listener: socket.socket) -> None:
        try:
            self._uvicorn.run([listener])
        finally:
            self._ended.set()

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def wait(self, seconds: float) -> bool:
        """Whether the server has ended by itself, within so many seconds."""
        return self._ended.wait(seconds)

    def stop(self, timeout: float = 30.0) -> None:
        """Takes no more requests, finishes those that it took, makes the deliveries, and closes the shop.

        Raises `NotDrained` where a delivery has not ended after `timeout` seconds: it is taken up at the next start.
        """
        if not self._running:
            return self.shop.close()
        self._running = False
        self.feed.close()  # readers would stay for ever
        self._uvicorn.should_exit = True
        self._ended.wait()
        try:
            self.shop.bus.drain(timeout)
        finally:
            try:
                self.shop.bus.stop(timeout=5)
            finally:
                self.shop.close()
                self._unlock()

    def _unlock(self) -> None:
        if self._lock:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()


def listen(host: str, port: int) -> socket.socket:
    """Raises `BadInput` where the address can't be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio turns off the delay of small packets, which costs 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise BadInput(
            f"{host}:{port} can't be used ({error.strerror}): name another with --port, or stop what listens there."
        ) from error
    return listener
