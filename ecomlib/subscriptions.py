"""Who subscribes to what: the subscriptions of a bus, and which of them an event's type reaches."""

from __future__ import annotations

import inspect
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any, Self

from ecomlib.errors import AlreadySubscribed, NotSubscribed
from ecomlib.events import Event
from ecomlib.pattern_index import PatternIndex, is_exact
from ecomlib.patterns import check_pattern
from ecomlib.ports import Attempt, DeadLetter, Outcome, Retry

ROUTES_KEPT = 1_000  # types whose subscriptions are remembered; a bus with endless types must not grow without end

Item = Event | DeadLetter
Delivery = tuple[Item, int, int]  # what, the number of its next attempt, and how many it had before it was redelivered
Recorded = tuple[Item, str, int, Outcome, float, str | None]  # an `Attempt`, which is made when somebody looks


def event_of(item: Item) -> Event:
    return item if isinstance(item, Event) else item.event


def as_attempt(recorded: Recorded) -> Attempt:
    item, name, number, outcome, took, error = recorded
    return Attempt(event_of(item), name, number, outcome, took, error)


class Subscription:
    """One handler and its queue. A context manager: it is cancelled at the end of the block."""

    def __init__(
        self,
        name: str,
        patterns: tuple[str, ...],
        handler: Callable[[Any], object],
        ordered: bool,
        retry: Retry,
        on_cancel: Callable[[Subscription], int],
        number: int,
    ) -> None:
        self.name, self.patterns, self.handler, self.ordered, self.retry = name, patterns, handler, ordered, retry
        self.number = number  # in the order in which they subscribed
        self._on_cancel = on_cancel
        self.counts: dict[Outcome, int] = {"handled": 0, "failed": 0, "dead": 0}  # of all attempts
        self.queue: deque[Delivery] = deque()
        self.held = False  # nothing begins: a failed delivery waits for its retry, or it was cancelled
        self.cancelled = False

    def cancel(self) -> int:
        """No delivery begins after this returns; one that runs may still end. Says how many waiting ones it dropped."""
        return self._on_cancel(self)

    def __repr__(self) -> str:
        return f"<Subscription {self.name} to {', '.join(self.patterns)}{' (cancelled)' if self.cancelled else ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.cancel()


Route = tuple[tuple[Subscription, ...], tuple[str, ...]]  # who gets a type's events, as they subscribed; their names


class Routes(dict[str, Route]):
    """By type; those that were found are remembered."""

    def __init__(self, find: Callable[[str], Route]) -> None:
        self._find = find

    def __missing__(self, type: str) -> Route:
        if len(self) >= ROUTES_KEPT:
            self.clear()
        route = self[type] = self._find(type)
        return route


class Registry:
    """Not safe by itself: the bus holds its lock around every call."""

    def __init__(self, on_cancel: Callable[[Subscription], int]) -> None:
        self._on_cancel = on_cancel
        self._numbers = itertools.count()
        self.by_name: dict[str, Subscription] = {}
        self.routes = Routes(self._route)
        self._index: PatternIndex[Subscription] = PatternIndex()

    def make(
        self, name: str | None, patterns: tuple[str, ...], handler: Callable[..., object], ordered: bool, retry: Retry
    ) -> Subscription:
        """Check that it may be added, name it if need be, and add it."""
        check_handler(handler)
        for pattern in patterns:
            check_pattern(pattern)
        if name in self.by_name:
            raise AlreadySubscribed(f"There is a subscription named {name!r}: choose another name, or cancel that one.")
        if name is None:
            for other in self.by_name.values():
                for pattern in patterns:
                    if other.handler == handler and pattern in other.patterns:
                        raise AlreadySubscribed(f"{other.name!r} is already subscribed to {pattern!r}.")
            own = name_of(handler)
            numbered = (f"{own}-{k}" for k in range(2, len(self.by_name) + 3))
            name = own if own not in self.by_name else next(n for n in numbered if n not in self.by_name)
        patterns = tuple(dict.fromkeys(patterns))
        made = Subscription(name, patterns, handler, ordered, retry, self._on_cancel, next(self._numbers))
        self.by_name[name] = made
        for pattern in patterns:
            self._index.add(pattern, made)
        self.routes.clear()
        return made

    def remove(self, subscription: Subscription) -> None:
        if self.by_name.get(subscription.name) is subscription:  # the name may have passed on to another
            del self.by_name[subscription.name]
            self._reindex()

    def withdraw(self, patterns: tuple[str, ...], handler: Callable[..., object]) -> list[Subscription]:
        """Take the patterns (all, where none is named) from the handler. Returns the subscriptions left with none."""
        mine = [s for s in self.by_name.values() if s.handler == handler]
        have = [pattern for s in mine for pattern in s.patterns]
        strange = [pattern for pattern in patterns if pattern not in have]
        if strange or not mine:
            raise NotSubscribed(
                f"{name_of(handler)!r} is not subscribed to {', '.join(map(repr, strange)) or 'anything'}; "
                f"it has: {', '.join(map(repr, have)) or 'nothing'}."
            )
        meant = [s for s in mine if not patterns or set(patterns) & set(s.patterns)]
        for s in meant:
            s.patterns = tuple(p for p in s.patterns if patterns and p not in patterns)
        self._reindex()
        return [s for s in meant if not s.patterns]

    def _route(self, type: str) -> Route:
        """Each subscription once, however many of its patterns match."""
        reached = sorted(set(self._index.match(type)), key=lambda s: s.number)
        return tuple(reached), tuple([s.name for s in reached])

    def listing(self) -> dict[str, dict[str, list[str]]]:
        found: dict[str, dict[str, list[str]]] = {"exact": {}, "wildcard": {}}
        for s in tuple(self.by_name.values()):
            for pattern in s.patterns:
                found["exact" if is_exact(pattern) else "wildcard"].setdefault(pattern, []).append(s.name)
        return found

    def _reindex(self) -> None:
        self._index = PatternIndex((p, s) for s in self.by_name.values() for p in s.patterns)
        self.routes.clear()


def check_handler(handler: Callable[..., object]) -> None:
    """Raises `TypeError` for what a bus can't call."""
    if not callable(handler):
        raise TypeError(f"A handler is a function that takes an event, not {handler!r:.60}.")
    if any(map(inspect.iscoroutinefunction, (handler, type(handler).__call__))):
        raise TypeError(f"{name_of(handler)!r} is async: the bus calls ordinary functions. Wrap it in asyncio.run.")


def name_of(handler: Callable[..., object]) -> str:
    """What a subscription is called that was given no name."""
    return str(getattr(handler, "__name__", type(handler).__name__))
