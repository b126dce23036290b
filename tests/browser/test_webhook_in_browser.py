"""The webhook in Chromium: send, send again, forge, stop the server, and see how far each request came."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Lab, Open, click, opened
from tests.browser.test_browser import BROKEN, TEXTS

SMALL = "from ecomlib.lab import WebhookPanel\n\npanel = WebhookPanel()\npanel"
LARGE = SMALL.replace("WebhookPanel()", "WebhookPanel(presenter=True)")


@pytest.fixture(scope="module", autouse=True)
def notebooks(lab: Lab) -> None:
    lab.write("webhook-panel.ipynb", SMALL)
    lab.write("webhook-large.ipynb", LARGE)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_webhook_is_sent_sent_again_and_forged_by_click(theme: str, lab: Lab, open_notebook: Open) -> None:
    lab.theme(f"JupyterLab {theme.title()}")
    notebook = opened(open_notebook, "webhook-panel.ipynb")
    click(notebook, "send", "✓ 202: order.created of order 1 is in the log. User 100 got an email.")
    assert "emails\t1" in notebook.text("numbers")
    click(notebook, "again", "✓ 202 again: the first answer.")
    assert "emails\t1" in notebook.text("numbers")
    assert "↶ first answer again\t1" in notebook.text("numbers")
    assert "Idempotent-Replayed: true" in notebook.text("exchange")
    click(notebook, "forge", "✗ 401: ")
    assert "✗ refused\t1" in notebook.text("numbers")
    assert notebook.name_of_picture() == (
        "3 requests: order 1 created: to the customer, ✓ 202; the same again: to the webhook, ↶ 202; "
        "forged: to the webhook, ✗ 401."
    )
    notebook.shot(f"webhook-{theme}")
    notebook.find("exchanges").scroll_into_view_if_needed()
    notebook.shot(f"webhook-below-{theme}")


def test_without_a_key_the_same_delivery_has_two_effects(open_notebook: Open) -> None:
    notebook = opened(open_notebook, "webhook-panel.ipynb")
    notebook.choose("which-key", "without a key")
    click(notebook, "send", "✓ 202: order.created of order 1")
    click(notebook, "again", "and the customer was told again: it has no key.")
    assert "emails\t2" in notebook.text("numbers")
    assert "Idempotency-Key" not in notebook.text("exchange")


def test_the_server_is_stopped_and_started_again_by_click(open_notebook: Open) -> None:
    notebook = opened(open_notebook, "webhook-panel.ipynb")
    click(notebook, "lose", "✗ No answer: it was lost on its way.")
    notebook.find("stop").click()
    notebook.wait("state", "✗ The server is stopped.")
    click(notebook, "again", "✗ No connection: nobody listens there.")
    notebook.find("start").click()
    notebook.wait("state", "✓ The server runs")
    click(notebook, "again", "✓ 202 again: the first answer.")
    assert "emails\t1" in notebook.text("numbers")
    notebook.find("stall").click()
    notebook.wait("state", "✗ The services stand still")
    for order in (2, 3):
        click(notebook, "send", f"✓ 202: order.created of order {order} is in the log. It waits in the queues.")
    click(notebook, "send", "Retry after 1 s.")
    assert "emails\t1" in notebook.text("numbers")
    notebook.shot("webhook-stalled")
    click(notebook, "repair", "✓ The services work. Messages that went out now: 2.")
    notebook.find("reset").click()
    notebook.wait_for_name_of_picture("No request yet")


def test_the_keyboard_alone_is_enough(open_notebook: Open) -> None:
    notebook = opened(open_notebook, "webhook-panel.ipynb")
    notebook.find("send").focus()
    notebook.page.keyboard.press("Enter")
    notebook.wait("said", "✓ 202: order.created of order 1")
    notebook.page.keyboard.press("Tab")
    assert notebook.focused() == "Send again"
    assert notebook.focus_is_visible()
    notebook.page.keyboard.press("Enter")
    notebook.wait("said", "✓ 202 again")
    assert notebook.focused() == "Send again", "the focus stays where it was"


@pytest.mark.parametrize("view", ["lab", "doc"])
def test_what_a_click_changes_is_on_one_screen_also_beside_the_list_of_files(view: str, open_notebook: Open) -> None:
    notebook = opened(open_notebook, "webhook-panel.ipynb", view)
    click(notebook, "send", "✓ 202: ")
    click(notebook, "nonsense", "✗ 422: ")
    notebook.find("panel").evaluate("e => e.scrollIntoView({block: 'start'})")
    notebook.shot(f"webhook-panel-{view}")
    for name in ("send", "again", "forge", "stop", "stall", "reset", "said", "chart", "numbers", "state"):
        assert notebook.is_on_screen(name), f"{name} can't be seen without scrolling"
    assert notebook.page.evaluate(BROKEN) == []
    for size in (1100, 900, 760):
        notebook.page.set_viewport_size({"width": size, "height": 800})
        assert notebook.page.evaluate(BROKEN) == [], f"words are broken in a window {size} pixels wide"


def test_on_a_projector_all_is_large_and_what_a_class_needs_is_on_one_screen(lab: Lab, open_notebook: Open) -> None:
    lab.theme("JupyterLab Light")
    notebook = opened(open_notebook, "webhook-large.ipynb")
    click(notebook, "fault-1", "and the customer was told again: it has no key.")
    click(notebook, "fault-3", "✗ No answer: ")
    click(notebook, "again", "✓ 202 again")
    click(notebook, "fault-2", "✗ 401: ")
    notebook.find("panel").evaluate("e => e.scrollIntoView({block: 'start'})")
    notebook.shot("webhook-presenter")
    names = (
        "send", "again", "overhear", "late", "stall", "restart", "repair", "reset", "fault-1", "fault-2", "fault-3",
        "said", "chart", "numbers", "state",
    )  # fmt: skip
    for name in names:
        assert notebook.is_on_screen(name), f"{name} can't be seen without scrolling"
    assert not [text for size, text in notebook.page.evaluate(TEXTS) if size < 20]
