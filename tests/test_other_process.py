"""The second process of a lesson: what it says is heard, what it dies of is told, and it ends when it is told to."""

from __future__ import annotations

import pytest

from ecomlib.errors import EcomlibError
from ecomlib.lab.other_process import OtherProcess

ECHO = "import sys; print('ready', flush=True); print('heard', repr(sys.stdin.read()))"
URL = "amqp://localhost/"


def test_it_is_heard_line_by_line_and_to_the_end() -> None:
    other = OtherProcess(ECHO, URL)
    assert other.line() == "ready"
    assert other.end() == "heard ''"


def test_it_gets_the_broker_s_address() -> None:
    other = OtherProcess("import os; print(os.environ['ECOMLIB_RABBITMQ_URL'])", URL)
    assert other.end() == URL


def test_what_it_died_of_is_told() -> None:
    with pytest.raises(EcomlibError, match=r"has ended. It says: (?s:.*)ValueError: no"):
        OtherProcess("raise ValueError('no')", URL).line()
    with pytest.raises(EcomlibError, match=r"has failed. It says: (?s:.*)ValueError: no"):
        OtherProcess("raise ValueError('no')", URL).end()


def test_one_that_says_nothing_is_not_waited_for_without_end() -> None:
    other = OtherProcess("import sys; sys.stdin.read()", URL)
    with pytest.raises(EcomlibError, match=r"said nothing for 0\.1 s"):
        other.line(limit=0.1)
    assert other.end() == ""


def test_killed_it_finishes_nothing_and_may_be_killed_again() -> None:
    other = OtherProcess(ECHO, URL)
    assert other.line() == "ready"
    other.kill()
    other.kill()
    assert other.ended == -9
