"""The exercises of lesson 04: two questions about bookmarks, and a consumer that loses nothing.

The reader that does lose something is in `small_reader.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ecomlib.events import Event
from ecomlib.lab.exercises.exercise import Exercise
from ecomlib.lab.exercises.small_reader import READ_ON, SWALLOWED, PowerGone, log_of
from ecomlib.log import FileLog
from ecomlib.ports import Record

# --- 04.1: a third group --------------------------------------------------------------------------------------

QUEUE = "That would be a queue, where what is taken is gone. In a log the records stay, for every group."
ONLY_NEW = "A new group has no bookmark yet, so it starts at the first record, not at the newest."
BEFORE_THE_LAST = "The third order is in the log as well: it came before audit_service did."
PAYMENTS = "One of these four is a payment. audit_service reads the topic orders, and no other."
TOO_MANY = "So many records are not in the topic orders: one was appended for each order, 1 to 3."
NO_QUOTES = "Answer with a number, without quotes."
A_NUMBER = "Count the records in the topic orders, and answer with a number."


def judge_audit(answer: Any) -> str | None:
    hints = {0: QUEUE, 1: ONLY_NEW, 2: BEFORE_THE_LAST, 4: PAYMENTS}
    if isinstance(answer, str):
        return NO_QUOTES
    if type(answer) is not int:
        return A_NUMBER
    return None if answer == 3 else hints.get(answer, TOO_MANY if answer > 4 else A_NUMBER)


AUDIT = Exercise(
    id="04.1",
    name="audit",
    blank="audit = None  # a number",
    judge=judge_audit,
    right="Right: a new group starts at the beginning, whatever other groups have read.",
    nudge="Which records are in the topic orders now? And does a group notice what others have read?",
    wrong=(
        ("audit = 0", QUEUE),
        ("audit = 1", ONLY_NEW),
        ("audit = 2", BEFORE_THE_LAST),
        ("audit = 4", PAYMENTS),
        ("audit = 5", TOO_MANY),
        ("audit = '3'", NO_QUOTES),
        ("audit = 3.0", A_NUMBER),
    ),
    solution="audit = 3",
)

# --- 04.2: what comes again -----------------------------------------------------------------------------------

POLLED = "5 was polled, but the consumer died before it handled it. So 5 is handled once, later."
ONCE_EACH = "3 and 4 were handled, but no commit says so. The new consumer can't know it."
COMMITTED = "0, 1 and 2 are committed. The new consumer goes on at the commit, not at the beginning."
NEXT = "The commit says which record comes next: 3. So 2 is done, and does not come again."
ONLY_THE_LAST = "The commit after 2 is the latest one. All that was handled after it comes again, not only the last."
ALL_THE_REST = "The new consumer gets these. Which of them had been handled before the death?"
OFFSETS = "Answer with a list of offsets, like [0, 1]: those that were handled by both consumers."


def judge_twice(answer: Any) -> str | None:
    if not isinstance(answer, list | tuple | set | range) or not all(type(offset) is int for offset in answer):
        return OFFSETS
    found = set(answer)
    if found == {3, 4}:
        return None
    if not found:
        return ONCE_EACH
    if found & {0, 1}:
        return COMMITTED
    if 2 in found:
        return NEXT
    return {(3, 4, 5): POLLED, (4,): ONLY_THE_LAST}.get(tuple(sorted(found)), ALL_THE_REST)


TWICE = Exercise(
    id="04.2",
    name="twice",
    blank="twice = None  # a list of offsets, like [0, 1]",
    judge=judge_twice,
    right="Right: what was handled after the latest commit is handled again, and nothing else.",
    nudge="At which offset does the new consumer begin? Which of its records had been handled before?",
    wrong=(
        ("twice = [3, 4, 5]", POLLED),
        ("twice = []", ONCE_EACH),
        ("twice = [0, 1, 2, 3, 4]", COMMITTED),
        ("twice = [2, 3, 4]", NEXT),
        ("twice = [4]", ONLY_THE_LAST),
        ("twice = [3, 4, 5, 6, 7]", ALL_THE_REST),
        ("twice = 2", OFFSETS),
    ),
    solution="twice = [3, 4]",
)

# --- 04.3: a consumer that loses nothing ----------------------------------------------------------------------

COMMIT_FIRST = "It died at record 2 of 0 to 4, and the rest was never handled: you commit before the work."
ONE_LOST = "Record 2, at which it died, was never handled: you commit it before you handle it."
COMMITS_ALL = "commit() says that all that poll gave is done. You say so after the first record, and the rest is lost."
FINALLY = "handle failed at record 2, and you commit all the same. After an error there must be no commit."
NEVER = "Nothing is committed: the next consumer gets all records again, and again."
ONE_BY_ONE = "handle takes one record. Call it for each record that poll gave."
THE_EVENT = "Give handle the record, not its event."
LEFT_OUT = "handle was not called for every record that poll gave. What you leave out is lost when you commit."
UNORDERED = "The records were handled in another order than poll gave them."
EMPTY = "Your code fails when poll gives no records. Commit so that it works for an empty poll, too."
NO_CALL = "handle was never called. Poll first, then call handle for each record."


def judge_serve(answer: Any) -> str | None:
    return _on_a_good_day(answer) or _with_a_death(answer)


def _on_a_good_day(serve: Callable[..., object]) -> str | None:
    """Everything comes once, in order; and then there is nothing more."""
    with log_of(5) as (log, _), log.consumer("email", "orders") as consumer:
        given: list[object] = []

        def handle(*records: object) -> None:
            given.append(records[0] if len(records) == 1 else records)

        handle.__qualname__ = "handle"  # as the learner knows it, in what Python says
        for _ in range(6):  # as often as it takes, also for who polls one record at a time
            before = len(given)
            try:
                serve(consumer, handle)
            except Exception:
                if before < 5:
                    raise
                return EMPTY
            for one in given:
                if not isinstance(one, Record):
                    return THE_EVENT if isinstance(one, Event) else ONE_BY_ONE
        offsets = [one.position.offset for one in given if isinstance(one, Record)]
    if set(offsets) != set(range(5)):
        return LEFT_OUT if offsets else NO_CALL
    return None if offsets == sorted(offsets) else UNORDERED


def _with_a_death(serve: Callable[..., object]) -> str | None:
    with log_of(5) as (log, _):
        handled: list[int] = []
        committed: list[int | None] = []  # before each call of handle
        first = log.consumer("email", "orders")

        def handle(record: Record) -> None:
            committed.append(first.lag()[0].committed)
            if record.position.offset == 2:  # also when it is tried again
                raise PowerGone("the power is gone")
            handled.append(record.position.offset)

        try:
            while len(committed) < 3:
                serve(first, handle)
        except PowerGone:
            first.abandon()
        else:
            return SWALLOWED
        lost = _handled_by_the_next(log, serve, handled)
        if not lost:
            return NEVER if log.consumer("email", "orders").poll() else None
        if lost == {2}:
            return ONE_LOST if committed[2] == 3 else FINALLY
        return COMMIT_FIRST if committed[0] else COMMITS_ALL if committed[1] else FINALLY


def _handled_by_the_next(log: FileLog, serve: Callable[..., object], handled: list[int]) -> set[int]:
    """What is left when another consumer has gone on."""
    with log.consumer("email", "orders") as consumer:
        for _ in range(5):  # as often as it takes, also for who polls one record at a time
            if set(handled) == set(range(5)):
                break
            serve(consumer, lambda record: handled.append(record.position.offset))
    return set(range(5)) - set(handled)


def _serve(body: str) -> str:
    return f"def serve(consumer, handle):\n{body}"


_EACH = "    for record in consumer.poll():\n        handle(record)\n"
_COMMIT = "    consumer.commit()\n"
SERVE = Exercise(
    id="04.3",
    name="serve",
    blank="def serve(consumer, handle):\n    ...  # one poll, and what belongs to it",
    judge=judge_serve,
    right="Right: a death in the middle loses nothing, and what is done is committed.",
    nudge="Three steps: records = consumer.poll(), then the work on each record. And the third one?",
    wrong=(
        (
            _serve(
                "    records = consumer.poll()\n    consumer.commit()\n"
                "    for record in records:\n        handle(record)\n"
            ),
            COMMIT_FIRST,
        ),
        (
            _serve("    for record in consumer.poll():\n        consumer.commit(record)\n        handle(record)\n"),
            ONE_LOST,
        ),
        (_serve(f"{_EACH}        consumer.commit()\n"), COMMITS_ALL),
        (
            _serve(
                "    try:\n        for record in consumer.poll():\n            handle(record)\n"
                "    finally:\n        consumer.commit()\n"
            ),
            FINALLY,
        ),
        (
            _serve(
                "    for record in consumer.poll():\n        try:\n            handle(record)\n"
                "        except Exception:\n            pass\n    consumer.commit()\n"
            ),
            SWALLOWED,
        ),
        (_serve(_EACH), NEVER),
        (_serve("    handle(consumer.poll())\n    consumer.commit()\n"), ONE_BY_ONE),
        (_serve("    consumer.commit(*consumer.poll())\n"), NO_CALL),
        (_serve(_EACH.replace("handle(record)", "handle(record.event)") + _COMMIT), THE_EVENT),
        (_serve("    records = consumer.poll()\n    handle(*records)\n    consumer.commit()\n"), ONE_BY_ONE),
        (_serve(f"{_EACH}        break\n{_COMMIT}"), LEFT_OUT),
        (_serve(f"{_EACH}    consumer.commit(record)\n"), EMPTY),
        (_serve(_EACH.replace("consumer.poll()", "reversed(consumer.poll())") + _COMMIT), UNORDERED),
        (
            _serve(
                "    try:\n        for record in consumer.poll():\n            handle(record)\n"
                "    except Exception:\n        return\n    consumer.commit()\n"
            ),
            SWALLOWED,
        ),
    ),
    solution=_serve(f"{_EACH}    consumer.commit()"),
)

EXERCISES = (AUDIT, TWICE, SERVE, READ_ON)
