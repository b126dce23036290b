"""What a saga's log says, and what comes next by it. Both are pure: the same log always leads to the same next move."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from ecomlib.errors import EcomlibError, Permanent, Refused, named
from ecomlib.events import Event
from ecomlib.steps import Saga, Step

Ending = Literal["completed", "compensated", "stuck"]
Kind = Literal["step", "compensation"]
# in doubt: begun, and nobody has said how it ended. given up: it may have happened. refused: it surely did not.
Verdict = Literal["in doubt", "done", "failed", "given up", "refused"]


ENDINGS: dict[str, Ending] = {"completed": "completed", "compensated": "compensated", "stuck": "stuck"}


def verdict(error: Exception) -> Verdict:
    """What an attempt that raised this error says of itself."""
    return "refused" if isinstance(error, Refused) else "given up" if isinstance(error, Permanent) else "failed"


def told(error: Exception) -> str:
    """What the log says of it, whatever its text holds. Our own errors are sentences, and need no class before them."""
    text = str(error) if isinstance(error, EcomlibError) else named(error)
    return text.encode(errors="replace").decode()


class Tried(NamedTuple):
    """One attempt of a step's action, or of its compensation."""

    step: str
    kind: Kind
    attempt: int
    verdict: Verdict
    error: str = ""


@dataclass
class Progress:
    """How far an action, or a compensation, has come."""

    verdict: Verdict | None = None  # None: not begun
    attempts: int = 0  # since it began, or since a person resumed the saga
    failures: int = 0  # those of them that ended; what a crash cuts off says nothing of its chances
    doubtful: bool = False  # an attempt ended without anyone knowing whether it worked
    error: str = ""

    @property
    def may_have_happened(self) -> bool:
        return self.doubtful or self.verdict in ("in doubt", "done")


@dataclass
class Story:
    """One saga as its log tells it: a fold over its events. An event that comes twice counts once."""

    id: str
    saga: str = ""
    request: Any = None
    forward: bool = True
    outcome: Ending | None = None  # None: it is open
    failure: str = ""  # why it turned round
    to_do: str = ""  # what a person must do, while it is stuck
    tried: list[Tried] = field(default_factory=list)  # all attempts, in the order in which they began
    progress: defaultdict[tuple[Kind, str], Progress] = field(default_factory=lambda: defaultdict(Progress))
    _seen: set[str] = field(default_factory=set, repr=False)

    def apply(self, event: Event) -> None:
        if event.id in self._seen:
            return
        self._seen.add(event.id)
        subject, _, verb = event.type.rpartition(".")
        if subject in ("step", "compensation"):
            self._apply_attempt("step" if subject == "step" else "compensation", verb, event)
        elif verb == "started":
            self.saga, self.request = event.data.saga, event.data.request
        elif verb == "resumed":
            self._begin_again()
        elif verb == "failed":
            self.forward, self.failure = False, event.data.reason
        elif verb in ENDINGS:
            self.outcome = ENDINGS[verb]
            self.to_do = event.data.reason if verb == "stuck" else ""

    @property
    def reason(self) -> str:
        """Why it is not completed, and while it is stuck, what a person must do."""
        return self.to_do or self.failure

    def _apply_attempt(self, kind: Kind, verb: str, event: Event) -> None:
        step, now = event.data.step, self.progress[kind, event.data.step]
        if verb == "started":
            now.doubtful |= now.verdict == "in doubt"  # an attempt that a crash cut off
            now.verdict, now.attempts = "in doubt", now.attempts + 1
            self.tried.append(Tried(step, kind, event.data.attempt, "in doubt"))
            return
        now.verdict = "done" if verb == "done" else event.data.verdict
        now.error = event.data.reason or ""
        now.doubtful |= now.verdict in ("failed", "given up")
        now.failures += now.verdict != "done"
        if self.tried:  # in a log that nobody has tampered with its beginning is there
            self.tried[-1] = self.tried[-1]._replace(verdict=now.verdict, error=now.error)

    def _begin_again(self) -> None:
        self.outcome, self.to_do = None, ""
        for now in self.progress.values():
            now.attempts = now.failures = 0
            if now.verdict in ("given up", "refused"):
                now.verdict = "failed"


class Try(NamedTuple):
    """The next attempt, after a pause in seconds."""

    step: Step
    kind: Kind
    attempt: int
    pause: float


class Say(NamedTuple):
    """What is to be written into the log: the saga turns round, or ends."""

    type: str
    step: str | None = None
    reason: str | None = None


def next_move(saga: Saga, story: Story) -> Try | Say | None:
    """None: the saga has ended."""
    if story.outcome:
        return None
    return _forwards(saga, story) if story.forward else _backwards(saga, story)


def _forwards(saga: Saga, story: Story) -> Try | Say:
    behind_the_pivot = False
    for step in saga.steps:
        now = story.progress["step", step.name]
        if now.verdict != "done":
            # An action that kills its runner each time must not do so for ever; what has to be done in the end may.
            if not _hopeless(step, now, now.failures if behind_the_pivot else now.attempts):
                return _try(step, "step", now)
            if behind_the_pivot:
                return Say("saga.stuck", step.name, _to_do(story, [(step, now)]))
            return Say("saga.failed", step.name, now.error or "every attempt was cut off")
        behind_the_pivot |= step.pivot
    return Say("saga.completed")


def _backwards(saga: Saga, story: Story) -> Try | Say:
    left = []
    for step in reversed(saga.steps):
        now = story.progress["compensation", step.name]
        if step.compensation and story.progress["step", step.name].may_have_happened and now.verdict != "done":
            if not _hopeless(step, now, now.failures):
                return _try(step, "compensation", now)
            left.append((step, now))  # the others are compensated all the same
    if left:
        return Say("saga.stuck", left[0][0].name, _to_do(story, left))
    return Say("saga.compensated", reason=story.failure)


def _try(step: Step, kind: Kind, now: Progress) -> Try:
    pause = step.retry.wait(now.failures) if now.verdict == "failed" and now.failures else 0.0
    return Try(step, kind, now.attempts + 1, pause)


def _hopeless(step: Step, now: Progress, count: int) -> bool:
    return now.verdict in ("refused", "given up") or count >= step.retry.attempts


def _to_do(story: Story, left: list[tuple[Step, Progress]]) -> str:
    what = "compensated" if not story.forward else "done, and the saga can't go back any more"
    failures = "; ".join(f"{step.name} ({now.error})" for step, now in left)
    return f"Could not be {what}: {failures}. Put it right, then resume the saga {story.id}."
