"""Draws in exact proportions, in a random order that a seed decides.

Ten thousand throws of a die hit each figure only roughly: a share of 1.8 % would miss by more than 5 % of itself in
one of two runs. So nothing is thrown: every quantity is dealt in its right proportions from a shuffled pack, each from
a pack of its own, so that none depends on another.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


def dealt(items: Sequence[T], weights: Sequence[float], n: int, random: Random) -> list[T]:
    """`n` items, each as often as its weight says, in random order. What rounding leaves goes to the most wronged."""
    wanted = [n * weight / sum(weights) for weight in weights]
    counts = [int(share) for share in wanted]
    by_loss = sorted(range(len(items)), key=lambda i: counts[i] - wanted[i])
    for i in by_loss[: n - sum(counts)]:
        counts[i] += 1
    pack = [item for item, count in zip(items, counts, strict=True) for _ in range(count)]
    random.shuffle(pack)
    return pack


def levels(n: int, random: Random) -> list[float]:
    """`n` numbers between 0 and 1, one in each of `n` equal parts, in random order."""
    parts = [(i + random.random()) / n for i in range(n)]
    random.shuffle(parts)
    return parts


def drawn(quantiles: Sequence[float], at: Sequence[float], n: int, random: Random) -> list[float]:
    """`n` values of which a share of `at[i]` lies below `quantiles[i]`, with straight lines in between."""
    values = []
    for level in levels(n, random):
        i = min(bisect_right(at, level), len(at) - 1)  # a level just below 1 may be rounded up to it
        low, high = at[i - 1], at[i]
        values.append(quantiles[i - 1] + (quantiles[i] - quantiles[i - 1]) * (level - low) / (high - low))
    return values
