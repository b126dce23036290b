"""Consumer groups: the members of a group share the partitions of their topics, each one served by one member.

A group keeps one offset a partition, that of the next record to be handled, and moves it by a commit, after the work.
Who dies in between leaves records that another member is given again: each is handled at least once.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ecomlib.assignment import Place
from ecomlib.clock import Clock, SystemClock
from ecomlib.membership import Membership, name_of
from ecomlib.ports import Lag, Record, Start
from ecomlib.positions import Positions, shown

if TYPE_CHECKING:
    from ecomlib.log import FileLog


class GroupConsumer(AbstractContextManager["GroupConsumer"]):
    """A member of a group (`ports.Consumer`); it joins, and takes what partitions are free, when it is made.

    Where nothing is committed yet it goes on from `start`: with "end", records that come before the group's first
    commit in a partition may be given to nobody. Who has not polled for `patience` seconds by the group's
    clock counts as dead, as by Kafka's `max.poll.interval.ms` of five minutes (Kafka documentation, consumer configs):
    others get the partitions, commits are refused, and the next poll joins anew.
    """

    def __init__(
        self,
        log: FileLog,
        group: str,
        *topics: str,
        name: str | None = None,
        start: Start = "beginning",
        clock: Clock | None = None,
        patience: float = 300.0,
    ) -> None:
        self.group, sizes = group, {topic: log.partitions(topic) for topic in topics}
        self._member = Membership(log.folder, group, sizes, name, clock or SystemClock(), patience)
        self._positions = Positions(log, self._member.folder, start)
        self._positions.keep(self._member.sync(), self._member.held)

    @property
    def name(self) -> str:
        return name_of(self._member.id)

    @property
    def generation(self) -> int:
        """The group's, at the latest poll: it rises whenever a member comes or goes."""
        return self._member.generation

    @property
    def assigned(self) -> tuple[Place, ...]:
        """The partitions that this member holds since its latest poll."""
        return tuple(sorted(self._member.held))

    @property
    def positions(self) -> dict[Place, int]:
        """The offset of the record that comes next in each of them, where it can be told."""
        return dict(self._positions.next)

    def poll(self, limit: int = 500, *, timeout: float = 0.0) -> list[Record]:
        """The next records, in order within each partition; waits up to `timeout` seconds for the first.

        To poll is to say that the work on earlier records has ended: what others should hold is given up here. Raises
        `DamagedRecord` or `BadOffset` for a partition, holding up no other; `seek` goes on from elsewhere.
        """
        deadline = time.monotonic() + timeout
        while True:
            self._positions.keep(self._member.sync(), self._member.held)
            records, left = self._positions.read(self.assigned, limit), deadline - time.monotonic()
            if records or left <= 0:
                return records
            time.sleep(min(0.02, left))

    def commit(self, *records: Record) -> None:
        """The group has handled these and all before them, or all that `poll` gave. Goes back only after a `seek`.

        Raises `StaleCommit`, and commits nothing, where this member does not hold a partition any more. Mends a
        damaged file of offsets; what that said of other partitions is lost, and reading them says so (`BadOffset`).
        """
        upto = self._positions.after(records) if records else self.positions
        with self._member.holding(upto):
            self._positions.commit(upto)

    def seek(self, offset: int | Start, topic: str | None = None, partition: int | None = None) -> None:
        """Go on from there; the group's offset stays until `commit`. Raises `BadInput`, and then goes nowhere."""
        self._positions.seek(self.assigned, offset, topic, partition)

    def lag(self) -> tuple[Lag, ...]:
        return self._positions.lags(self.assigned)

    def close(self) -> None:
        """Leave, so that others get the partitions at once; commits nothing. A second call does nothing."""
        self._member.leave()

    def abandon(self) -> None:
        """Stop as a process that is killed does: without a word."""
        self._member.abandon()

    def __repr__(self) -> str:
        return f"<{self.name} of {self.group}: {shown(*self.assigned)}>"

    def __exit__(self, *exc: object) -> None:
        self.close()
