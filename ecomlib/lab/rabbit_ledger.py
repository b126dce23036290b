"""What was sent and what became of it, as the workers' logs and the dead letters say: no broker tells what is done."""

from __future__ import annotations

from typing import Any

from ecomlib.dead_letters import waiting_messages
from ecomlib.errors import BadEvent
from ecomlib.events import Event
from ecomlib.lab.rabbit_rows import DeadRow
from ecomlib.lab.worker_processes import WorkerProcesses
from ecomlib.patterns import matches
from ecomlib.services.notifications import CHANNELS
from ecomlib.topology import SERVICES, Topology
from ecomlib.workers import FAILURES

NO_EVENT = "no event"


class Ledger:
    """Of one desk. An event that came twice is one here."""

    def __init__(self, workers: WorkerProcesses) -> None:
        self._workers = workers
        self.published: list[Event] = []
        self.poisoned = 0  # messages that are no event, with the routing key order.created
        self.dead: tuple[DeadRow, ...] = ()  # as they were seen last

    def outstanding(self, queue: str) -> int:
        """Messages that were sent to it, and are neither handled nor given up."""
        done = self._workers.ids("handled", queue) | self._workers.ids("dead", queue)
        meant = {event.id for event in tuple(self.published) if takes(queue, event.type)}
        if takes(queue, "notification.sent"):  # a fact that a worker publishes has the id that its cause gives it
            meant |= {f"{id}.{channel}.sent" for channel in CHANNELS for id in self._workers.ids("handled", channel)}
            meant |= {f"{id}.{channel}.failed-{attempt}" for channel, id, attempt in self._given_up()}
        buried = sum(row.queue == queue and row.what == NO_EVENT for row in self.dead)
        poisoned = self.poisoned if takes(queue, "order.created") else 0
        return len(meant - done) + max(poisoned - buried, 0)

    def untold(self) -> set[str]:
        """Events whose customers could not be told, which is no fact yet."""
        return {event for _, event, _ in self._given_up()} - self._workers.ids("handled", FAILURES)

    def handled(self, queue: str) -> int:
        return len(self._workers.ids("handled", queue))

    def buried(self, queue: str) -> int:
        return sum(row.queue == queue for row in self.dead)

    def _given_up(self) -> set[tuple[str, str, int]]:
        """Of the messages to customers: the channel, the event, and the number of the last attempt."""
        return {
            (line["service"], line["event"], line["attempt"])
            for worker in self._workers.all
            for line in tuple(worker.attempts)
            if line["outcome"] == "dead" and line["service"] in CHANNELS
        }


def takes(queue: str, type: str) -> bool:
    return any(matches(pattern, type) for pattern in SERVICES[queue])


def dead_rows(url: str, topology: Topology) -> tuple[DeadRow, ...]:
    """All dead letters, also those that are no events, by the queue that they come from. They stay where they are."""
    found = []
    for method, properties, body in waiting_messages(url, topology):
        headers: dict[str, Any] = properties.headers or {}
        try:
            event = Event.from_json(body)
            what = f"{event.type} {event.subject or ''}".strip()
        except BadEvent:
            what = NO_EVENT
        queue = method.routing_key.removeprefix(f"{topology.exchange}.")
        made = headers.get("attempts")  # what anybody may have written
        found.append(DeadRow(what, queue, made if type(made) is int else 0, str(headers.get("error", ""))))
    return tuple(sorted(found, key=lambda row: row.queue))  # two workers at once: who was first is another at each run
