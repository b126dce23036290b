"""Whom an event's type reaches, however many subscribe, beside trying each pattern."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from time import process_time
from typing import Any

from benchmarks.measuring import Bench, Goal, Race, Run, Side, rate
from ecomlib.ports import Retry
from ecomlib.subscriptions import Registry

SUBSCRIPTIONS = (5, 50, 500)
KNOWN = ["order.created"]
NEW = [f"order.{number}" for number in range(2_000)]  # by the time the first comes again, a bus has forgotten it
FLAT = Goal("ecomlib, 500", "ecomlib, 5", 0.8)

Match = Callable[[str], Sequence[Any]]


def races(bench: Bench) -> Iterator[Race]:
    """A few of the patterns match, and always the same few, so what grows is only the number of those that do not.

    A type that was published before is looked up by its name, as every publish does it. One that was not is looked for
    in the tree of words. The others split every pattern and compare it word by word, or match a regular expression
    for each pattern, compiled beforehand; they remember nothing.
    """
    ours = {number: by_registry(patterns(number)) for number in SUBSCRIPTIONS}
    for title, types, count in (("known", KNOWN, 200_000), ("new", NEW, 6_000)):
        sides = [Side(f"ecomlib, {n}", "ours", times(ours[n], types, bench.count(count))) for n in SUBSCRIPTIONS]
        for n in SUBSCRIPTIONS:
            few = bench.count(50_000 // n)
            sides.append(Side(f"split and compare, {n}", "peer", times(by_splitting(patterns(n)), types, few)))
            sides.append(Side(f"compiled regex, {n}", "peer", times(by_regex(patterns(n)), types, few)))
        yield Race(f"match a {title} type, among 5 to 500 subscriptions", "matches", tuple(sides), (FLAT,))


def patterns(count: int) -> list[str]:
    """The first five are those that match; the others are like them, for other types."""
    others = [
        f"{head}.{n}.{tail}" for n in range(count) for head, tail in (("order", "*"), ("*", "made"), ("shop", "#"))
    ]
    return ["order.created", "order.*", "*.created", "order.#", "#", *others][:count]


def times(match: Match, types: list[str], count: int) -> Run:
    many = (types * (count // len(types) + 1))[:count]

    def work() -> None:
        for type in many:
            match(type)

    return lambda: rate(count, work, process_time)


def by_registry(patterns: Sequence[str]) -> Match:
    registry = Registry(on_cancel=lambda subscription: 0)
    for pattern in patterns:
        registry.make(pattern, (pattern,), print, True, Retry())
    routes = registry.routes
    return lambda type: routes[type]


def by_splitting(patterns: Sequence[str]) -> Match:
    return lambda type: [pattern for pattern in patterns if fits(pattern.split("."), type.split("."))]


def fits(pattern: list[str], words: list[str]) -> bool:
    """The textbook's answer: word by word, and both ways at a `#`."""
    if not pattern:
        return not words
    if pattern[0] == "#":
        return fits(pattern[1:], words) or (bool(words) and fits(pattern, words[1:]))
    return bool(words) and pattern[0] in ("*", words[0]) and fits(pattern[1:], words[1:])


def by_regex(patterns: Sequence[str]) -> Match:
    """`#` stands for nothing as well, and takes a dot along."""
    word = r"[^.]+"
    compiled = [
        (
            pattern,
            re.compile(
                re.escape(pattern).replace(r"\*", word).replace(r"\.\#", rf"(?:\.{word})*").replace(r"\#", r".*")
            ),
        )
        for pattern in patterns
    ]
    return lambda type: [pattern for pattern, regex in compiled if regex.fullmatch(type)]
