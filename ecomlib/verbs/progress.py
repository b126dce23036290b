"""How far a long verb has come: a bar where somebody watches, elsewhere a plain line now and then."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import RLock
from typing import TYPE_CHECKING, Any

from ecomlib.errors import EcomlibError
from ecomlib.verbs.common import say

if TYPE_CHECKING:
    from tqdm import tqdm

QUICK = 1.0  # seconds: what takes less shows nothing
RARE = 30.0  # seconds between two lines where standard error is no terminal: it may be kept for ever
BAR = "{desc} {n_fmt} of {total_fmt}{unit} |{bar}| {rate_noinv_fmt}, about {remaining} left"


class Progress:
    """What is done of so many pieces of work. It goes to standard error, and after the first moments only."""

    def __init__(self, doing: str, total: int, unit: str) -> None:
        self.doing, self.total, self.unit = doing, total, unit
        self.done = 0
        self._terminal = sys.stderr.isatty()
        self._bar: tqdm[Any] | None = None
        self._began = time.monotonic()
        self._next = self._began + (QUICK if self._terminal else RARE)

    def add(self, more: int = 1) -> None:
        """So many more are done."""
        self.done += more
        if self._bar is not None:
            self._bar.update(more)
        elif time.monotonic() >= self._next:
            if self._terminal:
                self._draw()
            else:
                self._tell()

    def _draw(self) -> None:
        from tqdm import tqdm  # here, for what is quick needs no bar, and pays for none

        tqdm.set_lock(RLock())  # else it makes one between processes, and on some systems a process with it
        size: dict[str, Any] = {"dynamic_ncols": True}
        if not os.get_terminal_size(sys.stderr.fileno()).columns:  # on a terminal without a size it would show nothing
            size = {"ncols": 80, "nrows": 24}
        self._bar = bar = tqdm(
            total=self.total, desc=self.doing, unit=f" {self.unit}", bar_format=BAR, delay=0.001, miniters=1,
            mininterval=0.2, smoothing=0.1, leave=False, **size,
        )  # fmt: skip
        bar.n = bar.last_print_n = self.done
        bar.start_t -= time.monotonic() - self._began  # so that it has an estimate from the first
        bar.refresh()

    def _tell(self) -> None:
        now = time.monotonic()
        left = timedelta(seconds=round((now - self._began) / self.done * (self.total - self.done)))
        say(f"{self.doing} {self.done} of {self.total} {self.unit}, about {left} left")
        self._next = now + RARE

    def close(self) -> None:
        """Takes the bar away: what comes next has the line to itself."""
        if self._bar is not None:
            self._bar.close()


@contextmanager
def progress(doing: str, total: int, unit: str, *, stopped: str) -> Iterator[Progress]:
    """An interruption ends the block with an `EcomlibError`: how far it came, and `stopped`, what that leaves."""
    shown = Progress(doing, total, unit)
    try:
        yield shown
    except KeyboardInterrupt:
        raise EcomlibError(f"Stopped: {shown.done} of {total} {unit} are done. {stopped}") from None
    finally:
        shown.close()
