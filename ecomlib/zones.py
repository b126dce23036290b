"""Time zones by name, for whatever reads or shows local time."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from ecomlib.errors import BadInput


def zone_named(name: str) -> ZoneInfo:
    """The zone with that name in the IANA time zone database. Raises `BadInput` where there is none."""
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError, TypeError):
        raise BadInput(f"{name!r:.60} is no time zone: write one like 'UTC' or 'America/Sao_Paulo'.") from None
