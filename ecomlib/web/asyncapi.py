"""The shop's events as an AsyncAPI document, made from the catalogue: https://www.asyncapi.com/docs/reference/specification/v3.0.0.

OpenAPI describes what one can ask; AsyncAPI describes what one is told, and what one may tell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, get_args
from urllib.parse import urlsplit

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from ecomlib.catalogue import CATALOGUE, MAX_AMOUNT, Data, Id, Money
from ecomlib.clock import OPENING
from ecomlib.events import Event
from ecomlib.ids import seeded_ids
from ecomlib.web.reports import OUR_SOURCES, OURS, TYPES

CONTENT_TYPE = "application/cloudevents+json"
OTHER = "any.other"  # stands for the types outside the catalogue: the stream carries them too
DIGITS = len(str(int(MAX_AMOUNT)))

# Each type's title, and in a sentence when it is published.
WORDS: Mapping[str, tuple[str, str]] = {
    "user.registered": ("User registered", "Somebody became a customer."),
    "user.deleted": ("User deleted", "A customer left, and the account is gone."),
    "order.created": ("Order created", "A customer placed an order. Nothing is paid yet."),
    "order.updated": ("Order updated", "The amount of an order changed before it was paid."),
    "order.paid": ("Order paid", "The money for an order arrived."),
    "order.shipped": ("Order shipped", "The parcel left the warehouse."),
    "order.delivered": ("Order delivered", "The parcel is with the customer."),
    "order.cancelled": ("Order cancelled", "The order is off, whoever wanted that."),
    "payment.requested": ("Payment requested", "Somebody asked for the money of an order."),
    "payment.reserved": ("Payment reserved", "The money for an order was moved to the shop's account."),
    "payment.cancelled": ("Payment cancelled", "So much went back to the customer; 0.00 if nothing had been reserved."),
    "payment.refused": ("Payment refused", "The payment service said no: no money was moved."),
    "inventory.deducted": ("Stock deducted", "Goods were taken from the stock for an order."),
    "inventory.restored": ("Stock restored", "Goods went back into the stock; 0 if none had been taken."),
    "inventory.refused": ("Stock refused", "The inventory service said no: no goods were taken."),
    "delivery.requested": ("Delivery requested", "A place in a van was booked for an order."),
    "delivery.cancelled": ("Delivery cancelled", "The place in the van is free again."),
    "delivery.refused": ("Delivery refused", "The delivery service said no: nothing was booked."),
    "notification.sent": ("Notification sent", "A customer was told something by email or SMS."),
    "notification.failed": ("Notification failed", "A customer could not be told, and nobody tries any more."),
    "saga.started": ("Saga started", "A piece of work over several services began, to be done wholly or not at all."),
    "saga.failed": ("Saga failed", "A step can't be done. From here on the saga undoes what it did."),
    "saga.completed": ("Saga completed", "All steps are done."),
    "saga.compensated": ("Saga compensated", "All that had been done is undone."),
    "saga.stuck": ("Saga stuck", "The saga can't go on by itself: a person must look at it."),
    "saga.resumed": ("Saga resumed", "A person put right what was in the way, and the saga goes on."),
    "step.started": ("Step started", "A saga is about to try one of its steps."),
    "step.done": ("Step done", "The step worked."),
    "step.failed": ("Step failed", "This attempt of the step did not work; another may follow."),
    "compensation.started": ("Compensation started", "A saga is about to undo one of its steps."),
    "compensation.done": ("Compensation done", "The step is undone."),
    "compensation.failed": ("Compensation failed", "This attempt to undo the step did not work; another may follow."),
    OTHER: ("Any other event", "Something happened for which the catalogue has no type."),
}
# What the examples say in each field, and why it came to that where an event has a reason.
FIELDS: Mapping[str, Any] = {
    "order_id": "1",
    "user_id": "100",
    "username": "ada",
    "amount": "50.00",
    "item": "coffee machine",
    "quantity": 1,
    "channel": "email",
    "recipient": "100",
    "message_id": "order-1.email",
    "error": "the mailbox is full",
    "saga_id": "checkout-1",
    "saga": "checkout",
    "request": {"user_id": "100", "amount": "50.00", "item": "coffee machine", "quantity": 1},
    "step": "payment",
    "attempt": 1,
}
REASONS: Mapping[str, str] = {
    "user.deleted": "moved to another shop",
    "order.cancelled": "ordered twice",
    "payment.refused": "the account holds only 20.00",
    "inventory.refused": "no coffee machine is left",
    "delivery.refused": "all vans are full",
    "saga.failed": "the account holds only 20.00",
    "saga.stuck": "the bank does not answer",
}

_TEXT = {"type": "string", "minLength": 1, "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]+$"}
ENVELOPE: Mapping[str, Any] = {
    "title": "CloudEvent",
    "description": "CloudEvents 1.0 in JSON. Other attributes are its extensions: text, whole numbers, true or false.",
    "type": "object",
    "required": ["id", "source", "specversion", "type", "data"],
    "properties": {
        "specversion": {"type": "string", "const": "1.0"},
        "id": {**_TEXT, "description": "Two events of one source with the same id are the same event."},
        "source": {**_TEXT, "format": "uri-reference", "description": "Who says so."},
        "type": {**_TEXT, "description": "What happened."},
        "subject": {**_TEXT, "description": "The id of what it is about: an order, a saga, a user."},
        "time": {"type": "string", "format": "date-time", "description": "When it happened."},
        "correlationid": {**_TEXT, "description": "The id of the event that began the story."},
        "causationid": {**_TEXT, "description": "The id of the event that led to this one."},
        "partitionkey": {**_TEXT, "description": "Events with the same key keep their order."},
        "dataversion": {"type": "integer", "minimum": 1, "description": "The version of the data; 1 if not said."},
        "datacontenttype": {**_TEXT, "description": "application/json, as the data is."},
        "data": {"type": "object"},
    },
    "propertyNames": {"pattern": "^[a-z0-9]+$"},
    "additionalProperties": {"type": ["string", "integer", "boolean"], "minimum": -(2**31), "maximum": 2**31 - 1},
}
_BY_CHECK: Mapping[Any, JsonSchemaValue] = {  # what the catalogue checks with a function, said as a schema
    get_args(Money)[1].func: {
        "type": "string",
        "pattern": f"^[0-9]{{1,{DIGITS}}}\\.[0-9]{{2}}$",
        "description": "An amount of money: text, for a number would lose cents on its way.",
    },
    get_args(Id)[1].func: {"type": "string", "minLength": 1, "maxLength": 100, "pattern": "\\S"},
}


class _AsWritten(GenerateJsonSchema):
    """The models as `Event.to_json` writes them: a field without a value is not written."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        known = _BY_CHECK.get(schema["function"]["function"])
        return dict(known) if known is not None else super().function_before_schema(schema)

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def document(server: str | None = None, *, title: str = "The shop's events", version: str = "1.0.0") -> dict[str, Any]:
    """An AsyncAPI 3.0.0 document, new at each call and always the same. `server` is its URL, if it has one."""
    told = {_key(type): _message(type, example(type), _ref("schemas", _key(type))) for type in CATALOGUE}
    coffee = Event("coffee.spilled", {"table": 4}, id=seeded_ids(OTHER)(), source="/lesson", time=OPENING)
    told[_key(OTHER)] = _message(OTHER, coffee, _ref("schemas", _key(OTHER)))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": title,
            "version": version,
            "description": "What the shop tells the world, and what the world may tell the shop: CloudEvents, in JSON.",
        },
        **({"servers": {"shop": _server(server)}} if server else {}),
        "defaultContentType": CONTENT_TYPE,
        "channels": {
            "events": {
                "address": "/events",
                "title": "The stream",
                "description": "Server-sent events: the `data` of each is one event, on one line, and its `id` the "
                "event's offset in the shop's log. Whoever sends it back as `Last-Event-ID` goes on from there. Where "
                "the server has a secret, a reader needs its token: `Authorization: Bearer TOKEN`.",
                "messages": {key: _ref("messages", key) for key in told},
            },
            "webhook": {
                "address": "/webhook/order",
                "title": "The webhook",
                "description": "Facts about orders, from other systems. The same source and id again is the same fact "
                "again, and counts once. Where the server has a secret, a request is signed (`Webhook-Signature`). "
                "CloudEvents' binary mode and a short JSON form are taken as well: the OpenAPI document has them.",
                "messages": {f"reported_{_key(type)}": _reported(type) for type in TYPES},
            },
        },
        "operations": {
            "tellWhatHappened": {
                "action": "send",
                "channel": {"$ref": "#/channels/events"},
                "title": "Tell what happened",
                "summary": "The shop sends each event to everyone who reads the stream.",
                "bindings": {"http": {"method": "GET", "bindingVersion": "0.3.0"}},
            },
            "takeReport": {
                "action": "receive",
                "channel": {"$ref": "#/channels/webhook"},
                "title": "Take a report",
                "summary": "The shop takes a fact about an order, and answers when it is safe in its log.",
                "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
            },
        },
        "components": {"schemas": _schemas(), "messages": told},
    }


def example(type: str) -> Event:
    """An event of a type of the catalogue, the same at every call."""
    fields = CATALOGUE[type][-1].model_fields
    data = {name: FIELDS[name] for name in fields if name in FIELDS and (name != "step" or fields[name].is_required())}
    if "reason" in fields and type in REASONS:
        data["reason"] = REASONS[type]
    return Event(type, data, id=seeded_ids(type)(), time=OPENING)


def _key(type: str) -> str:
    return type.replace(".", "_")  # a key may hold dots, but not every tool knows


def _ref(part: str, key: str) -> dict[str, str]:
    return {"$ref": f"#/components/{part}/{key}"}


def _server(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    path = {"pathname": parts.path} if parts.path.strip("/") else {}
    return {"host": parts.netloc, "protocol": parts.scheme, **path}


def _message(type: str, example: Event, payload: dict[str, Any]) -> dict[str, Any]:
    title, summary = WORDS[type]
    return {
        "name": type,
        "title": title,
        "summary": summary,
        "contentType": CONTENT_TYPE,
        "payload": payload,
        "examples": [{"name": _key(type), "summary": summary, "payload": json.loads(example.to_json())}],
    }


def _reported(type: str) -> dict[str, Any]:
    """The same event from outside: it must not say that the shop said it, nor set what only the shop sets."""
    foreign: dict[str, Any] = dict.fromkeys(sorted(OURS), False)
    foreign["source"] = {"not": {"pattern": f"^({'|'.join(OUR_SOURCES)})"}}
    payload = {"allOf": [_ref("schemas", _key(type)), {"properties": foreign}]}
    return _message(type, replace(example(type), source="https://warehouse.example/orders"), payload)


def _schemas() -> dict[str, Any]:
    models = {model for versions in CATALOGUE.values() for model in versions}
    names = sorted(models | {Data}, key=lambda model: model.__name__)
    _, made = models_json_schema(
        [(model, "serialization") for model in names],
        ref_template="#/components/schemas/{model}",
        schema_generator=_AsWritten,
    )
    for schema in made["$defs"].values():
        schema.pop("description", None)  # the class's docstring: it speaks to readers of Python
    other = {"properties": {"type": {"not": {"enum": list(CATALOGUE)}}}}
    return {
        "CloudEvent": deepcopy(dict(ENVELOPE)),
        **made["$defs"],
        **{_key(type): _payload(type, versions) for type, versions in CATALOGUE.items()},
        _key(OTHER): {"title": OTHER, "allOf": [_ref("schemas", "CloudEvent"), other]},
    }


def _payload(type: str, models: tuple[type[Data], ...]) -> dict[str, Any]:
    """Readers of a log meet old versions too, so each has its place; one newer than any known reads as the newest."""
    versions = []
    for number, model in enumerate(models, 1):
        which = {"minimum": number} if model is models[-1] else {"const": number}
        said = {"dataversion": which, "data": _ref("schemas", model.__name__)}
        versions.append({"properties": said, **({"required": ["dataversion"]} if number > 1 else {})})
    data = versions[0] if len(versions) == 1 else {"oneOf": versions[::-1]}
    return {
        "title": type,
        "allOf": [_ref("schemas", "CloudEvent"), {"properties": {"type": {"const": type}}}, data],
    }
