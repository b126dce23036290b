"""Exercise 05.3: the same delivery twice, one effect and one answer, tried on a real log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FunctionType
from typing import Any

from ecomlib.errors import LogError
from ecomlib.events import Event
from ecomlib.lab.exercises.exercise import Exercise
from ecomlib.log import FileLog
from ecomlib.ports import Position, Record

NO_EVENT = "The first time that a key comes, append the event, and give that event back."
NOT_APPENDED = "The first event with its key is not in the log."
SECOND = "The same key came again, and now two events are in the log. Each request makes a new id: compare the keys."
FIRST_ONLY = "Your code decides at the first record. Look at all of them, and append behind the loop."
A_RECORD = "The key came again, and you gave back the record. Its event is record.event."
NO_ANSWER = "The key came again, and your code gave back nothing. The partner still needs its answer: the first event."
OTHER = (
    "The key came again, and the answer was another one than the first time. Give back the event that is in the log."
)
FACT_LOST = "Order 1 was created and then paid: two facts with two keys. The second one is not in the log: it is lost."
TWO_REPORTS = (
    "Two reports that say the same came, with two keys: they are two facts. The second one is lost. Compare the keys."
)
FORGETS = "After a restart the same key was taken once more: what your code remembers is gone with its program."
LOST = "The log failed, the partner sent the report again, and it is still not in the log. Append first, then remember."
SILENT = "The log could not be written, and your code hid it. The partner takes that for a yes: let the error out."
KEYLESS = "Some events in the log have no key: read it with event.extensions.get('idempotencykey')."
KEY = "idempotencykey"


class FullDisk(FileLog):
    """Fails at the first append."""

    failed = False

    def append(self, topic: str, *events: Event) -> tuple[Position, ...]:
        if not self.failed:
            self.failed = True
            raise LogError("The disk is full.")
        return super().append(topic, *events)


def _report(key: str | None, type: str = "order.created", order: int = 1) -> Event:
    """As the server makes it: a new event, with a new id, at each request."""
    return Event(type, {"order_id": order, "user_id": 100, "amount": 50}, extensions={KEY: key} if key else {})


@contextmanager
def _log(folder: Path | str, kind: type[FileLog] = FileLog) -> Iterator[FileLog]:
    if not Path(folder, "shop").exists():
        with FileLog(folder, durability="system") as log:
            log.create("shop", partitions=1)
            log.append("shop", _report(None, order=99))  # one of the shop's own
    with kind(folder, durability="system") as log:
        yield log


def judge_take(answer: Any) -> str | None:
    try:
        with TemporaryDirectory() as folder:
            first = _report("key-1")
            return (
                _on_a_good_day(_started(answer), folder, first)
                or _with_a_full_disk(_started(answer))
                or _after_a_restart(_started(answer), folder, first)
            )
    except KeyError as error:
        if error.args == (KEY,):
            return KEYLESS
        raise


def _started(answer: Any) -> Any:
    """The answer as a new program runs it: what it keeps in memory, beside itself or in a default, is empty."""
    if not isinstance(answer, FunctionType):
        return answer

    def empty(value: Any) -> Any:
        return type(value)() if type(value) in (set, dict, list) else value

    kept = {name: empty(answer.__globals__[name]) for name in answer.__code__.co_names if name in answer.__globals__}
    defaults = tuple(map(empty, answer.__defaults__ or ())) or None
    names = answer.__globals__ | kept
    again = FunctionType(answer.__code__, names, answer.__name__, defaults, answer.__closure__)
    again.__dict__.update({name: empty(value) for name, value in vars(answer).items()})
    names[answer.__name__] = again
    return again


def _on_a_good_day(take: Any, folder: str, first: Event) -> str | None:
    with _log(folder) as log:
        given = take(log, first)
        if log.end("shop") != 2:
            return NOT_APPENDED
        if not isinstance(given, Event):
            return NO_EVENT
        given = take(log, _report("key-1"))
        if log.end("shop") != 2:
            return FIRST_ONLY if _finds_the_first_record(take) else SECOND
        if given is None:
            return NO_ANSWER
        if isinstance(given, Record):
            return A_RECORD
        if not isinstance(given, Event) or given.id != first.id:
            return OTHER
        take(log, _report("key-2", "order.paid"))
        take(log, _report("key-3", order=2))
        if log.end("shop") != 4:
            return FACT_LOST
        take(log, _report("key-4", "order.paid"))  # the other half of the money, say
        return None if log.end("shop") == 5 else TWO_REPORTS


def _finds_the_first_record(take: Any) -> bool:
    with TemporaryDirectory() as folder, FileLog(folder, durability="system") as log:
        log.create("shop", partitions=1)
        log.append("shop", _report("key-1"))
        take(log, _report("key-1"))
        return log.end("shop") == 1


def _with_a_full_disk(take: Any) -> str | None:
    with TemporaryDirectory() as folder, _log(folder, FullDisk) as log:
        try:
            take(log, _report("key-1"))
        except LogError:
            take(log, _report("key-1"))
            return None if log.end("shop") == 2 else LOST
        return SILENT


def _after_a_restart(take: Any, folder: str, first: Event) -> str | None:
    with _log(folder) as log:
        given = take(log, _report("key-1"))
        if log.end("shop") != 5:
            return FORGETS
        return None if isinstance(given, Event) and given.id == first.id else OTHER


def _take(*lines: str, before: str = "") -> str:
    return f"{before}def take(log, event):\n" + "\n".join(f"    {line}" for line in lines)


_MINE = f"key = event.extensions['{KEY}']"
_EACH = "for record in log.read('shop'):"
_SAME = f"    if record.event.extensions.get('{KEY}') == key:"
_APPEND = ("log.append('shop', event)", "return event")
TAKE = Exercise(
    id="05.3",
    name="take",
    blank="def take(log, event):\n    ...  # append it, or find the first one; give it back",
    judge=judge_take,
    right="Right: one effect, the first answer, also after a restart, for the log is all that you remember with.",
    nudge="Go through log.read('shop'). Which record has the same key? If there is none, append the event.",
    wrong=(
        (
            _take(
                _MINE,
                "if key not in answers:",
                "    log.append('shop', event)",
                "    answers[key] = event",
                "return answers[key]",
                before="answers = {}\n\n\n",
            ),
            FORGETS,
        ),
        (
            _take(
                _MINE,
                "if key not in take.answers:",
                "    log.append('shop', event)",
                "    take.answers[key] = event",
                "return take.answers[key]",
            )
            + "\n\n\ntake.answers = {}",
            FORGETS,
        ),
        (
            _take(
                _EACH,
                "    if record.event.subject == event.subject:",
                "        return record.event",
                *_APPEND,
            ),
            FACT_LOST,
        ),
        (
            _take(
                _EACH,
                "    if record.event.data == event.data:",
                "        return record.event",
                *_APPEND,
            ),
            TWO_REPORTS,
        ),
        (
            _take(
                _EACH,
                "    if (record.event.type, record.event.subject) == (event.type, event.subject):",
                "        return record.event",
                *_APPEND,
            ),
            TWO_REPORTS,
        ),
        (
            _take(_MINE, _EACH, _SAME, "        return record.event", *(f"    {line}" for line in _APPEND)),
            FIRST_ONLY,
        ),
        (_take(_MINE, _EACH, _SAME, "        return record", *_APPEND), A_RECORD),
        (_take(_MINE, _EACH, _SAME, "        return", *_APPEND), NO_ANSWER),
        (_take(_MINE, _EACH, _SAME, "        return event", *_APPEND), OTHER),
        (
            _take(
                _MINE,
                "if key not in answers:",
                "    answers[key] = event",
                "    log.append('shop', event)",
                "return answers[key]",
                before="answers = {}\n\n\n",
            ),
            LOST,
        ),
        (_take(_EACH, "    if record.event.id == event.id:", "        return record.event", *_APPEND), SECOND),
        (_take(*_APPEND), SECOND),
        (
            _take(
                _MINE,
                _EACH,
                f"    if record.event.extensions['{KEY}'] == key:",
                "        return record.event",
                *_APPEND,
            ),
            KEYLESS,
        ),
        (
            _take(
                _MINE,
                _EACH,
                _SAME,
                "        return record.event",
                "try:",
                "    log.append('shop', event)",
                "except Exception:",
                "    pass",
                "return event",
            ),
            SILENT,
        ),
        (_take(_MINE, _EACH, _SAME, "        return record.event", "log.append('shop', event)"), NO_EVENT),
        (_take("return event"), NOT_APPENDED),
    ),
    solution=_take(_MINE, _EACH, _SAME, "        return record.event", *_APPEND),
)
