"""A service's store: once in effect, an outbox that loses nothing, and sentences where the database can't be used."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ecomlib.bus import EventBus
from ecomlib.catalogue import Purchase
from ecomlib.clock import SimulatedClock
from ecomlib.errors import BusFull, KeyReused, Refused
from ecomlib.events import Event
from ecomlib.ports import Durability
from ecomlib.services.store import Store, StoreError

LIMIT = 60.0  # seconds
SCHEMA = "CREATE TABLE IF NOT EXISTS cups (name TEXT)"
COFFEE = Purchase(order_id="1", user_id="100", amount=Decimal(3), item="coffee", quantity=1)
TEA = Purchase(order_id="1", user_id="100", amount=Decimal(2), item="tea", quantity=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop" / "cups.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store(path, SCHEMA) as store:
        yield store


class Dies(BaseException):
    """Ends a program where it stands, as far as the store can see."""


def pour(connection: sqlite3.Connection) -> Event:
    connection.execute("INSERT INTO cups VALUES ('cup')")
    return Event("cup.poured", {"order_id": "1"})


def cups(store: Store) -> int:
    return len(store.read("SELECT * FROM cups"))


def test_the_same_key_gets_the_same_answer_and_nothing_is_done_again(store: Store) -> None:
    first = store.once("k1", COFFEE, pour, operation="pour")
    again = store.once("k1", COFFEE, pour, operation="pour")
    assert again == first
    assert again.id == first.id
    assert cups(store) == 1
    assert store.pending() == [first]


def test_the_key_is_remembered_across_a_restart(path: Path) -> None:
    with Store(path, SCHEMA) as store:
        first = store.once("k1", COFFEE, pour, operation="pour")
    with Store(path, SCHEMA) as store:
        assert store.once("k1", COFFEE, pour, operation="pour") == first
        assert cups(store) == 1


def test_a_request_is_the_same_however_its_fields_are_written(store: Store) -> None:
    other = Purchase.model_validate({"quantity": 1, "item": "coffee", "amount": "3.00", "user_id": 100, "order_id": 1})
    first = store.once("k1", COFFEE, pour, operation="pour")
    assert store.once("k1", other, pour, operation="pour") == first


@pytest.mark.parametrize(("request_", "operation"), [(TEA, "pour"), (COFFEE, "spill")])
def test_a_key_with_another_request_or_operation_is_refused(store: Store, request_: Purchase, operation: str) -> None:
    first = store.once("k1", COFFEE, pour, operation="pour")
    with pytest.raises(KeyReused, match=r"The key 'k1' belongs to another request: give each request a key of its own"):
        store.once("k1", request_, pour, operation=operation)
    assert cups(store) == 1
    assert store.pending() == [first]


def test_a_refusal_leaves_nothing_and_the_key_may_come_again(store: Store) -> None:
    def refuse(connection: sqlite3.Connection) -> Event:
        pour(connection)
        raise Refused("There is no milk.")

    with pytest.raises(Refused, match="no milk"):
        store.once("k1", COFFEE, refuse, operation="pour")
    assert (cups(store), store.pending()) == (0, [])
    store.once("k1", COFFEE, pour, operation="pour")
    assert cups(store) == 1


def test_the_change_and_its_fact_commit_together_or_not_at_all(path: Path) -> None:
    def die(connection: sqlite3.Connection) -> Event:
        pour(connection)
        raise Dies

    with Store(path, SCHEMA) as store:
        with pytest.raises(Dies):
            store.once("k1", COFFEE, die, operation="pour")
        assert (cups(store), store.pending()) == (0, [])
        store.once("k1", COFFEE, pour, operation="pour")
    with Store(path, SCHEMA) as store:
        assert (cups(store), len(store.pending())) == (1, 1)


def test_a_read_in_the_middle_of_a_change_of_the_same_thread_does_not_wait_for_itself(store: Store) -> None:
    def count(connection: sqlite3.Connection) -> Event:
        pour(connection)
        return Event("cups.counted", {"cups": cups(store)})

    assert store.once("k1", COFFEE, count, operation="count").data.cups == 1


class TestTheOutbox:
    @pytest.fixture
    def facts(self, store: Store) -> list[Event]:
        return [store.once(f"k{n}", COFFEE, pour, operation="pour") for n in range(5)]

    def test_is_published_oldest_first_and_is_empty_then(
        self, store: Store, facts: list[Event], recorder: list[Event]
    ) -> None:
        bus = EventBus(clock=SimulatedClock())
        bus.subscribe("#", handler=recorder.append)
        assert store.pending() == facts
        assert store.relay(bus) == 5
        bus.run_until_idle()
        assert recorder == facts
        assert store.pending() == []
        assert store.relay(bus) == 0

    def test_dying_after_the_publish_publishes_again_with_the_same_id(
        self, store: Store, path: Path, facts: list[Event], recorder: list[Event]
    ) -> None:
        with pytest.raises(Dies):
            store.relay(Takes(recorder, dies_after=2))
        store.close()
        with Store(path, SCHEMA) as restarted:
            assert restarted.relay(Takes(recorder)) == 4
        assert [event.id for event in recorder] == [facts[n].id for n in (0, 1, 1, 2, 3, 4)]

    def test_keeps_what_the_bus_does_not_take(self, store: Store, facts: list[Event]) -> None:
        bus = EventBus(clock=SimulatedClock(), limit=2)
        bus.subscribe("#", handler=repr)
        with pytest.raises(BusFull):
            store.relay(bus)
        assert store.pending() == facts[2:]

    def test_two_relays_at_once_publish_each_fact_once_and_in_order(
        self, store: Store, facts: list[Event], recorder: list[Event]
    ) -> None:
        at_once(*[lambda: store.relay(Takes(recorder))] * 4)
        assert recorder == facts
        assert store.pending() == []

    def test_two_processes_that_relay_at_once_may_publish_twice_but_lose_nothing(
        self, store: Store, path: Path, facts: list[Event], recorder: list[Event]
    ) -> None:
        with Store(path, SCHEMA) as other:
            at_once(*(lambda relay=each.relay: relay(Takes(recorder)) for each in (store, other)))
        assert list(dict.fromkeys(recorder)) == facts
        assert store.pending() == []

    def test_a_broker_that_takes_its_time_holds_up_no_change(
        self, store: Store, path: Path, facts: list[Event], recorder: list[Event]
    ) -> None:
        class Slow(EventBus):
            def publish(self, event: Event, **how: Any) -> Any:
                with Store(path, SCHEMA) as another_process:
                    another_process.once(f"while {event.id}", TEA, pour, operation="pour")
                recorder.append(event)
                if len(recorder) == 3:
                    raise Dies

        with pytest.raises(Dies):
            store.relay(Slow())
        assert recorder == facts[:3]

    def test_numbers_are_never_used_again(self, store: Store, facts: list[Event], recorder: list[Event]) -> None:
        store.relay(Takes(recorder))
        later = [store.once(f"later{n}", TEA, pour, operation="pour") for n in range(3)]
        store.relay(Takes(recorder))
        assert recorder == facts + later


class Takes(EventBus):
    """A bus that records what it took, and may die then: before the relay knows."""

    def __init__(self, taken: list[Event], *, dies_after: int | None = None) -> None:
        super().__init__(clock=SimulatedClock())
        self._taken, self._dies_after = taken, dies_after

    def publish(self, event: Event, **how: Any) -> Any:
        receipt = super().publish(event, **how)
        self._taken.append(event)
        if len(self._taken) == self._dies_after:
            raise Dies
        return receipt


def at_once(*calls: Callable[[], object]) -> None:
    """Each call in a thread of its own, all let go at the same moment; what one raises is raised here."""
    gate, errors = threading.Barrier(len(calls)), []

    def run(call: Callable[[], object]) -> None:
        gate.wait(LIMIT)
        try:
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def test_two_threads_with_the_same_key_have_one_effect(path: Path, store: Store, recorder: list[Event]) -> None:
    def ask(store: Store) -> None:
        recorder.append(store.once("k1", COFFEE, pour, operation="pour"))

    with Store(path, SCHEMA) as other:
        at_once(*(lambda each=each: ask(each) for each in (store, store, other, other)))
    assert len({event.id for event in recorder}) == 1
    assert (cups(store), len(store.pending())) == (1, 1)


PROGRAM = """
import sys
from tests.test_store import COFFEE, SCHEMA, Store, pour
with Store(sys.argv[1], SCHEMA) as store:
    for number in range(20):
        print(store.once(f"k{number}", COFFEE, pour, operation="pour").id)
"""


def test_two_processes_that_open_a_new_database_and_use_the_same_keys_have_one_effect(path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=LIMIT)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert said[0] == said[1] == said[2]
    with Store(path, SCHEMA) as store:
        assert (cups(store), len(store.pending())) == (20, 20)


@pytest.mark.parametrize(("durability", "synchronous"), [("each", 2), ("batch", 2), ("system", 1)])
def test_a_commit_is_on_the_disk_unless_that_is_left_to_the_system(
    path: Path, durability: Durability, synchronous: int
) -> None:
    with Store(path, SCHEMA, durability=durability) as store:
        assert store.read("PRAGMA synchronous") == [(synchronous,)]
        assert store.read("PRAGMA journal_mode") == [("wal",)]


class TestASentenceNamesTheFile:
    def test_that_is_no_database(self, tmp_path: Path) -> None:
        path = tmp_path / "letter.txt"
        path.write_text("Dear Ada, " * 200)
        with pytest.raises(StoreError, match=r"letter\.txt failed: file is not a database \(name another file, or"):
            Store(path, SCHEMA)
        assert path.read_text() == "Dear Ada, " * 200

    def test_that_is_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r"The database .* failed: unable to open database file \(name a file"):
            Store(tmp_path, SCHEMA)

    def test_whose_folder_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "shop").write_text("closed")
        with pytest.raises(StoreError, match=r"The folder .*shop can't be made: File exists\."):
            Store(tmp_path / "shop" / "cups.db", SCHEMA)

    def test_that_is_read_only(self, path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        connect = sqlite3.connect  # root may write to every file, so the mode is asked for
        monkeypatch.setattr(
            sqlite3, "connect", lambda path, **how: connect(f"{path.as_uri()}?mode=ro", uri=True, **how)
        )
        reader = Store(path, SCHEMA)
        assert reader.pending() == []
        with reader, pytest.raises(StoreError, match=r"cups\.db failed: attempt to write a readonly database \(make"):
            reader.once("k1", COFFEE, pour, operation="pour")

    def test_that_another_process_is_writing_to(
        self, path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ecomlib.services.store.BUSY", 0.01)
        with (
            store.transaction(),
            pytest.raises(StoreError, match=r"cups\.db failed: database is locked \(another process is writing"),
        ):
            Store(path, SCHEMA)
        Store(path, SCHEMA).close()

    def test_for_which_the_disk_is_full_and_goes_on_when_there_is_room(self, store: Store) -> None:
        def pour_a_sea(connection: sqlite3.Connection) -> Event:
            connection.execute("INSERT INTO cups VALUES (?)", ("~" * 1_000_000,))
            return pour(connection)

        store.read("PRAGMA max_page_count = 20")
        with pytest.raises(StoreError, match=r"cups\.db failed: database or disk is full \(make room and try again"):
            store.once("k1", COFFEE, pour_a_sea, operation="pour")
        assert (cups(store), store.pending()) == (0, [])
        store.read("PRAGMA max_page_count = 100000")
        store.once("k1", COFFEE, pour_a_sea, operation="pour")
        assert cups(store) == 2

    def test_that_was_closed(self, store: Store) -> None:
        store.close()
        store.close()
        with pytest.raises(StoreError, match=r"cups\.db failed: Cannot operate on a closed database"):
            store.pending()


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "cups.db"
    Store(path, SCHEMA).close()
    assert path.exists()


def test_a_database_in_memory_makes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Store(":memory:", SCHEMA) as store:
        store.once("k1", COFFEE, pour, operation="pour")
        assert cups(store) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("durability", "change"), [("batch", "FULL"), ("each", "FULL"), ("system", "NORMAL")])
def test_a_change_is_synced_and_a_row_that_was_relayed_need_not_be(
    path: Path, monkeypatch: pytest.MonkeyPatch, recorder: list[Event], durability: Durability, change: str
) -> None:
    said: list[str] = []

    class Counting(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if "busy_timeout" not in sql:  # how long to wait for others is not the matter here
                said.append(sql.split()[-1] if sql.startswith("PRAGMA") else sql.split()[0])
            return super().execute(sql, *parameters)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **how: connect(*args, factory=Counting, **how))
    with Store(path, SCHEMA, durability=durability) as store:
        said.clear()
        store.once("k1", COFFEE, pour, operation="pour")
        assert said == [change, "BEGIN", "SELECT", "INSERT", "INSERT", "INSERT", "COMMIT"]
        said.clear()
        store.relay(Takes(recorder))
        assert said == ["SELECT", "NORMAL", "BEGIN", "DELETE", "COMMIT", "SELECT"]


# --- Ctrl+C between a transaction's beginning and its block's ---------------------------------------------------------


def left_behind(store: Store) -> Any:
    """As Ctrl+C leaves a transaction that has begun, and whose block has not: nobody ends it; a traceback keeps it."""
    transaction = store.transaction()
    transaction.__enter__().execute("INSERT INTO cups VALUES ('half a cup')")
    return transaction


def test_a_transaction_that_was_left_behind_is_undone_when_the_next_one_begins(store: Store) -> None:
    transaction = left_behind(store)
    store.once("k1", COFFEE, pour, operation="pour")
    assert store.read("SELECT name FROM cups") == [("cup",)]
    del transaction


def test_when_it_is_forgotten_at_last_it_harms_no_other(store: Store) -> None:
    transactions = [left_behind(store)]
    with store.transaction() as connection:
        pour(connection)
        transactions.clear()
    assert store.read("SELECT name FROM cups") == [("cup",)]


def test_one_that_is_forgotten_before_the_next_begins_is_undone(store: Store) -> None:
    transactions = [left_behind(store)]
    transactions.clear()
    assert cups(store) == 0


def test_one_that_outlives_its_store_ends_in_silence(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    with Store(path, SCHEMA) as store:
        transactions = [left_behind(store)]
    transactions.clear()
    assert said == []
    with Store(path, SCHEMA) as store:
        assert cups(store) == 0


def test_a_transaction_in_another_one_is_no_success_for_the_outer(store: Store) -> None:
    def nest() -> None:
        with store.transaction() as outer:
            pour(outer)
            with store.transaction():
                pass

    with pytest.raises(StoreError, match="no transaction"):
        nest()
    assert cups(store) == 0
