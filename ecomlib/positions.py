"""Where a member of a consumer group reads: the next record's offset in each partition that it holds."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ecomlib.assignment import Place
from ecomlib.errors import BadInput, BadOffset, LogError, StaleCommit
from ecomlib.offsets import Offsets
from ecomlib.ports import Lag, Record, Start

if TYPE_CHECKING:
    from ecomlib.log import FileLog


class Positions:
    """A partition that was taken is read from the group's offset, or from `start` where nothing is committed yet."""

    def __init__(self, log: FileLog, folder: Path, start: Start) -> None:
        if start not in ("beginning", "end"):
            raise BadInput(f"A consumer starts at the 'beginning' or at the 'end', not at {start!r:.40}.")
        self.next: dict[Place, int] = {}  # a partition whose offset can't be read is not in it
        self._handled: dict[Place, int] = {}  # what comes before this offset is committed, or was skipped by a seek
        self._trouble: dict[Place, LogError] = {}  # what is still to be raised
        self._log, self._start = log, start
        self._offsets = Offsets(folder, durable=log.durability != "system")
        self._turn = 0

    def keep(self, kept: Collection[Place], held: Collection[Place]) -> None:
        """Forget all but what was kept without a break, and find the way into what else is held now."""
        for known in (self.next, self._handled, self._trouble):
            for place in known.keys() - set(kept):
                del known[place]
        for place in held:
            with suppress(LogError):  # reading the partition says it
                self._position(place)

    def _position(self, place: Place) -> int:
        if place not in self.next:
            end = self._log.end(*place)
            committed = self._offsets.committed(place, end)
            if committed is None:
                committed = 0 if self._start == "beginning" else end
            self.next[place] = self._handled[place] = committed
        return self.next[place]

    def read(self, places: tuple[Place, ...], limit: int) -> list[Record]:
        """Up to so many records. An error in one partition is raised once what comes before it, and what the others
        have at that moment, has been returned.
        """
        if limit < 1:
            raise BadInput(f"A poll asks for 1 record at least, not {limit!r:.40}.")
        self._raise()
        found: list[Record] = []
        reached: dict[Place, int] = {}  # counts once all is returned: whoever interrupts a poll has got nothing
        first = self._turn % max(len(places), 1)
        self._turn += 1  # another one comes first each time, so that none waits for ever behind a long one
        for place in places[first:] + places[:first]:
            if len(found) == limit:
                break
            try:
                position = self._position(place)
                if position == self._log.end(*place):
                    continue
                for record in self._log.read(place[0], position, partition=place[1], end=position + limit - len(found)):
                    found.append(record)
                    reached[place] = record.position.offset + 1
            except LogError as error:
                self._trouble[place] = error
        if not found:
            self._raise()
        self.next |= reached
        return found

    def _raise(self) -> None:
        while self._trouble:
            place, error = self._trouble.popitem()
            if not isinstance(error, BadOffset):
                raise error
            self._position(place)  # raises it anew, unless somebody has mended the file since

    def seek(self, held: Collection[Place], offset: int | Start, topic: str | None, partition: int | None) -> None:
        places = [place for place in held if topic in (None, place[0]) and partition in (None, place[1])]
        if not places or (len(places) > 1 and isinstance(offset, int)):
            asked = f"seek({offset!r:.40}, {topic!r:.40}, {partition!r:.40})"
            raise BadInput(f"{asked} needs a partition that is held here, an offset only one: {shown(*held)}.")
        to: dict[Place, int] = {}
        for place in places:
            end = self._log.end(*place)
            ends: dict[int | Start, int] = {"beginning": 0, "end": end}
            found = ends.get(offset, offset)
            if type(found) is not int or not 0 <= found <= end:
                raise BadInput(f"{offset!r:.40} is no offset of {shown(place)}: take 0 to {end}, 'beginning' or 'end'.")
            to[place] = found
        self.next |= to
        self._handled |= to
        for place in to:
            self._trouble.pop(place, None)

    def after(self, records: Collection[Record]) -> dict[Place, int]:
        """The offsets to commit once these records are handled; never before what is committed already."""
        upto: dict[Place, int] = {}
        for (topic, number, offset), _ in records:
            place = topic, number
            upto[place] = max(upto.get(place, 0), self._handled.get(place, 0), offset + 1)
        return upto

    def commit(self, upto: dict[Place, int]) -> None:
        """The caller sees to it that the partitions are held."""
        for place, offset in upto.items():
            if offset > self.next.get(place, -1):
                raise StaleCommit(
                    f"Offset {offset - 1} of {shown(place)} has not been polled here since the partition was taken, or "
                    "since the latest seek. Nothing was committed: poll it again."
                )
        self._offsets.write(upto, self._log.topics)
        self._handled |= upto

    def lags(self, places: Collection[Place]) -> tuple[Lag, ...]:
        return tuple(self._offsets.lag(self._log, place) for place in places)


def shown(*places: Place) -> str:
    return ", ".join(f"{topic}/{number}" for topic, number in places) or "no partition"
