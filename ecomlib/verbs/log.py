"""The verbs that look into a log. They change nothing in it."""

from __future__ import annotations

import argparse
import json
from heapq import merge
from typing import Any

from ecomlib.errors import LogError
from ecomlib.log import FileLog
from ecomlib.membership import describe, groups, lags
from ecomlib.settings import Settings
from ecomlib.verbs.common import Result, log_folder


def log_topics(options: argparse.Namespace, settings: Settings) -> Result:
    with FileLog(log_folder(options)) as log:
        topics = [
            {"topic": topic, "partitions": count, "events": sum(log.end(topic, n) for n in range(count))}
            for topic, count in log.topics().items()
        ]
    text = "\n".join(f"{t['topic']}: {t['events']} events, partitions: {t['partitions']}" for t in topics)
    return Result({"topics": topics}, text or "The log has no topics yet.")


def log_tail(options: argparse.Namespace, settings: Settings) -> Result:
    """The latest by their times; within a partition, as ever, by their offsets."""
    with FileLog(log_folder(options)) as log:
        parts = []
        for partition in range(log.partitions(options.topic)):
            start = max(log.end(options.topic, partition) - options.number, 0)
            parts.append(list(log.read(options.topic, start, partition=partition)))
    records = list(merge(*parts, key=lambda record: record.event.time))[-options.number :]
    data = [
        {"partition": r.position.partition, "offset": r.position.offset, "event": json.loads(r.event.to_json())}
        for r in records
    ]
    place = "{0.offset:>6}" if len(parts) == 1 else "{0.partition:>3}:{0.offset:<6}"
    return Result(
        {"topic": options.topic, "records": data},
        "\n".join(f"{place.format(r.position)}  {r.event.time:%Y-%m-%d %H:%M:%S}  {r.event!r}" for r in records),
    )


def log_groups(options: argparse.Namespace, settings: Settings) -> Result:
    """Looks without joining: no partition changes hands."""
    with FileLog(log_folder(options)) as log:
        rows, troubles = [], []
        for group in groups(log):
            try:
                rows += _rows(log, group)
            except LogError as error:  # which hides no other group
                troubles.append(f"{group}: {error}")
    data = {"groups": rows} | ({"damaged": troubles} if troubles else {})
    text = "\n".join([*map(_line, rows), *troubles])
    return Result(data, text or "No group has read this log yet.", failed=bool(troubles))


def _rows(log: FileLog, group: str) -> list[dict[str, Any]]:
    holders = {place: member.name for member in describe(log, group).members for place in member.assigned}
    return [
        {"group": group, **lag._asdict(), "lag": lag.lag, "member": holders.get((lag.topic, lag.partition))}
        for lag in lags(log, group)
    ]


def _line(row: dict[str, Any]) -> str:
    committed = "nothing" if row["committed"] is None else row["committed"]
    holder = f", held by {row['member']}" if row["member"] else ""
    place = f"{row['group']}  {row['topic']}/{row['partition']}"
    return f"{place}: committed {committed} of {row['end']}, lag {row['lag']}{holder}"
