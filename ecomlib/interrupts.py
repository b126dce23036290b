"""Ctrl+C comes between any two steps of a program, and what it breaks off is half done. A loop can put it off."""

from __future__ import annotations

import threading

# The module `signal` is these functions with enumerations around them, which take longer than ten deliveries.
from _signal import default_int_handler, getsignal, signal  # type: ignore[import-not-found]
from signal import SIGINT
from types import CodeType, FrameType
from typing import Any, Self


class PutOff:
    """In the block, Ctrl+C stops at once what `loop` calls out of its own file; anywhere else it only sets `stopping`.

    A function in C that `loop` calls itself has no frame to be told by, and is not stopped. The loop has to end soon
    then, and `KeyboardInterrupt` is raised where the block ends. Ctrl+C comes to the main thread only: in any other,
    and in a program that handles it in its own way, the block changes nothing.
    """

    def __init__(self, loop: CodeType) -> None:
        self.stopping = False
        self._loop = loop
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            before = getsignal(SIGINT)
            if before is default_int_handler or isinstance(getattr(before, "__self__", None), PutOff):
                self._before = before
                signal(SIGINT, self._came)
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if self._before is not None:
            signal(SIGINT, self._before)
        if self.stopping and kind is None:
            raise KeyboardInterrupt

    def _came(self, number: int, frame: FrameType | None) -> None:
        called = None
        while frame is not None and frame.f_code.co_filename != self._loop.co_filename:
            called, frame = frame, frame.f_back
        if called is not None and frame is not None and frame.f_code is self._loop:
            raise KeyboardInterrupt
        self.stopping = True
