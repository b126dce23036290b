"""The whole shop: what one line wires up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ecomlib.errors import BadInput, Refused
from ecomlib.faults import InjectedFault
from ecomlib.log import FileLog
from ecomlib.services.senders import RecordingSender
from ecomlib.shop import Shop, replayed
from tests.support.disks import FullFile, One

STORY = {
    "events": 6,
    "users": 2,
    "orders": 2,
    "paid": 1,
    "shipped": 0,
    "delivered": 0,
    "cancelled": 0,
    "revenue": "50.00",
    "emails": 1,
    "sms": 1,
    "failed": 1,
}


def sent(shop: Shop) -> list[tuple[str, str]]:
    assert isinstance(shop.sender, RecordingSender)
    return [(message.channel, message.recipient) for message in shop.sender.sent]


def test_the_original_story_makes_six_events_and_its_log_says_the_same(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "log")
    shop.story()
    assert shop.totals() == STORY
    assert sent(shop) == [("email", "100"), ("sms", "100")]
    assert [(d.subscription, d.event.subject) for d in shop.bus.dead_letters] == [("email", "2")]
    shop.close()
    with FileLog(tmp_path / "log") as log:
        assert replayed(log).totals() == STORY


def test_worker_threads_end_with_the_same_totals() -> None:
    shop = Shop()
    with shop:
        shop.story()
    assert shop.totals() == STORY


def test_the_same_seed_gives_the_same_events_and_another_seed_others() -> None:
    def history(seed: int) -> list[str]:
        shop = Shop(seed=seed)
        shop.story()
        return [event.to_json() for event in shop.bus.history]

    assert history(1) == history(1)
    assert history(1) != history(2)


def test_a_shop_that_opens_a_log_again_goes_on_where_it_ended(tmp_path: Path) -> None:
    first = Shop(tmp_path / "log")
    first.story()
    first.close()
    second = Shop(tmp_path / "log")
    assert second.totals() == STORY
    with pytest.raises(Refused, match="Order 1 is paid"):
        second.orders.pay(1)
    second.orders.create(3, user_id=100, amount=5)
    second.run()
    assert sent(second) == [("email", "100")]  # only the new order's: nobody is told of the past again
    totals = second.totals()
    assert (totals["events"], totals["orders"]) == (8, 3)
    second.close()
    with FileLog(tmp_path / "log") as log:
        events = [record.event for record in log.read("shop")]
        assert len({event.id for event in events}) == len(events) == 8
        assert replayed(log).totals() == totals


def test_an_email_that_fails_once_is_sent_by_the_retry() -> None:
    shop = Shop()
    shop.faults.fail("email", attempts=[1])
    shop.orders.create(1, user_id=100, amount=5)
    shop.run()
    attempts = [(a.number, a.outcome) for a in shop.bus.attempts if a.subscription == "email"]
    assert attempts == [(1, "failed"), (2, "handled")]
    assert sent(shop) == [("email", "100")]


def test_dying_after_the_work_sends_no_second_email() -> None:
    shop = Shop()
    shop.faults.fail("email", attempts=[1], when="after")
    shop.orders.create(1, user_id=100, amount=5)
    shop.run()
    assert [a.number for a in shop.bus.attempts if a.subscription == "email"] == [1, 2]
    assert sent(shop) == [("email", "100")]


def test_a_repaired_service_serves_its_dead_letter() -> None:
    shop = Shop()
    shop.faults.fail("sms")
    shop.orders.create(1, user_id=100, amount=5)
    shop.orders.pay(1)
    shop.run()
    assert shop.totals()["failed"] == 1
    shop.faults.repair("sms")
    shop.bus.redeliver(shop.bus.dead_letters[0])
    shop.run()
    assert sent(shop) == [("email", "100"), ("sms", "100")]
    assert shop.bus.dead_letters == ()


def test_a_service_that_fails_stops_no_other() -> None:
    shop = Shop()
    shop.faults.fail("audit")
    shop.story()
    assert shop.totals() == STORY
    assert not shop.audit.lines


def test_only_a_known_service_can_be_made_to_fail() -> None:
    with pytest.raises(InjectedFault, match="choose one of analytics, audit, email, sms"):
        Shop().faults.fail("coffee machine")


@pytest.mark.parametrize("attempts", [1, 0, (), (0,), (1, -1), "1", (1.5,), None, range(0), range(3)])
def test_a_fault_is_planned_for_attempts_from_1(attempts: Any) -> None:
    shop = Shop()
    shop.faults.fail("sms", attempts=(2,))
    with pytest.raises(BadInput, match="numbers from 1"):
        shop.faults.fail("sms", attempts=attempts)
    assert shop.faults.planned == {"sms": "at attempt 2, before its work"}, "the plan that was good stays"


def test_a_fault_comes_before_or_after_the_work() -> None:
    with pytest.raises(BadInput, match="'during'"):
        Shop().faults.fail("sms", when="during")  # type: ignore[arg-type]


def test_the_audit_says_who_did_what() -> None:
    shop = Shop()
    shop.orders.register_user(7, username="Ada")
    shop.run()
    assert list(shop.audit.lines) == ["user registered: user_id 7, username Ada"]


def test_a_customer_is_told_when_our_own_disk_has_recovered(tmp_path: Path) -> None:
    """However long that takes, and only once: the email went out, and its fact could not be written."""
    disk = One(FullFile)
    with FileLog(tmp_path / "log", files=disk) as log:
        shop = Shop(log)
        shop.orders.create(1, user_id=100, amount=50)
        assert isinstance(disk.file, FullFile)
        disk.file.full = True
        for _ in range(50):
            assert shop.bus.deliver_one()
        disk.file.full = False
        shop.run()
        assert len(shop.sender.sent) == 1  # type: ignore[attr-defined]
        assert (shop.totals()["emails"], shop.totals()["failed"]) == (1, 0)
        assert shop.bus.dead_letters == ()
