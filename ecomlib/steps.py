"""The table of a saga: its steps, each an action with its compensation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ecomlib.catalogue import Data
from ecomlib.errors import BadInput
from ecomlib.ports import Retry

Action = Callable[[str, Any], object]  # gets an idempotency key, which is the same at every attempt, and the request


@dataclass(frozen=True)
class Step:
    """An action is retried, then given up. `Refused` says that it did not happen; after any other error it may have.

    `limit` is how many seconds an attempt may take. One that takes longer has failed, and may still happen later.
    """

    name: str
    action: Action
    compensation: Action | None = None
    pivot: bool = False  # once it is done there is no way back
    retry: Retry = Retry()  # noqa: RUF009  (immutable)
    limit: float = 10.0


@dataclass(frozen=True)
class Saga:
    """A table of steps, done in this order, compensated in reverse. `request` is the model of what is asked for."""

    name: str
    steps: tuple[Step, ...]
    request: type[Data] = Data

    def __post_init__(self) -> None:
        names = [step.name for step in self.steps]
        if len(set(names)) < len(names) or sum(step.pivot for step in self.steps) != 1:
            raise BadInput(f"The saga {self.name!r} needs steps with names of their own, and one pivot among them.")
