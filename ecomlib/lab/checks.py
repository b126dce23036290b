"""Instant answers to a learner's exercise: `check` says right or wrong and why, `hint` and `solution` help on."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from types import CodeType, FrameType
from typing import Any, Literal

from ecomlib.errors import named
from ecomlib.lab.exercises import lesson01, lesson02, lesson03
from ecomlib.lab.exercises.exercise import Exercise
from ecomlib.lab.source import Source

EXERCISES: dict[str, Exercise] = {e.id: e for lesson in (lesson01, lesson02, lesson03) for e in lesson.EXERCISES}
MARKS = {"right": "✓", "wrong": "✗", "blank": "○"}
COLOURS = {
    "right": "--jp-success-color1,#388e3c",
    "wrong": "--jp-error-color1,#d32f2f",
    "blank": "--jp-ui-font-color2,#666",
}
LINES = 500_000  # an answer that runs longer than that is taken to run for ever


@dataclass(frozen=True)
class Verdict:
    """One line about an answer. It is true when the answer is right."""

    kind: Literal["right", "wrong", "blank"]
    text: str

    def __bool__(self) -> bool:
        return self.kind == "right"

    def __repr__(self) -> str:
        return f"{MARKS[self.kind]} {self.text}"

    def _repr_html_(self) -> str:
        mark = f'<span style="color: var({COLOURS[self.kind]}); font-weight: bold">{MARKS[self.kind]}</span>'
        return f'<div role="status">{mark} {escape(self.text)}</div>'


@dataclass(frozen=True)
class Hint:
    text: str

    def __repr__(self) -> str:
        return self.text


def check(id: str, answer: Any) -> Verdict:
    """Try the answer on real parts, in this thread. Whatever it does, it ends in a sentence, not in a traceback.

    Raises `ValueError` for an exercise that does not exist.
    """
    exercise = _exercise(id)
    if _is_blank(answer):
        return Verdict("blank", f"Not yet: fill in {exercise.name!r}, then run this cell again. Or ask hint({id!r}).")
    try:
        with _limit(LINES):
            wrong = exercise.judge(answer)
    except _TooLong:
        return Verdict("wrong", "Your code does not come to an end: look for a loop that never stops.")
    except (Exception, SystemExit) as error:
        return Verdict("wrong", _told(error, answer))
    return Verdict("wrong", wrong) if wrong else Verdict("right", exercise.right)


def hint(id: str) -> Hint:
    """A push in the right direction. Raises `ValueError` for an exercise that does not exist."""
    return Hint(_exercise(id).nudge)


def solution(id: str) -> Source:
    """One right answer, as code. Raises `ValueError` for an exercise that does not exist."""
    return Source(_exercise(id).solution)


def _exercise(id: str) -> Exercise:
    if id not in EXERCISES:
        raise ValueError(f"There is no exercise {id!r}: choose one of {', '.join(EXERCISES)}.")
    return EXERCISES[id]


def _empty(*_: object) -> None: ...


def _is_blank(answer: Any) -> bool:
    code = _code(answer)
    if code is None:
        return answer is None or answer is ...
    return (code.co_code, code.co_consts) == (_empty.__code__.co_code, _empty.__code__.co_consts)


def _code(answer: Any) -> CodeType | None:
    code = getattr(answer, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _told(error: BaseException, answer: Any) -> str:
    """What the learner's code raised, and in which line of the cell that defines it."""
    code = _code(answer)
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if code is not None and frame.filename == code.co_filename]
    place = f" in line {lines[-1]} of the cell" if lines else ""
    return f"Your code stopped{place} with {' '.join(named(error).split())}"


class _TooLong(BaseException):
    """No `except Exception` of the learner's may catch it."""


@contextmanager
def _limit(lines: int) -> Iterator[None]:
    """Raise `_TooLong` in the code that runs here once it has run that many lines."""
    left = lines

    def count(frame: FrameType, event: str, arg: Any) -> Callable[..., Any]:
        nonlocal left
        left -= 1
        if left < 0:
            raise _TooLong
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        yield
    finally:
        sys.settrace(before)
