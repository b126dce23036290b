"""The control panel: fields, buttons, a live table and a chart over a `Desk`, which does the work."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import ipywidgets as widgets

from ecomlib.faults import EVERY, When
from ecomlib.lab import charts, view
from ecomlib.lab.controls import Clickable, board, choice, columns, row
from ecomlib.lab.desk import AMOUNT, CUSTOMER, Desk
from ecomlib.lab.picture import Picture
from ecomlib.services.orders import Amount, OrderId
from ecomlib.shop import Shop

SERVICES = ("email", "sms", "audit", "analytics")
ATTEMPTS: dict[str, Iterable[int]] = {"1": (1,), "1 and 2": (1, 2), "every": EVERY}
WHEN: dict[str, When] = {"before its work": "before", "after its work": "after"}
ONE_CLICK_FAULTS: dict[str, tuple[str, Iterable[int], When]] = {
    "Email fails once": ("email", (1,), "before"),
    "Email always fails": ("email", EVERY, "before"),
    "SMS dies after its work": ("sms", (1,), "after"),
}
LARGE = ("orders", "paid", "revenue", "emails", "sms", "failed", "dead letters")  # the counters for a projector
CHART, LARGE_CHART = charts.Size(440, 280, 13), charts.Size(460, 310, 20)


class Panel(Clickable, widgets.VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """Every button calls the method of its name; a method returns when all is delivered and shown.

    An error is shown in the panel, and stands in its `repr`. `presenter` makes everything large, for a projector.
    """

    def __init__(self, shop: Shop | None = None, *, presenter: bool = False) -> None:
        self.desk = Desk(shop)
        self._large = presenter
        self._amount = _field("amount", "Amount", AMOUNT)
        self._customer = _field("customer", "Customer", CUSTOMER)
        self._service = choice("which-service", "Break", [(name, name) for name in SERVICES])
        self._attempts = choice("which-attempts", "at attempt", list(ATTEMPTS.items()))
        self._when = choice("which-time", "", list(WHEN.items()))
        self._message, self._counters, self._faults = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self._rows, self._letters, self._caption = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.image = Picture(LARGE_CHART if presenter else CHART)
        super().__init__([widgets.HTML(view.style()), *(self._presenter() if presenter else self._controls())])
        self.add_class("ecomlib-lab")
        self.add_class("ecomlib-panel")
        if presenter:
            self.add_class("ecomlib-presenter")
        self.refresh()

    # --- actions ------------------------------------------------------------------------------------------

    def fire(self, user_id: OrderId | None = None, amount: Amount | None = None) -> None:
        """One order; without arguments, what the fields say."""
        self.desk.fire(
            self._customer.value if user_id is None else user_id, self._amount.value if amount is None else amount
        )
        self.refresh()

    def fire_many(self, n: int = 100) -> None:
        """The next day's customers."""
        self.desk.fire_many(n)
        self.refresh()

    def pay(self) -> None:
        self.desk.pay()
        self.refresh()

    def ship(self) -> None:
        self.desk.ship()
        self.refresh()

    def cancel(self) -> None:
        self.desk.cancel()
        self.refresh()

    def fail(self, service: str, attempts: Iterable[int] = (1,), when: When = "before") -> None:
        """From now on, until `repair`, the service fails at these attempts of each delivery."""
        self.desk.fail(service, attempts, when)
        self.refresh()

    def repair(self) -> None:
        self.desk.repair()
        self.refresh()

    def redeliver(self) -> None:
        """All dead letters."""
        self.desk.redeliver()
        self.refresh()

    def reset(self) -> None:
        """A new shop."""
        self.desk.reset()
        self.refresh()

    # --- what is shown ------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Show the shop as it is now: for orders that came another way than through this panel."""
        desk, n = self.desk, 6 if self._large else 12
        # The picture first, since it takes the browser the longest: the words come while that decodes it.
        counts = charts.attempts_frame(desk.attempts_by_service())
        self.image.show(charts.attempts(counts, size=LARGE_CHART if self._large else CHART))
        self._message.value = view.message(desk.message)
        numbers = desk.counters()
        self._counters.value = view.counters({name: numbers[name] for name in LARGE} if self._large else numbers)
        self._rows.value = view.attempts(desk.rows(n), errors=not self._large)
        self._letters.value = view.dead_letters(desk.dead_letters, 3 if self._large else 5)
        planned = "; ".join(f"✗ {service} fails {when}" for service, when in desk.shop.faults.planned.items())
        self._faults.value = view.note(planned or "✓ Every service works.", "faults")

    def __repr__(self) -> str:
        return f"Panel: {self.desk!r}"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """With a picture, so that a saved notebook shows the panel where no kernel runs."""
        bundle = super()._repr_mimebundle_(**kwargs)
        return {**bundle, "text/plain": repr(self), "image/png": self.image.as_text()}, self.image.about()

    # --- layout -------------------------------------------------------------------------------------------

    def _controls(self) -> list[Any]:
        """In the order in which Tab visits them."""
        return [
            row(self._amount, self._customer, *self._order_buttons()),
            row(*self._fault_fields(), self._repair(), self._faults),
            self._message,
            board(
                counters=self._counters,
                attempts=self._rows,
                chart=self.image,
                letters=widgets.VBox([self._letters, self._redeliver()]),
            ),
        ]

    def _presenter(self) -> list[Any]:
        """What is shown to a class comes first, and fits on one screen; the rest is below."""
        faults = [
            self._button(f"fault-{n}", label, partial(self.fail, *plan), "danger")
            for n, (label, plan) in enumerate(ONE_CLICK_FAULTS.items(), 1)
        ]
        return [
            row(*self._order_buttons()),
            row(*faults, self._repair(), self._redeliver()),
            self._message,
            self._counters,
            columns([self._rows], [self.image]),
            self._letters,
            row(self._amount, self._customer),
            row(*self._fault_fields(), self._faults),
        ]

    def _order_buttons(self) -> list[Any]:
        return [
            self._button("fire", "Fire an order", self.fire, "primary"),
            self._button("fire-many", "Fire a hundred", self.fire_many),
            self._button("pay", "Pay", self.pay),
            self._button("ship", "Ship", self.ship),
            self._button("cancel", "Cancel", self.cancel),
            self._button("reset", "Reset", self.reset),
        ]

    def _fault_fields(self) -> list[Any]:
        return [self._service, self._attempts, self._when, self._button("fail", "Break it", self._fail, "danger")]

    def _repair(self) -> Any:
        return self._button("repair", "Repair", self.repair)

    def _redeliver(self) -> Any:
        return self._button("redeliver", "Redeliver" if self._large else "Redeliver all dead letters", self.redeliver)

    def _fail(self) -> None:
        self.fail(self._service.value, self._attempts.value, self._when.value)


def presenter(shop: Shop | None = None) -> Panel:
    """The panel for a projector."""
    return Panel(shop, presenter=True)


def _field(name: str, label: str, value: str) -> Any:
    field = widgets.Text(
        value=value,
        description=label,
        continuous_update=False,  # sent when the field is left: so it is never behind the click that follows
        layout={"width": "auto"},
        style={"description_width": "auto"},
    )
    field.add_class(f"ecomlib-{name}")
    return field
