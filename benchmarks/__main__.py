"""`make bench`: measure all areas, print the table, and write it down."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from benchmarks.measuring import FULL, TINY, Area, Bench, Measured, NotHere, measure
from benchmarks.report import report

AREAS = (
    *("dispatch", "workers", "matching", "appending", "durability", "replaying", "frames", "groups", "sagas"),
    *("webhook", "rabbit", "browser", "startup"),
)
RESULTS = Path(__file__).parent / "RESULTS.md"


def races_of(area: str) -> Area:
    """Raises `NotHere` where the area's peers are not installed."""
    try:
        found: Area = import_module(f"benchmarks.{area}").races
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("benchmarks", "ecomlib"):
            raise
        raise NotHere(f"{error.name} is not installed: `make peers` installs what ours is compared with.") from None
    return found


def measure_areas(areas: Iterable[str], bench: Bench) -> tuple[list[Measured], dict[str, str]]:
    """What was measured, and, by area, what could not be."""
    measured: list[Measured] = []
    missing: dict[str, str] = {}
    for area in areas:
        began = time.monotonic()
        try:
            for what in races_of(area)(bench):
                measured.append(measure(what, bench.scale))
        except NotHere as error:
            missing[area] = str(error)
        print(f"{area}: {missing.get(area, f'{time.monotonic() - began:.0f} s')}", file=sys.stderr)
    return measured, missing


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=AREAS, default=AREAS, metavar="AREA", help=", ".join(AREAS))
    parser.add_argument("--tiny", action="store_true", help="so little work that the figures mean nothing")
    parser.add_argument("--out", type=Path, help="where to write the table; a whole run writes benchmarks/RESULTS.md")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), TINY if options.tiny else FULL)
        measured, missing = measure_areas(options.only, bench)
    text = report(measured, missing, bench.versions)
    print(text, end="")
    print(f"All of it took {(time.monotonic() - began) / 60:.1f} minutes.", file=sys.stderr)
    whole = options.only == AREAS and not options.tiny
    if out := options.out or (RESULTS if whole else None):
        out.write_text(text, encoding="utf-8")
        print(f"Written to {out}.", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
