"""Instant answers to a learner's exercise: `check` says right or wrong and why, `hint` and `solution` help on."""

from __future__ import annotations

import ctypes
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextvars import copy_context
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib import import_module
from threading import Thread
from types import CodeType, FrameType
from typing import Any, Literal

from ecomlib.errors import named
from ecomlib.lab.exercises.exercise import Exercise
from ecomlib.lab.source import Source

LESSONS = range(1, 8)  # those that have exercises
MARKS = {"right": "✓", "wrong": "✗", "blank": "○"}
COLOURS = {
    "right": "--jp-success-color1,#388e3c",
    "wrong": "--jp-error-color1,#d32f2f",
    "blank": "--jp-ui-font-color2,#666",
}
SECONDS = 5.0  # an answer takes milliseconds, and on a busy machine a second or two; longer, it is taken for endless


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
    """Try the answer on real parts. Whatever it does, it ends in a sentence, not in a traceback.

    It runs in a thread of its own and is waited for, five seconds at most. Raises `ValueError` for an exercise that
    does not exist.
    """
    exercise = _exercise(id)
    if _is_blank(answer):
        return Verdict("blank", f"Not yet: fill in {exercise.name!r}, then run this cell again. Or ask hint({id!r}).")
    try:
        wrong = _within(SECONDS, exercise.judge, answer)
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


@cache
def exercises(lesson: int) -> dict[str, Exercise]:
    """Those of one lesson, by their ids. What they need, a web server for instance, is imported only now."""
    found: tuple[Exercise, ...] = import_module(f"ecomlib.lab.exercises.lesson{lesson:02}").EXERCISES
    return {exercise.id: exercise for exercise in found}


def every_exercise() -> dict[str, Exercise]:
    """In the order of the lessons."""
    return {id: exercise for lesson in LESSONS for id, exercise in exercises(lesson).items()}


def _exercise(id: str) -> Exercise:
    lesson = str(id).partition(".")[0]
    found = exercises(int(lesson)) if lesson.isdecimal() and int(lesson) in LESSONS else {}
    if id not in found:
        raise ValueError(f"There is no exercise {id!r}: choose one of {', '.join(every_exercise())}.")
    return found[id]


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


class _Stop(_TooLong):
    """Where a bare `except:` of the learner's catches it, it comes again in the first line of that handler."""

    def __init__(self) -> None:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename != __file__:
            frame.f_trace = _stop_again
            frame = frame.f_back
        sys.settrace(lambda *_: None)


def _stop_again(frame: FrameType, event: str, arg: Any) -> Callable[..., Any]:
    if isinstance(sys.exception(), _Stop):
        raise _Stop
    return _stop_again  # not in a handler: raised here, in the loop's own try, it would only be caught again


def _within(seconds: float, judge: Callable[[Any], str | None], answer: Any) -> str | None:
    """What the judge says or raises; `_TooLong` where it does neither in that time.

    A thread of its own can be stopped at any place, also in a loop that is all on one line or sleeps, and no stop that
    comes too late hits the caller. Only a call into C that never comes back can't be stopped by anything in Python.
    """
    said: Future[str | None] = Future()

    def run() -> None:
        try:
            said.set_result(judge(answer))
        except BaseException as error:
            said.set_exception(error)

    thread = Thread(target=copy_context().run, args=(run,), name="check", daemon=True)
    try:
        thread.start()
        wait([said], seconds)  # not join: interrupted, that takes the thread for one that has ended
        if not said.done():
            raise _TooLong
        return said.result()
    finally:
        for _ in range(100):
            if said.done():
                break
            _raise_in(thread.ident or 0, _Stop)
            wait([said], 0.01)


def _raise_in(thread: int, error: type[BaseException]) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))
