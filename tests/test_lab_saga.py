"""The saga's desk, timeline and panel: wherever the runner dies, nothing is lost and nothing is done twice."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ipywidgets
import pytest

from ecomlib.faults import EVERY
from ecomlib.lab import SagaDesk, SagaPanel
from ecomlib.lab.figures import alt, png
from ecomlib.lab.mortal import MOMENTS, PARTS, UNLOGGED, UNPUBLISHED
from ecomlib.lab.saga_chart import sign, timeline
from ecomlib.lab.saga_rows import Moment
from ecomlib.saga import TOPIC as SAGAS
from ecomlib.shop import TOPIC


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[SagaDesk]:
    with SagaDesk(tmp_path / "log") as desk:
        yield desk


@pytest.fixture
def panel() -> Iterator[SagaPanel]:
    panel = SagaPanel()
    yield panel
    panel.desk.close()


def widgets_of(widget: Any) -> Iterator[Any]:
    yield widget
    for child in getattr(widget, "children", ()):
        yield from widgets_of(child)


def named(panel: SagaPanel, name: str) -> Any:
    [found] = [widget for widget in widgets_of(panel) if f"ecomlib-{name}" in widget._dom_classes]
    return found


def page(panel: SagaPanel) -> str:
    """What is there to read, without the marks of HTML and without the style."""
    parts = [w.value for w in widgets_of(panel) if isinstance(w, ipywidgets.HTML) and "<style>" not in w.value]
    return html.unescape(re.sub(r"<[^>]+>", " ", " ".join(parts)))


def conserved(desk: SagaDesk) -> bool:
    return all(kept.conserved for kept in desk.kept())


def what(desk: SagaDesk) -> list[str]:
    """The timeline in short."""
    return [f"{moment.step} {sign(moment)}" if moment.step else moment.what for moment in desk.moments()]


# --- the desk -----------------------------------------------------------------------------------------------------


def test_what_can_be_served_is_completed_and_what_can_not_is_compensated(desk: SagaDesk) -> None:
    desk.buy(2)
    assert str(desk.message) == "✓ Order 1 is completed: paid, taken from the stock, and in the van."
    assert what(desk) == ["order ✓", "payment ✓", "inventory ✓", "delivery ✓"]
    desk.buy(5)
    assert str(desk.message).startswith("✓ Order 2 is compensated: Only 2 ")
    assert what(desk) == ["order ✓", "payment ✓", "inventory ✗", "payment ↶", "order ↶"]
    assert repr(desk) == (
        "sagas: 1 compensated, 1 completed | customer 400.00, shop 100.00 | in stock 2, places in the van 2 | "
        "problems 0"
    )


def test_the_van_is_full_before_the_machines_are_sold(desk: SagaDesk) -> None:
    for _ in range(4):
        desk.buy()
    assert "No van has room" in str(desk.message)
    assert what(desk)[-4:] == ["delivery ✗", "inventory ↶", "payment ↶", "order ↶"]
    assert desk.outcomes() == {"completed": 3, "compensated": 1}
    assert not desk.problems()


def test_a_runner_that_dies_after_the_charge_never_charges_twice(desk: SagaDesk) -> None:
    desk.crash()
    desk.buy()
    assert str(desk.message) == (
        "✗ The runner died at payment, after its work, before the log. Its files are all that is left. Click Recover."
    )
    assert desk.problems() == ["Order 1 is open; in effect: order, payment."]
    assert what(desk) == ["order ✓", "payment ?", "killed"]
    assert [kept.taken for kept in desk.kept()] == ["50.00", "0", "0"]
    assert conserved(desk)
    desk.recover()
    assert what(desk) == ["order ✓", "payment ?", "killed", "recovered", "payment ✓", "inventory ✓", "delivery ✓"]
    assert [kept.taken for kept in desk.kept()] == ["50.00", "1", "1"]
    assert not desk.problems()


def works(desk: SagaDesk) -> None: ...


def inventory_is_down(desk: SagaDesk) -> None:
    desk.fail("inventory", EVERY)


def delivery_loses_its_answers(desk: SagaDesk) -> None:
    desk.fail("delivery", EVERY, "after")


PATHS: list[Callable[[SagaDesk], None]] = [works, inventory_is_down, delivery_loses_its_answers]
# What each path comes to: every action, and the compensations of those that may have happened.
COMES_TO: dict[Callable[[SagaDesk], None], set[str]] = {
    works: set(PARTS[:4]),
    inventory_is_down: {*PARTS[:3], *PARTS[4:7]},
    delivery_loses_its_answers: set(PARTS),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("path", PATHS)
def test_wherever_it_dies_recover_ends_the_saga_and_money_and_stock_are_conserved(
    path: Callable[[SagaDesk], None], part: str, moment: str, desk: SagaDesk
) -> None:
    path(desk)
    desk.crash(part, moment)
    desk.buy(2)
    died = desk.checkout is None
    nothing_to_publish = moment == UNPUBLISHED and path is inventory_is_down and part == "inventory"
    assert died == (part in COMES_TO[path] and not nothing_to_publish)
    assert conserved(desk)
    if died:
        assert str(desk.message).startswith(f"✗ The runner died at {part}, {moment}.")
        assert "killed" in what(desk)
        desk.recover()
    [outcome] = desk.outcomes()
    assert outcome == ("completed" if path is works else "compensated")
    assert desk.problems() == []
    assert conserved(desk)
    assert desk.kept()[0].taken == ("100.00" if outcome == "completed" else "0.00")
    facts = [record.event.id for record in desk._alive().log.read(TOPIC)]
    assert not [event for service in desk._alive().services for event in service.store.pending()]
    assert len(set(facts)) >= 2


def test_it_may_die_again_while_it_recovers(desk: SagaDesk) -> None:
    desk.crash("payment")
    desk.buy()
    desk.crash("payment")
    assert str(desk.message) == "✓ The runner will die at payment, after its work, before the log. Now click Recover."
    desk.recover()
    assert "died at payment" in str(desk.message)
    desk.recover()
    assert what(desk)[1:7] == ["payment ?", "killed", "recovered", "payment ?", "killed", "recovered"]
    assert not desk.problems()
    assert desk.kept()[0].taken == "50.00"


def test_no_two_events_of_all_its_lives_have_the_same_id(desk: SagaDesk) -> None:
    for part in PARTS[:4]:
        desk.crash(part)
        desk.buy()
        desk.recover()
    log = desk._alive().log
    for topic in (SAGAS, TOPIC):
        ids = [record.event.id for record in log.read(topic)]
        assert topic == TOPIC or len(set(ids)) == len(ids)
    assert desk.outcomes() == {"completed": 3, "compensated": 1}


def test_a_refund_that_fails_is_stuck_until_it_is_repaired_and_resumed(desk: SagaDesk) -> None:
    desk.fail("payment compensation", EVERY)
    desk.buy(5)
    assert not desk.message.ok
    assert "Order 1 is stuck" in str(desk.message)
    desk.resume()
    assert "Order 1 is stuck" in str(desk.message), "nothing was repaired"
    desk.repair()
    assert str(desk.message) == "✓ Every service works. Stuck sagas that wait to be resumed: 1."
    desk.resume()
    assert str(desk.message).startswith("✓ Order 1 is compensated: Only 4 ")
    assert what(desk)[-2:] == ["resumed", "payment ↶"]
    assert not desk.problems()


def test_faults_outlive_the_runner_for_they_are_the_services(desk: SagaDesk) -> None:
    desk.fail("inventory", EVERY)
    desk.crash("order")
    desk.buy()
    assert desk.planned() == ["inventory fails at every attempt, before its work"]
    desk.recover()
    assert "Order 1 is compensated" in str(desk.message)


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda desk: desk.buy(0), "0 coffee machines can't be bought"),
        (lambda desk: desk.buy("two"), "'two' coffee machines can't be bought"),
        (lambda desk: desk.fail("kitchen"), "There is no service 'kitchen' to fail"),
        (lambda desk: desk.fail("payment", (0,)), "Attempts are numbers from 1"),
        (lambda desk: desk.crash("kitchen"), "can't die at 'kitchen': choose one of order, payment,"),
        (lambda desk: desk.crash("payment", "at noon"), "can't die at 'at noon': choose one of before it begins,"),
        (lambda desk: desk.resume(), "No saga is stuck"),
    ],
)
def test_what_can_not_be_done_is_said_and_changes_nothing(
    act: Callable[[SagaDesk], None], said: str, desk: SagaDesk
) -> None:
    before = repr(desk)
    act(desk)
    assert said in str(desk.message)
    assert repr(desk) == f"{before} | {desk.message}"
    assert not desk.planned()


def test_the_dead_do_nothing_until_they_recover(desk: SagaDesk) -> None:
    desk.crash()
    desk.buy()
    for act in (desk.buy, desk.resume):
        act()
        assert str(desk.message) == "✗ The runner is dead. Click Recover first."
    assert " | the runner is dead | " in repr(desk)
    desk.recover()
    desk.recover()
    assert str(desk.message) == "✓ No saga was open: there was nothing to recover."


def test_another_desk_over_the_same_folder_goes_on_where_the_first_one_died(tmp_path: Path) -> None:
    with SagaDesk(tmp_path / "log") as first:
        first.crash("inventory")
        first.buy()
    with SagaDesk(tmp_path / "log") as second:
        assert second.outcomes() == {"open": 1}
        second.recover()
        second.buy(2)
        assert second.outcomes() == {"completed": 2}
        assert not second.problems()


def test_reset_begins_anew_and_leaves_the_given_folder_as_it_is(desk: SagaDesk) -> None:
    desk.buy()
    folder, fresh = (
        desk.folder,
        "sagas: none | customer 500.00, shop 0.00 | in stock 4, places in the van 3 | problems 0",
    )
    desk.reset()
    assert repr(desk) == fresh
    assert desk.folder != folder
    with SagaDesk(folder) as old:
        assert old.outcomes() == {"completed": 1}


def test_a_temporary_folder_goes_away_with_its_desk() -> None:
    desk = SagaDesk()
    folder = desk.folder
    assert folder.exists()
    desk.close()
    del desk
    assert not folder.exists()


# --- the timeline -------------------------------------------------------------------------------------------------


def test_a_timeline_says_in_words_what_it_shows(desk: SagaDesk) -> None:
    desk.crash()
    desk.buy()
    desk.recover()
    assert alt(timeline(desk.moments(), title="Order 1: completed")) == (
        "Order 1: completed: order, attempt 1: done; payment, attempt 1: in doubt; killed; recovered; "
        "payment, attempt 2: done; inventory, attempt 1: done; delivery, attempt 1: done."
    )


def test_a_timeline_of_nothing_is_drawn_too() -> None:
    assert alt(timeline([], title="No order yet")) == "No order yet: nothing yet."


@pytest.mark.parametrize(
    "moment", [Moment("killed"), Moment("recovered"), Moment("compensation", "order", 2, "failed")]
)
def test_each_moment_makes_another_picture_and_the_same_ones_the_same_bytes(moment: Moment) -> None:
    first = [Moment("step", "order", 1, "done")]
    both = [png(timeline([*first, moment], title="Order 1")) for _ in range(2)]
    assert both[0] == both[1] != png(timeline(first, title="Order 1"))


def test_a_long_story_still_has_room_for_every_moment() -> None:
    many = [Moment("step", "inventory", n, "failed") for n in range(1, 31)]
    assert alt(timeline(many, title="Order 1")).count("failed") == 30


# --- the panel ----------------------------------------------------------------------------------------------------

BUTTONS: dict[str, Callable[[SagaPanel], None]] = {
    "buy-one": SagaPanel.buy,
    "buy-two": lambda panel: panel.buy(2),
    "buy-five": lambda panel: panel.buy(5),
    "recover": SagaPanel.recover,
    "repair": SagaPanel.repair,
    "resume": SagaPanel.resume,
    "reset": SagaPanel.reset,
    "fail": lambda panel: panel.fail("order"),
    "crash": lambda panel: panel.crash("order"),
}
FAULTS: dict[str, Callable[[SagaPanel], None]] = {
    "fault-1": lambda panel: panel.fail("inventory", EVERY),
    "fault-2": lambda panel: panel.crash("payment", UNLOGGED),
    "fault-3": lambda panel: panel.fail("payment compensation", EVERY),
}


def after(act: Callable[[SagaPanel], None], large: bool) -> tuple[str, str, bytes]:
    """The page after this action, where one order is served and another one is stuck."""
    panel = SagaPanel(presenter=large)
    panel.buy(2)
    panel.fail("payment compensation", EVERY)
    panel.buy(5)
    act(panel)
    panel.desk.close()
    return repr(panel), page(panel), panel.image.value


@pytest.mark.parametrize("large", [False, True], ids=["normal", "presenter"])
@pytest.mark.parametrize("name", BUTTONS)
def test_a_button_does_what_its_method_does(name: str, large: bool) -> None:
    clicked = after(lambda panel: named(panel, name).click(), large)
    assert clicked == after(BUTTONS[name], large)
    assert clicked != after(lambda panel: None, large)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_click_for_a_presenter(name: str) -> None:
    assert after(lambda panel: named(panel, name).click(), large=True) == after(FAULTS[name], large=True)


def test_break_and_die_take_what_the_choices_say(panel: SagaPanel) -> None:
    named(panel, "which-step").label = "inventory"
    named(panel, "which-part").label = "its compensation"
    named(panel, "which-attempts").label = "every"
    named(panel, "which-time").label = "after its work"
    named(panel, "fail").click()
    named(panel, "which-moment").label = "after the log"
    named(panel, "crash").click()
    assert panel.desk.planned() == [
        "inventory compensation fails at every attempt, after its work",
        "the runner will die at inventory compensation, after the log",
    ]
    assert "✗  inventory compensation fails" in page(panel)


def test_every_place_can_be_chosen_in_the_panel(panel: SagaPanel) -> None:
    assert tuple(named(panel, "which-moment")._options_labels) == tuple(MOMENTS)
    steps, kinds = named(panel, "which-step").options, named(panel, "which-part").options
    assert {f"{step}{kind}" for _, step in steps for _, kind in kinds} == set(PARTS)


def test_the_page_shows_the_half_done_state_and_then_that_all_is_well(panel: SagaPanel) -> None:
    panel.crash()
    panel.buy()
    assert "✗  Order 1 is open; in effect: order, payment." in page(panel)
    assert re.search(r"money: customer, shop\s+450.00\s+50.00\s+500.00 ✓", re.sub(r" +", " ", page(panel)))
    panel.recover()
    assert "Money and stock are conserved" in page(panel)
    assert "? in doubt" in page(panel)


def test_an_error_is_shown_in_the_panel(panel: SagaPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OSError("the disk <b>is</b> full")

    named(panel, "resume").click()
    assert "✗  No saga is stuck" in page(panel)
    monkeypatch.setattr(panel.desk, "recover", broken)
    named(panel, "recover").click()
    assert "✗  OSError: the disk <b>is</b> full" in page(panel)
    assert "<b>is</b>" not in panel._message.value
    assert repr(panel).endswith("✗ OSError: the disk <b>is</b> full")


def test_its_repr_is_the_same_at_every_run_and_holds_no_place_and_no_time(tmp_path: Path) -> None:
    said = []
    for folder in (None, tmp_path / "log"):
        panel = SagaPanel(folder)
        panel.crash()
        panel.buy()
        said.append(repr(panel))
        panel.desk.close()
    assert said[0] == said[1]
    assert not re.search(r"/|\d\d:\d\d|2026", said[0])


def test_it_carries_its_picture_for_where_no_kernel_runs(panel: SagaPanel) -> None:
    panel.buy()
    data, about = panel._repr_mimebundle_()
    assert data["text/plain"] == repr(panel)
    assert data["image/png"] == panel.image.as_text()
    assert about["image/png"]["alt"].startswith("Order 1: completed: order, attempt 1: done;")
    assert (about["image/png"]["width"], about["image/png"]["height"]) == (660, 240)


def test_a_presenter_s_panel_is_marked_as_one() -> None:
    panel = SagaPanel(presenter=True)
    assert "ecomlib-presenter" in panel._dom_classes
    assert [w.description for w in widgets_of(panel) if isinstance(w, ipywidgets.Button)][:4] == [
        "Buy one", "Buy two", "Buy five", "Reset",
    ]  # fmt: skip
    panel.desk.close()


def test_what_the_lesson_asks_a_reader_to_click_is_there(panel: SagaPanel) -> None:
    lesson = Path(__file__).resolve().parent.parent / "notebooks" / "06_saga.ipynb"
    told = lesson.read_text(encoding="utf-8")
    buttons = {widget.description for widget in widgets_of(panel) if isinstance(widget, ipywidgets.Button)}
    choices = {label for w in widgets_of(panel) for label in getattr(w, "_options_labels", ())}
    for label in ("Let it die there", "Buy one", "Buy five", "Break it", "Recover", "Repair", "Resume"):
        assert f"**{label}**" in told
        assert label in buttons
    for label in ("payment", "its action", "its compensation", "every", UNLOGGED):
        assert f"**{label}**" in told
        assert label in choices
