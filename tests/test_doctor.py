"""What the doctor says of a broker and of a mail server, and of two passwords that do not agree."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from ecomlib.amqp import parameters
from ecomlib.broker import PrivateNode
from ecomlib.doctor import Finding, examine, other_password
from ecomlib.settings import Settings
from tests.conftest import ROOT

Look = Callable[..., dict[str, Finding]]


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Look:
    """The findings by their names, with these settings and the current folder's `.env`."""
    for name in [name for name in os.environ if name.startswith("ECOMLIB_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def found(**settings: str) -> dict[str, Finding]:
        for name, value in settings.items():
            monkeypatch.setenv(f"ECOMLIB_{name.upper()}", value)
        return {finding.what: finding for finding in examine(Settings())}

    return found


@pytest.fixture
def mute() -> Iterator[int]:
    """A port that takes connections, and says nothing to them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_broker_that_lets_us_in_is_good(look: Look, rabbitmq: PrivateNode) -> None:
    found = look(rabbitmq_url=rabbitmq.url)["RabbitMQ"]
    assert (found.good, found.found) == (True, f"lets 'guest' in at 127.0.0.1:{rabbitmq.port}")


def test_a_broker_that_refuses_the_password_is_told_from_one_that_is_not_there(
    look: Look, rabbitmq: PrivateNode, unused_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    refused = look(rabbitmq_url=f"amqp://guest:wrong-one@127.0.0.1:{rabbitmq.port}/")["RabbitMQ"]
    assert not refused.good
    assert "refuses 'guest'" in refused.found
    absent = look(rabbitmq_url=f"amqp://127.0.0.1:{unused_port}/")["RabbitMQ"]
    assert not absent.good
    assert "No RabbitMQ answers" in absent.found
    assert all(way in absent.advice for way in ("docker compose up", "apt-get install", "ECOMLIB_RABBITMQ_URL"))
    assert not caplog.records
    assert not any(finding.needed for finding in (refused, absent))


def test_what_takes_connections_and_says_nothing_costs_two_seconds(look: Look, mute: int) -> None:
    began = time.monotonic()
    found = look(rabbitmq_url=f"amqp://127.0.0.1:{mute}/", smtp=f"127.0.0.1:{mute}")
    assert time.monotonic() - began < 5  # three of them for a machine that is busy with something else
    assert not found["RabbitMQ"].good
    assert not found["mail server"].good


@pytest.mark.parametrize("url", ["amqp://host:port/", "localhost:5672", "http://guest:secret@localhost/"])
def test_what_is_no_address_of_a_broker_is_named_without_its_password(look: Look, url: str) -> None:
    found = look(rabbitmq_url=url)["RabbitMQ"]
    assert not found.good
    assert "ECOMLIB_RABBITMQ_URL" in found.advice
    assert "secret" not in found.found


class TestTwoPasswords:
    """The original's own fault. Nothing is connected to: it is the texts that do not agree."""

    @pytest.fixture(autouse=True)
    def project(self, tmp_path: Path) -> None:
        shutil.copy(ROOT / "docker-compose.yaml", tmp_path)

    def agree(self, url: str) -> bool:
        settings = Settings(rabbitmq_url=SecretStr(url))
        return not other_password(settings, parameters(url))

    def test_are_seen_where_the_producer_has_another_than_the_compose_file(self, look: Look) -> None:
        assert self.agree("amqp://guest:guest@localhost:5672/")
        assert not self.agree("amqp://guest:admin@localhost:5672/")
        assert not self.agree("amqp://admin:guest@127.0.0.1/")

    def test_are_compared_with_what_dotenv_says(self, look: Look, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("ECOMLIB_RABBITMQ_USER=shop\nECOMLIB_RABBITMQ_PASSWORD='p/w'\n")
        assert self.agree("amqp://shop:p%2Fw@localhost:5672/")
        assert not self.agree("amqp://guest:guest@localhost:5672/")

    def test_are_none_of_our_business_on_another_machine_or_port(self, look: Look, tmp_path: Path) -> None:
        assert self.agree("amqp://guest:admin@broker.example/")
        assert self.agree("amqp://guest:admin@localhost:5673/")
        (tmp_path / "docker-compose.yaml").write_text("services: {}\n")
        assert self.agree("amqp://guest:admin@localhost:5672/")


def test_a_mail_server_is_not_needed_and_is_told_of(look: Look, unused_port: int) -> None:
    assert look()["mail server"].good
    absent = look(smtp=f"127.0.0.1:{unused_port}")["mail server"]
    assert (absent.good, absent.needed) == (False, False)
    assert "docker compose up" in absent.advice
    assert "host:port" in look(smtp="localhost")["mail server"].advice
