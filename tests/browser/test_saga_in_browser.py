"""The saga in Chromium: buy, let the runner die, recover, and see the timeline change at every click."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Lab, Open, click, opened
from tests.browser.test_browser import BROKEN, TEXTS

SMALL = "from ecomlib.lab import SagaPanel\n\npanel = SagaPanel()\npanel"
LARGE = SMALL.replace("SagaPanel()", "SagaPanel(presenter=True)")


@pytest.fixture(scope="module", autouse=True)
def notebooks(lab: Lab) -> None:
    lab.write("saga-panel.ipynb", SMALL)
    lab.write("saga-large.ipynb", LARGE)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_saga_is_bought_killed_and_recovered_by_click(theme: str, lab: Lab, open_notebook: Open) -> None:
    lab.theme(f"JupyterLab {theme.title()}")
    notebook = opened(open_notebook, "saga-panel.ipynb")
    click(notebook, "buy-two", "✓ Order 1 is completed")
    assert "400.00\t100.00\t500.00 ✓" in notebook.text("kept")
    click(notebook, "buy-five", "✓ Order 2 is compensated: Only 2 ")
    assert "payment compensation, attempt 1: done" in notebook.name_of_picture()

    notebook.choose("which-step", "payment")
    notebook.find("crash").click()
    notebook.wait("plans", "✗ the runner will die at payment, after its work, before the log")
    click(notebook, "buy-one", "✗ The runner died at payment")
    notebook.wait("sound", "✗ Order 3 is open; in effect: order, payment.")
    assert "350.00\t150.00\t500.00 ✓" in notebook.text("kept")
    assert notebook.name_of_picture().endswith("payment, attempt 1: in doubt; killed.")
    notebook.shot(f"saga-killed-{theme}")
    click(notebook, "recover", "✓ Order 3 is completed")
    notebook.wait("sound", "✓ Money and stock are conserved")
    assert "350.00\t150.00\t500.00 ✓" in notebook.text("kept")
    assert "killed; recovered; payment, attempt 2: done" in notebook.name_of_picture()
    assert "payment\tstep\t1\t? in doubt" in notebook.text("moments")
    notebook.shot(f"saga-{theme}")


def test_a_refund_that_fails_is_stuck_until_it_is_repaired_and_resumed_by_click(open_notebook: Open) -> None:
    notebook = opened(open_notebook, "saga-panel.ipynb")
    notebook.choose("which-step", "payment")
    notebook.choose("which-part", "its compensation")
    notebook.choose("which-attempts", "every")
    notebook.find("fail").click()
    notebook.wait("plans", "✗ payment compensation fails at every attempt, before its work")
    click(notebook, "buy-five", "✗ Order 1 is stuck")
    notebook.find("repair").click()
    notebook.wait("said", "Stuck sagas that wait to be resumed: 1.")
    click(notebook, "resume", "✓ Order 1 is compensated")
    notebook.find("reset").click()
    notebook.wait_for_name_of_picture("No order yet")


def test_the_keyboard_alone_is_enough(open_notebook: Open) -> None:
    notebook = opened(open_notebook, "saga-panel.ipynb")
    notebook.find("buy-one").focus()
    notebook.page.keyboard.press("Tab")
    assert notebook.focused() == "Buy two"
    assert notebook.focus_is_visible()
    notebook.page.keyboard.press("Enter")
    notebook.wait("said", "✓ Order 1 is completed")
    assert notebook.focused() == "Buy two", "the focus stays where it was"


@pytest.mark.parametrize("view", ["lab", "doc"])
def test_what_a_click_changes_is_on_one_screen_also_beside_the_list_of_files(view: str, open_notebook: Open) -> None:
    notebook = opened(open_notebook, "saga-panel.ipynb", view)
    click(notebook, "buy-five", "✓ Order 1 is compensated")
    notebook.find("panel").evaluate("e => e.scrollIntoView({block: 'start'})")
    notebook.shot(f"saga-panel-{view}")
    for name in ("buy-one", "recover", "reset", "fail", "crash", "said", "chart", "kept", "sound"):
        assert notebook.is_on_screen(name), f"{name} can't be seen without scrolling"
    assert notebook.page.evaluate(BROKEN) == []
    for size in (1100, 900, 760):
        notebook.page.set_viewport_size({"width": size, "height": 800})
        assert notebook.page.evaluate(BROKEN) == [], f"words are broken in a window {size} pixels wide"


def test_on_a_projector_all_is_large_and_what_a_class_needs_is_on_one_screen(lab: Lab, open_notebook: Open) -> None:
    lab.theme("JupyterLab Light")
    notebook = opened(open_notebook, "saga-large.ipynb")
    notebook.find("fault-2").click()
    notebook.wait("said", "✓ The runner will die at payment")
    click(notebook, "buy-one", "✗ The runner died at payment")
    notebook.find("panel").evaluate("e => e.scrollIntoView({block: 'start'})")
    notebook.shot("saga-presenter")
    for name in ("buy-one", "recover", "reset", "fault-1", "fault-2", "fault-3", "said", "chart", "kept", "sound"):
        assert notebook.is_on_screen(name), f"{name} can't be seen without scrolling"
    assert not [text for size, text in notebook.page.evaluate(TEXTS) if size < 20]
    click(notebook, "recover", "✓ Order 1 is completed")
