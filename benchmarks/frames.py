"""A log of a million events into a data frame, beside what reads lines of JSON into one.

All sides end with a pandas data frame of the same nine columns: offset, id, type, subject, time, and the four fields
that the data has. Ours also checks every checksum, and makes exact cents of the amounts. The others make floats or
leave the text, whatever they do by themselves, and check nothing.

pandas and ours without pyarrow hold text as pandas does where there is no pyarrow. They read a tenth of the events,
or pandas would take a quarter of a minute each time: events a second are compared.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.json as pj

from benchmarks.history import history
from benchmarks.measuring import Bench, Goal, Race, Reading, Side, rate
from benchmarks.memory import peak
from ecomlib.lab.log_frame import Engine, events_frame
from ecomlib.log import FileLog
from ecomlib.shop import TOPIC

OURS, PLAIN = "events_frame with pyarrow", "events_frame without pyarrow"
PANDAS, ARROW = "pandas.read_json", "pyarrow.json, to_pandas"
RECORD = ["offset", "id", "type", "subject", "time"]


def races(bench: Bench) -> Iterator[Race | Reading]:
    whole = FileLog(history(bench))
    count = whole.end(TOPIC)
    tenth = _beginning(whole, bench.folder / "tenth", max(count // 10, 10))
    yield Race(
        "replay into a data frame, with Python and pandas alone",
        "events",
        (Side(PLAIN, "ours", _plain(tenth, _ours(tenth, "python"))), Side(PANDAS, "peer", _plain(tenth, _pandas))),
        (Goal(PLAIN, PANDAS, 5.0),),
        rounds=3,
        warm_up=False,
    )
    yield Race(
        "replay into a data frame, 1,000,000 events",
        "events",
        (
            Side(OURS, "ours", _run(whole, _ours(whole, "pyarrow"))),
            Side(ARROW, "peer", _run(whole, _pyarrow)),
            Side("polars.read_ndjson, to_pandas", "peer", _run(whole, _polars)),
            Side("duckdb read_json, df", "peer", _run(whole, _duckdb)),
        ),
        (Goal(OURS, ARROW, 0.8),),
        rounds=3,
        warm_up=False,
    )
    yield Reading(
        "memory of a process that reads 1,000,000 events into a data frame, at most",
        "MB",
        (Side(OURS, "ours", lambda: _peak(whole)),),
        at_most=500,
    )


def _pandas(file: Path) -> pd.DataFrame:
    """The fastest way to the data's fields that pandas has: `json_normalize` takes longer."""
    frame = pd.read_json(file, lines=True)
    data = pd.DataFrame(frame["data"].tolist())
    data["amount"] = pd.to_numeric(data["amount"])
    frame["time"] = pd.to_datetime(frame["time"], utc=True)
    return frame[RECORD].join(data)


def _pyarrow(file: Path) -> pd.DataFrame:
    table = pj.read_json(file).flatten()
    data = [name for name in table.column_names if name.startswith("data.")]
    frame: pd.DataFrame = table.select(RECORD + data).to_pandas()
    return frame


def _polars(file: Path) -> pd.DataFrame:
    frame = pl.read_ndjson(file).select(*RECORD, "data").unnest("data")
    return frame.with_columns(pl.col("time").str.to_datetime(time_zone="UTC")).to_pandas()


def _duckdb(file: Path) -> pd.DataFrame:
    columns = ", ".join(f'"{name}"' for name in RECORD)
    lines = duckdb.read_json(str(file), format="newline_delimited")
    frame: pd.DataFrame = lines.select(f"{columns}, data.*").df()
    return frame


def _ours(log: FileLog, engine: Engine) -> Callable[[Path], pd.DataFrame]:
    return lambda file: events_frame(log, TOPIC, engine=engine)


def _run(log: FileLog, read: Callable[[Path], pd.DataFrame]) -> Callable[[], float]:
    count = log.end(TOPIC)

    def run() -> float:
        frames: list[pd.DataFrame] = []
        figure = rate(count, lambda: frames.append(read(log.folder / TOPIC / "0.log")))
        if len(frames[0]) != count or len(frames[0].columns) < 8:
            raise AssertionError(f"{len(frames[0])} rows of {count}, {list(frames[0])}")
        return figure

    return run


def _plain(log: FileLog, read: Callable[[Path], pd.DataFrame]) -> Callable[[], float]:
    run = _run(log, read)

    def without_pyarrow() -> float:
        with pd.option_context("mode.string_storage", "python"):
            return run()

    return without_pyarrow


def _beginning(log: FileLog, folder: Path, count: int) -> FileLog:
    """Another log, of the first events of this one."""
    beginning = FileLog(folder, durability="system")
    beginning.create(TOPIC, partitions=1)
    with (log.folder / TOPIC / "0.log").open("rb") as lines, (folder / TOPIC / "0.log").open("wb") as file:
        file.writelines(islice(lines, count))
    return beginning


def _peak(log: FileLog) -> float:
    command = [sys.executable, "-m", __name__, str(log.folder)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=120).stdout)


if __name__ == "__main__":
    events_frame(FileLog(sys.argv[1]), TOPIC, engine="pyarrow")
    sys.stdout.write(str(peak()))
