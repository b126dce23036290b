"""A saga: several services change together or not at all, without a transaction over them, and a crash changes nothing.

Each step (`steps.py`) is an action with its compensation. What has happened stands in the log, and only the log decides
what comes next (`story.py`): so whoever takes a saga up after a crash goes on as if there had been none.
"""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from ecomlib.catalogue import Data
from ecomlib.clock import wait, within
from ecomlib.errors import BadInput, KeyReused, NotALog, Refused
from ecomlib.events import Event
from ecomlib.factory import EventFactory
from ecomlib.ports import Lock, Locks, Log
from ecomlib.steps import Saga
from ecomlib.story import Say, Story, Try, next_move, told, verdict

TOPIC = "saga_log"


class SagaRunner:
    """Runs sagas, any number side by side; every method may be called from any thread, and blocks until its saga ends.

    Two runners, in whatever process, never run one saga at once. An error of the log goes on to the caller; the saga
    then stays open, and `recover` takes it up. The stories of all sagas in the log stay in memory.
    """

    def __init__(self, saga: Saga, log: Log, locks: Locks, new_event: EventFactory, *, topic: str = TOPIC) -> None:
        self.saga, self.stories = saga, dict[str, Story]()
        self._log, self._locks, self._new_event, self._topic = log, locks, new_event, topic
        self._read: defaultdict[int, int] = defaultdict(int)  # by partition: the offset up to which the log is known
        self._partitions = 0  # how many the topic has for good; 0 while it is not there
        self._telling = threading.RLock()

    def start(self, saga_id: str, request: Data) -> Story:
        """Run a saga to its end. One that the log knows is not begun again: it goes on from there, or has ended.

        Raises `KeyReused` where the log's saga of that id was asked for something else, and `Refused` where somebody
        runs it at this moment.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", saga_id):
            raise BadInput(f"{saga_id!r:.60} is no saga's id: write letters, digits, '-', '_' and '.', no sign first.")
        with self._alone(saga_id):
            if saga_id not in self.stories:
                said = {"saga_id": saga_id, "saga": self.saga.name, "request": request.to_dict()}
                self._tell(self._new_event("saga.started", said))
            elif self._known(saga_id).request.to_dict() != request.to_dict():
                raise KeyReused(f"There is a saga {saga_id} already, for another request: give this one its own id.")
            return self._run(self.stories[saga_id])

    def resume(self, saga_id: str) -> Story:
        """Take up a saga that is stuck, after somebody has put right what was in its way, with new attempts."""
        with self._alone(saga_id):
            if saga_id not in self.stories or self._known(saga_id).outcome != "stuck":
                raise Refused(f"There is no saga {saga_id!r} that is stuck: only such a one is resumed.")
            self._tell(self._new_event("saga.resumed", {"saga_id": saga_id}))
            return self._run(self.stories[saga_id])

    def recover(self, threads: int = 8) -> list[Story]:
        """Run to its end every saga that a crash left open, and return them. What another runner is at stays out."""
        self.catch_up()
        left = [story.id for story in list(self.stories.values()) if self._is_open(story)]
        with ThreadPoolExecutor(threads) as pool:
            return [story for story in pool.map(self._take_up, left) if story]

    def _take_up(self, saga_id: str) -> Story | None:
        lock = self._locks.take(saga_id)
        if lock is None:
            return None
        with lock:
            self.catch_up()  # its last runner may have ended it just now
            return self._run(self.stories[saga_id]) if self._is_open(self.stories[saga_id]) else None

    def _known(self, saga_id: str) -> Story:
        story = self.stories[saga_id]
        if story.saga != self.saga.name:
            raise Refused(f"The saga {saga_id} is one of {story.saga or 'nothing'!r}, not of {self.saga.name!r}.")
        return story

    def _is_open(self, story: Story) -> bool:
        return story.saga == self.saga.name and story.outcome is None

    def _alone(self, saga_id: str) -> Lock:
        lock = self._locks.take(saga_id)
        if lock is None:
            raise Refused(f"The saga {saga_id} is being run by somebody else.")
        try:
            self.catch_up()
        except BaseException:
            lock.release()
            raise
        return lock

    def _run(self, story: Story) -> Story:
        request: Data | None = None
        while move := next_move(self.saga, story):
            if isinstance(move, Say):
                said = {"saga_id": story.id, "step": move.step, "reason": move.reason}
                self._tell(self._new_event(move.type, {name: value for name, value in said.items() if value}))
            else:
                request = request or self.saga.request.model_validate(story.request.to_dict())
                self._attempt(story, move, request)
        return story

    def _attempt(self, story: Story, move: Try, request: Data) -> None:
        step, kind, attempt, pause = move
        action = step.action if kind == "step" else step.compensation
        assert action is not None
        said = {"saga_id": story.id, "step": step.name, "attempt": attempt}
        wait(self._new_event.clock, pause)
        self._tell(self._new_event(f"{kind}.started", said))
        try:
            within(step.limit, partial(action, f"{story.id}.{step.name}.{kind}", request))
        except Exception as error:
            self._tell(self._new_event(f"{kind}.failed", {**said, "reason": told(error), "verdict": verdict(error)}))
        else:
            self._tell(self._new_event(f"{kind}.done", said))

    def _tell(self, event: Event) -> None:
        (position,) = self._log.append(self._topic, event)
        with self._telling:
            self._apply(event)
            if position.offset == self._read[position.partition]:  # nobody wrote in between
                self._read[position.partition] += 1

    def catch_up(self) -> None:
        """Read what has been written since the last time, by this runner or another."""
        with self._telling:
            if not self._partitions:
                with suppress(NotALog):  # nothing has been written yet
                    self._partitions = self._log.topics().get(self._topic, 0)
            for partition in range(self._partitions):
                if self._read[partition] < self._log.end(self._topic, partition):
                    for record in self._log.read(self._topic, self._read[partition], partition=partition):
                        self._read[partition] = record.position.offset + 1
                        self._apply(record.event)

    def _apply(self, event: Event) -> None:
        if saga_id := getattr(event.data, "saga_id", None):  # the topic may hold other people's events too
            self.stories.setdefault(saga_id, Story(saga_id)).apply(event)
