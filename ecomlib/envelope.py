"""CloudEvents' JSON format is read in two ways: as ecomlib writes it, and as anybody may write it.

The first way is all in Rust, in pydantic-core, and several times as fast. It accepts nothing that the second would
refuse, and makes the same event of it. What it does not accept goes the second way, which has the sentences.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import repeat
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

# --- as ecomlib writes it -----------------------------------------------------------------------------------

_STRICT = cs.CoreConfig(strict=True)  # `true` is no 1, and "1" neither
_PRINTABLE = cs.str_schema(pattern="^[ -~]+$")
_ID = cs.str_schema(pattern="[!-~]", max_length=100)
_MONEY = cs.no_info_after_validator_function(Decimal, cs.str_schema(pattern=f"^{AMOUNT}$"))
_UTC = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{6})?Z$"
_TIME = cs.no_info_after_validator_function(datetime.fromisoformat, cs.str_schema(pattern=_UTC))
_FIELDS: dict[Any, CoreSchema] = {Id: _ID, Id | None: cs.nullable_schema(_ID), Money: _MONEY, UnsaidMoney: _MONEY}
_UNKNOWN_FIELD = cs.nullable_schema(cs.str_schema())  # numbers have bounds, and lists must be frozen: the second way


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
    none = cs.with_default_schema(cs.any_schema(), default_factory=repeat(NO_EXTENSIONS).__next__)
    said = {"specversion": "1.0", "datacontenttype": "application/json"}
    every = [
        *(cs.dataclass_field(name, schema) for name, schema in fields.items()),
        cs.dataclass_field("extensions", none, init=False),  # an event that has some is read the other way
        *(cs.dataclass_field(name, cs.literal_schema([value]), init_only=True) for name, value in said.items()),
    ]
    all_ = cs.dataclass_args_schema(event.__name__, every, collect_init_only=True, extra_behavior="forbid")
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
