"""A lane of the panel's picture: one partition, as one consumer group sees it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

TOPIC = "orders"
DEAD = " ✗"  # behind a holder's name: it is dead, and nobody has noticed


class Lane(NamedTuple):
    """Records up to `committed` are done; from there up to `position` they are handled, and nothing more."""

    partition: int
    holder: str  # empty where nobody holds it
    committed: int | None
    position: int  # the offset that the holder reads next
    handled: int  # the first offset that nobody of the group has handled: what is before it, and not done, comes again
    end: int
    others: tuple[tuple[str, int], ...] = ()  # the other groups, with the offset that each has committed

    @property
    def done(self) -> int:
        return self.committed or 0

    @property
    def lag(self) -> int:
        return self.end - self.done

    @property
    def again(self) -> int:
        """How many records have been handled, and will be given again."""
        return max(self.handled - self.position, 0)

    @property
    def in_hand(self) -> int:
        """How many records are handled and not committed."""
        return max(self.position - self.done, 0)


def moves(before: Sequence[Lane], after: Sequence[Lane]) -> Iterator[str]:
    """What each member has taken, in a sentence."""
    taken: dict[str, list[str]] = {}
    for old, lane in zip(before, after, strict=True):
        if lane.holder and lane.holder.removesuffix(DEAD) != old.holder.removesuffix(DEAD):
            taken.setdefault(lane.holder, []).append(f"{TOPIC}/{lane.partition} from offset {old.done}")
    for holder, places in taken.items():
        yield f"{holder} takes {listed(places)}."


def listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def many(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
