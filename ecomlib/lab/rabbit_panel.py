"""The RabbitMQ panel: produce, start workers, kill them, poison a queue; and see the messages move."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import ipywidgets as widgets

from ecomlib.errors import EcomlibError
from ecomlib.events import Event
from ecomlib.lab import view
from ecomlib.lab.controls import Clickable, columns, row
from ecomlib.lab.desk import Message, said
from ecomlib.lab.figures import Size
from ecomlib.lab.lesson_broker import LessonBroker
from ecomlib.lab.picture import Picture
from ecomlib.lab.rabbit_chart import broker as chart
from ecomlib.lab.rabbit_desk import PREFETCH, WORK, RabbitDesk
from ecomlib.lab.rabbit_rows import DeadRow, QueueRow, Seen

CHART, LARGE_CHART = Size(700, 340, 13), Size(1040, 400, 20)
HEADS = ("Queue", "Ready", "In hand", "Consumers", "Handled", "Dead", "In/s", "Out/s")
IN_HAND = "In hand is what was sent from here, and neither waits nor is done."
PAUSE = 0.5  # seconds between two looks
CALM = 3  # looks that show the same, after which nobody looks until something happens
SHOWN = 6  # rows of a table
LIMIT = 30.0  # seconds for the thread that looks to end


class RabbitPanel(Clickable, widgets.VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """Every button calls the method of its name. While something changes, a thread looks twice a second, until `close`.

    An error is shown in the panel, and stands in its `repr`. `presenter` makes everything large, for a projector.
    """

    def __init__(
        self,
        broker: LessonBroker,
        *,
        presenter: bool = False,
        work: float = WORK,
        prefetch: int = PREFETCH,
    ) -> None:
        """Deletes what is in the queues of the exchange `shop`. Raises `BrokerError` where there is no broker."""
        self._closed = threading.Event()
        self._closed.set()  # until there is something to close: what has no broker ends here
        self.desk = RabbitDesk(broker, work=work, prefetch=prefetch)
        self._large = presenter
        self._message, self._rows, self._note = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self._workers, self._dead = widgets.HTML(), widgets.HTML()
        self.image = Picture(LARGE_CHART if presenter else CHART)
        self._drawn: tuple[Seen, Message] | None = None
        self._one_at_a_time = threading.RLock()  # the looks of our thread, and those of the buttons
        super().__init__([widgets.HTML(view.style()), *self._controls()])
        for name in ("lab", "panel", "rabbit-panel", *(["presenter"] if presenter else [])):
            self.add_class(f"ecomlib-{name}")
        self.refresh()
        self._watch()
        atexit.register(_end, weakref.ref(self))  # while the broker is still there, and a thread may still be started

    # --- actions: the desk's ------------------------------------------------------------------------------

    def produce(self, orders: int = 5, *, paid: int = 0) -> None:
        self._do(partial(self.desk.produce, orders, paid=paid))

    def publish(self, event: Event) -> None:
        self._do(partial(self.desk.publish, event))

    def start_worker(self, kind: str = "email", **more: Any) -> None:
        """`more` is what the desk's method takes: work, prefetch."""
        self._do(partial(self.desk.start_worker, kind, **more))

    def kill_worker(self, kind: str = "email") -> None:
        self._do(partial(self.desk.kill_worker, kind))

    def stop_worker(self, kind: str = "email") -> None:
        self._do(partial(self.desk.stop_worker, kind))

    def poison(self) -> None:
        self._do(self.desk.poison)

    def bounce(self) -> None:
        self._do(self.desk.bounce)

    def settle(self, timeout: float = LIMIT) -> None:
        """Returns when living workers have nothing left to do. Raises `NotDrained`."""
        self.desk.settle(timeout)
        self.refresh()

    def wait_for(self, queue: str, **numbers: Any) -> None:
        """Returns when this queue's row has these numbers. Raises `NotDrained`."""
        self.desk.wait_for(queue, **numbers)
        self.refresh()

    def look(self) -> None:
        """Show what is there now, whoever did it."""
        self.refresh()

    def reset(self) -> None:
        """Also after `close`."""
        self._do(self.desk.reset)
        if self._closed.is_set():
            self._watch()

    # In place of a widget's own `close`, which takes it off the page: one wants to see how it ended, and to play on.
    def close(self) -> None:
        """Kills the workers; no thread of the panel runs when it returns. It still shows what was there last."""
        if not self._closed.is_set():  # so that nothing is asked any more when Python ends, and closes every widget
            self._end()
            self.refresh()

    def _end(self) -> None:
        self._closed.set()
        self.desk.changed.set()
        self._looker.join(LIMIT)
        self.desk.close()

    def _do(self, action: Callable[[], None]) -> None:
        with self._one_at_a_time:
            action()
            self.refresh()

    def _watch(self) -> None:
        self._closed = threading.Event()
        self._looker = threading.Thread(target=self._keep_looking, args=[self._closed], daemon=True)
        self._looker.start()

    def _keep_looking(self, closed: threading.Event) -> None:
        same = 0
        while not closed.is_set():
            if same >= CALM:
                self.desk.changed.wait()
            if self.desk.changed.is_set():
                self.desk.changed.clear()
                same = 0
            if closed.wait(PAUSE):
                return
            before = self._drawn
            self.refresh()
            same = same + 1 if self._drawn == before else 0

    # --- what is shown ------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Sets values, and only where something is new. May be called from any thread."""
        with self._one_at_a_time:
            try:
                seen = self.desk.seen = self.desk.look()
            except EcomlibError as error:
                seen, self.desk.message = self.desk.seen, Message(str(error), ok=False)
            if (seen, self.desk.message) == self._drawn:
                return
            self._drawn = seen, self.desk.message
            self._message.value = view.message(self.desk.message)
            self._rows.value = _queues(seen, large=self._large)
            self._workers.value = _workers(seen)
            self._dead.value = _dead(self.desk.ledger.dead)
            self._note.value = view.note(f"{seen.source} {IN_HAND}", "source")
            self.image.show(chart(seen, size=LARGE_CHART if self._large else CHART))

    def __repr__(self) -> str:
        return f"RabbitPanel: {self.desk!r}"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """With a picture, so that a saved notebook shows the panel where no kernel runs."""
        self.refresh()
        bundle = super()._repr_mimebundle_(**kwargs)
        return {**bundle, "text/plain": repr(self), "image/png": self.image.as_text()}, self.image.about()

    # --- layout -------------------------------------------------------------------------------------------

    def _controls(self) -> list[Any]:
        """In the order in which Tab visits them."""
        start, kill, stop = self.start_worker, self.kill_worker, self.stop_worker
        buttons = [
            row(
                self._button("produce", "Produce 5 orders", self.produce, "primary"),
                self._button("start-email", "Start email worker", partial(start, "email")),
                self._button("start-analytics", "Start analytics worker", partial(start, "analytics")),
                self._button("poison", "Poison message", self.poison, "warning"),
                self._button("look", "Look", self.look),
                self._button("reset", "Reset", self.reset),
            ),
            row(
                self._button("kill-email", "Kill email (-9)", partial(kill, "email"), "danger"),
                self._button("kill-analytics", "Kill analytics (-9)", partial(kill, "analytics"), "danger"),
                self._button("stop-email", "Stop email", partial(stop, "email")),
                self._button("stop-analytics", "Stop analytics", partial(stop, "analytics")),
                self._button("bounce", "Order that bounces", self.bounce, "warning"),
            ),
            self._message,
        ]
        if self._large:
            return [*buttons, self.image, self._rows, self._workers, self._dead, self._note]
        return [*buttons, columns([self.image], [self._workers, self._note]), self._rows, self._dead]


def _end(panel: weakref.ref[RabbitPanel]) -> None:
    if (there := panel()) is not None:
        there._end()


def _queues(seen: Seen, *, large: bool) -> str:
    heads = HEADS[:6] if large else HEADS
    cells = [_cells(queue)[: len(heads)] for queue in seen.queues]
    return view.table("The queues", heads, cells, empty="", name="queues")


def _cells(queue: QueueRow) -> tuple[str, ...]:
    numbers = (queue.ready, queue.in_hand, queue.consumers, queue.handled, queue.dead)
    rates = ("—" if rate is None else f"{rate:.1f}" for rate in (queue.rate_in, queue.rate_out))
    return (queue.queue, *map(str, numbers), *rates)


def _workers(seen: Seen) -> str:
    cells = [
        (worker.name, str(worker).split(" ")[0] + f" {worker.state}", str(worker.handled)) for worker in seen.workers
    ]
    return _latest("Worker processes", ("Worker", "State", "Handled"), cells, "workers")


def _dead(rows: tuple[DeadRow, ...]) -> str:
    cells = [(row.what, row.queue, str(row.attempts), said(row.error)) for row in rows]
    return _latest("Dead letters", ("Message", "Queue", "Attempts", "Error"), cells, "dead")


def _latest(caption: str, heads: tuple[str, ...], rows: list[Any], name: str) -> str:
    about = f", the latest {SHOWN} of {len(rows)}" if len(rows) > SHOWN else ""
    return view.table(f"{caption}{about}", heads, rows[: -SHOWN - 1 : -1], empty="None yet.", name=name)
