"""The original's story of two groups: email_service reads orders and payments, analytics_service reads the orders."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecomlib.events import Event
from ecomlib.groups import GroupConsumer
from ecomlib.log import FileLog
from ecomlib.membership import lags
from ecomlib.ports import Record


def order(number: int) -> Event:
    return Event("order.created", {"order_id": number, "user_id": 100, "amount": 50})


def payment(number: int) -> Event:
    return Event("order.paid", {"order_id": number, "user_id": 100, "amount": 50})


def told(records: list[Record]) -> list[str]:
    return [f"{record.event.type} {record.event.subject}" for record in records]


@pytest.fixture
def log(tmp_path: Path) -> FileLog:
    """Two orders, the first of them paid."""
    log = FileLog(tmp_path / "log", durability="system")
    log.append("orders", order(1), order(2))
    log.append("payments", payment(1))
    return log


def email_service(log: FileLog) -> GroupConsumer:
    return log.consumer("email_service", "orders", "payments")


def analytics_service(log: FileLog) -> GroupConsumer:
    return log.consumer("analytics_service", "orders")


def test_the_groups_poll_three_and_two_then_one_and_one_after_a_restart(log: FileLog) -> None:
    email, analytics = email_service(log), analytics_service(log)
    assert told(email.poll()) == ["order.created 1", "order.created 2", "order.paid 1"]
    assert told(analytics.poll()) == ["order.created 1", "order.created 2"]
    email.commit()
    analytics.commit()
    analytics.close()

    log.append("orders", order(3))
    assert told(email.poll()) == ["order.created 3"]
    email.commit()

    with analytics_service(FileLog(log.folder)) as restarted:
        assert told(restarted.poll()) == ["order.created 3"]
        restarted.commit()
        assert restarted.poll() == []
    assert [lag.lag for group in ("email_service", "analytics_service") for lag in lags(log, group)] == [0, 0, 0]


def test_who_was_killed_before_the_commit_gets_the_same_again(log: FileLog) -> None:
    email = email_service(log)
    before = email.poll()
    email.abandon()
    assert email_service(FileLog(log.folder)).poll() == before


def test_who_was_killed_after_the_commit_gets_only_what_is_new(log: FileLog) -> None:
    email = email_service(log)
    email.poll()
    email.commit()
    email.abandon()
    log.append("payments", payment(2))
    assert told(email_service(FileLog(log.folder)).poll()) == ["order.paid 2"]


def test_the_offset_is_looked_for_where_it_was_written(log: FileLog) -> None:
    """The original wrote `….offsets` and looked under `….offset`, so each restart began at 0."""
    with email_service(log) as email:
        email.poll()
        email.commit()
    [file] = (log.folder / "_groups" / "email_service").glob("offset*")
    file.unlink()
    assert len(email_service(log).poll()) == 3
