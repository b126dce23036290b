"""Whether the server can do its work: for whoever starts, watches or balances it."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

from ecomlib.errors import LogError
from ecomlib.log import FileLog
from ecomlib.shop import TOPIC, Shop

FOLDER = "_webhook"  # beside the topics: what a server needs of its own
STALE = 1.0  # seconds: asking more often than that costs the disk nothing


class Health:
    """Any thread may ask. It blocks while the disk answers."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._one_at_a_time = threading.Lock()
        self._asked, self._found = -STALE, ["Nobody has looked yet."]

    def troubles(self) -> list[str]:
        """Sentences; none where all is well. What was found stays true for a second."""
        with self._one_at_a_time:
            if time.monotonic() - self._asked >= STALE:
                self._found = [trouble for trouble in (self._log(), self._workers()) if trouble]
                self._asked = time.monotonic()
            return self._found

    def _log(self) -> str:
        log = self._shop.log
        if not isinstance(log, FileLog):
            return ""
        # A file of its own, written and synced: a full disk shows itself, and no event is made for it.
        probe = log.folder / FOLDER / "ready"
        try:
            log.check(TOPIC)
            probe.parent.mkdir(exist_ok=True)
            with probe.open("wb") as file:
                file.write(b"ready?")
                file.flush()
                os.fsync(file.fileno())
            probe.unlink()
        except LogError:
            return "The log can't be written: its files are missing or were replaced. Put them back, or start it again."
        except OSError as error:
            with suppress(OSError):  # the reason that counts is the first one
                probe.unlink(missing_ok=True)
            return f"The log's folder can't be written: {error.strerror}. Make room, or make it writable."
        return ""

    def _workers(self) -> str:
        bus = self._shop.bus
        return (
            ""
            if bus.workers == bus.threads
            else (f"Of {bus.threads} worker threads {bus.workers} are alive: start the server again.")
        )
