"""The shop, live: the stream of its events (`GET /events`) and a page that shows them (`GET /`)."""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ecomlib.errors import LogError
from ecomlib.web import openapi
from ecomlib.web.feed import RETRY, Feed, named_event
from ecomlib.web.problems import SOON, Problem

RECONNECT = b"retry: 1000\n\n"  # milliseconds that a reader waits before it comes back
HEARTBEAT = 15.0  # seconds of silence after which a comment is sent: a connection that is dead is noticed by it
GRACE = 0.5  # seconds that a closing feed waits for a reader
MOST = 1_000  # of the last events that may be asked for
PAGE = Path(__file__).parent / "web" / "live.html"
LARGEST = 10**18 - 1  # offset

OFFSET = {"type": "integer", "minimum": 0, "maximum": LARGEST}
PARAMETERS = [
    {
        "name": "Last-Event-ID",
        "in": "header",
        "schema": OFFSET,
        "description": "The id that was seen last, as a browser sends it when it comes back: go on behind it.",
    },
    {
        "name": "after",
        "in": "query",
        "schema": OFFSET,
        "description": "The same, for who can't set the header. The header wins.",
    },
    {
        "name": "last",
        "in": "query",
        "schema": {"type": "integer", "minimum": 0, "maximum": MOST},
        "description": "Begin with so many of the latest events. Without any of the three: from now on.",
    },
]
STREAM = """id: 17
data: {"specversion":"1.0","id":"5f0c","source":"/shop","type":"order.shipped","subject":"123",\
"time":"2026-01-05T09:00:00Z","dataversion":1,"datacontenttype":"application/json","data":{"order_id":"123"}}

"""
EXAMPLE = {"schema": {"type": "string"}, "example": STREAM}


class Stream(Response):
    """One reader's answer, from the offset behind `after` on, or from the `last` events on, or from now on.

    `StreamingResponse` waits for ever for a reader that takes nothing; this drops it after the feed's patience.
    """

    media_type = "text/event-stream"

    def __init__(self, feed: Feed, after: int | None = None, last: int | None = None) -> None:
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self.status_code, self.background = 200, None
        self._feed, self._after, self._last = feed, after, last
        self._told = 0  # the number of the last notice
        self._sending: asyncio.Timeout | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises `Problem` where there can be no stream."""
        feed = self._feed
        if feed.closing:
            raise Problem(503, "The server is stopping: come back when it runs again.", headers=SOON)
        if feed.readers >= feed.most:
            detail = f"{feed.most} readers are listening, as many as there may be: come back when one has gone."
            raise Problem(503, detail, headers=SOON)
        feed.join(self)
        try:
            await feed.look()
            if feed.log_end is None:
                raise Problem(503, f"There is nothing to stream. {feed.trouble}", headers=SOON)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_until_gone, receive, tasks.cancel_scope)
                if not await self._finished(receive, send, feed.log_end):
                    await anyio.sleep(GRACE)  # until we hear that it is gone, or uvicorn would miss the answer's end
                tasks.cancel_scope.cancel()
        finally:
            feed.leave(self)

    def hurry(self) -> None:
        if self._sending is not None and not self._sending.expired():
            self._sending.reschedule(asyncio.get_running_loop().time() + GRACE)

    async def _finished(self, receive: Receive, send: Send, end: int) -> bool:
        """False where the reader was dropped."""
        connection = getattr(getattr(receive, "__self__", None), "transport", None)  # as uvicorn has it
        try:
            await self._send(send, {"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._stream(send, end)
            async with asyncio.timeout(GRACE):  # a server that stops would wait until this reader has taken all
                while connection is not None and connection.get_write_buffer_size():
                    await asyncio.sleep(0.01)
            await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False})
            return True
        except TimeoutError:
            self._feed.dropped += 1
            if connection is not None:
                connection.abort()  # close() would wait until the reader has taken what is in the buffer
            return False

    async def _stream(self, send: Send, end: int) -> None:
        feed = self._feed
        offset = max(end - (self._last or 0), 0) if self._after is None else self._after + 1
        self._told = feed.notice.number - bool(feed.trouble)
        text, broken = RECONNECT, ""
        while not feed.closing:
            if text:
                await self._send(send, {"type": "http.response.body", "body": text, "more_body": True})
            news = feed.news  # before we look, so that nothing can come unnoticed in between
            if feed.notice.number > self._told:
                self._told, text = feed.notice
                continue
            if offset > (feed.log_end or 0):
                offset = 0 if self._last is None else max((feed.log_end or 0) - self._last, 0)
                text = b"id:\n" + named_event("reset", f"The log is another one now. It is read from offset {offset}.")
                continue
            try:
                text, offset = await feed.take(offset)
                broken = ""
            except LogError as error:
                text, broken = b"" if str(error) == broken else named_event("trouble", str(error)), str(error)
            if not text:
                try:
                    async with asyncio.timeout(RETRY if broken else HEARTBEAT):
                        await news.wait()
                except TimeoutError:
                    text = b"" if broken else b":\n\n"

    async def _send(self, send: Send, message: dict[str, Any]) -> None:
        """Raises `TimeoutError` where the reader has no room for it for too long."""
        try:
            async with asyncio.timeout(GRACE if self._feed.closing else self._feed.patience) as self._sending:
                await send(message)
        finally:
            self._sending = None


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
    scope.cancel()


def _number(name: str, text: str | None, limit: int) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII) or int(text) > limit:
        raise Problem(400, f"{name} is a whole number from 0 to {limit}, not {text!r:.40}.")
    return int(text)


def page() -> tuple[str, dict[str, str]]:
    """The live page and its headers. Only the style and the script that stand in it may run, known by their hashes."""
    text = PAGE.read_text(encoding="utf-8")
    allowed = {
        tag: " ".join(
            f"'sha256-{b64encode(sha256(inner.encode()).digest()).decode()}'"
            for inner in re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        )
        for tag in ("style", "script")
    }
    policy = (
        f"default-src 'none'; style-src {allowed['style']}; script-src {allowed['script']}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text, {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }


def router(feed: Feed, allowed: Callable[..., Any]) -> APIRouter:
    """`allowed` is a dependency that raises `Problem` for who may not read."""
    routes = APIRouter(dependencies=[Depends(allowed)], tags=["live"])
    text, headers = page()
    refusals = openapi.refusals(400, 401, 421, 503)
    refusals[400]["description"] = "An offset or a number that is none."
    refusals[503]["description"] = "There are too many readers, the log can't be read, or the server ends."
    stream = {"description": "The events, for as long as the reader listens.", "content": {Stream.media_type: EXAMPLE}}
    reading = openapi.refusals(401, 421)

    @routes.get(
        "/events",
        summary="The events as they arrive",
        response_class=Response,
        responses={200: stream, **refusals},
        openapi_extra={"parameters": PARAMETERS},
    )
    async def events(request: Request) -> Stream:
        """The shop's events as server-sent events, as they arrive: each has the log's offset as its `id`, and the
        CloudEvent as its `data`. The stream never ends, so `/docs` can't show it: use `curl -N`, or the live page.
        """
        query = request.query_params
        seen = _number("Last-Event-ID", request.headers.get("Last-Event-ID") or None, LARGEST)  # empty means none
        after = _number("after", query.get("after"), LARGEST)
        return Stream(feed, after if seen is None else seen, _number("last", query.get("last"), MOST))

    @routes.get("/", summary="The live page", response_class=HTMLResponse, responses=reading)
    async def live_page() -> HTMLResponse:
        """The shop, live, for a projector."""
        return HTMLResponse(text, headers=headers)

    return routes
