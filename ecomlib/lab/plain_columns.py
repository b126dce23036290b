"""Records into columns with pandas and Python alone."""

from __future__ import annotations

from types import NoneType
from typing import Any

import numpy as np
import pandas as pd
from pydantic_core import from_json

TEXT = pd.Series(["text"]).dtype  # what this release of pandas takes text for
Values = np.ndarray[Any, Any]
EXACT = 2**53  # from here on a float leaves out whole numbers


class PlainColumns:
    block = 1 << 17  # bytes: more would not stay in the processor's cache

    def __init__(self) -> None:
        self._count = 0
        self._texts: dict[str, list[Values]] = {"id": [], "type": [], "subject": []}
        self._times: list[Values] = [np.array([], "M8[us]")]
        self._data: dict[str, list[Values]] = {}

    def add(self, bodies: list[bytes], block: bytes, first: int) -> None:
        events = from_json(b"[" + b"},".join(bodies) + b"}]", cache_strings="keys", allow_inf_nan=False)
        if [event["offset"] for event in events] != list(range(first, first + len(bodies))):
            raise ValueError("an offset is missing")
        ids, types = [event["id"] for event in events], [event["type"] for event in events]
        times = np.array([event["time"].removesuffix("Z") for event in events], "M8[us]")
        data = [event["data"] for event in events]
        found = {field: [said.get(field) for said in data] for field in set().union(*data)}
        # From here on nothing fails: a block is added whole, or not at all.
        for name, values in (("id", ids), ("type", types), ("subject", [event.get("subject") for event in events])):
            self._texts[name].append(_array(values))
        self._times.append(times)
        for field in found.keys() - self._data.keys():
            self._data[field] = [_array([None] * self._count)]
        for field, column in self._data.items():
            column.append(_array(found.get(field) or [None] * len(events)))
        self._count += len(events)

    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        texts = {name: pd.Series(_joined(self._texts[name]), dtype=TEXT) for name in self._texts}
        times = pd.DatetimeIndex(np.concatenate(self._times)).tz_localize("UTC")
        data = {name: _series(_joined(self._data[name])) for name in self._data}
        return pd.DataFrame({**texts, "time": times}), pd.DataFrame(data, index=range(self._count))


def _array(values: list[Any]) -> Values:
    """Not a list: the garbage collector would look through millions of values again and again."""
    return np.fromiter(values, object, len(values))


def _joined(blocks: list[Values]) -> Values:
    joined = np.concatenate([_array([]), *blocks])
    blocks.clear()  # not twice in memory for longer than it takes
    return joined


def _series(values: Values) -> pd.Series:
    kinds = set(map(type, values)) - {NoneType}
    if not kinds - {str}:
        return pd.Series(values, dtype=TEXT)
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean")
    if kinds == {int} and all(value is None or -(2**63) <= value < 2**63 for value in values):
        return pd.Series(values, dtype="Int64")
    if float in kinds and not kinds - {int, float} and all(value is None or abs(value) < EXACT for value in values):
        return pd.Series(values, dtype="Float64")
    return pd.Series(values, dtype=object)
