"""What the saga's panel does, without the panel: a small checkout that can be made to fail, to die and to go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from ecomlib.checkout import ITEM, Checkout
from ecomlib.clock import SimulatedClock
from ecomlib.errors import BadInput, EcomlibError, Refused
from ecomlib.faults import When
from ecomlib.lab import saga_rows
from ecomlib.lab.desk import Message
from ecomlib.lab.mortal import UNLOGGED, Died, MortalLog, Place
from ecomlib.lab.saga_rows import CUSTOMER, MACHINES, MONEY, PLACES, PRICE, Kept, Mark, Moment, What, told
from ecomlib.lab.scratch import scratch
from ecomlib.shop import open_checkout
from ecomlib.story import Story


class SagaDesk:
    """Customer 100 has 500.00; there are 4 coffee machines at 50.00 each, and 3 places in the van.

    The checkout is kept in `folder`, or in a temporary one that goes away with the desk; clock and ids are the same at
    every run. Every action returns when its sagas have ended, or when the runner has died. What it led to stands in
    `message`. A death here is an error that nobody catches, after which every part of the checkout is closed and
    dropped, as the end of a process would do it. (A real process is killed by the crash harness: `make crash`.)
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        self._begin(Path(folder) if folder is not None else scratch(self))
        self.message = Message("Buy something, and watch the steps.")

    def _begin(self, folder: Path) -> None:
        self.folder, self.clock = folder, SimulatedClock()
        self.faults: dict[str, tuple[Iterable[int], When]] = {}  # they outlive the runner: the services are at fault
        self.crash_at: Place | None = None
        self.selected: str | None = None  # the saga that the timeline shows
        self._marks: list[Mark] = []
        self.checkout: Checkout | None = self._open()

    def _open(self) -> Checkout:
        """A new checkout over the same files. It knows nothing but what they say."""
        log = MortalLog(self.folder, durability="system")
        log.place = self.crash_at
        checkout = open_checkout(
            log,
            clock=self.clock,
            seed=0,
            accounts={CUSTOMER: MONEY},
            stock={ITEM: MACHINES},
            slots={"today": PLACES},
        )
        for name, (attempts, when) in self.faults.items():
            checkout.faults.fail(name, attempts=attempts, when=when)
        return checkout

    # --- actions ------------------------------------------------------------------------------------------

    def buy(self, quantity: int = 1) -> None:
        """The next order of customer 100: so many coffee machines."""

        def purchase() -> str:
            if isinstance(quantity, bool) or not isinstance(quantity, int) or quantity < 1:
                raise BadInput(f"{quantity!r:.40} coffee machines can't be bought: ask for a whole number, 1 or more.")
            checkout = self._alive()
            order = checkout.orders.next_number()
            self.selected = f"order-{order}"
            amount = quantity * PRICE
            return told(checkout.buy(order, user_id=CUSTOMER, amount=amount, quantity=quantity))

        self._act(purchase)

    def fail(self, part: str, attempts: Iterable[int] = (1,), when: When = "before") -> None:
        """From now on a step, or "<step> compensation", fails at these attempts, also in a runner that recovers."""

        def plan() -> str:
            numbers = attempts if isinstance(attempts, range) else tuple(attempts)
            with self._reading() as checkout:
                checkout.faults.fail(part, attempts=numbers, when=when)
                self.faults[part] = (numbers, when)
                return f"From now on {part} fails {checkout.faults.planned[part]}."

        self._act(plan)

    def crash(self, part: str = "payment", moment: str = UNLOGGED) -> None:
        """The runner dies, once, when it comes to this place, whether it buys, recovers or resumes."""

        def plan() -> str:
            self._die_at(Place.named(part, moment))
            then = "buy something" if self.checkout else "click Recover"
            return f"The runner will die {self.crash_at}. Now {then}."

        self._act(plan)

    def recover(self) -> None:
        """A new runner over the same files ends what the dead one left open."""

        def take_up() -> str:
            if self.checkout is None:
                self.checkout = self._open()
            self._mark("recovered", None)
            stories = self.checkout.recover(threads=1)  # one thread: so the log is the same at every run
            return " ".join(map(told, stories)) or "No saga was open: there was nothing to recover."

        self._act(take_up)

    def resume(self) -> None:
        """Every saga that is stuck is tried again, as somebody does who has put right what was in its way."""

        def again() -> str:
            checkout = self._alive()
            stuck = [story.id for story in self.stories() if story.outcome == "stuck"]
            if not stuck:
                raise Refused("No saga is stuck: there is nothing to resume.")
            self._mark("resumed", "stuck")
            self.selected = stuck[-1]
            return " ".join(told(checkout.runner.resume(saga)) for saga in stuck)

        self._act(again)

    def repair(self) -> None:
        """Every step and every compensation works again, and no crash is planned. What is stuck waits for `resume`."""
        self.faults.clear()
        self._die_at(None)
        if self.checkout:
            self.checkout.faults.repair()
        stuck = self.outcomes()["stuck"]
        self.message = Message(f"Every service works.{f' Stuck sagas that wait to be resumed: {stuck}.' * bool(stuck)}")

    def reset(self) -> None:
        """A new checkout, in a temporary folder. What the old one wrote into a folder that was given stays there."""
        self.close()
        self._begin(scratch(self))
        self.message = Message("A new checkout, with nothing in it.")

    def close(self) -> None:
        if self.checkout:
            self.checkout.close()
            self.checkout = None

    def _act(self, action: Callable[[], str]) -> None:
        self.clock.advance(minutes=1)  # so that no two actions have the same time
        try:
            said = action()
        except Died as death:
            self.close()
            self.crash_at = None
            self._mark("killed", None)
            self.message = Message(f"The runner died {death}. Its files are all that is left. Click Recover.", ok=False)
        except EcomlibError as error:
            self.message = Message(str(error), ok=False)
        else:
            self.message = Message(said, ok="is stuck" not in said)

    def _alive(self) -> Checkout:
        if self.checkout is None:
            raise Refused("The runner is dead. Click Recover first.")
        return self.checkout

    def _die_at(self, place: Place | None) -> None:
        self.crash_at = place
        if self.checkout:
            assert isinstance(self.checkout.log, MortalLog)
            self.checkout.log.place = place

    def _mark(self, what: What, outcome: str | None) -> None:
        self._marks += [Mark(story.id, len(story.tried), what) for story in self.stories() if story.outcome == outcome]

    # --- what came of it ----------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[Checkout]:
        """The checkout; where the runner is dead, one that only looks into what it left."""
        if self.checkout:
            yield self.checkout
            return
        with self._open() as checkout:
            yield checkout

    def stories(self) -> list[Story]:
        """What the log says of each saga, the first one first."""
        with self._reading() as checkout:
            checkout.runner.catch_up()
            return list(checkout.runner.stories.values())

    def story(self) -> Story | None:
        """Of the saga that the timeline shows."""
        return next((story for story in self.stories() if story.id == self.selected), None)

    def moments(self) -> list[Moment]:
        """Of the saga that the timeline shows."""
        story = self.story()
        return saga_rows.moments(story, self._marks) if story else []

    def outcomes(self) -> Counter[str]:
        return Counter(story.outcome or "open" for story in self.stories())

    def kept(self) -> list[Kept]:
        with self._reading() as checkout:
            return saga_rows.kept(checkout)

    def problems(self) -> list[str]:
        """What is not as a checkout promises, in sentences; a saga that is open or stuck too."""
        with self._reading() as checkout:
            return checkout.problems()

    def planned(self) -> list[str]:
        with self._reading() as checkout:
            faults = [f"{part} fails {when}" for part, when in checkout.faults.planned.items()]
        return [*faults, *([f"the runner will die {self.crash_at}"] if self.crash_at else [])]

    def __repr__(self) -> str:
        outcomes = self.outcomes()
        money, machines, slots = self.kept()
        counted = ", ".join(f"{n} {outcome}" for outcome, n in sorted(outcomes.items())) or "none"
        said = (
            f"sagas: {counted} | customer {money.left}, shop {money.taken} | "
            f"in stock {machines.left}, places in the van {slots.left} | problems {len(self.problems())}"
        )
        said += " | the runner is dead" if self.checkout is None else ""
        return said if self.message.ok else f"{said} | {self.message}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
