"""A second program beside the lesson's own, to talk to and to kill."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from queue import Empty, Queue

from ecomlib.errors import EcomlibError


class OtherProcess:
    """Runs Python code in a process of its own, with ECOMLIB_RABBITMQ_URL set to `url`.

    Its standard input is a pipe from us, which ends with us at the latest: code that waits for the end of its input
    outlives nobody.
    """

    def __init__(self, code: str, url: str) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (no pipe, which could be full)
        self._lines: Queue[str] = Queue()  # an empty one: that was the last
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "ECOMLIB_RABBITMQ_URL": url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        threading.Thread(target=self._read, name="hears the other process", daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as said:
            for line in said:
                self._lines.put(line)
        self._lines.put("")

    def line(self, limit: float = 30.0) -> str:
        """Blocks until it has printed another line. Raises `EcomlibError` where it ends without, or says nothing."""
        try:
            said = self._lines.get(timeout=limit)
        except Empty:
            raise EcomlibError(
                f"The other process has said nothing for {limit:g} s. Perhaps an earlier one still has in hand what "
                "it waits for. Kernel > Restart Kernel and Run All Cells begins anew."
            ) from None
        if not said:
            self._process.wait()
            raise EcomlibError(f"The other process has ended. It says: {self._complaint()}")
        return said.rstrip("\n")

    def end(self) -> str:
        """End its input, wait until it has ended, and give back what it printed last. Raises `EcomlibError`."""
        if self._process.stdin:
            self._process.stdin.close()
        if self._process.wait():
            raise EcomlibError(f"The other process has failed. It says: {self._complaint()}")
        return "".join(iter(self._lines.get, "")).rstrip("\n")

    def _complaint(self) -> str:
        self._errors.seek(0)
        return self._errors.read().strip()[-500:]

    @property
    def ended(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """As `kill -9` does: it can't finish anything. When this returns it is gone."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
        self._errors.close()
