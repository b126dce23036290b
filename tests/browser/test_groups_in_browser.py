"""The consumer groups in Chromium: produce, work, kill a consumer by click, and see the lanes redrawn."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Lab, Open, click, opened
from tests.browser.test_browser import BROKEN, TEXTS

SMALL = "from ecomlib.lab import Lanes\n\nlanes = Lanes()\nlanes"
LARGE = SMALL.replace("Lanes()", "Lanes(presenter=True)")
BUTTONS = ("produce", "work", "poll", "commit", "reset", "add", "kill", "leave", "wait")


@pytest.fixture(scope="module", autouse=True)
def notebooks(lab: Lab) -> None:
    lab.write("lanes.ipynb", SMALL)
    lab.write("lanes-large.ipynb", LARGE)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_consumer_is_killed_by_click_and_another_one_takes_its_partitions(
    theme: str, lab: Lab, open_notebook: Open
) -> None:
    lab.theme(f"JupyterLab {theme.title()}")
    notebook = opened(open_notebook, "lanes.ipynb")
    click(notebook, "produce", "✓ 6 orders")
    click(notebook, "work", "✓ anna handles 3, boris handles 3. Committed.")
    click(notebook, "produce", "✓ 6 orders")
    click(notebook, "poll", "✓ anna handles 5, boris handles 1.")
    assert "orders/4\tboris\t0\t1\t1\t1" in notebook.text("partitions")
    click(notebook, "kill", "✓ boris died. 1 record handled and not committed.")
    assert "orders/4 held by boris ✗" in notebook.name_of_picture()
    notebook.shot(f"lanes-killed-{theme}")
    click(notebook, "work", "✓ anna handles 1, 1 of them again.")
    assert "orders/4\tanna\t1\t1\t1\t0" in notebook.text("partitions")
    assert "boris" not in notebook.text("partitions")
    assert "orders/4 held by anna, 1 records, committed 1, next 1, lag 0" in notebook.name_of_picture()
    notebook.shot(f"lanes-{theme}")


def test_a_stuck_members_commit_is_refused_by_click(open_notebook: Open) -> None:
    notebook = opened(open_notebook, "lanes.ipynb")
    click(notebook, "produce", "✓ 6 orders")
    notebook.choose("which-member", "anna")
    click(notebook, "poll", "✓ anna handles 3.")
    notebook.find("wait").click()
    notebook.wait("said", "✓ 6 minutes go by")
    notebook.choose("which-member", "boris")
    click(notebook, "work", "boris takes orders/0 from offset 0")
    notebook.choose("which-member", "anna")
    notebook.find("commit").click()
    notebook.wait("said", "✗ anna does not hold partition 0 of 'orders' any more")
    notebook.choose("which-group", "analytics_service")
    notebook.wait("partitions", "analytics_service: lag 6")
    notebook.find("reset").click()
    notebook.wait_for_name_of_picture("orders/0 held by anna, 0 records")


def test_the_keyboard_alone_is_enough(open_notebook: Open) -> None:
    notebook = opened(open_notebook, "lanes.ipynb")
    notebook.find("produce").focus()
    notebook.page.keyboard.press("Enter")
    notebook.wait("said", "✓ 6 orders")
    notebook.page.keyboard.press("Tab")
    assert notebook.focused() == "Work"
    assert notebook.focus_is_visible()
    notebook.page.keyboard.press("Enter")
    notebook.wait("said", "✓ anna handles 3, boris handles 3.")
    assert notebook.focused() == "Work", "the focus stays where it was"


@pytest.mark.parametrize("view", ["lab", "doc"])
def test_what_a_click_changes_is_on_one_screen_also_beside_the_list_of_files(view: str, open_notebook: Open) -> None:
    notebook = opened(open_notebook, "lanes.ipynb", view)
    click(notebook, "produce", "✓ 6 orders")
    notebook.find("panel").evaluate("e => e.scrollIntoView({block: 'start'})")
    notebook.shot(f"lanes-{view}")
    for name in (*BUTTONS, "which-group", "which-member", "said", "chart", "partitions"):
        assert notebook.is_on_screen(name), f"{name} can't be seen without scrolling"
    assert notebook.page.evaluate(BROKEN) == []
    for size in (1100, 900, 760):
        notebook.page.set_viewport_size({"width": size, "height": 800})
        assert notebook.page.evaluate(BROKEN) == [], f"words are broken in a window {size} pixels wide"


def test_on_a_projector_all_is_large_and_what_a_class_needs_is_on_one_screen(lab: Lab, open_notebook: Open) -> None:
    lab.theme("JupyterLab Light")
    notebook = opened(open_notebook, "lanes-large.ipynb")
    click(notebook, "produce", "✓ 6 orders")
    click(notebook, "poll", "✓ anna handles 3, boris handles 3.")
    click(notebook, "kill", "✓ boris died.")
    notebook.find("panel").evaluate("e => e.scrollIntoView({block: 'start'})")
    notebook.shot("lanes-presenter")
    for name in (*BUTTONS, "which-group", "which-member", "said", "chart"):
        assert notebook.is_on_screen(name), f"{name} can't be seen without scrolling"
    assert not [text for size, text in notebook.page.evaluate(TEXTS) if size < 20]
    click(notebook, "work", "✓ anna handles 3, 3 of them again.")
