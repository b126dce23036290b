"""RabbitMQ in Chromium: workers are started and killed by click, and the picture follows by itself."""

from __future__ import annotations

import pytest

from ecomlib.broker import PrivateNode
from tests.browser.conftest import Lab, Notebook, Open, click, opened
from tests.browser.test_browser import BROKEN, TEXTS

SMALL = (
    "from ecomlib.lab import LessonBroker, RabbitPanel\n\n"
    "panel = RabbitPanel(LessonBroker({url!r}, {management!r}), presenter={large})\npanel"
)
LESSON = "07_rabbitmq.ipynb"


@pytest.fixture(scope="module", autouse=True)
def notebooks(lab: Lab, rabbitmq: PrivateNode) -> None:
    for name, large in (("rabbit-panel.ipynb", False), ("rabbit-large.ipynb", True)):
        lab.write(name, SMALL.format(url=rabbitmq.url, management=rabbitmq.management_url, large=large))


def kill_one(notebook: Notebook) -> None:
    """Five orders wait; a worker takes some of them, is killed, and another one finishes the work."""
    click(notebook, "produce", "✓ 5 orders sent, and confirmed")
    click(notebook, "start-email", "✓ email-1 is a process of its own")
    click(notebook, "kill-email", "✓ email-1 was killed (kill -9).")
    notebook.wait("workers", "✗ killed")
    notebook.wait_for_name_of_picture("email-1 killed")
    click(notebook, "start-email", "✓ email-2 is a process of its own")
    notebook.wait_for_name_of_picture("email: 0 ready, 0 in hand, 1 consumers")  # nobody has clicked


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_worker_is_killed_by_click_and_another_one_finishes_its_work(
    theme: str, lab: Lab, open_notebook: Open
) -> None:
    lab.theme(f"JupyterLab {theme.title()}")
    notebook = opened(open_notebook, "rabbit-panel.ipynb")
    kill_one(notebook)
    click(notebook, "start-analytics", "✓ analytics-1 is a process of its own")
    click(notebook, "poison", "✓ A message that is no event")
    notebook.wait_for_name_of_picture("2 dead letters")
    notebook.wait("dead", "is not JSON")
    click(notebook, "produce", "✓ 5 orders sent, and confirmed")
    notebook.find("panel").evaluate("e => e.scrollIntoView({block: 'start'})")
    notebook.shot(f"rabbit-{theme}")
    for name in ("produce", "start-email", "kill-email", "reset", "poison", "said", "chart", "queues", "workers"):
        # More than one look: what lives may just be replaced while one looks.
        assert any(notebook.is_on_screen(name) for _ in range(5)), f"{name} can't be seen without scrolling"
    assert notebook.page.evaluate(BROKEN) == []
    for size in (1100, 900, 760):
        notebook.page.set_viewport_size({"width": size, "height": 800})
        assert notebook.page.evaluate(BROKEN) == [], f"words are broken in a window {size} pixels wide"
    notebook.shot(f"rabbit-narrow-{theme}")
    click(notebook, "reset", "✓ New queues, with nothing in them, and no workers.")


def test_on_a_projector_all_is_large_and_what_a_class_needs_is_on_one_screen(lab: Lab, open_notebook: Open) -> None:
    lab.theme("JupyterLab Light")
    notebook = opened(open_notebook, "rabbit-large.ipynb")
    kill_one(notebook)
    click(notebook, "produce", "✓ 5 orders sent, and confirmed")
    notebook.find("panel").evaluate("e => e.scrollIntoView({block: 'start'})")
    notebook.shot("rabbit-presenter")
    for name in ("produce", "start-email", "start-analytics", "kill-email", "poison", "reset", "said", "chart"):
        assert any(notebook.is_on_screen(name) for _ in range(5)), f"{name} can't be seen without scrolling"
    assert not [text for size, text in notebook.page.evaluate(TEXTS) if size < 20]
    notebook.find("dead").scroll_into_view_if_needed()
    notebook.shot("rabbit-presenter-below")


def test_the_lesson_runs_from_top_to_bottom_against_a_node_of_its_own(open_notebook: Open) -> None:
    notebook = opened(open_notebook, LESSON)
    notebook.find("reset").scroll_into_view_if_needed()
    notebook.find("reset").click()  # its last cell has ended what it began
    notebook.wait("said", "✓ New queues, with nothing in them, and no workers.")
    kill_one(notebook)
    notebook.shot("rabbit-lesson")
