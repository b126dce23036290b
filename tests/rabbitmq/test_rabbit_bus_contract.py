"""The bus on RabbitMQ keeps every bus's promises: the same suite as the in-memory bus's, against a real broker."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ecomlib.broker import PrivateNode
from ecomlib.ports import Bus, Log, Retry
from ecomlib.rabbitmq import RabbitBus
from tests.contracts.bus import BusContract, Make

QUICK = Retry(attempts=3, pause=0.001)


class TestTheBusOnRabbitMQ(BusContract):
    @pytest.fixture
    def make(self, rabbitmq: PrivateNode) -> Iterator[Make]:
        with ExitStack() as started:

            def make(*, log: Log | None = None, retry: Retry = QUICK) -> Bus:
                exchange = f"test.{uuid.uuid4().hex[:8]}"
                return started.enter_context(RabbitBus(rabbitmq.url, exchange=exchange, log=log, retry=retry))

            yield make
