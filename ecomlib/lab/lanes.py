"""The panel of the consumer groups: produce, work, add, kill, and see the partitions move."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from ecomlib.lab import view
from ecomlib.lab.controls import Clickable, choice, columns, row
from ecomlib.lab.figures import Size
from ecomlib.lab.group_desk import GROUPS, GroupDesk
from ecomlib.lab.lane import TOPIC
from ecomlib.lab.lane_chart import lanes
from ecomlib.lab.picture import Picture

CHART, LARGE_CHART = Size(700, 290, 13), Size(790, 410, 20)
HEADS = ("Partition", "Holder", "Committed", "Next", "End", "Lag")
ALL = "all"


class Lanes(Clickable, widgets.VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """Every button calls the method of its name, for the group and the member that are chosen.

    An error is shown in the panel, and stands in its `repr`. `presenter` makes everything large, for a projector.
    """

    def __init__(self, folder: Path | str | None = None, *, partitions: int = 6, presenter: bool = False) -> None:
        self.desk = GroupDesk(folder, partitions=partitions)
        self._large = presenter
        self._group = choice("which-group", "Group", [(group, group) for group in GROUPS])
        self._member = choice("which-member", "Who", [(ALL, ALL)])
        self._message, self._rows = widgets.HTML(), widgets.HTML()
        self.image = Picture(LARGE_CHART if presenter else CHART)
        super().__init__([widgets.HTML(view.style()), *self._controls()])
        for name in ("lab", "panel", "lanes", *(["presenter"] if presenter else [])):
            self.add_class(f"ecomlib-{name}")
        self.refresh()
        self._group.observe(lambda change: self.select(change.new), "value")

    # --- actions ------------------------------------------------------------------------------------------

    def select(self, group: str) -> None:
        """Show this group, and act upon it from now on."""
        self._do(self.desk.select, group)

    def produce(self, n: int = 6) -> None:
        self._do(self.desk.produce, n)

    def poll(self, member: str | None = None) -> None:
        """All of the group, or one; so with `commit` and `work`."""
        self._do(self.desk.poll, member)

    def commit(self, member: str | None = None) -> None:
        self._do(self.desk.commit, member)

    def work(self, member: str | None = None) -> None:
        self._do(self.desk.work, member)

    def add(self) -> None:
        self._do(self.desk.add)

    def kill(self, member: str | None = None) -> None:
        """One member; without a name the newest of the group. So with `leave`."""
        self._do(self.desk.kill, member)

    def leave(self, member: str | None = None) -> None:
        self._do(self.desk.leave, member)

    def wait(self, minutes: int = 6) -> None:
        self._do(self.desk.wait, minutes)

    def reset(self) -> None:
        self._do(self.desk.reset)

    def _do(self, action: Callable[..., None], *arguments: object) -> None:
        action(*arguments)
        self.refresh()

    # --- what is shown ------------------------------------------------------------------------------------

    def refresh(self) -> None:
        desk, chosen = self.desk, self._member.value
        if self._group.value != desk.group:
            self._group.value = desk.group
        names = [(name, name) for name in (ALL, *desk.alive())]
        if list(self._member.options) != names:
            self._member.options = names
            self._member.value = chosen if chosen in desk.alive() else ALL
        self._message.value = view.message(desk.message)
        rows = desk.lanes()
        cells = [
            (f"{TOPIC}/{lane.partition}", lane.holder or "nobody", "—" if lane.committed is None else lane.committed,
             lane.position, lane.end, lane.lag)
            for lane in rows
        ]  # fmt: skip
        caption = f"{desk.group}: lag {sum(lane.lag for lane in rows)}, handled again {desk.again()}"
        texts = [tuple(map(str, row)) for row in cells]
        self._rows.value = view.table(caption, HEADS, texts, empty="", name="partitions")
        title = f"Topic {TOPIC}, as {desk.group} sees it"
        self.image.show(lanes(rows, title=title, size=LARGE_CHART if self._large else CHART))

    def __repr__(self) -> str:
        error = "" if self.desk.message.ok else f" | {self.desk.message}"
        return f"Lanes: {self.desk!r}{error}"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """With a picture, so that a saved notebook shows the panel where no kernel runs."""
        bundle = super()._repr_mimebundle_(**kwargs)
        return {**bundle, "text/plain": repr(self), "image/png": self.image.as_text()}, self.image.about()

    # --- layout -------------------------------------------------------------------------------------------

    def _controls(self) -> list[Any]:
        """In the order in which Tab visits them."""
        picture = [self.image, self._rows] if self._large else [columns([self.image], [self._rows])]
        return [
            row(
                self._button("produce", "Produce six", self.produce, "primary"),
                self._button("work", "Work", lambda: self.work(self._one())),
                self._button("poll", "Poll and handle", lambda: self.poll(self._one())),
                self._button("commit", "Commit", lambda: self.commit(self._one())),
                self._button("reset", "Reset", self.reset),
            ),
            row(
                self._button("add", "Add a consumer", self.add),
                self._button("kill", "Kill a consumer", lambda: self.kill(self._one()), "danger"),
                self._button("leave", "Let a consumer leave", lambda: self.leave(self._one())),
                self._button("wait", "Six minutes pass", self.wait),
            ),
            row(self._group, self._member),
            self._message,
            *picture,
        ]

    def _one(self) -> str | None:
        return None if self._member.value == ALL else str(self._member.value)
