"""docker-compose.yaml: what it starts is what the shop looks for, and nobody else can reach it."""

from __future__ import annotations

import json
import os
import re
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from jsonschema.validators import validator_for  # type: ignore[import-untyped]

from ecomlib.settings import Settings
from tests.conftest import ROOT

FILE = ROOT / "docker-compose.yaml"
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def compose(variables: dict[str, str] | None = None) -> dict[str, Any]:
    """The file as Compose sees it, with the variables of a `.env`."""
    known = variables or {}
    text = VARIABLE.sub(lambda found: known.get(found[1]) or found[2], FILE.read_text(encoding="utf-8"))
    found = yaml.safe_load(text)
    assert isinstance(found, dict)
    return found


SERVICES = compose()["services"]


def test_it_follows_the_compose_specification() -> None:
    text = resources.files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text("utf-8")
    schema = json.loads(text)
    check = validator_for(schema)(schema)
    assert not [error.message for error in check.iter_errors(compose())]
    wrong = compose()
    wrong["services"]["rabbitmq"]["port"] = ["5672"]
    assert [error.message for error in check.iter_errors(wrong)]


@pytest.mark.parametrize("name", SERVICES)
class TestAService:
    def test_is_pinned_to_a_release(self, name: str) -> None:
        assert re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+(-management)?", SERVICES[name]["image"])

    def test_is_reached_from_this_machine_only(self, name: str) -> None:
        assert SERVICES[name]["ports"]
        assert all(port.startswith("127.0.0.1:") for port in SERVICES[name]["ports"])

    def test_says_when_it_is_ready(self, name: str) -> None:
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


def test_rabbitmq_is_a_4_with_its_management_page_on_the_ports_that_the_shop_looks_for() -> None:
    assert re.match(r"rabbitmq:4\..*-management$", SERVICES["rabbitmq"]["image"])
    assert "127.0.0.1:5672:5672" in SERVICES["rabbitmq"]["ports"]
    assert "127.0.0.1:15672:15672" in SERVICES["rabbitmq"]["ports"]


def test_the_messages_outlive_the_container() -> None:
    """By a volume that has a name, and a host that keeps its own: RabbitMQ files its data under it."""
    (volume,) = SERVICES["rabbitmq"]["volumes"]
    name, place = volume.split(":")
    assert name in compose()["volumes"]
    assert place == "/var/lib/rabbitmq"
    assert SERVICES["rabbitmq"]["hostname"]


@pytest.mark.parametrize(
    "lines",
    [
        {},
        {"ECOMLIB_RABBITMQ_USER": "shop", "ECOMLIB_RABBITMQ_PASSWORD": "p@ss/w:rd %41é"},
        {"ECOMLIB_RABBITMQ_PASSWORD": "only the password"},
        {"ECOMLIB_RABBITMQ_USER": "", "ECOMLIB_RABBITMQ_PASSWORD": ""},  # for both sides as if they were not there
    ],
)
def test_the_broker_and_the_shop_take_their_password_from_one_place(
    lines: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("ECOMLIB_")]:
        monkeypatch.delenv(name)
    text = "".join(f"{name}='{value}'\n" for name, value in lines.items())
    (tmp_path / ".env").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    broker, shop = compose(lines)["services"]["rabbitmq"]["environment"], urlsplit(Settings().broker_url)
    assert unquote(shop.username or "") == broker["RABBITMQ_DEFAULT_USER"]
    assert unquote(shop.password or "") == broker["RABBITMQ_DEFAULT_PASS"]
