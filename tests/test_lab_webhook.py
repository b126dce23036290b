"""The webhook's desk, picture and panel: a delivery with a key has one effect; a stranger's has none."""

from __future__ import annotations

import gc
import html
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path as FilePath
from typing import Any

import httpx
import ipywidgets
import pytest

from ecomlib.lab import WebhookDesk, WebhookPanel
from ecomlib.lab.figures import alt, png
from ecomlib.lab.hosted import SECRET, TOKEN
from ecomlib.lab.webhook_chart import journeys
from ecomlib.lab.webhook_rows import Arrived, Path, arrived
from ecomlib.web.signatures import HEADER, sign
from tests.test_lessons import LESSONS, number, run


@pytest.fixture
def desk() -> Iterator[WebhookDesk]:
    with WebhookDesk() as desk:
        yield desk


@pytest.fixture
def panel() -> Iterator[WebhookPanel]:
    panel = WebhookPanel()
    yield panel
    panel.close()


def widgets_of(widget: Any) -> Iterator[Any]:
    yield widget
    for child in getattr(widget, "children", ()):
        yield from widgets_of(child)


def named(panel: WebhookPanel, name: str) -> Any:
    [found] = [widget for widget in widgets_of(panel) if f"ecomlib-{name}" in widget._dom_classes]
    return found


def page(panel: WebhookPanel) -> str:
    """What is there to read, without the marks of HTML and without the style."""
    parts = [w.value for w in widgets_of(panel) if isinstance(w, ipywidgets.HTML) and "<style>" not in w.value]
    return re.sub(r" +", " ", html.unescape(re.sub(r"<[^>]+>", " ", " ".join(parts))))


def status(desk: WebhookDesk) -> int | None:
    assert desk.last is not None
    return desk.last.status


def somebody_listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    except ConnectionRefusedError:
        return False
    return True


# --- the partner's deliveries -------------------------------------------------------------------------------------


def test_a_delivery_goes_into_the_log_and_the_customer_is_told(desk: WebhookDesk) -> None:
    desk.send()
    assert str(desk.message) == "✓ 202: order.created of order 1 is in the log. User 100 got an email."
    desk.send("paid")
    assert str(desk.message) == "✓ 202: order.paid of order 1 is in the log. User 100 got an SMS."
    desk.send("shipped")
    assert str(desk.message) == "✓ 202: order.shipped of order 1 is in the log."
    assert [path.reached for path in desk.paths()] == ["customer", "customer", "log"]
    assert desk.totals()["revenue"] == "50.00"
    assert repr(desk) == "sent 3, taken 3, again 0, refused 0 | events 5, emails 1, sms 1"


def test_the_same_delivery_again_gets_the_first_answer_and_has_no_effect(desk: WebhookDesk) -> None:
    desk.send()
    first = desk.last
    desk.send_again()
    assert first
    assert desk.last
    assert desk.last.said == first.said
    assert desk.last.delivery.signature != first.delivery.signature, "it is signed anew"
    assert str(desk.message) == "✓ 202 again: the first answer. Nothing happened a second time."
    assert repr(desk) == "sent 2, taken 1, again 1, refused 0 | events 2, emails 1, sms 0"


def test_without_a_key_the_same_delivery_is_taken_twice_and_the_customer_is_told_twice(desk: WebhookDesk) -> None:
    desk.send(key=False)
    desk.send_again()
    assert str(desk.message).startswith("✗ 202: order.created of order 1 is in the log.")
    assert str(desk.message).endswith("It was taken as a new report, and the customer was told again: it has no key.")
    assert [event.data.order_id for event in desk.events() if event.type == "order.created"] == ["1", "1"]
    assert len(desk.sent("email")) == 2


def test_a_lost_answer_leaves_the_partner_without_knowledge_and_the_key_makes_asking_again_safe(
    desk: WebhookDesk,
) -> None:
    desk.lose_answer()
    assert str(desk.message) == ("✗ No answer: it was lost on its way. All that the caller can do is send it again.")
    assert desk.paths() == [Path("order 1 created", "customer", None, "no answer")]
    desk.send_again()
    assert str(desk.message).startswith("✓ 202 again")
    assert repr(desk) == "sent 2, taken 0, again 1, refused 0, no answer 1 | events 2, emails 1, sms 0"


def test_a_lost_answer_to_a_delivery_without_a_key_tells_the_customer_twice(desk: WebhookDesk) -> None:
    desk.lose_answer("paid", key=False)
    assert desk.paths() == [Path("order 1 paid", "customer", None, "no answer")]
    desk.send_again()
    assert str(desk.message).endswith("It was taken as a new report, and the customer was told again: it has no key.")
    assert len(desk.sent("sms")) == 2


def test_without_a_key_what_never_came_to_the_log_is_taken_once_when_it_is_sent_again(desk: WebhookDesk) -> None:
    desk.stop()
    desk.send(key=False)
    desk.start()
    desk.send_again()
    assert str(desk.message) == "✓ 202: order.created of order 1 is in the log. User 100 got an email."
    desk.send_again()
    assert str(desk.message).endswith("and the customer was told again: it has no key.")


def test_of_a_refusal_the_first_sentence_is_said_and_the_exchange_has_them_all(desk: WebhookDesk) -> None:
    desk.forge()
    assert str(desk.message) == "✗ 401: The signature does not fit."
    assert desk.last
    assert "Sign the timestamp" in desk.last.answer


def test_the_same_key_with_another_body_is_refused(desk: WebhookDesk) -> None:
    desk.send(amount=5000)
    desk.other_body()
    assert str(desk.message).startswith("✗ 409: The key 'report-1' came with another request before")


def test_nonsense_is_refused_with_each_field_that_is_wrong(desk: WebhookDesk) -> None:
    desk.nonsense()
    assert desk.last
    assert [error["field"] for error in desk.last.said["errors"]] == ["order_id", "status", "amount"]
    assert desk.events() == []


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (lambda desk: desk.send("lost"), 422),
        (lambda desk: desk.send(order=""), 422),
        (lambda desk: desk.send(amount=float("inf")), 400),
        (lambda desk: desk.send(user=None), 202),
        (lambda desk: desk.send(user="501"), 202),
        (lambda desk: desk.send(order="$x^2$\n", user=None), 202),
    ],
)
def test_whatever_is_sent_is_answered_and_drawn(
    act: Callable[[WebhookDesk], None], code: int, desk: WebhookDesk
) -> None:
    act(desk)
    assert status(desk) == code
    assert not desk.sent("email")
    assert png(journeys(desk.paths()))


# --- others -------------------------------------------------------------------------------------------------------

ATTACKS: dict[str, tuple[Callable[[WebhookDesk], None], str]] = {
    "forged": (WebhookDesk.forge, "The signature does not fit."),
    "unsigned": (WebhookDesk.unsigned, "The request is not signed."),
    "overheard": (WebhookDesk.overhear, "The signature does not fit."),
    "ten minutes late": (WebhookDesk.send_late, "The signature is more than 300 seconds old"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_who_does_not_know_the_secret_has_no_effect(name: str, desk: WebhookDesk) -> None:
    act, said = ATTACKS[name]
    desk.send()
    before = len(desk.events()), len(desk.host.mailbox.sent)
    act(desk)
    assert str(desk.message).startswith(f"✗ 401: {said}")
    assert desk.paths()[-1] == Path(name, "webhook", 401, "refused")
    assert (len(desk.events()), len(desk.host.mailbox.sent)) == before
    desk.send_again()
    assert str(desk.message).startswith("✓ 202 again"), "the partner is not in the way of an attack's traces"


def test_what_was_overheard_without_a_key_is_refused_too_also_after_a_restart(desk: WebhookDesk) -> None:
    desk.send(key=False)
    for _ in range(2):
        desk.overhear()
        assert str(desk.message).startswith("✗ 401: This signature was used already.")
        desk.restart()
    assert len(desk.sent("email")) == 1


def test_a_refused_attack_uses_up_no_order_s_number(desk: WebhookDesk) -> None:
    desk.forge()
    desk.unsigned()
    desk.send()
    assert [path.what for path in desk.paths()] == ["forged", "unsigned", "order 1 created"]


def test_a_learner_can_send_with_the_secret_and_read_with_the_token(desk: WebhookDesk) -> None:
    body = b'{"order_id": 9, "status": "created", "user_id": 7}'
    headers = {"Content-Type": "application/json", "Idempotency-Key": "mine"}
    headers[HEADER] = sign(SECRET, body, int(desk.clock.now().timestamp()), headers)
    assert httpx.post(f"{desk.url}/webhook/order", content=body, headers=headers).status_code == 202
    assert httpx.get(f"{desk.url}/analytics").status_code == 401
    totals = httpx.get(f"{desk.url}/analytics", headers={"Authorization": f"Bearer {TOKEN}"}).json()
    assert totals["orders"] == 1


# --- the server ---------------------------------------------------------------------------------------------------


def test_while_the_server_is_stopped_there_is_no_connection_and_then_all_goes_on(desk: WebhookDesk) -> None:
    desk.send()
    desk.stop()
    desk.send_again()
    assert str(desk.message).startswith("✗ No connection: nobody listens there.")
    assert " | ✗ The server is stopped. | ✗ No connection" in repr(desk)
    assert desk.paths()[-1].reached == "caller"
    desk.start()
    assert str(desk.message) == "✓ A new server runs. It has read 2 events in the log, and their keys."
    desk.send_again()
    assert str(desk.message).startswith("✓ 202 again")
    desk.send()
    assert repr(desk) == "sent 4, taken 2, again 1, refused 0, no answer 1 | events 4, emails 2, sms 0"


def test_accepted_is_not_done_and_a_full_queue_is_said(desk: WebhookDesk) -> None:
    desk.stall()
    desk.send()
    assert str(desk.message) == "✓ 202: order.created of order 1 is in the log. It waits in the queues."
    desk.send()
    desk.send()
    assert status(desk) == 503
    assert str(desk.message).endswith("Retry after 1 s.")
    assert repr(desk).startswith(
        "sent 3, taken 2, again 0, refused 1 | events 2, emails 0, sms 0 | ✗ The services stand"
    )
    assert [path.reached for path in desk.paths()] == ["log", "log", "webhook"]
    desk.repair()
    assert str(desk.message) == "✓ The services work. Messages that went out now: 2."
    desk.send_again()
    assert [path.reached for path in desk.paths()] == ["customer", "customer", "webhook", "customer"]


def test_a_server_that_stops_delivers_first_what_had_to_wait(desk: WebhookDesk) -> None:
    desk.stall()
    desk.send()
    desk.stop()
    assert len(desk.sent("email")) == 1
    desk.start()
    assert desk.state() == "✓ The server runs, and takes only what is signed."
    assert len(desk.sent("email")) == 1


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (WebhookDesk.send_again, "Nothing was sent yet: click Send first."),
        (WebhookDesk.other_body, "Nothing was sent yet: click Send first."),
        (WebhookDesk.overhear, "Nothing was sent yet: click Send first."),
        (WebhookDesk.send_late, "Nothing was sent yet: click Send first."),
        (WebhookDesk.start, "The server runs already."),
        (lambda desk: desk.send(order={1}), "This can't be sent as JSON"),
        (lambda desk: desk.send(key="mine"), "The key is True or False: the partner makes up its keys itself."),
    ],
)
def test_what_can_not_be_done_is_said_and_changes_nothing(
    act: Callable[[WebhookDesk], None], said: str, desk: WebhookDesk
) -> None:
    before = repr(desk)
    act(desk)
    assert str(desk.message).startswith(f"✗ {said}")
    assert repr(desk) == f"{before} | {desk.message}"


@pytest.mark.parametrize("act", [WebhookDesk.stop, WebhookDesk.stall, WebhookDesk.repair])
def test_what_needs_a_server_says_so_where_there_is_none(act: Callable[[WebhookDesk], None], desk: WebhookDesk) -> None:
    desk.stop()
    act(desk)
    assert str(desk.message) == "✗ The server is stopped: click Start first."


def test_a_key_is_needed_for_the_same_key_with_another_body(desk: WebhookDesk) -> None:
    desk.send(key=False)
    desk.other_body()
    assert str(desk.message) == "✗ The latest report has no key: send one with a key first."


def test_closing_frees_the_port_and_ends_the_threads(desk: WebhookDesk) -> None:
    desk.send()
    port, before = desk.host.server.port, threading.active_count()
    assert somebody_listens(port)
    desk.close()
    desk.close()
    assert not somebody_listens(port)
    assert threading.active_count() < before
    assert len(desk.events()) == 2, "the log can still be read"
    desk.send()
    assert str(desk.message).startswith("✗ No connection")


def test_reset_begins_anew_and_frees_the_old_port(desk: WebhookDesk) -> None:
    desk.send()
    folder, port = desk.folder, desk.host.server.port
    desk.reset()
    assert repr(desk) == "sent 0, taken 0, again 0, refused 0 | events 0, emails 0, sms 0"
    assert desk.folder != folder
    assert not somebody_listens(port) or desk.host.server.port == port
    desk.send()
    assert desk.paths() == [Path("order 1 created", "customer", 202, "taken")]


def test_a_desk_that_nobody_has_any_more_stops_its_server_and_its_folder_goes_away() -> None:
    desk = WebhookDesk()
    server, folder = desk.host.server, desk.folder
    del desk
    gc.collect()
    assert server.wait(30)
    assert not somebody_listens(server.port)
    assert not folder.exists()


def test_a_program_that_forgets_its_desk_ends_all_the_same_and_says_nothing() -> None:
    program = "from ecomlib.lab import WebhookDesk\ndesk = WebhookDesk()\ndesk.send()\nprint(desk)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "sent 1, taken 1, again 0, refused 0 | events 2, emails 1, sms 0\n"
    assert ended.stderr == ""


# --- what is shown of it ------------------------------------------------------------------------------------------


def all_that_can_be_clicked(desk: WebhookDesk) -> list[str]:
    """What a reader sees of a long day, in words."""
    seen = []
    for act in (
        desk.send, desk.send_again, lambda: desk.send("paid"), desk.lose_answer, desk.send_again, desk.forge,
        desk.overhear, lambda: desk.send(key=False), desk.send_again, desk.send_late, desk.other_body,
        desk.unsigned, desk.nonsense,
        desk.stall, desk.send, lambda: desk.send("paid"), desk.send, desk.send, desk.repair, desk.stop, desk.send,
        desk.start, desk.send_again, desk.restart, desk.send_again,
    ):  # fmt: skip
        act()
        seen += [repr(desk), str(desk.message), desk.last.text if desk.last else ""]
    return [*seen, *(event.to_json() for event in desk.events())]


def test_all_is_the_same_at_every_run_and_shows_no_place(desk: WebhookDesk) -> None:
    first = all_that_can_be_clicked(desk)
    with WebhookDesk() as other:
        assert all_that_can_be_clicked(other) == first
    said = "\n".join(first)
    assert "127.0.0.1" not in said
    assert str(desk.folder) not in said


def test_the_last_exchange_reads_as_it_went_over_the_wire(desk: WebhookDesk) -> None:
    desk.send()
    desk.send_again()
    assert desk.last
    assert re.sub(r"v1=[0-9a-f]{8}…", "v1=…", desk.last.request) == (
        "POST /webhook/order\n"
        "Content-Type: application/json\n"
        "Idempotency-Key: report-1\n"
        "Webhook-Signature: t=1767603602,v1=…\n"
        "\n"
        '{"order_id": 1, "status": "created", "user_id": 100, "amount": 50}'
    )
    assert desk.last.answer.startswith('202 Accepted\nIdempotent-Replayed: true\n\n{\n  "status": "success",\n')


def test_the_log_says_which_delivery_brought_what(desk: WebhookDesk) -> None:
    desk.send()
    desk.send("shipped", order=7, key=False)
    assert arrived(desk.events()) == [
        Arrived("order.created", "1", "report-1", "a report"),
        Arrived("notification.sent", "1", "", "order.created"),
        Arrived("order.shipped", "7", "", "a report"),
    ]


def test_a_picture_says_in_words_what_it_shows(desk: WebhookDesk) -> None:
    assert alt(journeys([])) == "No request yet: nothing yet."
    for act in (desk.send, desk.send_again, desk.forge, desk.lose_answer, desk.stop, desk.send):
        act()
    assert alt(journeys(desk.paths())) == (
        "5 requests: order 1 created: to the customer, ✓ 202; the same again: to the webhook, ↶ 202; "
        "forged: to the webhook, ✗ 401; order 2 created: to the customer, ? no answer; order 3 created: no connection."
    )


TAKEN = Path("order 1 created", "customer", 202, "taken")


@pytest.mark.parametrize(
    "path",
    [
        TAKEN,
        TAKEN._replace(reached="log"),
        TAKEN._replace(reached="webhook", verdict="again"),
        TAKEN._replace(reached="webhook", code=401, verdict="refused"),
        TAKEN._replace(code=None, verdict="no answer"),
        TAKEN._replace(reached="caller", code=None, verdict="no answer"),
    ],
)
def test_each_way_makes_another_picture_and_the_same_ones_the_same_bytes(path: Path) -> None:
    pictures = [png(journeys([TAKEN, each])) for each in (path, path, TAKEN._replace(reached="log", code=None))]
    assert pictures[0] == pictures[1] != pictures[2]


def test_of_many_requests_the_latest_are_drawn() -> None:
    text = alt(journeys([TAKEN._replace(what=f"order {n} created") for n in range(1, 31)]))
    assert text.startswith("30 requests, the latest 7: order 24 created")
    assert text.endswith("order 30 created: to the customer, ✓ 202.")


# --- the panel ----------------------------------------------------------------------------------------------------

BUTTONS: dict[str, Callable[[WebhookPanel], None]] = {
    "send": WebhookPanel.send,
    "again": WebhookPanel.send_again,
    "lose": WebhookPanel.lose_answer,
    "other": WebhookPanel.other_body,
    "nonsense": WebhookPanel.nonsense,
    "forge": WebhookPanel.forge,
    "unsigned": WebhookPanel.unsigned,
    "overhear": WebhookPanel.overhear,
    "late": WebhookPanel.send_late,
    "stall": WebhookPanel.stall,
    "repair": WebhookPanel.repair,
    "stop": WebhookPanel.stop,
    "start": WebhookPanel.start,
    "restart": WebhookPanel.restart,
    "reset": WebhookPanel.reset,
}
FAULTS: dict[str, Callable[[WebhookPanel], None]] = {
    "fault-1": lambda panel: panel.send_twice(key=False),
    "fault-2": WebhookPanel.forge,
    "fault-3": WebhookPanel.lose_answer,
}


def after(act: Callable[[WebhookPanel], None], large: bool) -> tuple[str, str, bytes]:
    """The page after this action, where a delivery has come."""
    panel = WebhookPanel(presenter=large)
    panel.send()
    act(panel)
    panel.desk.close()
    return repr(panel), page(panel), panel.image.value


@cache
def nothing_more(large: bool) -> tuple[str, str, bytes]:
    return after(lambda panel: None, large)


@pytest.mark.parametrize("large", [False, True], ids=["normal", "presenter"])
@pytest.mark.parametrize("name", BUTTONS)
def test_a_button_does_what_its_method_does(name: str, large: bool) -> None:
    clicked = after(lambda panel: named(panel, name).click(), large)
    assert clicked == after(BUTTONS[name], large)
    assert clicked != nothing_more(large)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_click_for_a_presenter(name: str) -> None:
    assert after(lambda panel: named(panel, name).click(), large=True) == after(FAULTS[name], large=True)


def test_send_takes_what_the_choices_say(panel: WebhookPanel) -> None:
    named(panel, "which-status").label = "paid"
    named(panel, "which-key").label = "without a key"
    named(panel, "send").click()
    assert panel.desk.last
    assert panel.desk.last.what == "order 1 paid"
    assert panel.desk.last.key is None
    assert len(panel.desk.sent("sms")) == 1


def test_an_answer_is_lost_to_what_the_choices_say(panel: WebhookPanel) -> None:
    named(panel, "which-status").label = "paid"
    named(panel, "which-key").label = "without a key"
    named(panel, "lose").click()
    named(panel, "again").click()
    assert panel.desk.exchanges[0].what == "order 1 paid"
    assert [exchange.key for exchange in panel.desk.exchanges] == [None, None]
    assert len(panel.desk.sent("sms")) == 2


def test_nobody_is_taken_for_the_partner(panel: WebhookPanel) -> None:
    for act in (panel.forge, panel.unsigned):
        act()
        assert "partner" not in page(panel)


def test_the_page_shows_the_exchange_the_numbers_and_the_log(panel: WebhookPanel) -> None:
    panel.send()
    panel.send_again()
    said = page(panel)
    assert "POST /webhook/order\nContent-Type: application/json\nIdempotency-Key: report-1\n" in said
    assert "202 Accepted\nIdempotent-Replayed: true\n" in said
    for row in (
        "requests sent 2",
        "✓ taken 1",
        "↶ first answer again 1",
        "events in the log 2",
        "the same again report-1 ↶ 202 webhook",
        "order.created 1 report-1 a report",
    ):
        assert row in re.sub(r"\s+", " ", said)


def test_long_tables_say_how_much_they_leave_out(panel: WebhookPanel) -> None:
    for _ in range(13):
        panel.forge()
    assert "Requests, the latest 12 of 13" in page(panel)


def test_an_error_is_shown_in_the_panel(panel: WebhookPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OSError("the disk <b>is</b> full")

    monkeypatch.setattr(panel.desk, "start", broken)
    named(panel, "start").click()
    assert "✗ OSError: the disk <b>is</b> full" in page(panel)
    assert "<b>is</b>" not in panel._message.value
    assert repr(panel).endswith("✗ OSError: the disk <b>is</b> full")


def test_nothing_is_printed(panel: WebhookPanel, capfd: pytest.CaptureFixture[str]) -> None:
    for name in BUTTONS:
        named(panel, name).click()
    assert capfd.readouterr() == ("", "")


def test_its_repr_is_the_same_at_every_run_and_holds_no_place_and_no_time() -> None:
    said = []
    for _ in range(2):
        panel = WebhookPanel()
        panel.send()
        panel.send_twice()
        panel.forge()
        said.append(repr(panel))
        panel.close()
    assert said[0] == said[1]
    assert said[0].startswith("WebhookPanel: sent 4, taken 2, again 1, refused 1 | events 4, emails 2, sms 0 | ✗ 401: ")
    assert not re.search(r"/|\d\d:\d\d|2026|\d{5}", said[0])


def test_it_carries_its_picture_for_where_no_kernel_runs(panel: WebhookPanel) -> None:
    panel.send()
    data, about = panel._repr_mimebundle_()
    assert data["text/plain"] == repr(panel)
    assert data["image/png"] == panel.image.as_text()
    assert about["image/png"]["alt"] == "One request: order 1 created: to the customer, ✓ 202."
    assert (about["image/png"]["width"], about["image/png"]["height"]) == (560, 300)


def test_closing_the_panel_frees_the_port() -> None:
    panel = WebhookPanel()
    port = panel.desk.host.server.port
    panel.close()
    assert not somebody_listens(port)


def test_a_presenter_s_panel_is_marked_as_one() -> None:
    panel = WebhookPanel(presenter=True)
    assert "ecomlib-presenter" in panel._dom_classes
    assert [w.description for w in widgets_of(panel) if isinstance(w, ipywidgets.Button)][:8] == [
        "Send", "Send again", "Overhear", "Send late", "Stall", "Restart", "Repair", "Reset",
    ]  # fmt: skip
    panel.close()


def test_the_lesson_works_behind_a_proxy_of_the_world_outside(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        for setting in (name, name.upper()):
            monkeypatch.setenv(setting, "http://127.0.0.1:9")  # nobody listens there
    for setting in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(setting, raising=False)
    [lesson] = [lesson for lesson in LESSONS if number(lesson) == "05"]
    assert list(run(lesson, {}))


def test_what_the_lesson_asks_a_reader_to_click_is_there(panel: WebhookPanel) -> None:
    lesson = FilePath(__file__).resolve().parent.parent / "notebooks" / "05_webhooks.ipynb"
    told = lesson.read_text(encoding="utf-8")
    buttons = {widget.description for widget in widgets_of(panel) if isinstance(widget, ipywidgets.Button)}
    choices = {label for w in widgets_of(panel) for label in getattr(w, "_options_labels", ())}
    for label in (
        "Send",
        "Send again",
        "Lose the answer",
        "Forge",
        "Overhear",
        "Send late",
        "Restart",
        "Stall",
        "Repair",
    ):
        assert f"**{label}**" in told
        assert label in buttons
    for label in ("with a key", "without a key"):
        assert f"**{label}**" in told
        assert label in choices
