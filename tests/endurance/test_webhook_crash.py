"""The server killed in mid-load, again and again: what it answered is in its log, and the retries have one effect."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import httpx

from ecomlib.log import FileLog
from ecomlib.shop import replayed
from tests.support.webhook import LIMIT, STRUCTURED, Client, Process, cloudevent, logged, taken, wait_until

Delivery = tuple[str, Any, dict[str, Any]]  # its name, its body, and how it is posted
KILLS = int(os.environ.get("ECOMLIB_WEBHOOK_KILLS", "8"))
SENDERS = 6


class Sender:
    """Sends deliveries one after the other, each until it has an answer, whoever dies meanwhile."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.answers: dict[str, bytes] = {}  # by key
        self.unanswered: Delivery | None = None
        self._next = self.deliveries()

    def deliveries(self) -> Iterator[Delivery]:
        for n in range(1_000_000):
            name = f"{self.number}.{n}"
            order = {"order_id": name, "amount": "1.25", "user_id": self.number + 1}
            if n % 3 == 2:
                yield name, cloudevent(id=name, type="order.paid", data=order), {"kind": STRUCTURED}
            else:
                yield name, {**order, "status": ("created", "shipped")[n % 3]}, {"key": name}

    def run(self, url: str) -> None:
        """Up to the first request that gets no answer: it is the first one of the next life."""
        with Client(url) as client:
            while True:
                self.unanswered = self.unanswered or next(self._next)
                try:
                    self.send(client, self.unanswered)
                except httpx.TransportError:
                    return
                self.unanswered = None

    def send(self, client: Client, delivery: Delivery) -> None:
        name, body, how = delivery
        answer = client.post(body, **how)
        assert answer.status_code == 202, answer.text
        assert self.answers.setdefault(name, answer.content) == answer.content


def killed_under_load(folder: Path, senders: list[Sender], answers: int) -> None:
    """One life: the server is killed when so many requests have been answered in it."""
    before = sum(len(sender.answers) for sender in senders)
    with Process(folder) as server, ThreadPoolExecutor(SENDERS) as pool:
        url = server.url
        running = [pool.submit(sender.run, url) for sender in senders]
        wait_until(lambda: sum(len(sender.answers) for sender in senders) >= before + answers)
        server.kill()
        for each in running:
            each.result(LIMIT)


def test_what_was_answered_is_in_the_log_and_the_retries_of_the_rest_have_one_effect_each(tmp_path: Path) -> None:
    """Killed by SIGKILL at several moments, with other requests in flight each time."""
    senders = [Sender(number) for number in range(SENDERS)]
    chance = random.Random(4)
    for life in range(KILLS):
        killed_under_load(tmp_path, senders, chance.choice((0, 1, 7, 40, 90)) if life else 25)
        answered = [json.loads(content)["event_id"] for sender in senders for content in sender.answers.values()]
        written = Counter(event.id for event in taken(tmp_path / "log"))
        assert [id for id in answered if written[id] != 1] == [], f"after kill {life + 1}"
        assert set(written.values()) == {1}

    with Process(tmp_path) as server, Client(server.url) as client:
        for sender in senders:
            assert sender.unanswered
            sender.send(client, sender.unanswered)
        for sender in senders[:2]:  # and who never heard of the crashes may repeat it all
            for delivery in islice(sender.deliveries(), len(sender.answers)):
                sender.send(client, delivery)
        totals = server.stop()
    sent = {name for sender in senders for name in sender.answers}
    events = taken(server.log)
    assert Counter(event.data.order_id for event in events) == Counter(sent)
    assert len({event.id for event in logged(server.log)}) == len(logged(server.log))
    verbs = Counter(event.type for event in events)
    with FileLog(server.log) as log:
        found = replayed(log).totals()
    assert (found["paid"], found["shipped"]) == (verbs["order.paid"], verbs["order.shipped"])
    assert Decimal(found["revenue"]) == Decimal("1.25") * verbs["order.paid"]
    assert (found["emails"], found["sms"]) == (verbs["order.created"], verbs["order.paid"])
    assert f"revenue  {found['revenue']}" in totals
    assert len(sent) > KILLS * 10
