"""Records into columns with pyarrow, which parses without the GIL."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from ecomlib.lab.plain_columns import EXACT

RECORD = pa.schema(
    [
        ("offset", pa.int64()),
        ("id", pa.string()),
        ("type", pa.string()),
        ("subject", pa.string()),
        ("time", pa.timestamp("us", "UTC")),
    ]
)
KINDS = {  # of a field, and what has them in pandas: types in which a value may be missing
    pa.int64(): pd.Int64Dtype(),
    pa.float64(): pd.Float64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
    pa.string(): None,  # pandas' default
    pa.null(): None,  # said to be null, and nothing else
}


class NotForArrow(Exception):
    """A field that is nested or of several kinds, or a record in another form: the other engine reads it."""


class ArrowColumns:
    """A block is parsed in another thread, while the one after it is checked in the caller's."""

    block = 1 << 22  # bytes: enough for all of pyarrow's own threads

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._parsing: Future[Any] | None = None
        self._parsed: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._thread.shutdown()

    def add(self, bodies: list[bytes], block: bytes, first: int) -> None:
        self._wait()
        self._parsing = self._thread.submit(_parse, block, first, len(bodies))

    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        self._wait()
        if not self._parsed:
            raise NotForArrow
        try:
            table = pa.concat_tables(self._parsed, promote_options="permissive")
        except pa.ArrowException:
            raise NotForArrow from None  # a field is of one kind in this block, and of another in that
        self._parsed.clear()
        for place, field in enumerate(table.schema):
            if pa.types.is_null(field.type):
                table = table.set_column(place, field.name, table.column(place).cast(pa.string()))
        data = [name for name in table.column_names if name not in RECORD.names]
        for column in map(table.column, data):
            if column.type == pa.float64() and (pc.max(pc.abs(column)).as_py() or 0) >= EXACT:
                raise NotForArrow
        said: pd.DataFrame = table.select(data).to_pandas(types_mapper=KINDS.get)
        said.columns = [name.removeprefix("data.") for name in data]
        return table.select(RECORD.names[1:]).to_pandas(), said

    def _wait(self) -> None:
        if self._parsing:
            self._parsed.append(self._parsing.result())
            self._parsing = None


def _parse(block: bytes, first: int, count: int) -> Any:
    """A table of so many records. Raises `NotForArrow`."""
    try:
        table = _read(block, RECORD)
        data = table.schema.field("data").type
        times = [(field.name, pa.string()) for field in data if pa.types.is_timestamp(field.type)]
        if times:  # text that looks like a time is text all the same
            table = _read(block, pa.schema([*RECORD, ("data", pa.struct(times))]))
    except (pa.ArrowException, LookupError, TypeError):
        raise NotForArrow from None
    if table["data"].null_count or any(table[name].null_count for name in ("offset", "id", "type", "time")):
        raise NotForArrow
    table = table.select([*RECORD.names, "data"]).flatten()
    kinds = {field.type for field in table.schema if field.name not in RECORD.names}
    if kinds - KINDS.keys() or not np.array_equal(table["offset"], np.arange(first, first + count)):
        raise NotForArrow
    return table


def _read(block: bytes, schema: Any) -> Any:
    return pj.read_json(pa.BufferReader(block), parse_options=pj.ParseOptions(schema))
