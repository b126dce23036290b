"""Fold a log's events into a projection: all of them, up to an offset or a time, or from a snapshot on."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ecomlib.errors import BadInput, LogError
from ecomlib.ports import Log, Projection, Record


def replay(
    log: Log,
    topic: str,
    projection: Projection,
    *,
    start: int = 0,
    end: int | None = None,
    until: datetime | None = None,
    partition: int | None = None,
) -> int:
    """Apply the events from offset `start` up to, not including, `end`. Returns the offset that comes next.

    It reads one partition, which has to be named where the topic has several: their events have no order among them.

    With `until`, only what had happened by that time (by the events' own times) is applied. Only the projection is
    called: no handler, no service, no sender. Raises what `Log.read` raises; the projection then has all that came
    before the damage.
    """
    if until is not None and until.tzinfo is None:
        raise BadInput(f"The time {until} has no time zone: write it like 2026-01-05T09:00:00Z.")
    partitions = log.topics().get(topic, 1)
    if partition is None and partitions > 1:
        raise LogError(
            f"The topic {topic!r} has {partitions} partitions, and a replay reads one: name it (partition=0), "
            "or read all of them with a consumer group."
        )
    record: Record | None = None
    for record in log.read(topic, start, partition=partition or 0, end=end):
        if until is None or record.event.time <= until:
            projection.apply(record.event)
    return record.position.offset + 1 if record else start


@dataclass(frozen=True)
class Snapshot:
    """A projection's state after all events before `offset`: a replay may start here instead of at 0."""

    topic: str
    offset: int
    state: dict[str, Any]

    def save(self, path: Path | str) -> None:
        """Replaces the file at once: whoever reads it, even after a crash, finds the old one or the new one whole.

        Raises `BadInput` where it can't be written there; the old one stays.
        """
        path = Path(path)
        beside = path.with_name(f"{path.name}.{os.getpid()}.new")
        text = json.dumps(asdict(self))
        try:
            with beside.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except OSError as error:
            if beside.exists():
                beside.unlink()
            raise BadInput(f"A snapshot can't be saved as {path}: {error.strerror}.") from error

    @classmethod
    def load(cls, path: Path | str) -> Snapshot:
        """Raises `BadInput` for a file that is no snapshot. A replay from 0 needs none."""
        try:
            said = json.loads(Path(path).read_text(encoding="utf-8"))
            topic, offset, state = said["topic"], said["offset"], said["state"]
            if not (isinstance(topic, str) and isinstance(state, dict) and type(offset) is int and offset >= 0):
                raise ValueError("it has a topic, an offset or a state that can't be one")
            return cls(topic, offset, state)
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise BadInput(f"{path} is no snapshot ({error}). Replay from the start and save a new one.") from error

    @classmethod
    def take(cls, log: Log, topic: str, projection: Projection, *, start: int = 0, end: int | None = None) -> Snapshot:
        """Replay into `projection` and keep what it then knows."""
        offset = replay(log, topic, projection, start=start, end=end)
        return cls(topic, offset, projection.state())

    def restore(self, projection: Projection) -> int:
        """Give the state to a projection. Returns the offset to go on from."""
        projection.restore(self.state)
        return self.offset
