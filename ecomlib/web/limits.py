"""How much a client may ask for: so many requests, of so many bytes, sent within so many seconds."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

from fastapi import Request

from ecomlib.clock import Clock
from ecomlib.errors import BadInput
from ecomlib.web.problems import Problem

ROUNDING = 1e-9  # tokens: no one who waited as long as told must miss the next by an error of floats
LONGEST_NAME = 100  # characters: who is behind a proxy may be called what the client itself wrote into a header
ENOUGH_DIGITS = 18  # of a Content-Length: a longer number is not worth reading, the bytes are counted anyway
# The rest of a refused body may still be on its way: nobody should read it as the next request.
CLOSE = {"Connection": "close"}


class RateLimit:
    """A token bucket for each client: `burst` requests at once, then `rate` a second, by the clock.

    Not safe to share between threads: it is for the event loop, where nothing interrupts `take`.

    It remembers `clients` clients. When there are more, a newcomer takes over the bucket of the client seen longest
    ago, with what that one used up. A fresh bucket would be a gift to somebody with many addresses: going round them,
    each is forgotten before its next turn, and no limit is left. So all clients together get no more than
    `clients * (burst + rate * seconds)`. Somebody who went away long ago leaves a full bucket, so on other days a
    newcomer notices nothing.
    """

    def __init__(self, rate: float, burst: int, clock: Clock, *, clients: int = 10_000) -> None:
        """Raises `BadInput` for a limit that would let nobody in."""
        if not 0 < rate < math.inf or burst < 1 or clients < 1:
            raise BadInput(
                f"A limit of {rate!r} requests a second, {burst!r} at once, for {clients!r} clients lets nobody in: "
                "give a rate above 0, and at least 1 of the others."
            )
        self.rate, self.burst, self.clients = rate, burst, clients
        self._clock, self._began = clock, clock.now()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()  # the client seen longest ago comes first

    def take(self, client: str) -> None:
        """Let one request of the client in. Raises a `Problem` 429 with the seconds until the next one may come."""
        now = (self._clock.now() - self._began).total_seconds()
        name = counted_as(client)
        bucket = self._buckets.pop(name, None)
        if bucket is None:
            full = len(self._buckets) >= self.clients
            bucket = self._buckets.popitem(last=False)[1] if full else _Bucket(0.0, now)
        used = max(0.0, bucket.used - max(0.0, now - bucket.time) * self.rate)  # a clock set back gives nothing away
        over = used + 1 - self.burst
        let_in = over <= ROUNDING
        self._buckets[name] = _Bucket(min(used + 1, self.burst) if let_in else used, now)
        if not let_in:
            seconds = max(1, math.ceil((over - ROUNDING / 2) / self.rate))
            raise Problem(
                429,
                f"Too many requests: at most {self.burst} at once, and {self.rate:g} a second after that. "
                f"Send this one again in {seconds} s.",
                headers={"Retry-After": str(seconds)},
            )


class _Bucket(NamedTuple):
    used: float  # tokens that are missing, as it was at `time`
    time: float  # seconds since the limit began


@lru_cache(32)  # few, for strangers choose what they are called
def counted_as(client: str) -> str:
    """The name under which a client's requests are counted together.

    An IPv6 client counts by its /64: that is one link's prefix, on which a host may give itself any of 2**64
    addresses, and a new one for each request (RFC 4291, section 2.5.4; RFC 8981). A network may have many such
    prefixes (RFC 6177): to count by less would put strangers together. An IPv4 address that came in IPv6's clothes
    (`::ffff:192.0.2.1`) is the same client as without them. What is no address counts as it is, up to 100 characters.
    """
    try:
        address = ip_address(client)
    except ValueError:
        return client[:LONGEST_NAME]
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"


async def read_body(request: Request, limit: int, *, seconds: float = 10.0) -> bytes:
    """The whole body. Holds no more of it than `limit` bytes and one chunk.

    Raises a `Problem`: 413 as soon as there are more, whatever Content-Length says; 408 when the body is not here
    after `seconds` of real time in all, however steadily it trickles; 400 when the client left in the middle.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and len(declared) <= ENOUGH_DIGITS and int(declared) > limit:
        raise _too_large(limit)
    body, more = bytearray(), True
    try:
        async with asyncio.timeout(seconds):
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":  # nobody is left to read it, but an answer is no traceback
                    raise Problem(400, "The connection ended before the body did: nothing was taken. Send it again.")
                chunk, more = message.get("body", b""), message.get("more_body", False)
                if len(body) + len(chunk) > limit:
                    raise _too_large(limit)
                body += chunk
    except TimeoutError:
        detail = f"The body was not complete after {seconds:g} s: send the request again, and its body in one go."
        raise Problem(408, detail, headers=CLOSE) from None
    return bytes(body)


def _too_large(limit: int) -> Problem:
    return Problem(413, f"The body has more than {limit} bytes: send less at once.", headers=CLOSE)
