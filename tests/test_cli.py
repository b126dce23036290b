"""The doors: what goes in, what comes out, and what a person reads when it can't be done."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ecomlib.cli import main
from ecomlib.clock import SimulatedClock
from ecomlib.events import Event
from ecomlib.locks import FileLocks
from ecomlib.log import FileLog
from ecomlib.shop import open_checkout
from tests.conftest import ROOT

STORY = {"events": 6, "orders": 2, "paid": 1, "emails": 1, "sms": 1, "failed": 1, "revenue": "50.00"}
OLIST = ROOT.parent / "shared" / "data" / "olist"
LINE = '{"timestamp": "05-12-2025 09:31:17", "event": "order.created", "data": {"order_id": 1001, "amount": 0}}\n'


class Door:
    """Runs a verb as a shell would, and keeps what it printed where."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> Door:
        try:
            self.code = main([str(argument) for argument in arguments])
        except SystemExit as end:  # argparse's own way to say 2
            self.code = int(str(end.code))
        self.out, self.err = self._capsys.readouterr()
        return self

    @property
    def json(self) -> dict[str, Any]:
        assert self.code == 0, self.err
        assert self.out.count("\n") == 1, "one JSON object and nothing else"
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


@pytest.fixture
def door(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Door:
    monkeypatch.chdir(tmp_path)  # no .env of anybody's
    for name in [name for name in os.environ if name.startswith("ECOMLIB_")]:
        monkeypatch.delenv(name)
    return Door(capsys)


def same_as_the_story(totals: dict[str, Any]) -> bool:
    return {name: totals[name] for name in STORY} == STORY


def test_the_demo_tells_the_original_story_and_its_log_tells_it_again(door: Door, tmp_path: Path) -> None:
    totals = door("demo", "--json", "--log", tmp_path / "log").json
    assert same_as_the_story(totals)
    assert door("replay", "--json", "--log", tmp_path / "log").json == totals


def test_the_demo_needs_no_log_and_speaks_to_people_too(door: Door) -> None:
    assert door("demo").code == 0
    assert "✗ email" in door.out
    assert "The log says the same: 6 events, revenue 50.00." in door.out
    assert door.err == ""


def test_a_seed_gives_the_same_day_again_and_another_seed_another(door: Door) -> None:
    one, two, three = (door("demo", "--orders", "60", "--seed", s, "--json").json for s in ("1", "1", "2"))
    assert one == two != three
    assert one["orders"] == 60


def test_a_day_is_not_added_to_another(door: Door, tmp_path: Path) -> None:
    door("demo", "--log", tmp_path / "log")
    assert door("demo", "--log", tmp_path / "log").code == 2
    assert "holds events already" in door.err
    assert door("replay", "--log", tmp_path / "log", "--json").json["events"] == 6


def test_a_replay_stops_at_a_time(door: Door, tmp_path: Path) -> None:
    door("demo", "--orders", "50", "--log", tmp_path / "log")
    whole = door("replay", "--log", tmp_path / "log", "--json").json
    noon = door("replay", "--log", tmp_path / "log", "--until", "2026-01-05T12:00", "--json").json
    before = door("replay", "--log", tmp_path / "log", "--until", "2026-01-05", "--json").json
    assert 0 < noon["orders"] < whole["orders"] == 50
    assert before["orders"] == 0


def test_topics_and_tail_look_into_a_log(door: Door, tmp_path: Path) -> None:
    door("demo", "--log", tmp_path / "log")
    assert door("log", "topics", "--log", tmp_path / "log", "--json").json == {
        "topics": [{"topic": "shop", "partitions": 1, "events": 6}]
    }
    tail = door("log", "tail", "-n", "2", "--log", tmp_path / "log", "--json").json
    assert [(r["offset"], r["event"]["type"]) for r in tail["records"]] == [
        (4, "notification.sent"),
        (5, "notification.failed"),
    ]
    assert door("log", "tail", "--log", tmp_path / "log").out.count("\n") == 6


def test_the_original_log_is_imported_once_and_its_bad_lines_are_named(door: Door, tmp_path: Path) -> None:
    (tmp_path / "events.log").write_text(LINE + "coffee\n")
    arguments = ("import", "original", tmp_path / "events.log", "--log", tmp_path / "log", "--json")
    first, second = door(*arguments).json, door(*arguments).json
    assert (first["appended"], second["appended"]) == (1, 0)
    assert "line 2" in first["findings"][0]
    assert door("replay", "--log", tmp_path / "log", "--json").json["orders"] == 1


@pytest.mark.parametrize("stands_there", [[], ["_groups"], ["log.json.half-written"]], ids=str)
def test_a_folder_in_which_no_log_has_begun_becomes_one(stands_there: list[str], door: Door, tmp_path: Path) -> None:
    (tmp_path / "events.log").write_text(LINE)
    for log in ("of a demo", "of an import", "of a checkout"):
        for name in ("", *stands_there):
            (tmp_path / log / name).mkdir(parents=True, exist_ok=True)
    assert same_as_the_story(door("demo", "--log", tmp_path / "of a demo", "--json").json)
    assert door("import", "original", tmp_path / "events.log", "--log", tmp_path / "of an import", "--json").json
    assert door("saga", "--log", tmp_path / "of a checkout", "--json").json
    assert door("replay", "--log", tmp_path / "of a demo", "--json").json["events"] == 6


def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(door: Door, tmp_path: Path) -> None:
    (tmp_path / "holidays").mkdir()
    (tmp_path / "holidays" / "beach.jpg").write_bytes(b"sun")
    assert door("demo", "--log", tmp_path / "holidays").code == 2
    assert "holidays is not an event log" in door.err
    assert [path.name for path in (tmp_path / "holidays").iterdir()] == ["beach.jpg"]


def test_the_settings_give_what_options_leave_out(door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(f"ECOMLIB_LOG={tmp_path / 'log'}\n")
    assert same_as_the_story(door("demo", "--json").json)
    assert same_as_the_story(door("replay", "--json").json)
    monkeypatch.setenv("ECOMLIB_SEED", "tomorrow")
    assert door("demo").code == 2
    assert "ECOMLIB_SEED" in door.err


def test_an_empty_setting_counts_as_none(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECOMLIB_LOG", "")
    monkeypatch.setenv("ECOMLIB_SEED", "")
    assert door("replay").code == 2
    assert "Which log?" in door.err
    assert same_as_the_story(door("demo", "--json").json)


def test_settings_that_are_not_text_are_a_sentence(door: Door, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"ECOMLIB_SEED=\xff\xfe")
    assert door("demo").code == 2
    assert ".env" in door.err


def test_the_doctor_names_what_is_there(door: Door, monkeypatch: pytest.MonkeyPatch, unused_port: int) -> None:
    monkeypatch.setenv("ECOMLIB_RABBITMQ_URL", f"amqp://127.0.0.1:{unused_port}/")  # this machine's own is not ours
    findings = {f["what"]: f for f in door("doctor", "--json").json["findings"]}
    assert findings["jupyterlab"]["good"]
    assert "RabbitMQ" in findings
    assert all(f["good"] or f["advice"] for f in findings.values())


if OLIST.is_dir():  # the real orders are not part of the project; where they lie beside it, they are tried

    def test_the_olist_files_give_their_published_counts(door: Door, tmp_path: Path) -> None:
        imported = door("import", "olist", OLIST, "--log", tmp_path / "log", "--json").json
        assert imported["appended"] == 8135 + 7989 + 6353 + 5170 + 625
        totals = door("replay", "--log", tmp_path / "log", "--json").json
        assert {name: totals[name] for name in ("orders", "paid", "shipped", "delivered", "cancelled", "revenue")} == {
            "orders": 8135,
            "paid": 7989,
            "shipped": 6353,
            "delivered": 5170,
            "cancelled": 625,
            "revenue": "1393427.64",
        }


def not_a_log(folder: Path) -> Path:
    folder.mkdir()
    (folder / "diary.txt").write_text("dear diary")
    return folder


def of_the_future(folder: Path) -> Path:
    folder.mkdir()
    (folder / "log.json").write_text('{"format": 2}')
    return folder


def noise(folder: Path) -> Path:
    """A log's folder whose only file is ten million bytes of nothing."""
    (folder / "shop").mkdir(parents=True)
    (folder / "log.json").write_bytes(b'{"format": 1}\n')
    (folder / "shop" / "0.log").write_bytes(bytes(range(256)) * 40_000)
    return folder


BAD = [
    (2, ("replay",), "Which log"),
    (2, ("replay", "--log", "nowhere"), "does not exist"),
    (2, ("replay", "--log", "diary"), "is not an event log"),
    (2, ("demo", "--log", "diary"), "is not an event log"),
    (2, ("import", "original", "events.log", "--log", "diary"), "is not an event log"),
    (2, ("import", "olist", "nowhere", "--log", "log"), "nowhere"),
    (2, ("import", "original", "nowhere", "--log", "log"), "nowhere"),
    (2, ("import", "original", "noise/shop/0.log", "--log", "log"), "no events.log"),
    (2, ("import", "original", "events.log", "--log", "log", "--zone", "Mars"), "Mars"),
    (2, ("replay", "--log", "future"), "reads only"),
    (1, ("replay", "--log", "noise"), "damaged"),
    (1, ("log", "tail", "--log", "noise"), "damaged"),
    (1, ("log", "topics", "--log", "noise"), "damaged"),
    (2, ("log", "tail", "--log", "good", "--topic", "coffee"), "no topic 'coffee'"),
    (2, ("log", "tail", "--log", "good", "--topic", "../good"), "no topic's name"),
    (2, ("log", "tail", "--log", "good", "-n", "0"), "whole number from 1"),
    (2, ("replay", "--log", "good", "--until", "tea time"), "is no time"),
    (2, ("replay", "--log", "good", "--until", ""), "is no time"),
    (2, ("replay", "--log", ""), "--log: it is empty"),
    (2, ("demo", "--log", ""), "--log: it is empty"),
    (2, ("demo", "--orders", "-5"), "whole number from 1"),
    (2, ("demo", "--seed", "x"), "invalid int"),
    (2, ("dance",), "invalid choice"),
    (2, (), "required"),
    (2, ("log",), "required"),
]


@pytest.mark.parametrize(("code", "arguments", "words"), BAD, ids=[" ".join(a) or "nothing" for _, a, _ in BAD])
def test_bad_input_is_a_sentence_and_a_code_and_costs_nothing(
    door: Door, tmp_path: Path, code: int, arguments: tuple[str, ...], words: str
) -> None:
    not_a_log(tmp_path / "diary")
    noise(tmp_path / "noise")
    of_the_future(tmp_path / "future")
    (tmp_path / "events.log").write_text(LINE)
    door("demo", "--log", "good")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert door(*arguments).code == code
    assert words in door.err
    assert "Traceback" not in door.err
    assert door.out == ""
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_damage_in_the_middle_is_named_with_its_place(door: Door, tmp_path: Path) -> None:
    door("demo", "--log", "log")
    file = tmp_path / "log" / "shop" / "0.log"
    lines = file.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"order", b"0rder")
    file.write_bytes(b"".join(lines))
    assert door("replay", "--log", "log").code == 1
    assert f"damaged at byte {len(lines[0] + lines[1])}" in door.err
    assert "Offset 2" in door.err
    with FileLog("log") as log:
        assert [record.position.offset for record in log.read("shop", 3)] == [3, 4, 5]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ecomlib", *arguments]


def test_the_module_is_the_command(tmp_path: Path) -> None:
    done = subprocess.run(command("demo", "--json"), cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert same_as_the_story(json.loads(done.stdout))


def test_a_reader_who_has_had_enough_is_no_error(tmp_path: Path) -> None:
    first = f"{' '.join(command('demo'))} | {sys.executable} -c 'input()'"
    done = subprocess.run(first, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals to send")
def test_a_verb_that_is_stopped_says_so_and_leaves_a_whole_log(tmp_path: Path, by: signal.Signals) -> None:
    running = subprocess.Popen(
        command("demo", "--orders", "50000", "--log", "log"), cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    file = tmp_path / "log" / "shop" / "0.log"
    while running.poll() is None and not (file.exists() and file.stat().st_size > 10_000):
        pass  # until it is at work
    running.send_signal(by)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "Stopped" in said
    assert "Traceback" not in said
    with FileLog(tmp_path / "log") as log:
        offsets = [record.position.offset for record in log.read("shop")]
    assert offsets == list(range(len(offsets)))
    assert offsets


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals to send")
def test_an_interruption_that_code_in_c_swallowed_comes_again(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    class Swallows:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    def examine(settings: object) -> list[Any]:
        Swallows()  # what is raised in its end goes nowhere
        threading.Event().wait(20)
        return []

    monkeypatch.setattr("ecomlib.verbs.shop.doctor.examine", examine)
    assert door("doctor").code == 1
    assert "Stopped" in door.err


# --- sagas and groups ---------------------------------------------------------------------------------------------


def steps(said: dict[str, Any]) -> list[str]:
    return [f"{step['step']} {step['command']} {step['outcome']}" for step in said["steps"]]


def test_a_saga_completes_and_says_its_steps_in_the_order_in_which_they_happened(door: Door) -> None:
    said = door("saga", "--json").json
    assert (said["saga_id"], said["outcome"]) == ("order-1", "completed")
    assert steps(said) == [
        "order create done",
        "payment reserve done",
        "inventory deduct done",
        "delivery request done",
    ]


def test_a_saga_whose_inventory_fails_is_compensated_in_reverse(door: Door) -> None:
    said = door("saga", "--fail", "inventory", "--json").json
    assert said["outcome"] == "compensated"
    assert steps(said) == [
        "order create done", "payment reserve done", *["inventory deduct failed"] * 3,
        "inventory restore done", "payment cancel done", "order cancel done",
    ]  # fmt: skip
    assert "inventory failed on purpose" in said["reason"]


@pytest.mark.parametrize("step", ["order", "payment", "inventory", "delivery"])
def test_whichever_step_fails_nothing_stays_done_and_the_next_order_is_served(
    door: Door, tmp_path: Path, step: str
) -> None:
    log = tmp_path / "log"
    assert door("saga", "--fail", step, "--log", log, "--json").json["outcome"] == "compensated"
    assert door("saga", "--log", log, "--json").json["outcome"] == "completed"
    recovered = door("saga", "--recover", "--log", log, "--json").json
    assert recovered == {"recovered": 0, "sagas": [], "stuck": [], "running": [], "problems": []}


def test_a_step_that_is_none_is_refused_with_the_real_ones(door: Door) -> None:
    assert door("saga", "--fail", "shipping").code == 2
    for step in ("order", "payment", "inventory", "delivery"):
        assert f"'{step}'" in door.err


def test_a_saga_tells_a_person_what_it_did(door: Door) -> None:
    assert door("saga", "--fail", "delivery").code == 0
    assert "✗ delivery   request: delivery failed on purpose" in door.out
    assert "↶ ✓ payment    cancel" in door.out
    assert "The saga order-1 is compensated." in door.out


def test_what_a_kill_left_open_is_ended_by_recover(door: Door, tmp_path: Path) -> None:
    """Killed by SIGKILL after the charge, before the log says so."""
    program = (
        "import os, signal, sys\n"
        "from ecomlib.shop import open_checkout\n"
        "shop = open_checkout(sys.argv[1])\n"
        "shop.payments.relay = lambda bus: os.kill(os.getpid(), signal.SIGKILL)\n"
        "shop.buy(7, user_id=100, amount=100, quantity=2)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, tmp_path / "log"], cwd=ROOT, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    said = door("saga", "--recover", "--log", tmp_path / "log", "--json").json
    assert (said["recovered"], said["problems"], said["stuck"]) == (1, [], [])
    (saga,) = said["sagas"]
    assert (saga["saga_id"], saga["outcome"]) == ("order-7", "completed")
    assert steps(saga)[1:3] == ["payment reserve in doubt", "payment reserve done"]


def test_a_stuck_saga_says_what_a_person_must_do_and_is_no_success(door: Door, tmp_path: Path) -> None:
    with open_checkout(tmp_path / "log", clock=SimulatedClock()) as shop:
        shop.faults.fail("delivery")
        shop.faults.fail("payment compensation")
        assert shop.buy(1, user_id=100, amount=50).outcome == "stuck"
    assert door("saga", "--recover", "--log", tmp_path / "log").code == 1
    assert "Put it right, then resume the saga order-1" in door.out
    assert f"Resume it with: ecomlib saga --resume order-1 --log {tmp_path / 'log'}" in door.out
    said = door("saga", "--resume", "order-1", "--log", tmp_path / "log", "--json").json
    assert (said["outcome"], said["steps"][-1]["command"]) == ("compensated", "cancel")
    assert door("saga", "--recover", "--log", tmp_path / "log", "--json").json["problems"] == []


@pytest.mark.parametrize("saga", ["order-1", "order-99", ""])
def test_only_a_saga_that_is_stuck_can_be_resumed(door: Door, tmp_path: Path, saga: str) -> None:
    door("saga", "--log", tmp_path / "log")
    assert door("saga", "--resume", saga, "--log", tmp_path / "log").code in (1, 2)
    assert "Traceback" not in door.err
    assert door.err.strip()
    assert door("saga", "--resume", "order-1", "--recover", "--log", tmp_path / "log").code == 2


def test_each_of_many_commands_at_once_has_an_order_of_its_own(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with open_checkout(log):  # so that they meet at the orders, not at the making of the log
        pass
    running = [
        subprocess.Popen(command("saga", "--json", "--log", str(log)), stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [json.loads(one.communicate(timeout=60)[0]) for one in running]
    assert sorted(one["order_id"] for one in said) == ["1", "2", "3", "4"]
    assert {one["outcome"] for one in said} == {"completed"}


def test_a_saga_of_a_log_whose_databases_are_gone_is_not_taken_for_a_new_one(door: Door, tmp_path: Path) -> None:
    door("saga", "--log", tmp_path / "log")
    shutil.rmtree(tmp_path / "log" / "_stores")
    assert door("saga", "--log", tmp_path / "log", "--json").json["order_id"] == "2"
    assert door("saga", "--recover", "--log", tmp_path / "log").code == 1
    assert "Order 1 is completed; in effect: nothing." in door.out


def test_other_peoples_sagas_and_events_in_the_log_are_left_alone(door: Door, tmp_path: Path) -> None:
    with FileLog(tmp_path / "log") as log:
        log.append("saga_log", Event("coffee.spilled", {"where": "here"}))
        log.append("saga_log", Event("saga.completed", {"saga_id": "half"}))
        log.append("saga_log", Event("saga.started", {"saga_id": "trip", "saga": "travel", "request": {"to": "Lviv"}}))
    said = door("saga", "--recover", "--log", tmp_path / "log", "--json").json
    assert said == {"recovered": 0, "sagas": [], "stuck": [], "running": [], "problems": []}
    assert door("saga", "--resume", "trip", "--log", tmp_path / "log").code == 1
    assert "The saga trip is one of 'travel', not of 'checkout'." in door.err


def test_a_saga_that_another_process_runs_is_no_problem(door: Door, tmp_path: Path) -> None:
    with open_checkout(tmp_path / "log") as shop:
        shop.log.append(
            "saga_log",
            Event("saga.started", {"saga_id": "order-9", "saga": "checkout", "request": {"order_id": "9"}}),
        )
        lock = FileLocks(tmp_path / "log" / "_sagas").take("order-9")
        assert lock
        with lock:
            said = door("saga", "--recover", "--log", tmp_path / "log", "--json").json
            assert (said["running"], said["problems"]) == (["order-9"], [])
            assert "order-9 is being run by somebody else." in door("saga", "--recover", "--log", tmp_path / "log").out


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_without_our_signs_costs_no_result(tmp_path: Path, encoding: str) -> None:
    for more in ([], ["--json"]):
        run = subprocess.run(
            command("saga", "--fail", "inventory", *more),
            cwd=tmp_path,
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": encoding},
            timeout=60,
        )
        assert (run.returncode, run.stderr) == (0, b"")
        assert b"compensated" in run.stdout


def test_recovering_makes_no_log_where_none_is(door: Door, tmp_path: Path) -> None:
    assert door("saga", "--recover").code == 2
    assert "--log DIR" in door.err
    assert door("saga", "--recover", "--log", tmp_path / "nothing").code == 2
    assert "There is no log" in door.err
    assert not (tmp_path / "nothing").exists()


def test_the_groups_of_a_log_with_their_offsets_and_lag(door: Door, tmp_path: Path) -> None:
    with FileLog(tmp_path / "log") as log:
        log.create("orders", partitions=2)
        log.append("orders", *[Event("order.created", {"order_id": n, "amount": 5}) for n in range(6)])
        with log.consumer("email_service", "orders") as email, log.consumer("analytics_service", "orders") as other:
            email.commit(*email.poll(limit=4))
            other.poll()
            said = door("log", "groups", "--log", tmp_path / "log", "--json").json["groups"]
    assert [(row["group"], row["topic"], row["partition"]) for row in said] == [
        ("analytics_service", "orders", 0), ("analytics_service", "orders", 1),
        ("email_service", "orders", 0), ("email_service", "orders", 1),
    ]  # fmt: skip
    assert sum(row["end"] for row in said[2:]) == 6
    assert sum(row["committed"] or 0 for row in said[2:]) == 4
    assert sum(row["lag"] for row in said[2:]) == 2
    assert [row["committed"] for row in said[:2]] == [None, None]
    assert {row["member"] for row in said} == {"consumer-1"}
    assert door("log", "groups", "--log", tmp_path / "log").code == 0
    assert "email_service  orders/0: committed" in door.out


def test_a_group_whose_offsets_are_damaged_hides_no_other(door: Door, tmp_path: Path) -> None:
    with FileLog(tmp_path / "log") as log:
        log.append("orders", Event("order.created", {"order_id": 1, "amount": 5}))
        for group in ("analytics", "email"):
            with log.consumer(group, "orders") as consumer:
                consumer.poll()
                consumer.commit()
    (tmp_path / "log" / "_groups" / ".DS_Store").write_bytes(b"of another program")
    (tmp_path / "log" / "_groups" / "analytics" / "offsets.json").write_text("{")
    assert door("log", "groups", "--log", tmp_path / "log").code == 1
    assert "email  orders/0: committed 1 of 1, lag 0" in door.out
    assert "analytics: " in door.out
    assert "is damaged" in door.out
    assert door("log", "groups", "--log", tmp_path / "log", "--json").code == 1
    said = json.loads(door.out)
    assert (said["groups"][0]["group"], len(said["damaged"])) == ("email", 1)


def test_a_log_that_nobody_reads_has_no_groups(door: Door, tmp_path: Path) -> None:
    door("demo", "--log", tmp_path / "log")
    assert door("log", "groups", "--log", tmp_path / "log", "--json").json == {"groups": []}
    assert "No group" in door("log", "groups", "--log", tmp_path / "log").out


def test_topics_and_tail_know_of_partitions(door: Door, tmp_path: Path) -> None:
    clock = SimulatedClock()
    with FileLog(tmp_path / "log") as log:
        log.create("orders", partitions=3)
        for n in range(9):
            clock.advance(minutes=1)
            log.append("orders", Event("order.created", {"order_id": n, "amount": 5}, time=clock.now()))
    said = door("log", "topics", "--log", tmp_path / "log", "--json").json["topics"]
    assert said == [{"topic": "orders", "partitions": 3, "events": 9}]
    tail = door("log", "tail", "--topic", "orders", "-n", "4", "--log", tmp_path / "log", "--json").json["records"]
    assert [record["event"]["data"]["order_id"] for record in tail] == ["5", "6", "7", "8"]
    assert {record["partition"] for record in tail} <= {0, 1, 2}


def test_a_log_whose_topic_has_partitions_is_not_replayed_in_part(door: Door, tmp_path: Path) -> None:
    with FileLog(tmp_path / "log") as log:
        log.create("shop", partitions=2)
    assert door("replay", "--log", tmp_path / "log").code == 1
    assert "partition" in door.err
