"""The totals that processes share: the same as one process's, with each event counted once, whoever dies."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomlib.clock import SimulatedClock
from ecomlib.errors import BadEvent
from ecomlib.events import Event
from ecomlib.services.shared_analytics import SharedAnalytics
from ecomlib.services.store import StoreError
from tests.conftest import ROOT
from tests.support import counting
from tests.test_analytics import FACTS, fact, fold

LIMIT = 60.0  # seconds
OTHERS = st.sampled_from(
    [
        Event("user.registered", {"user_id": 1}),
        Event("order.created", {"order_id": 2, "user_id": 1}),
        Event("order.paid", {"order_id": 2, "user_id": 9}, dataversion=1),
        Event("notification.sent", {"channel": "email", "recipient": "1", "message_id": "m"}),
        Event("notification.sent", {"channel": "sms", "recipient": "1", "message_id": "m"}),
        Event("notification.failed", {"channel": "sms", "error": "it bounced"}),
        Event("coffee.spilled", {"order_id": 2, "user_id": 77}),
    ]
)


def opened(path: Path) -> SharedAnalytics:
    return SharedAnalytics(path, durability="system")


@settings(max_examples=60)
@given(st.lists(st.tuples(FACTS | OTHERS, st.integers(0, 1), st.booleans()), max_size=25))
def test_whoever_counts_what_the_totals_are_those_of_one(dealt: list[tuple[Event, int, bool]]) -> None:
    """An event goes to one of two objects with the same file, and where it comes twice, to the other one too."""
    with TemporaryDirectory() as folder, opened(Path(folder, "s")) as one, opened(Path(folder, "s")) as two:
        for event, taker, twice in dealt:
            (one, two)[taker].apply(event)
            if twice:
                (two, one)[taker].apply(event)
        assert one.totals() == two.totals() == fold([event for event, _, _ in dealt]).totals()


@settings(max_examples=40)
@given(st.lists(FACTS | OTHERS, max_size=25), st.integers(0, 25))
def test_many_at_once_count_as_one_after_the_other(events: list[Event], cut: int) -> None:
    with opened(Path(":memory:")) as analytics:
        analytics.apply_all(events[:cut] + events[:cut])
        analytics.apply_all(events)
        assert analytics.totals() == fold(events).totals()


def test_processes_that_are_killed_anywhere_and_begin_again_count_each_event_once(tmp_path: Path) -> None:
    """Three at the same time, on a store that is new; each is killed after some events, and then counts them all."""
    store, random = tmp_path / "analytics.sqlite3", Random(7)
    events, totals = counting.a_day()

    def run(seed: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.support.counting", str(store), str(seed)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)

    killed = [run(seed) for seed in range(3)]
    for process in killed:
        assert process.stdout is not None
        process.stdout.read(random.randrange(1, len(events)))
        process.kill()
        process.communicate(timeout=LIMIT)
    assert -signal.SIGKILL in [process.returncode for process in killed]  # a quick one may have come to its end
    again = [run(seed) for seed in range(3, 5)]
    for process in again:
        said, _ = process.communicate(timeout=LIMIT)
        assert (process.returncode, len(said)) == (0, 2 * len(events))
    with SharedAnalytics(store) as analytics:
        assert analytics.totals() == totals


def test_what_fails_in_the_middle_counts_not_at_all(tmp_path: Path) -> None:
    with opened(tmp_path / "s") as analytics:
        analytics.apply(fact("created", 1))

        def broken() -> Iterator[Event]:
            yield fact("paid", 1)
            raise BadEvent("the second one can't be read")

        with pytest.raises(BadEvent):
            analytics.apply_all(broken())
        assert analytics.totals() == fold([fact("created", 1)]).totals()


def test_an_id_is_known_for_a_week_and_what_was_said_of_an_order_for_ever(
    tmp_path: Path, clock: SimulatedClock
) -> None:
    order, mail = (
        fact("created", 1),
        Event("notification.sent", {"channel": "email", "recipient": "1", "message_id": "m"}),
    )
    with SharedAnalytics(tmp_path / "s", clock=clock) as analytics:
        for days, events, emails in ((0, 2, 1), (6.9, 2, 1), (0.2, 5, 2)):
            clock.advance(days=days)
            if days == 0.2:  # what is too old goes when something new comes
                analytics.apply(fact("shipped", 1))
            analytics.apply(order)
            analytics.apply(mail)
            totals = analytics.totals()
            assert (totals["events"], totals["emails"], totals["orders"]) == (events, emails, 1)


def test_only_the_latest_ids_are_kept_and_the_count_goes_on(tmp_path: Path) -> None:
    events = [fact("created", order) for order in range(8)]
    with SharedAnalytics(tmp_path / "s", durability="system", ids=3) as analytics:
        for event in events:
            analytics.apply(event)
        assert analytics.store.read("SELECT COUNT(*) FROM seen") == [(3,)]
        analytics.apply_all(events[-3:])
        assert analytics.totals()["events"] == 8


def test_a_store_that_can_not_be_written_is_a_sentence_and_counts_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "s") as analytics:
        analytics.store._connection.execute("PRAGMA query_only = ON")
        with pytest.raises(StoreError, match="failed"):
            analytics.apply(fact("created", 1))
        analytics.store._connection.execute("PRAGMA query_only = OFF")
        assert analytics.totals()["events"] == 0
