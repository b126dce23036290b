"""Reads `events.log` as the original project wrote it, and tells its lines as events.

One JSON object a line, with local time, day first:
`{"timestamp": "05-12-2025 09:31:17", "event": "order.created", "data": {"order_id": 1001, "amount": 0}}`
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic_core import from_json

from ecomlib.errors import BadEvent, BadInput
from ecomlib.events import Event
from ecomlib.importing import Findings, Imported, numbered_lines
from ecomlib.zones import zone_named

BAD_LINE = "lines could not be read and had to be left out"
BACKWARDS = "lines had a time before that of the line above"

_IDS = uuid.uuid5(uuid.NAMESPACE_URL, "ecomlib:original")  # the same line makes the same id on every machine


def read_original(file: Path | str, *, zone: str = "UTC") -> Imported:
    """The events of the file, in the order of its lines, and what was wrong with it. Its times are local to `zone`.

    Every event has version 1 of its type's data: this `order.paid` says only which order. An event's id comes from
    the line and its number, so a second import makes the same events, also where the file has grown since.

    A line that can't be read is reported with its number, and costs no other. Raises `BadInput` where the file is
    missing, holds not one readable line, or the zone is unknown.
    """
    path, local, findings = Path(file), zone_named(zone), Findings()
    events: list[Event] = []
    number = 0
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        try:
            event = _event(number, line, local)
        except BadEvent as error:
            findings.add(BAD_LINE, f"line {number} ({str(error).rstrip('.')})")
            continue
        if events and event.time < events[-1].time:
            findings.add(BACKWARDS, f"line {number}")
        events.append(event)
    if findings and not events:
        raise BadInput(f"{path} is no events.log of the original. {' '.join(findings.sentences())}")
    if not events:
        findings.remark(f"{path.name} holds no events.")
    return Imported(events, findings)


def _event(number: int, line: bytes, local: ZoneInfo) -> Event:
    try:
        body = from_json(line, allow_inf_nan=False)
    except ValueError as error:
        raise BadEvent(f"it is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadEvent("it is no JSON object")
    missing = [name for name in ("timestamp", "event", "data") if name not in body]
    if missing:
        raise BadEvent(f"{' and '.join(missing)} missing")
    try:
        time = datetime.strptime(body["timestamp"], "%d-%m-%Y %H:%M:%S").replace(tzinfo=local).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise BadEvent(f"{body['timestamp']!r:.40} is no time like 05-12-2025 09:31:17") from None
    return Event(
        body["event"],
        body["data"],
        id=str(uuid.uuid5(_IDS, f"{number}:{line.decode()}")),
        source="/original",
        time=time,
        dataversion=1,
    )
