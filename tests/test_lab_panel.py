"""The panel: a thin shell over the desk. Its buttons are clicked as the browser's messages click them."""

from __future__ import annotations

import html
import io
import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import ipywidgets
import pytest
from PIL import Image

from ecomlib.lab import Desk, Panel, charts, presenter
from ecomlib.shop import Shop


@pytest.fixture
def panel() -> Panel:
    return Panel()


def widgets_of(widget: Any) -> Iterator[Any]:
    """All of them, in the order of the page."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from widgets_of(child)


def named(panel: Panel, name: str) -> Any:
    [found] = [widget for widget in widgets_of(panel) if f"ecomlib-{name}" in widget._dom_classes]
    return found


def page(panel: Panel) -> str:
    """What is there to read, without the marks of HTML and without the style."""
    parts = [w.value for w in widgets_of(panel) if isinstance(w, ipywidgets.HTML) and "<style>" not in w.value]
    return html.unescape(re.sub(r"<[^>]+>", " ", " ".join(parts)))


def test_a_panel_is_a_container_that_brings_its_own_shop(panel: Panel) -> None:
    assert isinstance(panel, ipywidgets.VBox)
    assert (
        repr(panel) == "Panel: 0 orders, 0 paid, revenue 0.00 | emails 0, sms 0, failed 0 | attempts 0, dead letters 0"
    )


def test_a_panel_takes_a_shop_that_is_there() -> None:
    shop = Shop()
    shop.story()
    assert repr(Panel(shop)).startswith("Panel: 2 orders, 1 paid, revenue 50.00 | emails 1, sms 1, failed 1 |")


BUTTONS: dict[str, Callable[[Panel], None]] = {
    "fire": Panel.fire,
    "fire-many": Panel.fire_many,
    "pay": Panel.pay,
    "ship": Panel.ship,
    "cancel": Panel.cancel,
    "reset": Panel.reset,
    "repair": Panel.repair,
    "redeliver": Panel.redeliver,
    "fail": lambda panel: panel.fail("email"),
}
FAULTS: dict[str, Callable[[Panel], None]] = {
    "fault-1": lambda panel: panel.fail("email"),
    "fault-2": lambda panel: panel.fail("email", range(1, 1_000_000)),
    "fault-3": lambda panel: panel.fail("sms", (1,), "after"),
}


def after(act: Callable[[Panel], None], large: bool) -> tuple[str, str, Any, bytes]:
    """The page after this action, in a shop where each action leads to something."""
    desk = Desk()
    desk.fire()
    desk.pay()
    desk.fire(501)
    panel = Panel(desk.shop, presenter=large)
    act(panel)
    return repr(panel), page(panel), panel.desk.shop.faults.planned, panel.image.value


@cache
def before(large: bool) -> tuple[str, str, Any, bytes]:
    return after(lambda panel: None, large)


@pytest.mark.parametrize("large", [False, True], ids=["normal", "presenter"])
@pytest.mark.parametrize("name", BUTTONS)
def test_a_button_does_what_its_method_does(name: str, large: bool) -> None:
    clicked = after(lambda panel: named(panel, name).click(), large)
    assert clicked == after(BUTTONS[name], large)
    assert clicked != before(large)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_click_for_a_presenter(name: str) -> None:
    assert after(lambda panel: named(panel, name).click(), large=True) == after(FAULTS[name], large=True)


def test_fire_takes_what_the_fields_say(panel: Panel) -> None:
    named(panel, "amount").value = "12.50"
    named(panel, "customer").value = "7"
    named(panel, "fire").click()
    panel.fire(8, 1)
    assert [(order.user_id, str(order.amount)) for order in panel.desk.shop.orders.orders] == [
        ("7", "12.50"), ("8", "1.00"),
    ]  # fmt: skip


def test_break_takes_what_the_choices_say(panel: Panel) -> None:
    named(panel, "which-service").label = "audit"
    named(panel, "which-attempts").label = "1 and 2"
    named(panel, "which-time").label = "after its work"
    named(panel, "fail").click()
    assert panel.desk.shop.faults.planned == {"audit": "at attempt 1, 2, after its work"}
    assert "✗  audit fails at attempt 1, 2, after its work" in page(panel)


def test_every_service_can_be_broken_from_the_panel(panel: Panel) -> None:
    assert sorted(named(panel, "which-service")._options_labels) == sorted(panel.desk.shop.faults.services)


def test_the_page_shows_attempts_counters_and_dead_letters(panel: Panel) -> None:
    panel.fire()
    panel.fire(501, 20)
    said = page(panel)
    assert "order.created" in said
    assert re.search(r"orders\s+2", said)
    assert re.search(r"dead letters\s+1", said)
    assert said.count("The mailbox of user 501 does not exist: the message bounced.") == 2  # attempts, dead letters


@pytest.mark.parametrize("amount", ["-5", "a lot", "", "<b>1</b>"])
def test_a_bad_amount_is_said_in_the_panel(panel: Panel, amount: str) -> None:
    named(panel, "amount").value = amount
    named(panel, "fire").click()
    assert "✗  order.created: amount: " in page(panel)
    assert repr(panel).endswith(str(panel.desk.message))
    assert "<b>1</b>" not in panel._message.value


@pytest.mark.parametrize("customer", ["7\n8", "\u202e7"])
def test_a_customer_with_signs_that_cant_be_seen_is_said_in_the_panel(panel: Panel, customer: str) -> None:
    named(panel, "customer").value = customer
    named(panel, "fire").click()
    assert f"✗  {customer!r} is no customer: " in page(panel)
    assert customer not in page(panel)
    assert panel.desk.counters()["orders"] == 0


def test_an_error_in_a_callback_is_shown_and_the_panel_goes_on(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the desk <fell> over")

    monkeypatch.setattr(panel.desk, "fire", broken)
    named(panel, "fire").click()
    assert "✗  RuntimeError: the desk <fell> over" in page(panel)
    monkeypatch.undo()
    named(panel, "fire").click()
    assert "Order 1 of user 100" in page(panel)


def test_the_picture_changes_and_has_a_name(panel: Panel) -> None:
    before = panel.image.value
    panel.fire()
    assert panel.image.value != before
    assert panel.image.value == charts.png(
        charts.attempts(charts.attempts_frame(panel.desk.attempts_by_service()), size=charts.Size(440, 280, 13))
    )
    assert panel.image.tooltip.startswith("Attempts by service: email 1 handled")


def test_the_picture_is_sent_first(panel: Panel) -> None:
    sent: list[Any] = []
    for widget in (panel.image, panel._rows, panel._counters, panel._message):
        widget.observe(lambda change: sent.append(change.owner), names="value")
    panel.fire()
    assert sent[0] is panel.image
    assert len(sent) == 4


def test_tab_goes_from_the_order_over_the_fault_to_the_dead_letters(panel: Panel) -> None:
    kinds = (ipywidgets.Button, ipywidgets.Text, ipywidgets.ToggleButtons)
    names = [w._dom_classes[0].removeprefix("ecomlib-") for w in widgets_of(panel) if isinstance(w, kinds)]
    assert names == [
        "amount", "customer", "fire", "fire-many", "pay", "ship", "cancel", "reset",
        "which-service", "which-attempts", "which-time", "fail", "repair", "redeliver",
    ]  # fmt: skip


def test_a_presenter_has_what_a_class_needs_first() -> None:
    names = [w._dom_classes[0] for w in widgets_of(presenter()) if isinstance(w, ipywidgets.Button)]
    assert names[6:9] == ["ecomlib-fault-1", "ecomlib-fault-2", "ecomlib-fault-3"]
    assert {"ecomlib-fire", "ecomlib-reset"} <= set(names[:6])


def test_tables_say_what_they_are_and_what_their_columns_are(panel: Panel) -> None:
    for table in (panel._rows.value, panel._letters.value):
        assert re.search(r"<table[^>]*><caption>\w", table)
        assert '<th scope="col">Event</th>' in table


def test_no_outcome_is_told_by_colour_alone(panel: Panel) -> None:
    panel.fire(501)
    cells = re.findall(r"<td>(<b.*?)</td>", panel._rows.value)
    assert cells
    assert all("✓" in cell or "✗" in cell for cell in cells)


def test_a_saved_notebook_shows_the_panel_without_a_kernel(panel: Panel) -> None:
    panel.fire()
    bundle, about = panel._repr_mimebundle_()
    assert bundle["text/plain"] == repr(panel)
    assert "application/vnd.jupyter.widget-view+json" in bundle
    picture = Image.open(io.BytesIO(b64decode(bundle["image/png"])))
    shown = about["image/png"]
    assert picture.size == (880, 560) == (2 * shown["width"], 2 * shown["height"]), "twice as sharp as it is large"


def test_refresh_shows_orders_that_came_another_way(panel: Panel) -> None:
    panel.desk.shop.story()
    assert not re.search(r"orders\s+2", page(panel))
    panel.refresh()
    assert re.search(r"orders\s+2", page(panel))


def test_two_panels_may_look_at_one_shop() -> None:
    shop = Shop()
    one, other = Panel(shop), presenter(shop)
    one.fire()
    other.refresh()
    assert repr(one) == repr(other)
