"""What arrives in a topic, for any number of readers at once.

The log is the source of truth, so a reader is no more than an offset. One task follows the end of the log and keeps the
latest events, encoded once, in a ring; who is further behind reads from the log itself.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Protocol

import anyio

from ecomlib.errors import DamagedRecord, LogError, NotALog, named
from ecomlib.ports import Log
from ecomlib.web.following import is_no_event

POLL = 0.05  # seconds between two looks at the log's end
RETRY = 1.0  # seconds until a log that can't be read is tried again
CHUNK = 1 << 16  # bytes that a reader is given at once, or one event
BATCH = 1_000  # events that are read from the log at once
RING_BYTES = 8 << 20
PAST = 64  # chunks that were read from the log and are kept, for others that are as far behind


class Frame(NamedTuple):
    """An event as server-sent events write it (WHATWG HTML, section 9.2), and the offset to go on from."""

    text: bytes
    following: int


class Notice(NamedTuple):
    """What every reader is told, beside the events. It has no offset; its number tells a new one from an old one."""

    number: int
    text: bytes


class Reader(Protocol):
    def hurry(self) -> None:
        """The feed is closing: wait for nothing any more."""


class Feed:
    """Follows one topic, which may not be there yet and which other processes may append to. All but `close` belongs to
    the event loop that `run` runs in; the log is read in threads.

    Keeps the latest `keep` events, and 8 MiB of them at most. `patience` is how many seconds a reader may leave what it
    was sent untaken; `most` is how many readers there may be at once. `on_news` is called, in a
    thread, when there is something new.
    """

    def __init__(
        self,
        log: Log,
        topic: str,
        *,
        keep: int = 10_000,
        patience: float = 10.0,
        readers: int = 1_000,
        on_news: Callable[[], object] = lambda: None,
    ) -> None:
        self.patience, self.most = patience, readers
        self.log_end: int | None = None  # as the latest look saw it; None where none has succeeded yet
        self.trouble = ""  # why the log can't be read at the moment
        self.notice = Notice(0, b"")
        self.dropped = 0  # readers that did not take what they were sent
        self.closing = False
        self.news = asyncio.Event()  # set once, when there is something new; then the next one takes its place
        self._log, self._topic, self._keep = log, topic, keep
        self._ring: OrderedDict[int, Frame] = OrderedDict()  # by offset, without a gap up to `_end`
        self._ring_bytes = 0
        self._end, self._on_news = 0, on_news
        self._past: OrderedDict[int, asyncio.Future[list[Frame]]] = OrderedDict()
        self._readers: set[Reader] = set()
        self._closed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._looking = asyncio.Lock()
        self._one = anyio.CapacityLimiter(1)
        self._few = anyio.CapacityLimiter(4)  # however many are behind, the app keeps its threads

    @property
    def readers(self) -> int:
        return len(self._readers)

    async def run(self) -> None:
        """Ends after `close`. However it ends, every reader's answer ends too."""
        self._loop = asyncio.get_running_loop()
        try:
            while not self.closing:
                if not await self.look():
                    with suppress(TimeoutError):
                        async with asyncio.timeout(RETRY if self.trouble else POLL):
                            await self._closed.wait()
        finally:
            self._close()

    def close(self) -> None:
        """From any thread, at any time; does not wait. The answers end within two seconds."""
        self.closing = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed, so nobody reads any more
                self._loop.call_soon_threadsafe(self._close)

    def _close(self) -> None:
        self.closing = True
        self._closed.set()
        self._wake()
        for reader in self._readers:
            reader.hurry()

    def join(self, reader: Reader) -> None:
        self._readers.add(reader)

    def leave(self, reader: Reader) -> None:
        self._readers.discard(reader)

    async def look(self) -> bool:
        """Take in what the log has now, up to a batch: true where there is more. Trouble is told to the readers."""
        async with self._looking:
            try:
                known = None if self.log_end is None else self._end
                end, frames = await anyio.to_thread.run_sync(self._new, known, limiter=self._one)
            except Exception as error:  # whatever it is, the readers hear of it, and it may pass
                trouble = str(error) if isinstance(error, LogError) else f"{named(error)}."
                if trouble != self.trouble:
                    self.trouble = trouble
                    self._tell("trouble", f"{trouble} The server keeps trying.")
                return False
            if self.trouble:
                self.trouble = ""
                self._tell("mended", "The log can be read again.")
            if self.log_end is None or end < self._end:  # the first look, or another log in the place of the first
                self._past.clear()
                self._wake()
            if frames is None or end < self._end:
                self._ring.clear()
                self._ring_bytes, self._end = 0, end
            self.log_end = end
            for frame in frames or ():
                self._ring[self._end] = frame
                self._ring_bytes += len(frame.text)
                self._end = frame.following
            while self._ring and (len(self._ring) > self._keep or self._ring_bytes > RING_BYTES):
                self._ring_bytes -= len(self._ring.popitem(last=False)[1].text)
            if frames:
                self._wake()
            return bool(frames) and self._end < end

    async def take(self, offset: int) -> tuple[bytes, int]:
        """What comes from `offset` on, and where to go on then; nothing where all is taken. Raises `LogError`."""
        if offset not in self._ring and offset < self._end:
            frames = await self._from_log(offset)
        else:
            frames, size, following = [], 0, offset
            while size < CHUNK and (frame := self._ring.get(following)):
                frames.append(frame)
                size += len(frame.text)
                following = frame.following
        return b"".join(frame.text for frame in frames), frames[-1].following if frames else offset

    async def _from_log(self, offset: int) -> list[Frame]:
        """Read once for all who come by soon. Whoever is behind, and wherever they began, they meet at each batch."""
        if offset not in self._past:
            end = min(offset - offset % BATCH + BATCH, self._end)
            reading = anyio.to_thread.run_sync(self._read, offset, end, CHUNK, limiter=self._few)
            self._past[offset] = asyncio.ensure_future(reading)
            if len(self._past) > PAST:
                self._past.popitem(last=False)
        self._past.move_to_end(offset)
        try:
            frames = await asyncio.shield(self._past[offset])
        except LogError:
            self._past.pop(offset, None)
            raise
        if not frames:
            self._past.pop(offset, None)
        return frames

    def _new(self, known: int | None) -> tuple[int, list[Frame] | None]:
        """The log's end, and what comes behind what is known; None, unread, where nobody listens, or nothing is known.

        Who comes later and wants what was before has it from the log.
        """
        try:
            end = self._log.end(self._topic)
            many = 1 if known else self._log.topics()[self._topic]
        except NotALog:
            return 0, None  # the first event makes it
        if many != 1:
            raise LogError(
                f"The topic {self._topic!r} has {many} partitions, and a stream follows one: its ids are the offsets."
            )
        if known is None:
            return end, None
        if known >= end:
            return end, []
        self._on_news()
        return end, self._read(known, end, RING_BYTES) if self._readers else None

    def _read(self, start: int, end: int, size: int) -> list[Frame]:
        frames: list[Frame] = []
        following = start
        try:
            for (_, _, offset), event in self._log.read(self._topic, start, end=min(end, start + BATCH)):
                following = offset + 1
                frames.append(Frame(b"id: %d\ndata: %s\n\n" % (offset, event.to_json().encode()), following))
                size -= len(frames[-1].text)
                if size <= 0:
                    break
        except DamagedRecord as error:
            frames.append(_unreadable(error, max(error.resume, following + 1)))
        except LogError as error:
            if is_no_event(error):
                frames.append(_unreadable(error, following + 1))
            elif not frames:  # the disk: that may pass
                raise
        return frames

    def _tell(self, name: str, sentence: str) -> None:
        self.notice = Notice(self.notice.number + 1, named_event(name, sentence))
        self._wake()

    def _wake(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


def named_event(name: str, sentence: str) -> bytes:
    return f"event: {name}\ndata: {' '.join(sentence.split())}\n\n".encode()


def _unreadable(error: LogError, following: int) -> Frame:
    """Has an id, so that who comes back is not told again."""
    return Frame(b"id: %d\n" % (following - 1) + named_event("trouble", str(error)), following)
