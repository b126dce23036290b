"""The dead letters in RabbitMQ are everybody's: many take them up at once, and anybody may write there."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pika import BasicProperties

from ecomlib.amqp import channel_to
from ecomlib.broker import PrivateNode
from ecomlib.dead_letters import send_again, waiting_letters
from ecomlib.errors import NotSubscribed
from ecomlib.events import Event
from ecomlib.ports import DeadLetter, Retry
from ecomlib.rabbitmq import RabbitBus
from tests.support.webhook import wait_until

LETTERS = 12


@pytest.fixture
def bus(rabbitmq: PrivateNode) -> Iterator[RabbitBus]:
    with RabbitBus(rabbitmq.url, exchange=f"test.{uuid.uuid4().hex[:8]}", retry=Retry(attempts=1)) as bus:
        yield bus


def test_many_take_up_dead_letters_at_the_same_time(bus: RabbitBus, recorder: list[Any]) -> None:
    """Each sees all letters, though who looks has all of them in hand; and of one letter only one takes it up."""

    def not_today(event: Event) -> None:
        recorder.append(event)
        if len(recorder) <= LETTERS:
            raise ValueError("not today")

    bus.subscribe("#", handler=not_today, name="email")
    sent = [bus.publish(Event("order.created", {"order_id": number})).event for number in range(LETTERS)]
    wait_until(lambda: len(bus.dead_letters) == LETTERS)

    def take_up(letter: DeadLetter) -> bool:
        try:
            send_again(bus.url, bus.topology, letter)
        except NotSubscribed:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(take_up, [*bus.dead_letters, *bus.dead_letters]))
    assert sum(taken) == LETTERS
    bus.drain(30)
    assert sorted(event.id for event in recorder[LETTERS:]) == sorted(event.id for event in sent)
    assert waiting_letters(bus.url, bus.topology) == []


def test_a_dead_letter_that_somebody_else_wrote_harms_no_reader(bus: RabbitBus, recorder: list[Any]) -> None:
    subscription = bus.subscribe_dead_letters(handler=recorder.append, name="failures")
    event = Event("order.created", {"order_id": 1})
    with channel_to(bus.url) as channel:
        channel.confirm_delivery()  # a queue that was made a moment ago may not take what nobody waits for
        for attempts in ("many", [1], None):
            headers = {"error": "theirs", "attempts": attempts, "subscription": "email"}
            channel.basic_publish(bus.topology.dead, "any", event.to_json().encode(), BasicProperties(headers=headers))
    wait_until(lambda: len(recorder) == 3 or subscription.cancelled)
    assert recorder == [DeadLetter(event, "email", 0, "theirs")] * 3
    assert waiting_letters(bus.url, bus.topology) == recorder
