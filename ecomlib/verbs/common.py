"""What the verbs share."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from ecomlib.errors import BadInput
from ecomlib.zones import zone_named


class Result(NamedTuple):
    """What a verb found out: for a program, and for a person."""

    data: dict[str, Any]
    text: str
    failed: bool = False


def say(sentence: str) -> None:
    """Progress, and what goes wrong: results alone go to standard output."""
    print(sentence, file=sys.stderr)


def log_folder(options: argparse.Namespace) -> Path:
    if options.log is None:
        raise BadInput("Which log? Name its folder with --log DIR, or set ECOMLIB_LOG.")
    return Path(options.log)


def time_of(text: str, zone: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{text!r:.40} is no time: write it like 2026-01-05 or 2026-01-05T12:00:00Z.") from None
    return time if time.tzinfo else time.replace(tzinfo=zone_named(zone))


def table(totals: dict[str, int | str]) -> str:
    return "\n".join(f"{name:>10}  {value}" for name, value in totals.items())
