"""The checks: a blank fails, a wrong answer gets its own hint, the solution passes, nothing ends in a traceback."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from contextvars import ContextVar
from typing import Any

import pandas as pd
import pytest

from ecomlib.lab import checks
from ecomlib.lab.checks import Verdict, check, every_exercise, hint, solution
from ecomlib.lab.exercises.exercise import Exercise

WHERE: ContextVar[str] = ContextVar("where")
EXERCISES = every_exercise()
ALL = pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda exercise: exercise.id)
WRONG = [
    pytest.param(exercise, cell, expected, id=f"{exercise.id} {n}")
    for exercise in EXERCISES.values()
    for n, (cell, expected) in enumerate(exercise.wrong, 1)
]


def tried(exercise: Exercise, cell: str) -> Verdict:
    """The verdict on a cell, run with nothing at hand: so no answer needs an import that the lesson did not make."""
    names: dict[str, Any] = {}
    exec(cell, names)
    return check(exercise.id, names[exercise.name])


def assert_no_check_runs() -> None:
    """Each one's thread has ended, or does so within the time that the end of a thread takes."""
    for thread in threading.enumerate():
        if thread.name == "check":
            thread.join(1)
            assert not thread.is_alive()


@ALL
def test_the_blank_is_not_yet_an_answer(exercise: Exercise) -> None:
    verdict = tried(exercise, exercise.blank)
    assert not verdict
    assert repr(verdict).startswith("○ Not yet")
    assert exercise.name in repr(verdict)


@ALL
def test_the_solution_passes_and_says_why(exercise: Exercise) -> None:
    verdict = tried(exercise, exercise.solution)
    assert verdict
    assert repr(verdict) == f"✓ {exercise.right}"


@pytest.mark.parametrize(("exercise", "cell", "expected"), WRONG)
def test_a_wrong_answer_gets_its_own_hint(exercise: Exercise, cell: str, expected: str) -> None:
    verdict = tried(exercise, cell)
    assert not verdict
    assert repr(verdict) == f"✗ {expected}"


@ALL
def test_at_least_three_misconceptions_are_told_apart(exercise: Exercise) -> None:
    assert len({expected for _, expected in exercise.wrong}) >= 3


@ALL
def test_what_a_check_says_is_one_short_line(exercise: Exercise) -> None:
    for text in (exercise.right, exercise.nudge, *(expected for _, expected in exercise.wrong)):
        assert "\n" not in text
        assert len(text) < 160, text
        assert text[-1] in ".?)…" or text.endswith("key=..."), text


@ALL
def test_a_hint_and_the_solution_can_be_asked_for(exercise: Exercise) -> None:
    assert repr(hint(exercise.id)) == exercise.nudge
    assert repr(solution(exercise.id)) == exercise.solution
    assert exercise.solution not in exercise.nudge


@ALL
@pytest.mark.parametrize(
    "answer", [7, -1, "", "×", [], {}, object(), int, print, b"\xff", float("nan"), Exception("no"), pd.Series([1, 2])]
)
def test_any_answer_at_all_gets_a_sentence(exercise: Exercise, answer: Any) -> None:
    verdict = check(exercise.id, answer)
    assert not verdict
    assert "\n" not in repr(verdict)


FUNCTIONS = [exercise for exercise in EXERCISES.values() if exercise.blank.startswith("def ")]
CODE = pytest.mark.parametrize("exercise", FUNCTIONS, ids=lambda exercise: exercise.id)


@CODE
def test_code_that_raises_is_told_what_it_raised_and_where(exercise: Exercise) -> None:
    def answer(*_: object) -> None:
        raise LookupError("lost")

    line = answer.__code__.co_firstlineno + 1
    assert repr(check(exercise.id, answer)) == f"✗ Your code stopped in line {line} of the cell with LookupError: lost"


ENDLESS = {
    "one line": "while True: pass",
    "two lines": "while True:\n        pass",
    "an iterator": "for _ in iter(int, 1): pass",
    "a bare except": "while True:\n        try: len(1)\n        except: pass",
    "a bare except in two loops": "while True:\n        try:\n            while True: pass\n        except: pass",
    "a finally": "while True:\n        try: len([])\n        finally: continue",
    "sleep": "import time\n    while True: time.sleep(0.001)",
}


@CODE
@pytest.mark.parametrize("body", ENDLESS.values(), ids=ENDLESS)
def test_code_that_never_ends_is_stopped(
    exercise: Exercise, body: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "SECONDS", 0.1)
    names: dict[str, Any] = {}
    exec(f"def answer(*_):\n    {body}", names)
    assert "does not come to an end" in repr(check(exercise.id, names["answer"]))
    assert_no_check_runs()
    assert capfd.readouterr().err == ""


def test_a_learner_waits_seconds_for_the_verdict_on_an_endless_loop() -> None:
    def answer(events: Any) -> None:
        while True: pass  # fmt: skip  # noqa: E701

    began = time.monotonic()
    assert "does not come to an end" in repr(check("03.1", answer))
    assert time.monotonic() - began < checks.SECONDS + 3


def test_what_an_answer_sees_is_the_caller_s_context() -> None:
    seen: list[str] = []
    WHERE.set("here")
    check("03.1", lambda events: seen.append(WHERE.get()))
    assert seen == ["here"]


@CODE
def test_code_that_takes_something_else_or_leaves_python_is_told_so(exercise: Exercise) -> None:
    def leaves(*_: object) -> None:
        raise SystemExit

    assert "SystemExit" in repr(check(exercise.id, leaves))
    assert "TypeError" in repr(check(exercise.id, lambda a, b, c, d, e: (a, b)))


@CODE
def test_an_error_that_comes_up_in_another_file_is_placed_in_the_learner_s_own_line(exercise: Exercise) -> None:
    def answer(*_: object) -> None:
        json.loads("{")

    line = answer.__code__.co_firstlineno + 1
    assert f"in line {line} of the cell with JSONDecodeError" in repr(check(exercise.id, answer))


class Spiteful(Exception):
    """Its text can't be read, or has many lines."""

    def __str__(self) -> str:
        raise self.args[0] if self.args else ValueError("no text")


@CODE
@pytest.mark.parametrize("error", [Spiteful(), Exception("one\ntwo\nthree")], ids=["no text", "many lines"])
def test_even_an_error_without_readable_text_ends_in_one_line(exercise: Exercise, error: Exception) -> None:
    def answer(*_: object) -> None:
        raise error

    assert repr(check(exercise.id, answer)).startswith("✗ Your code stopped in line ")
    assert "\n" not in repr(check(exercise.id, answer))


def test_ctrl_c_stops_a_check_as_it_stops_anything() -> None:
    def answer(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check("03.1", answer)


@pytest.mark.skipif(sys.platform == "win32", reason="there os.kill ends the process instead of interrupting it")
def test_ctrl_c_while_an_answer_runs_leaves_no_thread_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "SECONDS", 60.0)

    def answer(events: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            pass

    with pytest.raises(KeyboardInterrupt):
        check("03.1", answer)
    assert_no_check_runs()


def test_a_handler_that_never_ends_is_stopped_on_the_bus_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "SECONDS", 0.1)

    def once(send: Any) -> Any:
        def handler(event: Any) -> None:
            while True:
                repr(event)

        return handler

    assert "does not come to an end" in repr(check("02.3", once))


def test_a_verdict_says_in_a_page_what_it_says_as_text() -> None:
    verdict = check("01.1", "a<b>*")
    assert "&lt;" in verdict._repr_html_() or "<b>" not in verdict._repr_html_()
    assert '<div role="status">' in verdict._repr_html_()
    assert "✗" in verdict._repr_html_()


def test_an_exercise_that_does_not_exist_is_named() -> None:
    for ask in (hint, solution):
        with pytest.raises(ValueError, match=r"no exercise '9.9': choose one of 01.1, "):
            ask("9.9")
    with pytest.raises(ValueError, match="no exercise"):
        check("9.9", None)
