"""Failures on purpose, chosen by service and attempt, never by chance: a lesson must fail the same way every time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from operator import index
from typing import Literal

from ecomlib.errors import BadInput, EcomlibError
from ecomlib.events import Event

When = Literal["before", "after"]
EVERY = range(1, 1_000_000)


class InjectedFault(EcomlibError):
    """Someone asked for this failure."""


class Faults:
    """Which service fails, at which attempts of a delivery, and whether before or after it has done its work."""

    def __init__(self) -> None:
        self._plans: dict[str, tuple[frozenset[int] | range, When]] = {}
        self._known: set[str] = set()

    @property
    def services(self) -> tuple[str, ...]:
        """The services that can be made to fail."""
        return tuple(sorted(self._known))

    @property
    def planned(self) -> dict[str, str]:
        """Each service that is to fail, with a few words that say when."""
        return {service: f"{_words(attempts)}, {when} its work" for service, (attempts, when) in self._plans.items()}

    def fail(self, service: str, *, attempts: Iterable[int] = EVERY, when: When = "before") -> None:
        """From now on the service fails at these attempts (they count from 1) of each delivery, until `repair`.

        Raises `BadInput` for anything else than numbers from 1, and `InjectedFault` for a service it does not know.
        """
        if service not in self._known:
            raise InjectedFault(f"There is no service {service!r} to fail: choose one of {', '.join(self.services)}.")
        if when not in ("before", "after"):
            raise BadInput(f"A service fails 'before' or 'after' its work, not {when!r:.40}.")
        self._plans[service] = (_numbers(attempts), when)

    def repair(self, service: str | None = None) -> None:
        """Let the service, or every one, work again."""
        for name in [service] if service else list(self._plans):
            self._plans.pop(name, None)

    def wrap(self, service: str, handler: Callable[..., object]) -> Callable[..., None]:
        """The same handler of events, or action of a saga, with the faults that are planned for it."""
        self._known.add(service)
        attempts: Counter[str] = Counter()  # by event id or idempotency key: the number of the attempt that runs

        def handle(what: Event | str, *more: object) -> None:
            work = what.id if isinstance(what, Event) else what
            attempts[work] += 1
            number = attempts[work]
            planned, when = self._plans.get(service, (range(0), "before"))
            if number in planned and when == "before":
                raise InjectedFault(f"{service} failed on purpose before its work, at attempt {number}")
            handler(what, *more)
            if number in planned:
                raise InjectedFault(f"{service} failed on purpose after its work, at attempt {number}")
            del attempts[work]

        handle.__name__ = getattr(handler, "__name__", service)
        return handle


def _numbers(attempts: Iterable[int]) -> frozenset[int] | range:
    try:
        numbers = attempts if isinstance(attempts, range) else frozenset(map(index, attempts))
        first = numbers[0] if isinstance(numbers, range) else min(numbers)
    except (TypeError, ValueError, IndexError):  # no numbers, or none at all
        first = 0
    if first < 1:
        raise BadInput(f"Attempts are numbers from 1, like (1, 2), not {attempts!r:.40}.")
    return numbers


def _words(attempts: Iterable[int]) -> str:
    if attempts == EVERY:
        return "at every attempt"
    return f"at attempt {', '.join(map(str, sorted(attempts)))}"
