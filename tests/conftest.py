"""What every test may ask for, and the rule that CI skips nothing."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from ecomlib.broker import PrivateNode, find_server
from ecomlib.clock import SimulatedClock

ROOT = Path(__file__).resolve().parent.parent

# A slow machine is no failure, and every run tries the same examples; --hypothesis-profile=search looks for new ones.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.register_profile("search", deadline=None)
hypothesis.settings.load_profile("repeatable")

NO_RABBITMQ = "RabbitMQ is not installed: apt-get install rabbitmq-server"


class NoSkip:
    """With ECOMLIB_NO_SKIP=1 a skip is a failure that says what is missing: all is installed, so all runs."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, Any, Any]:
        report = yield
        return self._refuse(report)

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self) -> Generator[None, Any, Any]:
        report = yield
        return self._refuse(report)

    def _refuse(self, report: Any) -> Any:
        if report.skipped and not hasattr(report, "wasxfail"):
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            report.outcome = "failed"
            report.longrepr = f"ECOMLIB_NO_SKIP allows no skip. {why}"
        return report


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("ECOMLIB_NO_SKIP") == "1":  # registered here, it sees the lessons' cells too
        config.pluginmanager.register(NoSkip(), "no-skip")


@pytest.fixture
def recorder() -> list[Any]:
    """The double that tests use: a handler that is `recorder.append` leaves what it was given here."""
    return []


@pytest.fixture
def clock() -> SimulatedClock:
    """A clock that moves only when it is told to."""
    return SimulatedClock()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium (or Chrome) that Playwright can drive."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
    places = (
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "C:/Program Files/Google/Chrome/Application/chrome.exe",
        "C:/Program Files (x86)/Microsoft/Edge/Application/msedge.exe",
    )
    found = next((path for path in map(shutil.which, (*names, *places)) if path), None)
    if found is None:
        pytest.skip("Chromium is not installed: apt-get install chromium, or install Chrome")
    driver = subprocess.run(
        [sys.executable, "-m", "playwright", "--version"], capture_output=True, text=True, timeout=60
    )
    if driver.returncode:  # a Debian without a compiler lacks a library that it needs
        pytest.skip(f"Playwright does not start: apt-get install libatomic1. It says: {driver.stderr.strip()}")
    return found


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateNode]:
    """A RabbitMQ for the whole run, with its management page. Who kills it starts it again."""
    if find_server() is None:
        pytest.skip(NO_RABBITMQ)
    node = PrivateNode(tmp_path_factory.mktemp("rabbitmq"))
    node.start()
    yield node
    node.kill()  # nobody needs its data any more


@pytest.fixture
def unused_port() -> int:
    """A port of this machine on which nothing listened a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
