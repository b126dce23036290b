"""How far a consumer group has come: a file with an offset for each partition."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ecomlib.assignment import Place, Topics
from ecomlib.errors import BadOffset
from ecomlib.files import disk_errors, sync_folder
from ecomlib.ports import Lag, Log


def replace(path: Path, data: bytes, *, durable: bool) -> None:
    """At once: whoever reads it, even after a crash, finds the old file or the new one whole."""
    beside = path.with_name(f"{path.name}.new")  # one name will do: the group's lock is held
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    os.replace(beside, path)
    if durable:
        sync_folder(path.parent)


def nested(said: Mapping[Place, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for topic, number in sorted(said):
        found.setdefault(topic, {})[str(number)] = said[topic, number]
    return found


def flat(nested: Mapping[str, Mapping[str, Any]]) -> dict[Place, Any]:
    return {(topic, int(number)): said for topic, numbers in nested.items() for number, said in numbers.items()}


# What a damaged file leads to.
NO_JSON = (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError)


def as_json(said: Any) -> bytes:
    return json.dumps(said, indent=1).encode() + b"\n"


class Offsets:
    """A group's committed offsets. A missing file, or a partition that is not in it: nothing has been committed yet."""

    def __init__(self, folder: Path, *, durable: bool) -> None:
        self.path, self._durable = folder / "offsets.json", durable

    def read(self) -> dict[Place, int | None]:
        """None where the offset was lost with a damaged file. Raises `BadOffset` for a file that is damaged now."""
        with disk_errors(self.path):
            try:
                found: dict[Place, int | None] = flat(json.loads(self.path.read_bytes()))
                if not all(offset is None or (type(offset) is int and offset >= 0) for offset in found.values()):
                    raise ValueError("these are no offsets")
                return found
            except FileNotFoundError:
                return {}
            except NO_JSON:
                raise BadOffset(
                    f"{self.path} is damaged: how far this group has come can't be read. Nothing was changed. "
                    "Say where to go on with seek(offset), then commit()."
                ) from None

    def committed(self, place: Place, end: int) -> int | None:
        """None before the first commit there. Raises `BadOffset`, also for an offset behind the log's end.

        Kafka goes to its `auto.offset.reset` in that case (Kafka documentation, consumer configs), which sends every
        email again or skips some without a word; here a person decides.
        """
        (topic, number), offsets = place, self.read()
        offset = offsets.get(place)
        if place in offsets and (offset is None or offset > end):
            what = (
                "the offset was lost with a damaged offsets.json"
                if offset is None
                else f"offset {offset} is committed, and the log ends at {end}"
            )
            raise BadOffset(
                f"Group {self.path.parent.name!r}, topic {topic!r}, partition {number}: {what}. "
                f"Say where to go on with seek(offset, {topic!r}, {number}), then commit()."
            )
        return offset

    def write(self, offsets: Mapping[Place, int], topics: Callable[[], Topics]) -> None:
        """The group's lock is held. A damaged file is kept as `offsets.damaged.json`, and what it may have said of
        other partitions of the log's topics is marked as lost: there, too, someone has to say where to go on.
        """
        try:
            known = self.read()
        except BadOffset:
            with disk_errors(self.path):
                replace(self.path.with_name("offsets.damaged.json"), self.path.read_bytes(), durable=self._durable)
            known = {(topic, number): None for topic, size in topics().items() for number in range(size)}
        if new := {place: offset for place, offset in offsets.items() if known.get(place) != offset}:
            with disk_errors(self.path):
                replace(self.path, as_json(nested({**known, **new})), durable=self._durable)

    def lag(self, log: Log, place: Place) -> Lag:
        end = log.end(*place)
        return Lag(*place, self.committed(place, end), end)
