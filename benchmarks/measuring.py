"""Runs that take turns, so that all of them meet the same machine, and what their figures say together."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple

Run = Callable[[], float]
Kind = Literal["ours", "peer", "limit"]
FULL = 1.0
TINY = 0.001  # proves that everything works; its figures mean nothing


class NotHere(Exception):
    """Something that a measurement needs is not on this machine; the text says what, and how to get it."""


@dataclass(frozen=True)
class Bench:
    """What a measurement is handed: a folder of its own, and how much work to do."""

    folder: Path
    scale: float = FULL
    versions: dict[str, str] = field(default_factory=dict)  # of what is no Python package: an area adds what it used

    def count(self, full: int, least: int = 10) -> int:
        """How many of something to do, where `full` is right for the whole benchmark."""
        return max(round(full * self.scale), min(least, full))


class Side(NamedTuple):
    """One way to do the work. `run` does it once, and returns how much it did in a second."""

    name: str
    kind: Kind
    run: Run


class Goal(NamedTuple):
    """In a second, `ours` does at least so many `times` what `beside` does."""

    ours: str
    beside: str
    times: float


@dataclass(frozen=True)
class Race:
    """The same work, done in several ways."""

    title: str
    unit: str  # what the runs count: "events", "requests"
    sides: tuple[Side, ...]
    goals: tuple[Goal, ...] = ()
    rounds: int = 7
    warm_up: bool = True  # a round first that does not count; runs of many seconds need none


@dataclass(frozen=True)
class Reading:
    """A figure that stands for itself: seconds, milliseconds, megabytes. The less, the better."""

    title: str
    unit: str
    sides: tuple[Side, ...]  # their runs return the figure
    at_most: float | None = None  # for those that are ours
    rounds: int = 1


class Spread(NamedTuple):
    """Of the figures of several rounds. The median is what to quote."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, figures: list[float]) -> Spread:
        return cls(min(figures), median(figures), max(figures))


@dataclass
class Measured:
    """All figures of a race or a reading, by side, a figure a round."""

    of: Race | Reading
    figures: dict[str, list[float]] = field(default_factory=dict)

    def spread(self, side: str) -> Spread:
        return Spread.of(self.figures[side])

    def ratio(self, goal: Goal) -> Spread:
        """Pair by pair: only figures of the same round are compared, so a machine whose speed drifts does no harm."""
        pairs = zip(self.figures[goal.ours], self.figures[goal.beside], strict=True)
        return Spread.of([ours / beside for ours, beside in pairs])


def measure(what: Race | Reading, scale: float = FULL) -> Measured:
    """Each round runs every side once, each time beginning with another one."""
    measured = Measured(what, {side.name: [] for side in what.sides})
    full = scale >= FULL
    warm = 1 if full and isinstance(what, Race) and what.warm_up else 0
    for number in range(warm + (what.rounds if full else 1)):
        first = number % len(what.sides)
        for side in what.sides[first:] + what.sides[:first]:
            gc.collect()
            figure = side.run()
            if number >= warm:
                measured.figures[side.name].append(figure)
    return measured


def rate(count: int, work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Do the work, which is `count` of something, and return how many that makes in a second.

    Where all is done in one thread, and nothing waits, `time.process_time` is the better clock: it stands still while
    the machine does something else.
    """
    began = clock()
    work()
    return count / (clock() - began)


Area = Callable[[Bench], Iterator[Race | Reading]]
