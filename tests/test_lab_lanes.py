"""The desk, the picture and the panel of the consumer groups: whoever dies, every order is handled at least once."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ipywidgets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecomlib.errors import BadInput
from ecomlib.lab import GroupDesk, Lanes
from ecomlib.lab.diagrams import queue_or_log
from ecomlib.lab.figures import Size, alt, png
from ecomlib.lab.group_desk import GROUPS
from ecomlib.lab.lane import Lane
from ecomlib.lab.lane_chart import AGAIN, DONE, IN_HAND, WAITING, lanes, state
from ecomlib.lab.lanes import CHART, LARGE_CHART
from ecomlib.log import FileLog
from tests.test_lessons import LESSONS, prose

EMAIL, ANALYTICS = GROUPS


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[GroupDesk]:
    with GroupDesk(tmp_path / "log") as desk:
        yield desk


@pytest.fixture
def panel() -> Iterator[Lanes]:
    panel = Lanes()
    yield panel
    panel.desk.close()


def holders(desk: GroupDesk) -> list[str]:
    return [lane.holder for lane in desk.lanes()]


def widgets_of(widget: Any) -> Iterator[Any]:
    yield widget
    for child in getattr(widget, "children", ()):
        yield from widgets_of(child)


def named(panel: Lanes, name: str) -> Any:
    [found] = [widget for widget in widgets_of(panel) if f"ecomlib-{name}" in widget._dom_classes]
    return found


def page(panel: Lanes) -> str:
    """What is there to read, without the marks of HTML and without the style."""
    parts = [w.value for w in widgets_of(panel) if isinstance(w, ipywidgets.HTML) and "<style>" not in w.value]
    return html.unescape(re.sub(r"<[^>]+>", " ", " ".join(parts)))


# --- the desk -----------------------------------------------------------------------------------------------------


def test_it_opens_with_two_members_that_share_and_one_that_has_all(desk: GroupDesk) -> None:
    assert holders(desk) == ["anna"] * 3 + ["boris"] * 3
    assert [lane.holder for lane in desk.lanes(ANALYTICS)] == ["clara"] * 6
    assert repr(desk) == (
        "0 orders | email_service: 2 members, lag 0, handled 0, again 0 | "
        "analytics_service: 1 member, lag 0, handled 0, again 0"
    )


def test_a_customer_keeps_to_one_partition_and_some_partitions_get_more(desk: GroupDesk) -> None:
    desk.produce(60)
    records = [record for partition in range(6) for record in desk.log.read("orders", partition=partition)]
    places = {(record.event.key, record.position.partition) for record in records}
    assert len(places) == len({key for key, _ in places})
    counts = [lane.end for lane in desk.lanes()]
    assert sum(counts) == 60
    assert min(counts) > 0
    assert max(counts) >= 3 * min(counts)


def test_what_is_polled_is_handled_and_is_done_only_when_it_is_committed(desk: GroupDesk) -> None:
    desk.produce()
    assert str(desk.message) == "✓ 6 orders: 2 in orders/0, 1 in orders/2, 2 in orders/3, 1 in orders/5."
    desk.poll()
    assert str(desk.message) == "✓ anna handles 3, boris handles 3."
    assert sum(lane.in_hand for lane in desk.lanes()) == sum(lane.lag for lane in desk.lanes()) == 6
    desk.commit("anna")
    assert str(desk.message) == "✓ anna committed."
    assert [lane.lag for lane in desk.lanes()] == [0, 0, 0, 2, 0, 1]
    desk.commit()
    assert str(desk.message) == "✓ anna and boris committed."
    assert sum(lane.lag for lane in desk.lanes()) == 0
    assert sum(lane.lag for lane in desk.lanes(ANALYTICS)) == 6, "the other group goes at its own pace"


def test_a_poll_takes_no_more_than_its_limit(desk: GroupDesk) -> None:
    desk.produce(20)
    desk.poll("anna", limit=4)
    assert str(desk.message) == "✓ anna handles 4."
    assert {handled.member for handled in desk.handled} == {"anna"}


def test_a_dead_members_partitions_are_taken_at_the_next_poll_and_what_was_not_committed_comes_again(
    desk: GroupDesk,
) -> None:
    desk.produce()
    desk.work()
    desk.produce()
    desk.poll()
    desk.kill("boris")
    assert str(desk.message) == "✓ boris died. 1 record handled and not committed. Nobody notices before the next poll."
    assert holders(desk) == ["anna"] * 3 + ["boris ✗"] * 3
    desk.work()
    assert str(desk.message) == (
        "✓ anna handles 1, 1 of them again. Committed. "
        "anna takes orders/3 from offset 2, orders/4 from offset 0 and orders/5 from offset 1."
    )
    assert holders(desk) == ["anna"] * 6
    assert desk.again() == 1
    assert [handled.member for handled in desk.handled if handled.again] == ["anna"]


def test_without_a_name_the_newest_member_of_the_group_dies_or_leaves(desk: GroupDesk) -> None:
    desk.kill()
    assert desk.alive() == ("anna",)
    desk.select(ANALYTICS)
    desk.leave()
    assert str(desk.message) == "✓ clara leaves. Its partitions are free: who polls next takes them."
    assert holders(desk) == [""] * 6


def test_who_leaves_with_work_in_hand_leaves_it_to_come_again(desk: GroupDesk) -> None:
    desk.produce()
    desk.poll()
    desk.leave("boris")
    assert "3 records handled and not committed. " in str(desk.message)
    assert [lane.again for lane in desk.lanes()] == [0, 0, 0, 2, 0, 1]


def test_a_new_member_gets_its_share_when_the_others_have_polled(desk: GroupDesk) -> None:
    desk.add()
    assert str(desk.message) == (
        "✓ david joins email_service. It holds nothing yet: the others give partitions up when they poll."
    )
    desk.work()
    assert sorted(holders(desk)) == ["anna", "anna", "boris", "boris", "david", "david"]
    assert "david takes orders/2 from offset 0 and orders/5 from offset 0." in str(desk.message)


def test_a_new_member_takes_at_once_what_a_dead_one_has_left(desk: GroupDesk) -> None:
    desk.kill("boris")
    desk.add()
    assert str(desk.message) == (
        "✓ david joins email_service. "
        "david takes orders/3 from offset 0, orders/4 from offset 0 and orders/5 from offset 0."
    )


def test_of_more_members_than_partitions_one_has_nothing(tmp_path: Path) -> None:
    with GroupDesk(tmp_path / "log", partitions=2) as desk:
        desk.add()
        desk.work()
        assert set(holders(desk)) == {"anna", "boris"}
        assert desk.alive() == ("anna", "boris", "david")


def test_a_stale_commit_is_refused_and_said(desk: GroupDesk) -> None:
    desk.produce()
    desk.poll("anna")
    desk.wait()
    desk.work("boris")
    assert holders(desk) == ["boris"] * 6
    before = desk.lanes()
    desk.commit("anna")
    assert str(desk.message).startswith("✗ anna does not hold partition 0 of 'orders' any more: nothing was committed.")
    assert desk.lanes() == before
    desk.work()
    desk.work()
    assert sorted(holders(desk)) == ["anna"] * 3 + ["boris"] * 3


def test_what_can_not_be_done_changes_nothing_and_is_said(desk: GroupDesk) -> None:
    desk.produce()
    before = repr(desk)
    refused: tuple[tuple[Callable[[Any], None], object, str], ...] = (
        (desk.kill, "zoe", "✗ 'zoe' is no living member: take anna or boris or clara."),
        (desk.poll, "zoe", "✗ 'zoe' is no living member: take anna or boris or clara."),
        (desk.select, "sms", "✗ 'sms' is no group: take email_service or analytics_service."),
        (desk.add, "sms", "✗ 'sms' is no group: take email_service or analytics_service."),
        (desk.produce, 0, "✗ 0 orders can't be produced: ask for a whole number from 1 to 1000."),
        (desk.produce, "six", "✗ 'six' orders can't be produced: ask for a whole number from 1 to 1000."),
        (desk.wait, -1, "✗ -1 minutes can't go by: ask for a whole number from 1 to 1440."),
    )
    for action, argument, said in refused:
        action(argument)
        assert str(desk.message) == said
    desk.poll(limit=0)
    assert str(desk.message) == "✗ A poll asks for 1 record at least, not 0."
    assert repr(desk) == before


def test_a_group_without_members_is_said(desk: GroupDesk) -> None:
    desk.select(ANALYTICS)
    desk.kill()
    for action in (desk.kill, desk.leave, desk.poll, desk.commit, desk.work):
        action()
        assert str(desk.message) == "✗ analytics_service has no member: add a consumer."
    desk.add()
    desk.work()
    assert holders(desk) == ["david"] * 6


def test_a_damaged_file_of_offsets_is_said_and_raised_through_nowhere(desk: GroupDesk) -> None:
    desk.produce()
    desk.work()
    (desk.folder / "_groups" / EMAIL / "offsets.json").write_text("rust")
    desk.kill()
    desk.poll()
    assert "offsets.json is damaged" in str(desk.message)
    assert repr(desk)


def test_reset_begins_again_with_the_same_names(desk: GroupDesk) -> None:
    before = repr(desk), desk.lanes()
    desk.add()
    desk.produce()
    desk.work()
    desk.kill()
    desk.select(ANALYTICS)
    desk.reset()
    assert (repr(desk), desk.lanes()) == before
    desk.add()
    assert desk.alive() == ("anna", "boris", "david")


def test_the_same_clicks_lead_to_the_same_desk(tmp_path: Path) -> None:
    said = []
    for run in ("a", "b"):
        with GroupDesk(tmp_path / run) as desk:
            desk.produce(20)
            desk.poll(limit=3)
            desk.kill()
            desk.work()
            ids = [record.event.id for record in desk.log.read("orders")]
            said.append((repr(desk), str(desk.message), desk.lanes(), desk.handled, ids))
    assert said[0] == said[1]


def test_a_name_never_comes_twice(desk: GroupDesk) -> None:
    names = {*desk.members}
    for _ in range(12):
        desk.add()
        names.add(desk.alive()[-1])
        desk.kill()
    assert len(names) == 15
    assert {"anna", "anna-2", "emma-2"} <= names


ACTIONS = st.sampled_from(
    ["produce", "poll", "poll one", "commit", "work", "add", "kill", "leave", "wait", "select", "stale"]
)


@settings(max_examples=25, deadline=None)
@given(st.lists(ACTIONS, max_size=20))
def test_whoever_dies_at_any_time_every_order_is_handled_at_least_once(actions: list[str]) -> None:
    with TemporaryDirectory() as folder, GroupDesk(Path(folder, "log")) as desk:
        for action in actions:
            if action == "poll one":
                desk.poll(next(iter(desk.members), None), limit=2)
            elif action == "stale":
                desk.commit(next(iter(desk.members), None))
            elif action == "select":
                desk.select(ANALYTICS if desk.group == EMAIL else EMAIL)
            else:
                getattr(desk, action)()
            for group in GROUPS:  # what is committed was handled, whatever happens
                for lane in desk.lanes(group):
                    assert lane.done <= lane.handled <= lane.end
        for group in GROUPS:
            desk.select(group)
            desk.add()
            for _ in range(4 + desk._produced // 10):
                desk.work(limit=1000)
            assert sum(lane.lag for lane in desk.lanes()) == 0
            handled = {h.position for h in desk.handled if h.group == group}
            assert len(handled) == desk._produced
            assert sum(h.group == group and not h.again for h in desk.handled) == desk._produced


# --- the picture --------------------------------------------------------------------------------------------------


def test_a_record_is_done_in_hand_again_or_waiting() -> None:
    lane = Lane(0, "anna", 2, 3, 5, 6)
    assert [state(lane, offset) for offset in range(6)] == [DONE, DONE, IN_HAND, AGAIN, AGAIN, WAITING]
    assert (lane.lag, lane.in_hand, lane.again) == (4, 1, 2)


def test_the_picture_says_in_words_what_it_shows(desk: GroupDesk) -> None:
    desk.produce()
    desk.poll()
    desk.kill()
    said = alt(lanes(desk.lanes(), title="Orders"))
    assert said.startswith("Orders: orders/0 held by anna, 2 records, committed 0, next 2, lag 2; ")
    assert "orders/3 held by boris ✗, 2 records" in said
    desk.leave("anna")
    assert "orders/0 held by nobody, 2 records, committed 0, next 0, lag 2, 2 come again" in alt(
        lanes(desk.lanes(), title="Orders")
    )


@pytest.mark.parametrize("size", [CHART, LARGE_CHART])
def test_of_many_records_only_the_latest_are_drawn_and_the_first_offset_is_written(size: Size) -> None:
    figure = lanes([Lane(0, "anna", 95, 97, 97, 100)], title="Orders", size=size)
    drawn = [text.get_text() for text in figure.axes[0].texts]
    offsets = [int(text) for text in drawn if text.isdigit()]
    assert offsets == list(range(offsets[0], 100))
    assert 8 <= len(offsets) <= 25
    assert "…" in drawn
    assert "anna, lag 5" in drawn


def test_the_same_lanes_give_the_same_bytes(desk: GroupDesk) -> None:
    desk.produce(30)
    rows = desk.lanes()
    assert png(lanes(rows, title="Orders")) == png(lanes(rows, title="Orders"))


def test_queue_or_log_explains_itself() -> None:
    figure = queue_or_log()
    assert alt(figure).startswith("Queue or log. Left, a queue: it held 6 messages;")
    drawn = [text.get_text() for text in figure.axes[0].texts]
    assert {"A queue", "A log", "worker A", "worker B", "email:\nnext is 5", "analytics:\nnext is 2"} <= set(drawn)


# --- the panel ----------------------------------------------------------------------------------------------------


def test_every_button_does_what_the_method_of_its_name_does(panel: Lanes) -> None:
    other = Lanes()
    for name in ("produce", "poll", "commit", "produce", "work", "add", "work", "kill", "wait", "work", "leave"):
        named(panel, name).click()
        getattr(other, name)()
        assert (repr(panel), page(panel)) == (repr(other), page(other)), name
        assert panel.image.value == other.image.value
    named(panel, "reset").click()
    assert repr(panel) == repr(Lanes())
    other.desk.close()


def test_the_member_that_is_chosen_is_the_one_that_acts(panel: Lanes) -> None:
    who = named(panel, "which-member")
    assert [label for label, _ in who.options] == ["all", "anna", "boris"]
    panel.produce()
    who.value = "anna"
    named(panel, "poll").click()
    assert "anna handles 3." in page(panel)
    assert who.value == "anna", "the choice stays"
    named(panel, "kill").click()
    assert "anna died." in page(panel)
    assert [label for label, _ in who.options] == ["all", "boris"]
    assert who.value == "all"


def test_another_group_is_chosen_by_click_and_by_name(panel: Lanes) -> None:
    panel.produce()
    named(panel, "which-group").value = ANALYTICS
    assert "analytics_service: lag 6, handled again 0" in page(panel)
    assert [label for label, _ in named(panel, "which-member").options] == ["all", "clara"]
    panel.work()
    assert repr(panel).endswith("analytics_service: 1 member, lag 0, handled 6, again 0")
    panel.select(EMAIL)
    assert named(panel, "which-group").value == EMAIL
    assert "email_service: lag 6, handled again 0" in page(panel)


def test_the_table_says_what_the_picture_shows(panel: Lanes) -> None:
    panel.produce()
    panel.poll()
    panel.kill()
    rows = re.findall(r"<tr>(.*?)</tr>", named(panel, "lanes").children[-1].children[1].children[0].value)
    cells = [re.sub(r"<[^>]+>", " ", row).split() for row in rows[1:]]
    assert cells[0] == ["orders/0", "anna", "—", "2", "2", "2"]
    assert cells[3] == ["orders/3", "boris", "✗", "—", "2", "2", "2"]
    assert panel.image.tooltip.startswith("Topic orders, as email_service sees it: orders/0 held by anna, 2 records")


def test_an_error_is_shown_and_stands_in_the_repr_until_the_next_action(panel: Lanes) -> None:
    panel.kill("zoe")
    assert repr(panel).endswith("| ✗ 'zoe' is no living member: take anna or boris or clara.")
    assert "'zoe' is no living member" in page(panel)
    panel.produce()
    assert "✗" not in repr(panel)


def test_an_error_that_nobody_expects_is_shown_too(panel: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(n: int) -> None:
        raise RuntimeError("the roof is leaking")

    monkeypatch.setattr(panel.desk, "produce", broken)
    named(panel, "produce").click()
    assert "RuntimeError: the roof is leaking" in page(panel)


def test_a_saved_notebook_shows_it_without_a_kernel(panel: Lanes) -> None:
    panel.produce()
    bundle, about = panel._repr_mimebundle_()
    assert bundle["text/plain"] == repr(panel)
    assert bundle["image/png"]
    assert "orders/0 held by anna" in about["image/png"]["alt"]
    assert about["image/png"]["width"] <= 800
    assert not re.search(r"/tmp|0x|\d\d:\d\d", bundle["text/plain"])


def test_for_a_projector_there_is_the_same_with_large_type() -> None:
    panel = Lanes(presenter=True)
    panel.produce()
    assert "ecomlib-presenter" in panel._dom_classes
    assert repr(panel).startswith("Lanes: 6 orders | ")
    panel.desk.close()


def test_a_folder_can_be_given_and_another_number_of_partitions(tmp_path: Path) -> None:
    panel = Lanes(tmp_path / "log", partitions=3)
    panel.produce()
    panel.desk.close()
    assert FileLog(tmp_path / "log").topics() == {"orders": 3}
    with pytest.raises(BadInput, match="has 3 partitions for good, not 6"):
        Lanes(tmp_path / "log")


def test_what_the_lesson_asks_a_reader_to_click_is_there(panel: Lanes) -> None:
    lesson = next(lesson for lesson in LESSONS if lesson.name.startswith("04"))
    told = next(text for text in prose(lesson) if "Now try:" in text)
    asked = set(re.findall(r"\*\*([A-Z][^*]+)\*\*", told))
    assert {"Work", "Produce six", "Add a consumer", "Six minutes pass"} <= asked
    assert asked <= {getattr(widget, "description", "") for widget in widgets_of(panel)}
