"""The connection to RabbitMQ: one I/O thread owns it, and makes it again when it is lost."""

from __future__ import annotations

import logging
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pika
from pika import exceptions as refused
from pika.adapters.utils.connection_workflow import AMQPConnectorException, AMQPConnectorStackTimeout

from ecomlib.errors import BrokerError, WrongPlace, named
from ecomlib.sending import Connection

TROUBLE = (refused.AMQPError, AMQPConnectorException, OSError)  # all that pika raises for what is not our mistake
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between attempts to connect again: doubling, and no two alike
SECONDS = 4.0  # for each of: to be connected, to be let in. Together they stay below the ten that a door may take
STARTING_ONE = "Start one (`docker compose up -d`, or `ecomlib broker`), or name another with ECOMLIB_RABBITMQ_URL."


# pika logs what it also raises, and without this Python would print it.
logging.getLogger("pika").addHandler(logging.NullHandler())


def parameters(url: str) -> pika.URLParameters:
    """Raises `BrokerError` for what is no AMQP address. It shows no part of the address that may hold a password."""
    scheme, _, rest = url.partition("://")
    host = rest.rpartition("@")[2]
    try:
        if scheme not in ("amqp", "amqps") or not host or ("@" in rest) != ("@" in rest.partition("/")[0]):
            raise ValueError
        found = pika.URLParameters(url)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        shown = f"…@{host}" if "@" in rest else scheme if "://" in url else "That"
        raise BrokerError(
            f"{shown:.60} is no address of a RabbitMQ. Write it like amqp://user:password@host:5672/; in a password, "
            "%2F stands for '/', %3A for ':', %40 for '@', %23 for '#', %3F for '?'."
        ) from None
    found.connection_attempts = 1
    found.socket_timeout = found.stack_timeout = SECONDS
    found.client_properties = {"connection_name": "ecomlib"}
    return found


@contextmanager
def channel_to(url: str) -> Iterator[Any]:
    """A channel of a connection of its own, for this thread: to declare, to look, to take single messages.

    Raises `BrokerError`, a sentence that says what to do, for whatever goes wrong in the block with the broker.
    """
    asked = parameters(url)
    connection = None
    try:
        connection = pika.BlockingConnection(asked)
        yield connection.channel()
    except TROUBLE as error:
        raise BrokerError(sentence(error, asked)) from error
    finally:
        if connection is not None and connection.is_open:
            connection.close()


def sentence(error: BaseException, asked: pika.URLParameters) -> str:
    """What is wrong, and what to do about it."""
    where = f"{asked.host}:{asked.port}"
    match error:
        case refused.ProbableAuthenticationError() | refused.AuthenticationError():
            return (
                f"RabbitMQ at {where} does not let {asked.credentials.username!r} in with this password. Is it the one "
                "that the broker was started with? `ecomlib doctor` compares them; ECOMLIB_RABBITMQ_URL sets yours."
            )
        case refused.ProbableAccessDeniedError():
            return f"RabbitMQ at {where} lets {asked.credentials.username!r} in, but not into {asked.virtual_host!r}."
        case refused.ChannelClosedByBroker(reply_code=406) if "inequivalent arg" in error.reply_text:
            return (
                f"RabbitMQ at {where} has this already, with other arguments: {error.reply_text}. If nobody needs "
                "what is in it, delete it there, for instance on the management page."
            )
        case refused.ConnectionClosedByClient():
            return f"The connection is made again: {error.reply_text}."
        case refused.ChannelClosedByBroker(reply_code=404):
            return f"RabbitMQ at {where} has no such thing: {error.reply_text}. Declare it first, or run what makes it."
        case refused.ConnectionClosedByBroker() | refused.ChannelClosedByBroker():
            return f"RabbitMQ at {where} refused: {error.reply_code} {error.reply_text}."
        case refused.IncompatibleProtocolError():
            return f"What listens at {where} does not speak AMQP 0-9-1. {STARTING_ONE}"
        case AMQPConnectorStackTimeout():
            return (
                f"No RabbitMQ answers at {where}: what takes connections there is silent for {asked.stack_timeout:g} s."
                f" Is it another program, or a broker that is stuck? {STARTING_ONE}"
            )
        case socket.gaierror():
            return f"There is no host named {asked.host!r}: is it spelled right? {STARTING_ONE}"
    cause = error.args[0] if error.args else None
    inner = getattr(cause, "exception", cause)  # pika wraps what the socket said, once or twice
    if isinstance(inner, BaseException) and inner is not error:
        return sentence(inner, asked)
    return (
        f"No RabbitMQ answers at {where} ({type(error).__name__}{f': {error}' if str(error) else ''}). {STARTING_ONE}"
    )


class Link:
    """At each new connection `prepare` declares, on a blocking channel, what must be there; then `on_open` is given it.

    Both are called in the I/O thread, but for the first `prepare`, which is called in the thread that starts the link.
    """

    def __init__(self, url: str, prepare: Callable[[Any], object], on_open: Callable[[Any], object]) -> None:
        self.url, self.trouble = url, ""
        self._parameters = parameters(url)
        self._prepare, self._on_open = prepare, on_open
        self.connection: Any = None
        self._stopping, self._open = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="rabbitmq i/o", daemon=True)

    def start(self) -> None:
        """Raises `BrokerError` where the first connection fails; from then on a lost one is made again, for ever."""
        if self._thread.ident is not None:
            raise WrongPlace("This bus was connected before: make a new one.")
        with channel_to(self.url) as channel:
            self._prepare(channel)
        self._thread.start()
        self._open.wait(2 * SECONDS)

    @property
    def started(self) -> bool:
        return self._thread.is_alive() and not self._stopping.is_set()

    @property
    def connected(self) -> bool:
        return self.connection is not None and bool(self.connection.is_open)

    def extend(self, declare: Callable[[Any], object], open: Callable[[Any], object]) -> None:
        """What `prepare` and `on_open` do from now on, for a link that runs already. Raises `BrokerError`."""
        if self._stopping.is_set():
            raise WrongPlace("This bus is stopped: make a new one.")
        if self.started:
            with channel_to(self.url) as channel:
                declare(channel)
            self.call(lambda: open(self.connection))

    def call(self, action: Callable[[], object]) -> None:
        """Let the I/O thread do it soon; without a connection it is dropped, for `on_open` begins anew anyway."""
        connection = self.connection
        if connection is not None:
            connection.ioloop.add_callback_threadsafe(action)

    def stop(self, timeout: float) -> None:
        self._stopping.set()
        self.call(self._close)
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        failures, first = 0, True
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                if not first:
                    with channel_to(self.url) as channel:
                        self._prepare(channel)
                first = False
                self._stay_connected()
            except (BrokerError, *TROUBLE) as error:
                self.trouble = str(error)
            except Exception as error:  # a mistake, ours or pika's: told as that of any thread, and the work goes on
                self.trouble = f"The connection is made again, after {named(error)}."
                threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, self._thread)))
            failures = 0 if time.monotonic() - began > LONGEST_PAUSE else failures + 1
            pause = min(FIRST_PAUSE * 2.0 ** min(failures, 10), LONGEST_PAUSE)
            self._stopping.wait(pause * random.uniform(0.5, 1.0))  # so that not all come back at the same moment

    def _stay_connected(self) -> None:
        """Returns when the connection is lost, or closed."""
        connection = Connection(
            self._parameters,
            on_open_callback=self._opened,
            on_open_error_callback=self._lost,
            on_close_callback=self._lost,
        )
        self.connection = connection
        try:
            if self._stopping.is_set():
                connection.ioloop.add_callback_threadsafe(self._close)
            connection.ioloop.start()
        except Exception:
            if connection.is_open:  # the broker takes back what this connection has in hand
                connection.close()
                connection.ioloop.start()
            raise
        finally:
            self.connection = None

    def _opened(self, connection: Any) -> None:
        self.trouble = ""
        self._open.set()
        connection.add_on_connection_blocked_callback(self._blocked)
        connection.add_on_connection_unblocked_callback(self._unblocked)
        self._on_open(connection)

    def _blocked(self, connection: Any, frame: Any) -> None:
        self.trouble = f"RabbitMQ takes nothing at the moment: {frame.method.reason}."

    def _unblocked(self, connection: Any, frame: Any) -> None:
        self.trouble = ""

    def _lost(self, connection: Any, error: BaseException) -> None:
        self.trouble = sentence(error, self._parameters)
        connection.ioloop.stop()

    def _close(self) -> None:
        if self.connection.is_open:
            self.connection.close()
        elif not self.connection.is_closing:
            self.connection.ioloop.stop()
