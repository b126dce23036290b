"""CloudEvents' JSON format is read in two ways: as ecomlib writes it, and as anybody may write it.

The first way is all in Rust, in pydantic-core, and several times as fast. It accepts nothing that the second would
refuse (but where a name stands twice, it does not look at what the last one replaces), and makes the same event of it.
What it does not accept goes the second way, which has the sentences.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import starmap
from types import MappingProxyType
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter
from pydantic_core import CoreSchema, SchemaValidator, from_json
from pydantic_core import core_schema as cs

from ecomlib.catalogue import AMOUNT, CATALOGUE, Data, Id, Money, UnsaidMoney
from ecomlib.errors import BadEvent

ATTRIBUTES = ("id", "source", "type", "subject", "correlationid", "causationid", "partitionkey")
NO_EXTENSIONS: MappingProxyType[str, str | int | bool] = MappingProxyType({})
INTEGERS = range(-(2**31), 2**31)  # as CloudEvents bounds them
_TAKEN = {*ATTRIBUTES, "specversion", "time", "dataversion", "datacontenttype", "data"}
_named = re.compile("[a-z0-9]+").fullmatch


def is_extension(name: Any, value: Any) -> bool:
    """Its name is lower-case letters and digits (no attribute's), its value printable text, a number or a truth."""
    said = value in INTEGERS if isinstance(value, int) else isinstance(value, str) and value.isprintable()
    return said and isinstance(name, str) and _named(name) is not None and name not in _TAKEN


# --- as ecomlib writes it -----------------------------------------------------------------------------------

_STRICT = cs.CoreConfig(strict=True)  # `true` is no 1, and "1" neither
_PRINTABLE = cs.str_schema(pattern="^[ -~]+$")
_ID = cs.str_schema(pattern="[!-~]", max_length=100)
_MONEY = cs.no_info_after_validator_function(Decimal, cs.str_schema(pattern=f"^{AMOUNT}$"))
_UTC = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{6})?Z$"
_TIME = cs.no_info_after_validator_function(datetime.fromisoformat, cs.str_schema(pattern=_UTC))
_FIELDS: dict[Any, CoreSchema] = {Id: _ID, Id | None: cs.nullable_schema(_ID), Money: _MONEY, UnsaidMoney: _MONEY}
_WHOLE = cs.int_schema(ge=-(2**63), lt=2**63)  # other numbers have bounds, and lists must be frozen: the second way
_UNKNOWN_FIELD = cs.nullable_schema(cs.union_schema([cs.str_schema(), cs.bool_schema(), _WHOLE], mode="left_to_right"))


E = TypeVar("E")


def as_written(event: type[E]) -> Callable[[str | bytes], E]:
    """What reads events of the catalogue's types. It raises pydantic's `ValidationError`, which says too little."""
    types = {type: _versions(event, models) for type, models in CATALOGUE.items()}
    return SchemaValidator(cs.tagged_union_schema(types, "type")).validate_json


def _versions(event: type[Any], models: tuple[type[Data], ...]) -> CoreSchema:
    """A type with several versions is read here in those; with one, in any, for that is the newest known."""
    if len(models) == 1:
        return _envelope(event, models[0], cs.int_schema(ge=1, lt=INTEGERS.stop))
    versions = {n: _envelope(event, model, cs.int_schema()) for n, model in enumerate(models, 1)}
    return cs.tagged_union_schema(versions, "dataversion")


def _envelope(event: type[Any], model: type[Data], version: CoreSchema) -> CoreSchema:
    unsaid = cs.with_default_schema(_PRINTABLE, default=None)
    fields = {
        "type": cs.str_schema(),
        "data": _model(model),
        "id": _PRINTABLE,
        "source": _PRINTABLE,
        "subject": _PRINTABLE,  # where it is missing, the data may have it
        "time": _TIME,
        "correlationid": unsaid,
        "causationid": unsaid,
        "partitionkey": unsaid,
        "dataversion": version,
    }
    said = {"specversion": "1.0", "datacontenttype": "application/json"}
    every = [
        *(cs.dataclass_field(name, schema) for name, schema in fields.items()),
        *(cs.dataclass_field(name, cs.literal_schema([value]), init_only=True) for name, value in said.items()),
    ]
    read = cs.dataclass_args_schema(event.__name__, every, collect_init_only=True, extra_behavior="allow")

    def with_extensions(read: tuple[dict[str, Any], Any]) -> tuple[dict[str, Any], Any]:
        said, _ = read
        if len(said) == len(fields):  # each of them is there
            said["extensions"] = NO_EXTENSIONS
            return read
        more = {name: said.pop(name) for name in list(said)[len(fields) :]}
        if not all(starmap(is_extension, more.items())):
            raise ValueError  # also for null, which says nothing: the other way leaves it out
        said["extensions"] = MappingProxyType(more)
        return read

    all_ = cs.no_info_after_validator_function(with_extensions, read)
    return cs.dataclass_schema(event, all_, [*fields, "extensions"], slots=True, config=_STRICT)


def _model(model: type[Data]) -> CoreSchema:
    hints = get_type_hints(model, include_extras=True)
    fields = {}
    for name, field in model.model_fields.items():
        schema = _FIELDS.get(hints[name]) or TypeAdapter(hints[name]).core_schema
        if not field.is_required():
            schema = cs.with_default_schema(schema, default=field.default)
        fields[name] = cs.model_field(schema)
    all_ = cs.model_fields_schema(fields, extra_behavior="allow", extras_schema=_UNKNOWN_FIELD)
    return cs.model_schema(model, all_, config=_STRICT)


# --- as anybody may write it --------------------------------------------------------------------------------


def as_allowed(text: str | bytes) -> dict[str, Any]:
    """What an event is made with. Raises `BadEvent` where that can't be told; making the event checks the rest."""
    try:
        body = from_json(text, allow_inf_nan=False)
    except (ValueError, TypeError) as error:
        raise BadEvent(f"{text[:40]!r} is not JSON: {error}.") from None
    if not isinstance(body, dict) or body.pop("specversion", None) != "1.0":
        wrong = f"{text[:40]!r} is no CloudEvents 1.0 event: its specversion is not '1.0'."
        raise BadEvent(wrong, field="specversion")
    missing = [name for name in ("id", "source", "type") if body.get(name) is None]
    if missing:
        raise BadEvent(f"{text[:40]!r} is no CloudEvents 1.0 event: {' and '.join(missing)} missing.")
    content = body.pop("datacontenttype", None)
    content = "application/json" if content is None else str(content).split(";")[0].strip().lower()
    if "data_base64" in body or not (content == "application/json" or content.endswith("+json")):
        wrong = f"{body['type']!r:.60} carries no JSON object ({content}): ecomlib reads only those."
        raise BadEvent(wrong, field="datacontenttype")
    said = {name: value for name, value in body.items() if value is not None}  # null says nothing
    return {
        "data": said.pop("data", {}),
        "time": _read_time(said.pop("time", None)),
        "dataversion": said.pop("dataversion", 1),
        **{name: said.pop(name) for name in ATTRIBUTES if name in said},
        "extensions": said,
    }


def _read_time(text: Any) -> datetime:
    if text is None:  # CloudEvents leaves the time to the writer; then the reader's own clock says when it came
        return datetime.now(UTC)
    try:
        return datetime.fromisoformat(text.upper())
    except (AttributeError, ValueError):
        said = f"{text!r:.40} is no time: CloudEvents writes it like 2026-01-05T09:00:00Z."
        raise BadEvent(said, field="time") from None
