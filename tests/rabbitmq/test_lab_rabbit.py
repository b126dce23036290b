"""RabbitMQ in the laboratory: the lesson's broker, real worker processes, what is seen of the queues, and the panel."""

from __future__ import annotations

import html
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ipywidgets
import pytest

from ecomlib.amqp import channel_to
from ecomlib.broker import PrivateNode
from ecomlib.errors import BadInput, BrokerError, EcomlibError, NotDrained
from ecomlib.events import Event
from ecomlib.lab import LessonBroker, RabbitDesk, RabbitPanel, lesson_broker
from ecomlib.lab.depths import FROM_AMQP, FROM_API, Management, look
from ecomlib.lab.figures import alt, png
from ecomlib.lab.lesson_broker import clean, open_broker
from ecomlib.lab.rabbit_chart import broker as chart
from ecomlib.lab.rabbit_rows import QueueRow, Seen, WorkerRow
from ecomlib.lab.worker_processes import WorkerProcesses
from ecomlib.topology import SERVICES
from tests.support.webhook import wait_until

FOR_EVER = 600.0  # seconds of work: no test waits for its end


@pytest.fixture
def broker(rabbitmq: PrivateNode) -> LessonBroker:
    return LessonBroker(rabbitmq.url, rabbitmq.management_url)


@pytest.fixture
def desk(broker: LessonBroker) -> Iterator[RabbitDesk]:
    with RabbitDesk(broker, work=0) as desk:
        yield desk


@pytest.fixture
def panel(broker: LessonBroker) -> Iterator[RabbitPanel]:
    panel = RabbitPanel(broker, work=0)
    yield panel
    panel.close()


# --- the lesson's broker --------------------------------------------------------------------------------------


@pytest.fixture
def nothing_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a new process, with no `.env` around."""
    monkeypatch.setattr(lesson_broker, "_opened", [])
    monkeypatch.delenv("ECOMLIB_RABBITMQ_URL", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("nothing_opened")
def test_the_broker_that_is_named_is_taken(rabbitmq: PrivateNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECOMLIB_RABBITMQ_URL", rabbitmq.url)
    broker = open_broker()
    assert broker
    assert broker.url == rabbitmq.url
    assert broker.node is None
    assert repr(broker) == "RabbitMQ is ready for this lesson."
    assert open_broker() is broker


@pytest.mark.usefixtures("nothing_opened")
def test_a_named_broker_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch, unused_port: int) -> None:
    monkeypatch.setenv("ECOMLIB_RABBITMQ_URL", f"amqp://guest:guest@127.0.0.1:{unused_port}/")
    with pytest.raises(BrokerError, match="ECOMLIB_RABBITMQ_URL"):
        open_broker()


@pytest.mark.usefixtures("nothing_opened")
def test_without_any_broker_the_lesson_says_the_three_ways_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lesson_broker, "find_server", lambda: None)
    monkeypatch.setattr(lesson_broker, "_on_this_machine", lambda: None)
    none = open_broker()
    assert not none
    for way in ("docker compose up -d", "apt-get install rabbitmq-server", "ECOMLIB_RABBITMQ_URL"):
        assert way in repr(none)
    for made in (RabbitDesk, RabbitPanel):
        with pytest.raises(BrokerError, match="three ways"):
            made(none)


def test_a_lesson_s_own_node_and_its_workers_end_with_the_process_and_leave_nothing(rabbitmq: PrivateNode) -> None:
    program = (
        "from ecomlib.lab import RabbitPanel, open_broker\n"
        "broker = open_broker()\n"
        "assert broker is open_broker()\n"
        "assert broker.management_url in broker.page()\n"
        "panel = RabbitPanel(broker)\n"
        "panel.start_worker('email')\n"
        "print(broker, broker.node.folder, broker.node.port, panel.desk.workers.all[0].pid, sep='|')\n"
    )
    without = {name: value for name, value in os.environ.items() if not name.startswith("ECOMLIB_")}
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env=without, check=True
    )
    said, folder, port, worker = ended.stdout.strip().split("|")
    assert said == "RabbitMQ is ready for this lesson."
    assert int(port) != rabbitmq.port
    assert not Path(folder).exists()
    assert not is_running(int(worker))
    assert ended.stderr == ""


def test_cleaning_deletes_all_of_this_name_and_nothing_else(broker: LessonBroker) -> None:
    names = ("mess.email", "mess.of.another", "messy.email")
    with channel_to(broker.url) as channel:
        for name in names:
            channel.queue_declare(name, durable=True)
            channel.exchange_declare(f"{name}.x", "fanout", durable=True)
    clean(broker.url, "mess", management_url=broker.management_url)
    left = Management(broker.url, broker.management_url)
    assert [name for name in left.names("queues") if name in names] == ["messy.email"]
    assert [name for name in left.names("exchanges") if name.startswith("mess")] == ["messy.email.x"]


# --- depths ---------------------------------------------------------------------------------------------------


def test_what_is_ready_is_exact_and_it_is_said_who_told_the_rest(desk: RabbitDesk, unused_port: int) -> None:
    desk.produce(3)
    nobody = Management(desk.broker.url, f"http://127.0.0.1:{unused_port}")
    for asked, source in ((None, FROM_AMQP), (nobody, FROM_AMQP), (management(desk), FROM_API)):
        depths = look(desk.broker.url, ["shop.email"], asked)
        assert depths.source == source
        assert depths.queues["shop.email"][:2] == (3, 0)
    assert look(desk.broker.url, ["shop.email"]).queues["shop.email"].unacked is None


def management(desk: RabbitDesk) -> Management:
    return Management(desk.broker.url, desk.broker.management_url)


def test_a_queue_that_is_missing_is_an_error(broker: LessonBroker) -> None:
    with pytest.raises(BrokerError, match="no queue 'nobody"):
        look(broker.url, ["nobody.declared.it"])


# --- worker processes -----------------------------------------------------------------------------------------


def test_a_worker_that_cannot_start_says_why(tmp_path: Path, unused_port: int) -> None:
    with WorkerProcesses(f"amqp://guest:guest@127.0.0.1:{unused_port}/", tmp_path) as workers:
        with pytest.raises(EcomlibError, match=rf"email-1 did not start. It says: .*127.0.0.1:{unused_port}"):
            workers.start("email")
        assert [worker.state for worker in workers.all] == ["ended"]


def test_a_worker_dies_with_the_process_that_started_it(rabbitmq: PrivateNode, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom ecomlib.lab.worker_processes import WorkerProcesses\n"
        f"worker = WorkerProcesses({rabbitmq.url!r}, Path({str(tmp_path)!r})).start('email')\n"
        "print(worker.pid, flush=True)\nsys.stdin.read()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    wait_until(lambda: not is_running(pid))


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and ") Z " in status.read_text())


# --- the desk -------------------------------------------------------------------------------------------------


def numbers(desk: RabbitDesk) -> dict[str, tuple[int, ...]]:
    """Of each queue: ready, in hand, consumers, handled, dead."""
    return {row.queue: row[2:7] for row in desk.rows()}


def test_what_a_killed_worker_had_in_hand_comes_back_and_another_one_finishes_it(desk: RabbitDesk) -> None:
    desk.produce(5)
    assert str(desk.message) == "✓ 5 orders sent, and confirmed: RabbitMQ has them on disk."
    assert numbers(desk)["email"] == (5, 0, 0, 0, 0)
    desk.start_worker("email", work=FOR_EVER, prefetch=2)
    desk.wait_for("email", ready=3, in_hand=2)
    desk.kill_worker("email")
    assert str(desk.message) == "✓ email-1 was killed (kill -9). What it had in hand is back in the queue."
    assert numbers(desk)["email"] == (5, 0, 0, 0, 0)
    desk.settle()
    assert repr(desk) == (
        "5 orders sent | email: 0 handled, 5 ready, sms: 0 handled, 0 ready, analytics: 0 handled, 5 ready | "
        "dead letters 0 | workers: 1 killed"
    )
    desk.start_worker("email")
    desk.start_worker("analytics")
    desk.settle()
    assert repr(desk) == (
        "5 orders sent | email: 5 handled, 0 ready, sms: 0 handled, 0 ready, analytics: 10 handled, 0 ready | "
        "dead letters 0 | workers: 2 alive, 1 killed"
    )
    assert desk.emails == 5
    assert desk.totals()["emails"] == 5
    assert desk.frame().loc["analytics"].to_dict() == {
        "ready": 0, "in_hand": 0, "consumers": 1, "handled": 10, "dead": 0,
    }  # fmt: skip
    desk.stop_worker("email")
    desk.produce(2, paid=1)
    desk.settle()
    assert numbers(desk) == {"email": (2, 0, 0, 5, 0), "sms": (1, 0, 0, 0, 0), "analytics": (0, 0, 1, 13, 0)}
    assert [str(worker) for worker in desk.seen.workers] == [
        "✗ email-1 killed", "■ email-2 stopped", "✓ analytics-1 alive",
    ]  # fmt: skip
    assert desk.workers.all[1].totals == {"emails": 5, "sms": 0, "failed": 0}
    queue = "shop.analytics"  # the management API tells some seconds later what is not acknowledged, and the rates
    wait_until(lambda: None not in look(desk.broker.url, [queue], management(desk)).queues[queue])


def test_poison_ends_in_the_dead_letters_and_harms_nobody(desk: RabbitDesk) -> None:
    desk.start_worker("email")
    desk.start_worker("analytics")
    desk.poison()
    desk.bounce()
    desk.produce(1)
    desk.settle()
    dead = desk.dead_letters()
    assert [(row.what, row.queue, row.attempts) for row in dead] == [
        ("no event", "analytics", 0),
        ("no event", "email", 0),
        ("order.created 1", "email", 1),
    ]
    assert "is not JSON" in dead[0].error
    assert "The mailbox of user 501 does not exist" in dead[2].error
    assert numbers(desk) == {"email": (0, 0, 1, 1, 2), "sms": (0, 0, 1, 0, 0), "analytics": (0, 0, 1, 4, 1)}
    assert desk.totals()["failed"] == 1
    assert desk.dead_letters() == dead, "they stay there"


def test_a_reset_begins_anew_and_the_orders_are_the_same_ones(desk: RabbitDesk) -> None:
    desk.produce(2)
    desk.start_worker("email", work=FOR_EVER)
    first, worker = desk.ledger.published, desk.workers.all[0]
    desk.reset()
    assert worker.state == "killed"
    assert numbers(desk) == {"email": (0, 0, 0, 0, 0), "sms": (0, 0, 0, 0, 0), "analytics": (0, 0, 0, 0, 0)}
    desk.produce(2)
    assert desk.ledger.published == first


def test_an_event_of_ones_own_goes_where_its_type_leads(desk: RabbitDesk) -> None:
    desk.publish(Event("coffee.spilled", {"cup": 1}))
    assert numbers(desk) == {"email": (0, 0, 0, 0, 0), "sms": (0, 0, 0, 0, 0), "analytics": (1, 0, 0, 0, 0)}


def test_what_can_not_be_done_is_said_and_changes_nothing(desk: RabbitDesk) -> None:
    before = repr(desk)
    wrong: dict[str, Callable[[], None]] = {
        "0 orders can't be produced: ask for a whole number from 1 to 1000.": lambda: desk.produce(0),
        "'sms' is no worker: choose email or analytics.": lambda: desk.start_worker("sms"),
        "No email worker is alive: start one first.": desk.kill_worker,
        "No analytics worker is alive: start one first.": lambda: desk.stop_worker("analytics"),
    }
    for said, act in wrong.items():
        act()
        assert repr(desk) == f"{before} | ✗ {said}"


def test_what_does_not_come_to_pass_is_an_error_that_says_what_is_left(desk: RabbitDesk) -> None:
    desk.produce(2)
    with pytest.raises(NotDrained, match="email: 2 ready, 0 in hand"):
        desk.wait_for("email", ready=0, timeout=0.05)
    with pytest.raises(BadInput, match="can't be waited for"):
        desk.wait_for("email", depth=0)


# --- the picture ----------------------------------------------------------------------------------------------

EMPTY = Seen(
    tuple(QueueRow(name, patterns, 0, 0, 0, 0, 0) for name, patterns in SERVICES.items()),
    (),
    0,
    0,
    FROM_AMQP,
)


def with_queue(**numbers: Any) -> Seen:
    return EMPTY._replace(queues=(EMPTY.queues[0]._replace(**numbers), *EMPTY.queues[1:]))


def with_workers(*states: str) -> Seen:
    rows = [WorkerRow(f"email-{n}", "email", state, 0) for n, state in enumerate(states, 1)]
    return EMPTY._replace(workers=tuple(rows))


def test_a_picture_says_in_words_what_it_shows() -> None:
    assert alt(chart(EMPTY)) == (
        "email: 0 ready, 0 in hand, 0 consumers; sms: 0 ready, 0 in hand, 0 consumers; "
        "analytics: 0 ready, 0 in hand, 0 consumers; no worker; 0 dead letters."
    )
    assert "email-1 killed; email-2 alive" in alt(chart(with_workers("killed", "alive")))
    assert "2 wait for another attempt" in alt(chart(EMPTY._replace(delayed=2)))


def test_whatever_changes_makes_another_picture_and_the_same_makes_the_same_bytes() -> None:
    seen = [
        EMPTY, with_queue(ready=1), with_queue(in_hand=1), with_queue(ready=9), with_queue(ready=10),
        with_workers("alive"), with_workers("stopped"), with_workers("killed"), with_workers("killed", "alive"),
        EMPTY._replace(dead=1), EMPTY._replace(delayed=1),
    ]  # fmt: skip
    pictures = [png(chart(each)) for each in seen]
    assert len(set(pictures)) == len(seen)
    assert png(chart(EMPTY)) == pictures[0]


def test_of_many_workers_those_alive_are_drawn() -> None:
    many = ("killed",) * 9
    assert png(chart(with_workers("alive", *many))) != png(chart(with_workers("killed", *many)))


# --- the panel ------------------------------------------------------------------------------------------------


def widgets_of(widget: Any) -> Iterator[Any]:
    yield widget
    for child in getattr(widget, "children", ()):
        yield from widgets_of(child)


def named(panel: RabbitPanel, name: str) -> Any:
    [found] = [widget for widget in widgets_of(panel) if f"ecomlib-{name}" in widget._dom_classes]
    return found


def page(panel: RabbitPanel) -> str:
    """What is there to read, without the marks of HTML and without the style."""
    parts = [w.value for w in widgets_of(panel) if isinstance(w, ipywidgets.HTML) and "<style>" not in w.value]
    return re.sub(r" +", " ", html.unescape(re.sub(r"<[^>]+>", " ", " ".join(parts))))


def test_each_button_does_what_it_says(panel: RabbitPanel) -> None:
    for name, said in {
        "produce": "✓ 5 orders sent",
        "start-email": "✓ email-1 is a process of its own",
        "start-analytics": "✓ analytics-1 is a process of its own",
        "poison": "✓ A message that is no event",
        "bounce": "✓ An order of user 501",
        "kill-email": "✓ email-1 was killed",
        "stop-analytics": "✓ analytics-1 was asked to stop",
        "kill-analytics": "✗ No analytics worker is alive",
        "stop-email": "✗ No email worker is alive",
        "look": "✗ No email worker is alive",
    }.items():
        named(panel, name).click()
        assert str(panel.desk.message).startswith(said)
        assert said[2:] in page(panel)
    assert "✗ killed" in page(panel)
    assert "■ stopped" in page(panel)
    named(panel, "reset").click()
    assert repr(panel) == (
        "RabbitPanel: 0 orders sent | email: 0 handled, 0 ready, sms: 0 handled, 0 ready, "
        "analytics: 0 handled, 0 ready | dead letters 0 | workers: none"
    )


def test_a_saved_notebook_has_the_picture_and_the_numbers(panel: RabbitPanel) -> None:
    panel.produce()
    bundle, about = panel._repr_mimebundle_()
    assert bundle["text/plain"] == repr(panel)
    assert bundle["image/png"] == panel.image.as_text()
    assert "email: 5 ready" in about["image/png"]["alt"]


def test_the_panel_follows_what_happens_until_it_is_closed_and_again_after_a_reset(broker: LessonBroker) -> None:
    panel = RabbitPanel(broker, presenter=True, work=0)
    panel.desk.produce(4)
    wait_until(lambda: "email: 4 ready" in panel.image.tooltip)
    panel.desk.start_worker("email")
    wait_until(lambda: "email: 0 ready, 0 in hand, 1 consumers" in panel.image.tooltip)
    [worker], looker = panel.desk.workers.all, panel._looker
    os.kill(worker.pid, signal.SIGKILL)
    wait_until(lambda: "email-1 ended" in panel.image.tooltip)
    panel.start_worker("email")
    panel.close()
    panel.close()
    assert not is_running(panel.desk.workers.all[1].pid)
    assert not looker.is_alive()
    assert "✗ killed" in page(panel), "it still shows how it ended"
    named(panel, "produce").click()
    assert "✗ The workers are gone, and nobody sends any more: click Reset to begin anew." in page(panel)
    named(panel, "reset").click()
    panel.desk.produce(4)
    wait_until(lambda: "email: 4 ready" in panel.image.tooltip)
    panel.close()


def test_a_broker_that_is_gone_is_said_in_the_panel(panel: RabbitPanel, unused_port: int) -> None:
    panel.desk.broker = LessonBroker(f"amqp://guest:guest@127.0.0.1:{unused_port}/")
    named(panel, "look").click()
    assert f"127.0.0.1:{unused_port}" in str(panel.desk.message)
    assert str(panel.desk.message) in page(panel)
    assert repr(panel).startswith("RabbitPanel: 0 orders sent | ✗ ")
