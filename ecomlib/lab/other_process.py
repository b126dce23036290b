"""A second program beside the lesson's own, to talk to and to kill."""

from __future__ import annotations

import os
import subprocess
import sys

from ecomlib.errors import EcomlibError


class OtherProcess:
    """Runs Python code in a process of its own, with ECOMLIB_RABBITMQ_URL set to `url`.

    Its standard input is a pipe from us, which ends with us at the latest: code that waits for the end of its input
    outlives nobody.
    """

    def __init__(self, code: str, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "ECOMLIB_RABBITMQ_URL": url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        """Blocks until it has printed another line. Raises `EcomlibError`, with its error, where it ends without."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        said = self._process.stdout.readline()
        if not said:
            self._process.wait()
            raise EcomlibError(f"The other process has ended. It says: {self._process.stderr.read().strip()[-500:]}")
        return said.rstrip("\n")

    def end(self) -> str:
        """End its input, wait until it has ended, and give back what it printed last. Raises `EcomlibError`."""
        said, errors = self._process.communicate()
        if self._process.returncode:
            raise EcomlibError(f"The other process has failed. It says: {errors.strip()[-500:]}")
        return said.rstrip("\n")

    @property
    def ended(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """As `kill -9` does: it can't finish anything. When this returns it is gone."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()
