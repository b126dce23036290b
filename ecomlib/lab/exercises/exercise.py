"""What an exercise consists of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """`judge` gets the learner's answer and returns None when it is right, else the hint that it deserves.

    It tries the answer on real parts (a bus, a log, events). What the learner's code raises it may let through.
    """

    id: str  # the lesson's number, a dot, and the exercise's
    name: str  # the variable or function that the learner fills
    blank: str  # the cell as the lesson has it, up to the check
    judge: Callable[[Any], str | None]
    right: str  # why the right answer is right
    nudge: str  # for who asks for a hint
    wrong: tuple[tuple[str, str], ...]  # answers that people give, as cells, each with its hint
    solution: str  # as a cell
