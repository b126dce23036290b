"""What this machine has of what the lessons use, and what to do about what it lacks."""

from __future__ import annotations

import logging
import shutil
import smtplib
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError, AuthenticationError, ProbableAuthenticationError

from ecomlib.amqp import STARTING_ONE, parameters, sentence
from ecomlib.broker import THREE_WAYS, find_server
from ecomlib.errors import BrokerError, EcomlibError
from ecomlib.log import FileLog
from ecomlib.settings import Settings
from ecomlib.web.hosts import is_this_machine

LAB = ("jupyterlab", "ipywidgets", "pandas", "matplotlib", "pydantic", "fastapi", "uvicorn", "pika", "nbval")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DOCKER_PORT = 5672  # where docker-compose.yaml has its RabbitMQ


class Finding(NamedTuple):
    what: str
    good: bool
    found: str
    advice: str = ""
    needed: bool = True  # without it the lessons do not run


def examine(settings: Settings) -> list[Finding]:
    """Takes some seconds at most, changes nothing, and calls nobody but the broker and mail server that are set."""
    return [
        _python(), *map(_package, LAB), _disk(), _log(settings), _browser(), _broker(settings), _mail(settings)
    ]  # fmt: skip


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


def _broker(settings: Settings) -> Finding:
    try:
        asked = parameters(settings.broker_url)
    except BrokerError as error:
        return Finding(
            "RabbitMQ", False, str(error).rstrip("."), "Correct ECOMLIB_RABBITMQ_URL, or leave it out.", needed=False
        )
    asked.socket_timeout = asked.stack_timeout = 1.0
    where, user = f"{asked.host}:{asked.port}", asked.credentials.username
    other = other_password(settings, asked)
    try:
        with _quiet(), pika.BlockingConnection(asked):
            return Finding("RabbitMQ", True, f"lets {user!r} in at {where}", other, needed=False)
    except (ProbableAuthenticationError, AuthenticationError):
        advice = other or (
            "Set ECOMLIB_RABBITMQ_URL to what the broker was started with. Docker's keeps the password that it had "
            "when its volume was new: `docker compose down --volumes` and `up` begin again."
        )
        return Finding("RabbitMQ", False, f"the one at {where} refuses {user!r} with this password", advice, False)
    except (AMQPError, AMQPConnectorException, OSError) as error:
        if settings.rabbitmq_url is None and find_server() is not None:
            advice = "Lesson 7 starts one of its own; `ecomlib broker` starts one for the workers."
            return Finding("RabbitMQ", True, "installed, not running", advice, needed=False)
        found = sentence(error, asked).removesuffix(STARTING_ONE).rstrip(" .?")
        return Finding("RabbitMQ", False, found, other or THREE_WAYS, needed=False)


def other_password(settings: Settings, asked: pika.URLParameters) -> str:
    """The fault of the original: a producer with one password, and a compose file with another."""
    file = Path("docker-compose.yaml")
    ours = file.is_file() and "ECOMLIB_RABBITMQ_PASSWORD" in file.read_text(encoding="utf-8", errors="replace")
    if not ours or not is_this_machine(asked.host) or asked.port != DOCKER_PORT:
        return ""
    started = (settings.rabbitmq_user, settings.rabbitmq_password.get_secret_value())
    if (asked.credentials.username, asked.credentials.password) == started:
        return ""
    return (
        f"{file} starts RabbitMQ with another user or password than ECOMLIB_RABBITMQ_URL has. Leave the URL out, and "
        "set ECOMLIB_RABBITMQ_USER and ECOMLIB_RABBITMQ_PASSWORD in .env: both sides read those."
    )


def _mail(settings: Settings) -> Finding:
    if not settings.smtp:
        return Finding("mail server", True, "none is set; ECOMLIB_SMTP can name one, like 127.0.0.1:1025", needed=False)
    host, _, port = settings.smtp.rpartition(":")
    try:
        with smtplib.SMTP(host.strip("[]"), int(port), timeout=1):
            return Finding("mail server", True, f"answers at {settings.smtp}", needed=False)
    except (ValueError, OverflowError):
        advice = "Set ECOMLIB_SMTP to host:port, like 127.0.0.1:1025."
        return Finding("mail server", False, f"{settings.smtp!r:.60} is no host:port", advice, needed=False)
    except (OSError, smtplib.SMTPException) as error:
        advice = "Start one (`docker compose up -d` has Mailpit), or correct ECOMLIB_SMTP."
        return Finding("mail server", False, f"none answers at {settings.smtp}: {error}", advice, needed=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """pika logs what it also raises."""
    log = logging.getLogger("pika")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(before)
