"""Exercise 04.4: a reader with a bookmark, and two mistakes in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ecomlib.events import Event
from ecomlib.lab.exercises.exercise import Exercise
from ecomlib.log import FileLog
from ecomlib.ports import Record


class SmallReader:
    def __init__(self, log: FileLog, group: str, folder: Path) -> None:
        self.log, self.group, self.folder = log, group, folder

    def read_on(self, handle: Callable[[Record], object]) -> None:
        """Handle what has come since the last time."""
        saved = self.folder / f"{self.group}.offset"
        start = int(saved.read_text()) if saved.exists() else 0
        for record in self.log.read("orders", start):
            bookmark = self.folder / f"{self.group}.offsets"
            bookmark.write_text(str(record.position.offset + 1))
            handle(record)


ALL_AGAIN = "After a restart all came again. Under which name is the offset saved, and under which is it looked for?"
LAST_AGAIN = "After a restart the last record came again. The file should name the record that comes next."
SKIPPED = "A record was skipped: the next one is offset + 1."
SHARED = "Now two groups have one bookmark, and the second group gets nothing. The group belongs into the name."
SAVED_FIRST = "The reader died in handle, and that record never came again: the offset was saved before the work."
SAVED_ANYWAY = "handle failed, and the offset was saved all the same. Save it only where handle has returned."
SWALLOWED = "handle failed, and your code went on as if nothing had happened. Let the error through."
NOT_CALLED = "handle was not called for every record. Keep the loop, and change what stands in it."


class PowerGone(Exception):
    """What ends a reader in mid-work."""


@contextmanager
def log_of(records: int) -> Iterator[tuple[FileLog, Path]]:
    """And a folder for what a reader wants to keep."""
    with TemporaryDirectory() as folder, FileLog(Path(folder, "log"), durability="system") as log:
        kept = Path(folder, "kept")
        kept.mkdir()
        log.append("orders", *map(order, range(records)))
        yield log, kept


def order(number: int) -> Event:
    return Event("order.created", {"order_id": number, "user_id": 100, "amount": 50})


def judge_read_on(answer: Any) -> str | None:
    kind: Any = type("Repaired", (SmallReader,), {"read_on": answer})
    with log_of(4) as (log, folder):
        days: list[list[Record]] = [[], [], []]
        kind(log, "email", folder).read_on(days[0].append)
        log.append("orders", order(4))
        for day, group in zip(days[1:], ("email", "analytics"), strict=True):
            kind(log, group, folder).read_on(day.append)
        if len(days[0]) != 4:
            return NOT_CALLED
        if not days[1]:
            return SKIPPED
        if len(days[1]) > 1:
            return ALL_AGAIN if len(days[1]) == 5 else LAST_AGAIN
        if not days[2]:
            return SHARED
    with log_of(4) as (log, folder):
        handled: list[int] = []
        saved: list[bool] = []

        def handle(record: Record) -> None:
            saved.append(any(folder.iterdir()))
            if record.position.offset == 2:
                raise PowerGone("the power is gone")
            handled.append(record.position.offset)

        try:
            kind(log, "email", folder).read_on(handle)
        except PowerGone:
            kind(log, "email", folder).read_on(lambda record: handled.append(record.position.offset))
        else:
            return SWALLOWED
        if set(handled) == {0, 1, 2, 3}:
            return None
        return SAVED_FIRST if saved[0] else SAVED_ANYWAY


def _read_on(loop: str, *, name: str = 'f"{self.group}.offset"') -> str:
    return (
        f"def read_on(self, handle):\n    saved = self.folder / {name}\n"
        "    start = int(saved.read_text()) if saved.exists() else 0\n"
        f'    for record in self.log.read("orders", start):\n{loop}'
    )


_SAVE = "        saved.write_text(str(record.position.offset + 1))\n"
_ELSEWHERE = (
    '        bookmark = self.folder / f"{self.group}.offsets"\n'
    "        bookmark.write_text(str(record.position.offset + 1))\n"
)
_HANDLE = "        handle(record)\n"
READ_ON = Exercise(
    id="04.4",
    name="read_on",
    blank="def read_on(self, handle):\n    ...  # the method, repaired",
    judge=judge_read_on,
    right="Right: one name for the file, and the offset is saved after the work.",
    nudge="Two mistakes: compare the two file names letter by letter, and ask what a death in handle leaves behind.",
    wrong=(
        (_read_on(_HANDLE + _ELSEWHERE), ALL_AGAIN),
        (_read_on(_SAVE + _HANDLE), SAVED_FIRST),
        (_read_on(_HANDLE + _SAVE.replace(" + 1", "")), LAST_AGAIN),
        (_read_on(_HANDLE + _SAVE.replace(" + 1", " + 2")), SKIPPED),
        (_read_on(_HANDLE + _SAVE, name='"offset"'), SHARED),
        (_read_on(f"        try:\n    {_HANDLE}        finally:\n    {_SAVE}"), SAVED_ANYWAY),
        (
            _read_on(f"        try:\n    {_HANDLE}        except Exception:\n            pass\n{_SAVE}"),
            SWALLOWED,
        ),
        (_read_on(_SAVE), NOT_CALLED),
    ),
    solution=_read_on(_HANDLE + _SAVE).rstrip(),
)
