"""Writes down who did what: the service that wildcards are made for."""

from __future__ import annotations

from collections import deque

from ecomlib.events import Event

PATTERNS = ("user.*", "order.*")


class AuditService:
    """Keeps the latest `keep` lines, oldest first, each in the words of the event."""

    def __init__(self, keep: int = 10_000) -> None:
        self.lines: deque[str] = deque(maxlen=keep)

    def record(self, event: Event) -> None:
        noun, _, verb = event.type.partition(".")
        said = ", ".join(f"{name} {value}" for name, value in event.data.to_dict().items() if value is not None)
        self.lines.append(f"{noun} {verb}: {said}")
