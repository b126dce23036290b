"""What a lesson needs that this machine may lack: its cells are then skipped, by name and with how to get it."""

from __future__ import annotations

import os

import pytest

from ecomlib.broker import find_server

NEEDS = "RabbitMQ is not installed: apt-get install rabbitmq-server, or set ECOMLIB_RABBITMQ_URL"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The cells of lesson 7 need a RabbitMQ: a node that the lesson starts, or the one that is named."""
    if os.environ.get("ECOMLIB_RABBITMQ_URL") or find_server() is not None:
        return
    for item in items:
        if item.path.name == "07_rabbitmq.ipynb":
            item.add_marker(pytest.mark.skip(reason=NEEDS))
