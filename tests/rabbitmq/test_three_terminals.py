"""Three terminals, as in the README: two workers and a producer make the day that the shop makes in one process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ecomlib.broker import PrivateNode
from tests.support.rabbit_day import Day, in_memory
from tests.test_cli import Door
from tests.test_cli import door as door

ORDERS = int(os.environ.get("ECOMLIB_ORDERS", "150"))
SEED = 3


@pytest.mark.parametrize("each", [1, 3])
def test_the_workers_make_the_day_of_the_demo(rabbitmq: PrivateNode, door: Door, tmp_path: Path, each: int) -> None:
    expected = in_memory(ORDERS, SEED)
    assert door("demo", "--orders", str(ORDERS), "--seed", str(SEED), "--json").json == expected.totals
    with Day(tmp_path / "day", rabbitmq.url) as day:
        day.staff(each)
        sent = day.produce(ORDERS, SEED).result()
        day.served(expected)
        totals = day.close()
        left = day.left()
    assert left == {}
    assert sent["confirmed"] == sent["events"]
    assert sent["unrouted"] == 0
    assert [found for name, found in totals.items() if name.startswith("analytics")] == [expected.totals] * each
    mails = [found for name, found in totals.items() if name.startswith("email")]
    told = {kind: sum(found[kind] for found in mails) for kind in ("emails", "sms", "failed")}
    assert told == {kind: expected.totals[kind] for kind in told}
    assert day.mailbox.mails.keys() == expected.messages
    assert day.mailbox.copies == 0
