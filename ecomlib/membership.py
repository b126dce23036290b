"""What the members of a consumer group share: who they are, who holds which partition, how far the group has come.

There is no coordinator process, only files in `<log>/_groups/<group>`, and whoever polls looks after them:

    group.lock      held for a moment by whoever reads or changes the others; it dies with its process
    members/        a file for each member, locked while its process lives; its time is that of the last poll
    members.json    the generation, the members with their topics, and the holder of each partition
    offsets.json    of each partition the offset of the next event to be handled

Partitions are handed over as in Kafka's cooperative rebalancing: a member keeps what the new deal leaves it, gives up
the rest at its next poll, when its work on it has ended, and only then does another one take it. So no two living
members ever work on one partition.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import portalocker

from ecomlib.assignment import Place, Topics, deal
from ecomlib.clock import Clock
from ecomlib.errors import AlreadySubscribed, BadInput, LogError, NotALog, StaleCommit
from ecomlib.files import disk_errors, make_folder
from ecomlib.folders import NAME
from ecomlib.locks import FileLock, FileLocks
from ecomlib.offsets import NO_JSON, Offsets, as_json, flat, nested, replace
from ecomlib.ports import Lag

if TYPE_CHECKING:
    from ecomlib.log import FileLog


@dataclass
class Roll:
    """What `members.json` says. Members, by id, are in the order in which they joined."""

    generation: int = 0
    members: dict[str, Topics] = field(default_factory=dict)
    held: dict[Place, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Roll:
        """An empty one where the file is missing or damaged: the members write it anew as they poll."""
        with disk_errors(path):
            try:
                said = json.loads(path.read_bytes())
                members: dict[str, Topics] = {
                    str(id): {str(t): int(size) for t, size in m.items()} for id, m in said["members"].items()
                }
                held = {place: str(id) for place, id in flat(said["held"]).items()}
                return cls(int(said["generation"]), members, held)
            except (FileNotFoundError, *NO_JSON):
                return cls()

    def write(self, path: Path) -> None:
        said = {"generation": self.generation, "members": self.members, "held": nested(self.held)}
        with disk_errors(path):
            replace(path, as_json(said), durable=False)  # after a crash of the machine no member is left


def name_of(id: str) -> str:
    return id.rpartition(".")[0]


class Membership:
    """One member's place in its group. Every method waits for the group's lock, which others hold for a moment."""

    def __init__(self, log: Path, group: str, topics: Topics, name: str | None, clock: Clock, patience: float) -> None:
        for given in (group, group if name is None else name):
            if not NAME.fullmatch(given):
                raise BadInput(f"{given!r:.60} is no name here: use lower-case letters, digits, '-' and '_'.")
        if not topics:
            raise BadInput(f"What should {group!r} read? Name a topic at least.")
        if not patience > 0:
            raise BadInput(f"A consumer needs patience of more than 0 seconds, not {patience!r:.40}.")
        self.folder = folder = log / "_groups" / group
        self.topics, self.name, self.clock, self.patience = topics, name, clock, patience
        self.id, self.generation = "", 0  # an id is a name with the generation at which it joined
        self.held: frozenset[Place] = frozenset()
        self._locks = FileLocks(folder / "members")
        self._lock: FileLock | None = None
        self._gone = False
        with disk_errors(folder):
            make_folder(folder)

    def sync(self) -> frozenset[Place]:
        """Note who came and who went, give up what the deal gives to others, take what is free.

        Joins first, with a new id, where the group does not know this member (any more). Returns what it has held
        without a break since the sync before.
        """
        self._must_be_here(LogError)
        with self._group() as roll:
            before, alive = roll.members, self._alive()
            roll.members = {id: topics for id, topics in before.items() if id in alive}
            if joins := self.id not in roll.members:
                alive.discard(self.id)
                self._join(roll, alive)
            roll.members[self.id] = self.topics
            self._touch()
            roll.generation += roll.members.keys() != before.keys()
            roll.held = {place: id for place, id in roll.held.items() if id in roll.members}
            mine = {place for place, id in deal(roll.members, roll.held).items() if id == self.id}
            roll.held = {place: id for place, id in roll.held.items() if id != self.id or place in mine}
            if alive <= roll.members.keys():
                roll.held |= dict.fromkeys(mine - roll.held.keys(), self.id)
            before_this = frozenset() if joins else self.held
            self.generation = roll.generation
            self.held = frozenset(place for place, id in roll.held.items() if id == self.id)
        return before_this & self.held

    def _alive(self) -> set[str]:
        """The ids of those whose files are locked and who polled lately; the dead ones' files go.

        Who is alive and not on the roll, because the roll was lost, may be working on any partition: until it has
        polled again, or its patience is over, nobody takes one.
        """
        with disk_errors(self._locks.folder):
            there = os.listdir(self._locks.folder) if self._locks.folder.is_dir() else []
        return {id for id in there if id == self.id or self._lives(id)}

    def _lives(self, id: str) -> bool:
        if lock := self._locks.take(id):
            lock.release()
            return False
        path = self._locks.folder / id
        with disk_errors(path):
            return abs(self.clock.now().timestamp() - path.stat().st_mtime) <= self.patience  # a clock may be put back

    def _join(self, roll: Roll, alive: Collection[str]) -> None:
        taken = {name_of(id) for id in alive}
        if self.name in taken:
            raise AlreadySubscribed(
                f"Group {self.folder.name!r} has a living member {self.name!r}: choose another name, or close that one."
            )
        name = self.name or next(name for n in count(1) if (name := f"consumer-{n}") not in taken)
        if self._lock:
            self._lock.release()
        for generation in count(roll.generation + 1):
            self.id = f"{name}.{generation}"
            self._lock = self._locks.take(self.id)
            if self._lock:  # otherwise someone has it whom the group has forgotten
                break
        roll.generation = generation - 1  # the new member makes it one more

    def _touch(self) -> None:
        now = self.clock.now().timestamp()
        with disk_errors(self._locks.folder):
            os.utime(self._locks.folder / self.id, (now, now))

    @contextmanager
    def holding(self, places: Collection[Place]) -> Iterator[None]:
        """Nobody else takes these partitions meanwhile. Raises `StaleCommit` where this member does not hold them."""
        self._must_be_here(StaleCommit)
        with self._group() as roll:
            for topic, number in sorted(places):
                if roll.held.get((topic, number)) != self.id:
                    raise StaleCommit(
                        f"{name_of(self.id)} does not hold partition {number} of {topic!r} any more: nothing was "
                        "committed. What is not committed is given to the partition's new holder again."
                    )
            yield

    def leave(self) -> None:
        if self._lock:
            with self._lock, self._group() as roll:
                if roll.members.pop(self.id, None) is not None:
                    roll.generation += 1
                    roll.held = {place: id for place, id in roll.held.items() if id != self.id}
                self._lock.release()  # before others can look, if all goes well
        self._lock, self.held, self._gone = None, frozenset(), True

    def abandon(self) -> None:
        """Go as a process that dies: without a word."""
        if self._lock:
            self._lock.abandon()
        self._lock, self.held, self._gone = None, frozenset(), True

    def _must_be_here(self, error: type[LogError]) -> None:
        if self._lock and not self._lock.held:
            raise error(f"{name_of(self.id)} stayed in the process that this one was forked from: make a new consumer.")
        if self._gone:
            raise error(f"{name_of(self.id)} has left the group {self.folder.name!r}: make a new consumer to go on.")

    @contextmanager
    def _group(self) -> Iterator[Roll]:
        """The roll, for whoever holds the group's lock. What has changed in it at the end is written."""
        with disk_errors(self.folder):
            lock = (self.folder / "group.lock").open("ab")
        with lock, disk_errors(self.folder):
            portalocker.lock(lock, portalocker.LOCK_EX)  # closing the file lets go
            path = self.folder / "members.json"
            roll, before = Roll.read(path), Roll.read(path)
            yield roll
            if roll != before:
                roll.write(path)


class Member(NamedTuple):
    name: str
    topics: tuple[str, ...]
    assigned: tuple[Place, ...]


class GroupState(NamedTuple):
    """A group as its members knew it at the latest poll: who has died since is still in it."""

    generation: int
    members: tuple[Member, ...]  # in the order in which they joined


def groups(log: FileLog) -> tuple[str, ...]:
    """The names of all that have ever read this log."""
    log.topics()  # raises where there is no log
    folder = log.folder / "_groups"
    with disk_errors(folder):
        found = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        return tuple(name for name in found if NAME.fullmatch(name))


def describe(log: FileLog, group: str) -> GroupState:
    """Looks without joining, and changes nothing. Raises `NotALog` for a group that has never been there."""
    if group not in groups(log):
        raise NotALog(
            f"No group {group!r:.60} has read the log at {log.folder}: {', '.join(groups(log)) or 'none'} has."
        )
    roll = Roll.read(log.folder / "_groups" / group / "members.json")
    hands = {id: tuple(sorted(place for place, holder in roll.held.items() if holder == id)) for id in roll.members}
    members = (Member(name_of(id), tuple(topics), hands[id]) for id, topics in roll.members.items())
    return GroupState(roll.generation, tuple(members))


def lags(log: FileLog, group: str) -> tuple[Lag, ...]:
    """Of every partition that the group has committed in or has a member for. Changes nothing. Raises `BadOffset`."""
    topics = {topic for member in describe(log, group).members for topic in member.topics}
    offsets = Offsets(log.folder / "_groups" / group, durable=False)
    places = {(topic, number) for topic in topics for number in range(log.partitions(topic))}
    return tuple(offsets.lag(log, place) for place in sorted(places | offsets.read().keys()))
