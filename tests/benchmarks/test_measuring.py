"""How runs take turns, and what the table says of their figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.measuring import FULL, Bench, Goal, Kind, Measured, Race, Reading, Side, Spread, measure
from benchmarks.report import figures, goals, report


def side(name: str, kind: Kind, *given: float, calls: list[str] | None = None) -> Side:
    """Its runs return the given figures, one after the other, and note their names."""
    left = list(given)

    def run() -> float:
        if calls is not None:
            calls.append(name)
        return left.pop(0)

    return Side(name, kind, run)


def race(*sides: Side, goal: Goal | None = None, rounds: int = 3) -> Race:
    return Race("a race", "events", sides, (goal,) if goal else (), rounds)


def test_the_sides_take_turns_and_each_round_begins_with_another() -> None:
    calls: list[str] = []
    sides = [side(name, "ours", *range(4), calls=calls) for name in "ab"]
    measure(race(*sides))
    assert "".join(calls) == "ab" + "ba" + "ab" + "ba"


def test_the_first_round_warms_up_and_does_not_count() -> None:
    measured = measure(race(side("a", "ours", 1000, 2, 4, 3)))
    assert measured.figures == {"a": [2, 4, 3]}
    assert measured.spread("a") == Spread(2, 3, 4)


def test_runs_that_are_long_need_no_round_to_warm_up() -> None:
    measured = measure(Race("a race", "events", (side("a", "ours", 1, 2),), rounds=2, warm_up=False))
    assert measured.figures == {"a": [1, 2]}


def test_a_reading_has_no_round_to_warm_up() -> None:
    measured = measure(Reading("a start", "s", (side("a", "ours", 7),), at_most=8))
    assert measured.figures == {"a": [7]}


def test_at_a_small_size_one_round_is_enough() -> None:
    assert measure(race(side("a", "ours", 2, 3)), scale=0.5).figures == {"a": [2]}


def test_a_ratio_compares_figures_of_the_same_round_only() -> None:
    goal = Goal("a", "b", 2)
    drifting = measure(race(side("a", "ours", 0, 20, 200, 2), side("b", "peer", 0, 10, 100, 1), goal=goal))
    assert drifting.ratio(goal) == Spread(2, 2, 2)


@pytest.mark.parametrize(("ours", "said"), [(30.0, "| ✓ |"), (19.9, "| ✗ missed |")])
def test_the_table_says_whether_a_goal_was_met(ours: float, said: str) -> None:
    measured = Measured(race(side("a", "ours"), side("b", "peer"), goal=Goal("a", "b", 2)), {"a": [ours], "b": [10]})
    assert said in goals([measured])


@pytest.mark.parametrize(("took", "said"), [(20.0, "| ✓ |"), (20.1, "| ✗ missed |")])
def test_a_figure_may_be_as_much_as_its_bound_and_no_more(took: float, said: str) -> None:
    reading = Reading("a start", "s", (side("make lab", "ours"), side("pip", "peer")), at_most=20)
    table = goals([Measured(reading, {"make lab": [took], "pip": [100]})])
    assert said in table
    assert "pip" not in table


def test_the_table_has_every_side_with_its_ratio_to_the_first_of_ours() -> None:
    sides = side("a loop", "limit"), side("ecomlib", "ours"), side("blinker", "peer")
    measured = Measured(race(*sides), {"ecomlib": [10, 20, 30], "blinker": [5, 5, 5], "a loop": [1234.5] * 3})
    lines = figures([measured]).splitlines()
    assert "| a race | a loop | limit | 1,230 events a second | 0.0162 (0.00810 to 0.0243) |" in lines
    assert "| a race | ecomlib | ours | 20.0 (10.0 to 30.0) events a second |  |" in lines
    assert "| a race | blinker | peer | 5.00 events a second | 4.00 (2.00 to 6.00) |" in lines


def test_what_was_not_measured_is_told_with_the_reason() -> None:
    text = report([], {"browser": "Chromium is not installed."}, {"RabbitMQ": "3.10.8"})
    assert "- browser: Chromium is not installed." in text
    assert "RabbitMQ 3.10.8" in text
    assert "pydantic " in text


@pytest.mark.parametrize(("scale", "full", "expected"), [(FULL, 500, 500), (0.01, 5000, 50), (0.001, 500, 10)])
def test_the_size_scales_what_is_done_but_never_to_nothing(
    scale: float, full: int, expected: int, tmp_path: Path
) -> None:
    assert Bench(tmp_path, scale).count(full) == expected


def test_less_than_the_least_stays_as_it_is(tmp_path: Path) -> None:
    assert Bench(tmp_path, 0.001).count(5, least=10) == 5
