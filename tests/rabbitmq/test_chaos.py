"""Killed workers, and a killed broker: nothing is lost, and all is counted once. `make chaos` does it at length."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecomlib.broker import PrivateNode, find_server
from tests.conftest import NO_RABBITMQ
from tests.support.chaos import broker_killed, workers_killed


def test_workers_that_are_killed_lose_nothing_and_count_nothing_twice(rabbitmq: PrivateNode, tmp_path: Path) -> None:
    done = workers_killed(tmp_path / "day", rabbitmq, orders=150, kills=3, each=1, pause=(0.0, 0.2))
    assert done.broken == []
    assert sum(int(done.done[f"kills of {service}"]) for service in ("email", "analytics")) == 3


@pytest.mark.skipif(find_server() is None, reason=NO_RABBITMQ)
def test_a_broker_that_is_killed_comes_back_to_a_producer_and_workers_that_waited_for_it(tmp_path: Path) -> None:
    with PrivateNode(tmp_path / "node", management=False) as node:
        done = broker_killed(tmp_path / "day", node, orders=100, each=1, pause=(0.0, 0.5))
    assert done.broken == []
    assert done.seen["mails"]
