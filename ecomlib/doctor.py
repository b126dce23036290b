"""What this machine has of what the lessons use, and what to do about what it lacks."""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from ecomlib.errors import EcomlibError
from ecomlib.log import FileLog
from ecomlib.settings import Settings

LAB = ("jupyterlab", "ipywidgets", "pandas", "matplotlib", "pydantic", "fastapi", "uvicorn", "pika", "nbval")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROKER = ("127.0.0.1", 5672)


class Finding(NamedTuple):
    what: str
    good: bool
    found: str
    advice: str = ""
    needed: bool = True  # without it the lessons do not run


def examine(settings: Settings) -> list[Finding]:
    """Takes a second at most, changes nothing, and looks at this machine only."""
    return [_python(), *map(_package, LAB), _disk(), _log(settings), _browser(), _broker()]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    good = (3, 11) <= sys.version_info < (3, 14)
    return Finding("Python", good, version, "" if good else "Use Python 3.11, 3.12 or 3.13.")


def _package(name: str) -> Finding:
    try:
        return Finding(name, True, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Finding(name, False, "not installed", "Run `make lab`, or install this project again.")


def _disk() -> Finding:
    try:
        with tempfile.TemporaryFile() as file:
            file.write(b"ecomlib")
        return Finding("temporary files", True, tempfile.gettempdir())
    except OSError as error:
        return Finding("temporary files", False, str(error.strerror), "Set TMPDIR to a folder that can be written.")


def _log(settings: Settings) -> Finding:
    if settings.log is None:
        return Finding("log", True, "none is set; ECOMLIB_LOG can name one", needed=False)
    try:
        with FileLog(settings.log) as log:
            topics = ", ".join(log.topics()) or "no topics yet"
        return Finding("log", True, f"{settings.log} ({topics})", needed=False)
    except EcomlibError as error:
        return Finding("log", False, str(error), "Set ECOMLIB_LOG to another folder.", needed=False)


def _browser() -> Finding:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found:
        return Finding("Chromium", True, found, needed=False)
    return Finding("Chromium", False, "not found", "Only the browser tests need it: install Chromium.", needed=False)


def _broker() -> Finding:
    where = f"{BROKER[0]}:{BROKER[1]}"
    server = next((p for p in (shutil.which("rabbitmq-server"), "/usr/lib/rabbitmq/bin/rabbitmq-server") if p), None)
    try:
        with socket.create_connection(BROKER, timeout=0.5):
            return Finding("RabbitMQ", True, f"something listens on {where}", needed=False)
    except OSError:
        installed = server is not None and Path(server).exists()
        found = "installed, not running" if installed else "not installed"
        return Finding("RabbitMQ", installed, found, "No lesson so far needs a broker.", needed=False)
