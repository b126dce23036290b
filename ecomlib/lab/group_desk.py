"""What the panel of the consumer groups does, without the panel: a topic, two groups, and members that come and go."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple, Self

from ecomlib.clock import SimulatedClock
from ecomlib.errors import BadInput, BadOffset, EcomlibError
from ecomlib.events import Event
from ecomlib.groups import GroupConsumer
from ecomlib.ids import seeded_ids
from ecomlib.lab.desk import Message
from ecomlib.lab.lane import DEAD, TOPIC, Lane, listed, many, moves
from ecomlib.lab.scratch import scratch
from ecomlib.log import FileLog
from ecomlib.membership import describe, lags
from ecomlib.ports import Lag, Position

GROUPS = ("email_service", "analytics_service")
# One of them for each order, in turn: each of six partitions gets some, and one gets the most.
CUSTOMERS = ("102", "100", "101", "106", "104", "105", "108", "102", "103", "107")
NAMES = ("anna", "boris", "clara", "david", "emma", "farid", "greta", "hugo", "ines", "jonas")


class Handled(NamedTuple):
    position: Position
    group: str
    member: str
    again: bool  # the group had handled it before


class GroupDesk:
    """The topic `orders`, which two groups read, each at its own pace: `group` is the one that is acted upon.

    The log is kept in `folder`, or in a temporary one that goes away with the desk; clock, names, orders and ids are
    the same at every run. What an action led to, a refusal too, stands in `message`. Members are in this process:
    one that is killed leaves its files as a process does that dies.
    """

    def __init__(self, folder: Path | str | None = None, *, partitions: int = 6) -> None:
        self._partitions = partitions
        self._begin(Path(folder) if folder is not None else scratch(self))
        self.message = Message("Produce some orders, and let the members work.")

    def _begin(self, folder: Path) -> None:
        self.folder, self.clock, self.group = folder, SimulatedClock(), GROUPS[0]
        self.log = FileLog(folder, durability="system")
        self.log.create(TOPIC, self._partitions)
        self.members: dict[str, GroupConsumer] = {}  # by name, the living ones
        self.handled: list[Handled] = []
        self._all: dict[str, GroupConsumer] = {}  # the dead ones too
        self._seen: defaultdict[str, set[str]] = defaultdict(set)  # of each group, the ids of the events
        self._names = (name if n == 1 else f"{name}-{n}" for n in count(1) for name in NAMES)
        self._ids, self._produced = seeded_ids("group desk"), 0
        for group in (GROUPS[0], GROUPS[0], GROUPS[1]):
            self._join(group)
        for consumer in self.members.values():  # who polls gives up or takes what the deal says
            consumer.poll()

    # --- actions ------------------------------------------------------------------------------------------

    def select(self, group: str) -> None:
        """Act upon this group from now on."""

        def choose() -> str:
            self.group = _known(group, GROUPS, "group")
            return f"{group}: {many(len(self.alive(group)), 'member')}."

        self._act(choose)

    def produce(self, n: int = 6) -> None:
        """The next orders. The customer is the key, so all orders of a customer are in one partition."""

        def append() -> str:
            if type(n) is not int or not 1 <= n <= 1000:
                raise BadInput(f"{n!r:.40} orders can't be produced: ask for a whole number from 1 to 1000.")
            where = Counter(position.partition for position in self.log.append(TOPIC, *islice(self._orders(), n)))
            said = ", ".join(f"{many} in {TOPIC}/{partition}" for partition, many in sorted(where.items()))
            return f"{many(n, 'order')}: {said}."

        self._act(append)

    def add(self, group: str | None = None) -> None:
        """A new member. It takes what is free; what others hold it gets when they have polled, and given it up."""

        def join() -> str:
            consumer = self._join(_known(group or self.group, GROUPS, "group"))
            takes = "" if consumer.assigned else " It holds nothing yet: the others give partitions up when they poll."
            return f"{consumer.name} joins {consumer.group}.{takes}"

        self._act(join)

    def kill(self, member: str | None = None) -> None:
        """A member dies, without a word; without a name, the newest of the group. The others notice when they poll."""

        def die() -> str:
            consumer, in_hand = self._gone(member)
            consumer.abandon()
            return f"{consumer.name} died. {in_hand}Nobody notices before the next poll."

        self._act(die)

    def leave(self, member: str | None = None) -> None:
        """A member goes, and says so: without a name, the newest of the group."""

        def go() -> str:
            consumer, in_hand = self._gone(member)
            consumer.close()
            return f"{consumer.name} leaves. {in_hand}Its partitions are free: who polls next takes them."

        self._act(go)

    def poll(self, member: str | None = None, limit: int = 10) -> None:
        """One member, or all of the group in turn: take up to so many records, and handle them. Commits nothing."""
        self._act(lambda: self._poll(member, limit))

    def commit(self, member: str | None = None) -> None:
        """One member, or all of the group: what was polled is done. Refused where its partitions have passed on."""
        self._act(lambda: self._commit(member))

    def work(self, member: str | None = None, limit: int = 10) -> None:
        """Poll, handle, and then commit."""

        def both() -> str:
            said = self._poll(member, limit)
            self._commit(member)
            return f"{said} Committed."

        self._act(both)

    def wait(self, minutes: int = 6) -> None:
        """So much time goes by. Who has not polled for five minutes counts as dead, once another member polls."""

        def pass_by() -> str:
            if type(minutes) is not int or not 1 <= minutes <= 1440:
                raise BadInput(f"{minutes!r:.40} minutes can't go by: ask for a whole number from 1 to 1440.")
            self.clock.advance(minutes=minutes)
            return f"{minutes} minutes go by, and nobody polls."

        self._act(pass_by)

    def reset(self) -> None:
        """A new log, with the members of the beginning."""
        self.close()
        self._begin(scratch(self))
        self.message = Message("A new log, with nothing in it.")

    def close(self) -> None:
        for consumer in self.members.values():
            consumer.close()
        self.log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # --- what is shown ------------------------------------------------------------------------------------

    def lanes(self, group: str | None = None) -> list[Lane]:
        group = group or self.group
        marks, holders, lanes = {other: self._lags(other) for other in GROUPS}, self._holders(group), []
        for n in range(self._partitions):
            lag, holder = marks[group][n], holders.get(n, "")
            start, consumer = lag.committed or 0, self._all.get(holder)
            position = consumer.positions.get((TOPIC, n), start) if consumer else start
            done = [h.position.offset + 1 for h in self.handled if h.group == group and h.position.partition == n]
            sign = DEAD if holder and holder not in self.members else ""
            others = tuple((other, its[n].committed or 0) for other, its in marks.items() if other != group)
            lanes.append(Lane(n, holder + sign, lag.committed, position, max([*done, start]), lag.end, others))
        return lanes

    def again(self, group: str | None = None) -> int:
        """How many records the group handled a second time."""
        return sum(h.again for h in self.handled if h.group == (group or self.group))

    def alive(self, group: str | None = None) -> tuple[str, ...]:
        """In the order in which they joined."""
        return tuple(c.name for c in self.members.values() if c.group == (group or self.group))

    def __repr__(self) -> str:
        return f"{self._produced} orders | " + " | ".join(
            f"{group}: {many(len(self.alive(group)), 'member')}, lag {sum(lag.lag for lag in self._lags(group))}, "
            f"handled {sum(h.group == group for h in self.handled)}, again {self.again(group)}"
            for group in GROUPS
        )

    # --- parts --------------------------------------------------------------------------------------------

    def _act(self, action: Callable[[], str]) -> None:
        group, before = self.group, self.lanes()
        try:
            said = action()
        except EcomlibError as error:
            self.message = Message(str(error), ok=False)
        else:
            self.message = Message(" ".join([said, *moves(before, self.lanes(group))]))

    def _poll(self, member: str | None, limit: int) -> str:
        self.clock.advance(seconds=1)
        got = [handled for name in self._some(member) for handled in self._handle(self.members[name], limit)]
        by = Counter(handled.member for handled in got)
        again = sum(handled.again for handled in got)
        said = ", ".join(f"{name} handles {many}" for name, many in by.items()) or "No record was waiting"
        return f"{said}{f', {again} of them again' if again else ''}."

    def _handle(self, consumer: GroupConsumer, limit: int) -> Iterator[Handled]:
        """Handling is to note that it was done, and by whom."""
        for record in consumer.poll(limit):
            seen = self._seen[consumer.group]
            done = Handled(record.position, consumer.group, consumer.name, again=record.event.id in seen)
            seen.add(record.event.id)
            self.handled.append(done)
            yield done

    def _commit(self, member: str | None) -> str:
        for name in (names := self._some(member)):
            self.members[name].commit()
        return f"{listed(names)} committed."

    def _orders(self) -> Iterator[Event]:
        while True:
            customer, self._produced = CUSTOMERS[self._produced % len(CUSTOMERS)], self._produced + 1
            data = {"order_id": self._produced, "user_id": customer, "amount": 50}
            yield Event("order.created", data, partitionkey=customer, id=self._ids(), time=self.clock.now())

    def _join(self, group: str) -> GroupConsumer:
        consumer = self.log.consumer(group, TOPIC, name=next(self._names), clock=self.clock)
        self.members[consumer.name] = self._all[consumer.name] = consumer
        return consumer

    def _gone(self, member: str | None) -> tuple[GroupConsumer, str]:
        """A member that lives no more, and what it had in hand."""
        consumer = self.members[self._one(member)]
        in_hand = sum(lane.in_hand for lane in self.lanes(consumer.group) if lane.holder == consumer.name)
        del self.members[consumer.name]
        return consumer, f"{many(in_hand, 'record')} handled and not committed. " if in_hand else ""

    def _some(self, member: str | None) -> tuple[str, ...]:
        return (self._one(member),) if member or not self.alive() else self.alive()

    def _one(self, member: str | None) -> str:
        if member is None:
            if not self.alive():
                raise BadInput(f"{self.group} has no member: add a consumer.")
            return self.alive()[-1]
        return _known(member, self.members, "living member")

    def _holders(self, group: str) -> dict[int, str]:
        """By partition, as the members knew it at their latest polls: a dead one is among them until somebody polls."""
        return {place[1]: member.name for member in describe(self.log, group).members for place in member.assigned}

    def _lags(self, group: str) -> list[Lag]:
        with suppress(BadOffset):  # polling says it
            known = {lag.partition: lag for lag in lags(self.log, group)}
            return [known.get(n) or self._nothing(n) for n in range(self._partitions)]
        return [self._nothing(n) for n in range(self._partitions)]

    def _nothing(self, partition: int) -> Lag:
        return Lag(TOPIC, partition, None, self.log.end(TOPIC, partition))


def _known(name: str, names: Iterable[str], what: str) -> str:
    if name not in names:
        raise BadInput(f"{name!r:.40} is no {what}: take {' or '.join(names) or 'none, for there is none'}.")
    return name
