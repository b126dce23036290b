"""The event: a fact that happened, in CloudEvents 1.0's words (https://github.com/cloudevents/spec, version 1.0.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from pydantic_core import SchemaSerializer
from pydantic_core.core_schema import any_schema

from ecomlib.catalogue import Data, newest_version, read_data
from ecomlib.clock import SystemClock
from ecomlib.envelope import ATTRIBUTES, INTEGERS, NO_EXTENSIONS, as_allowed, as_written, is_extension
from ecomlib.errors import BadEvent
from ecomlib.ids import new_id
from ecomlib.patterns import check_type

_attributes = attrgetter(*ATTRIBUTES)
_json = SchemaSerializer(any_schema()).to_json
_check_type = lru_cache(maxsize=1000)(check_type)  # the same few come again and again


@dataclass(frozen=True, slots=True, repr=False)
class Event:
    """Immutable, its data too. Making one checks it and raises `BadEvent` (a `ValueError`) with what is wrong.

    `Event("order.created", {"order_id": 1, "amount": 50})` has all it needs: the rest has defaults.
    Two events are equal when all they say is equal; they are the *same* event when their `id` is.
    """

    type: str
    data: Any = field(default_factory=Data)  # made from any mapping; read, it is the type's model: a Data
    id: str = field(default_factory=new_id, kw_only=True)
    source: str = field(default="/shop", kw_only=True)
    subject: str | None = field(default=None, kw_only=True)  # the id of what it is about: an order, a saga, a user
    time: datetime = field(default_factory=SystemClock().now, kw_only=True)
    correlationid: str | None = field(default=None, kw_only=True)  # the id of the event that began the story
    causationid: str | None = field(default=None, kw_only=True)  # the id of the event that led to this one
    partitionkey: str | None = field(default=None, kw_only=True)
    dataversion: int = field(default=0, kw_only=True)  # 0 becomes the newest
    extensions: Mapping[str, str | int | bool] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        set_ = object.__setattr__  # the one moment at which an event may still change
        (_check_type if type(self.type) is str else check_type)(self.type)
        if type(self.dataversion) is not int or self.dataversion < 0 or self.dataversion not in INTEGERS:
            said = f"{self.type}: dataversion is a whole number from 1, not {self.dataversion!r:.40}."
            raise BadEvent(said, field="dataversion")
        set_(self, "dataversion", self.dataversion or newest_version(self.type))
        set_(self, "data", read_data(self.type, self.dataversion, self.data))
        if not isinstance(self.time, datetime) or self.time.tzinfo is None:
            said = f"{self.type}: its time must be a datetime with a time zone, not {self.time!r:.60}."
            raise BadEvent(said, field="time")
        if self.time.tzinfo is not UTC:
            try:
                set_(self, "time", self.time.astimezone(UTC))
            except OverflowError:
                said = f"{self.type}: its time {self.time} is outside the calendar when put in UTC."
                raise BadEvent(said, field="time") from None
        if self.subject is None:
            data = {**self.data.__dict__, **self.data.model_extra}
            about = data.get("order_id") or data.get("saga_id") or data.get("user_id")
            set_(self, "subject", about if isinstance(about, str) and about and about.isprintable() else None)
        for name, value in zip(ATTRIBUTES, _attributes(self), strict=True):
            if value is None and name not in ("id", "source"):
                continue
            if not isinstance(value, str) or not value or not value.isprintable():
                raise BadEvent(f"{self.type}: {name} must be printable text, not {value!r:.40}.", field=name)
        for name, value in self.extensions.items():
            if not is_extension(name, value):
                raise BadEvent(
                    f"{self.type}: {name!r:.40} is no CloudEvents extension: its name is lower-case letters and digits "
                    "(no attribute's), its value printable text, a whole number of 32 bits, true or false.",
                    field=str(name),
                )
        set_(self, "extensions", MappingProxyType(dict(self.extensions)) if self.extensions else NO_EXTENSIONS)

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        """What happened, without ids and times: lessons show events, and each run must show the same."""
        said = ", ".join(f"{name}={value!r}" for name, value in self.data.to_dict().items())
        return f"<{self.type} {said}>" if said else f"<{self.type}>"

    @property
    def key(self) -> str:
        """Events with the same key keep their order in a log."""
        return self.partitionkey or self.subject or self.id

    def to_json(self) -> str:
        """CloudEvents' JSON format, on one line."""
        body = {
            "specversion": "1.0",
            **{name: value for name, value in zip(ATTRIBUTES, _attributes(self), strict=True) if value is not None},
            "time": self.time,
            "dataversion": self.dataversion,
            **self.extensions,
            "datacontenttype": "application/json",
            "data": self.data,
        }
        return _json(body, exclude_unset=True).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Event:
        """Read CloudEvents' JSON format, whoever wrote it. Raises `BadEvent` with what is wrong."""
        try:
            return _as_written(text)
        except ValidationError:  # it says too little; and there is more that is allowed
            return cls(**as_allowed(text))


_as_written = as_written(Event)
