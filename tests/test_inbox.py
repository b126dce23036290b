"""The inbox: of two that come with one key at the same moment, who is first, and what the other hears."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ecomlib.events import Event
from ecomlib.log import FileLog
from ecomlib.ports import Receipt
from ecomlib.shop import TOPIC
from ecomlib.web.inbox import Inbox
from tests.support.webhook import LIMIT, wait_until

EVENT = Event("order.shipped", {"order_id": 1}, extensions={"requesthash": "x"})
Answer = tuple[Event, bool]


def second(inbox: Inbox, publish: Callable[[], Receipt]) -> tuple[threading.Thread, list[Answer]]:
    """Another one with the same key, and what it is answered. It waits."""
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(inbox.once("a", "x", publish)), daemon=True)
    thread.start()
    wait_until(lambda: inbox._changed._waiters)  # type: ignore[attr-defined]
    return thread, answers


def test_who_comes_with_a_key_that_is_being_taken_waits_for_the_first_answer(tmp_path: Path) -> None:
    with FileLog(tmp_path, durability="system") as log:
        inbox = Inbox(log, TOPIC)
        assert inbox.claim("a")
        assert not inbox.claim("a")
        thread, answers = second(inbox, lambda: pytest.fail("it was taken already"))
        inbox.remember("a", Receipt(EVENT, (), log.append(TOPIC, EVENT)[0]))
        inbox.release("a")
        thread.join(LIMIT)
        assert answers == [(EVENT, True)]
        assert not inbox.claim("a")


def test_a_key_that_was_not_used_after_all_is_free_for_who_waits(tmp_path: Path) -> None:
    with FileLog(tmp_path, durability="system") as log:
        inbox = Inbox(log, TOPIC)
        assert inbox.claim("a")
        thread, answers = second(inbox, lambda: Receipt(EVENT, (), log.append(TOPIC, EVENT)[0]))
        inbox.release("a")
        thread.join(LIMIT)
        assert answers == [(EVENT, False)]
