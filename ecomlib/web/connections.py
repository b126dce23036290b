"""How many connections there may be, and how long each may keep us waiting: who sends nothing costs something too."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from ecomlib.web.limits import counted_as

MOST = 4_096
SPARE = 200  # open files that are left for the log, the stores and the libraries
HEADERS_WITHIN = 10.0  # seconds; who is slower than that on purpose holds connections that others need


def room() -> int:
    """How many connections the system's limit of open files allows."""
    if sys.platform == "win32":  # where sockets are no files
        return MOST
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else max(min(MOST, soft - SPARE), 10)


def make_room() -> None:
    """Raise this process' limit of open files as far as it may without leave."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MOST + SPARE if hard == resource.RLIM_INFINITY else min(MOST + SPARE, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class BoundedProtocol(H11Protocol):
    """Closes a connection that is one too many, and one whose next request does not come to the end of its headers.

    h11 gives up on headers of much more than 64 KiB; httptools, which is faster, takes in what is sent without end.
    """

    most: int
    each: int  # of one address
    open: Counter[str]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport: Any = Joining(transport, self.loop)
        self._deadline: asyncio.TimerHandle | None = None
        self._watch()
        self._address = counted_as(self.client[0] if self.client else "")
        self.open[self._address] += 1
        if len(self.connections) > self.most or self.open[self._address] > self.each:
            transport.abort()  # an answer would cost more than it helps: there is none to send it by

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._forget()
        self.open[self._address] -= 1
        self.open += Counter()  # drops those that have none left

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._forget()  # a request is being served; after it, uvicorn closes a connection that stays idle
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEADERS_WITHIN, self._close)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()


class Joining:
    """A transport that sends the head of an answer with what follows at once: one packet, and one call, for both."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop, self._held = transport, loop, b""

    def write(self, data: bytes) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held + data)
        elif data:
            self._held = data
            self._loop.call_soon(self.write, b"")  # should nothing follow at once

    def close(self) -> None:
        self.write(b"")
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def bounded(most: int, each: int) -> type[BoundedProtocol]:
    """For one server: so many connections in all, and so many of one address."""
    return type("Protocol", (BoundedProtocol,), {"most": most, "each": each, "open": Counter()})
