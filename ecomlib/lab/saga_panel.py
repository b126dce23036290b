"""The saga's panel: buy, fail, die, recover, with the timeline and what the services hold beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from ecomlib.checkout import STEPS
from ecomlib.faults import EVERY, When
from ecomlib.lab import view
from ecomlib.lab.controls import Clickable, choice, columns, row
from ecomlib.lab.figures import Size
from ecomlib.lab.mortal import MOMENTS, UNLOGGED
from ecomlib.lab.picture import Picture
from ecomlib.lab.saga_chart import sign, timeline
from ecomlib.lab.saga_desk import SagaDesk

QUANTITIES = {"one": 1, "two": 2, "five": 5}
KINDS = {"its action": "", "its compensation": " compensation"}
ATTEMPTS: dict[str, Iterable[int]] = {"1": (1,), "every": EVERY}
WHEN: dict[str, When] = {"before its work": "before", "after its work": "after"}
CHART, LARGE_CHART = Size(660, 240, 13), Size(650, 330, 20)
SOUND = "✓ Money and stock are conserved, and every order is served wholly or not at all."


class SagaPanel(Clickable, widgets.VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """Every button calls the method of its name; a method returns when its sagas have ended, or the runner has died.

    An error is shown in the panel, and stands in its `repr`. `presenter` makes everything large, for a projector.
    """

    def __init__(self, folder: Path | str | None = None, *, presenter: bool = False) -> None:
        self.desk = SagaDesk(folder)
        self._large = presenter
        self._step = choice("which-step", "Step", [(step, step) for step in STEPS])
        self._kind = choice("which-part", "", list(KINDS.items()))
        self._attempts = choice("which-attempts", "fails at attempt", list(ATTEMPTS.items()))
        self._when = choice("which-time", "", list(WHEN.items()))
        self._moment = choice("which-moment", "dies", [(moment, moment) for moment in MOMENTS])
        self._moment.value = UNLOGGED
        self._message, self._plans, self._kept = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self._moments, self._sound = widgets.HTML(), widgets.HTML()
        self.image = Picture(LARGE_CHART if presenter else CHART)
        super().__init__([widgets.HTML(view.style()), *(self._presenter() if presenter else self._controls())])
        for name in ("lab", "panel", "saga-panel", *(["presenter"] if presenter else [])):
            self.add_class(f"ecomlib-{name}")
        self.refresh()

    # --- actions ------------------------------------------------------------------------------------------

    def buy(self, quantity: int = 1) -> None:
        self._do(self.desk.buy, quantity)

    def fail(self, part: str, attempts: Iterable[int] = (1,), when: When = "before") -> None:
        """From now on, until `repair`, a step or "<step> compensation" fails at these attempts."""
        self._do(self.desk.fail, part, attempts, when)

    def crash(self, part: str = "payment", moment: str = UNLOGGED) -> None:
        """The runner dies, once, when it comes to this place."""
        self._do(self.desk.crash, part, moment)

    def recover(self) -> None:
        self._do(self.desk.recover)

    def repair(self) -> None:
        self._do(self.desk.repair)

    def resume(self) -> None:
        self._do(self.desk.resume)

    def reset(self) -> None:
        self._do(self.desk.reset)

    def _do(self, action: Callable[..., None], *arguments: object) -> None:
        action(*arguments)
        self.refresh()

    # --- what is shown ------------------------------------------------------------------------------------

    def refresh(self) -> None:
        desk = self.desk
        self._message.value = view.message(desk.message)
        self._plans.value = view.note(
            "; ".join(f"✗ {plan}" for plan in desk.planned()) or "✓ Nothing is broken.", "plans"
        )
        kept = [
            (
                k.what.partition(":")[0] if self._large else k.what,
                k.left,
                k.taken,
                f"{k.together} {'✓' if k.conserved else '✗'}",
            )
            for k in desk.kept()
        ]
        heads = ("", "left", "taken", "together")
        self._kept.value = view.table("What the services hold", heads, kept, empty="", name="kept")
        problems = desk.problems()
        self._sound.value = view.note(" ".join(f"✗ {problem}" for problem in problems) or SOUND, "sound")
        moments, story = desk.moments(), desk.story()
        rows = [
            (m.step or "—", m.what, str(m.attempt or ""), f"{sign(m)} {m.verdict}" if m.step else "", m.error)
            for m in moments
        ]
        heads5 = ("Step", "What", "Attempt", "Result", "Error")
        self._moments.value = view.table("The saga, moment by moment", heads5, rows, empty="None yet.", name="moments")
        title = f"Order {story.request.order_id}: {story.outcome or 'open'}" if story else "No order yet"
        self.image.show(timeline(moments, title=title, size=LARGE_CHART if self._large else CHART))

    def __repr__(self) -> str:
        return f"SagaPanel: {self.desk!r}"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """With a picture, so that a saved notebook shows the panel where no kernel runs."""
        bundle = super()._repr_mimebundle_(**kwargs)
        return {**bundle, "text/plain": repr(self), "image/png": self.image.as_text()}, self.image.about()

    # --- layout -------------------------------------------------------------------------------------------

    def _controls(self) -> list[Any]:
        """In the order in which Tab visits them."""
        return [
            row(*self._buy_buttons(), *self._way_on(), self._button("reset", "Reset", self.reset)),
            row(self._step, self._kind, self._plans),
            row(*self._fault_fields()),
            row(*self._crash_fields()),
            self._message,
            columns([self.image], [self._kept, self._sound]),
            self._moments,
        ]

    def _presenter(self) -> list[Any]:
        """What is shown to a class comes first, and fits on one screen; the rest is below."""
        faults: list[tuple[str, Callable[[], None]]] = [
            ("The inventory is down", partial(self.fail, "inventory", EVERY)),
            ("Die after the charge", self.crash),
            ("The refund fails", partial(self.fail, "payment compensation", EVERY)),
        ]
        one_click = [self._button(f"fault-{n}", label, act, "danger") for n, (label, act) in enumerate(faults, 1)]
        return [
            row(*self._buy_buttons(), self._button("reset", "Reset", self.reset), *self._way_on()),
            row(*one_click),
            self._message,
            columns([self.image], [self._kept, self._sound]),
            self._plans,
            self._moments,
            row(self._step, self._kind),
            row(*self._fault_fields()),
            row(*self._crash_fields()),
        ]

    def _buy_buttons(self) -> list[Any]:
        return [
            self._button(f"buy-{name}", f"Buy {name}", partial(self.buy, quantity), "primary" if quantity == 1 else "")
            for name, quantity in QUANTITIES.items()
        ]

    def _way_on(self) -> list[Any]:
        return [
            self._button("recover", "Recover", self.recover),
            self._button("repair", "Repair", self.repair),
            self._button("resume", "Resume", self.resume),
        ]

    def _fault_fields(self) -> list[Any]:
        fail = self._button("fail", "Break it", self._fail, "danger")
        return [self._attempts, self._when, fail]

    def _crash_fields(self) -> list[Any]:
        return [self._moment, self._button("crash", "Let it die there", self._crash, "danger")]

    def _fail(self) -> None:
        self.fail(self._part(), self._attempts.value, self._when.value)

    def _crash(self) -> None:
        self.crash(self._part(), self._moment.value)

    def _part(self) -> str:
        return f"{self._step.value}{self._kind.value}"
